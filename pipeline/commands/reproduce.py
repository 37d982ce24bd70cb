"""`coronet reproduce`."""

from pathlib import Path
from typing import Annotated

import typer


def reproduce(
    data: Annotated[Path, typer.Option(help="Labelled images: a folder per class, or a CSV.")],
    output: Annotated[Path, typer.Option(help="Folder of the page; results in it are kept.")],
    quick: Annotated[
        bool, typer.Option("--quick", help="Minutes instead of days: small images, few epochs.")
    ] = False,
    workers: Annotated[int, typer.Option(help="Processes at a time; 0: one a core.", min=0)] = 0,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", help="key=value over the paper preset; repeatable."),
    ] = None,
) -> None:
    """Compute the paper's tables and figures again, on one page with the paper's values.

    Stopped and started again, it trains only what is missing.
    """
    import os

    from rich.console import Console
    from rich.progress import Progress, TaskID

    from pipeline.config import load

    settings = load("paper", None, list(set_ or []))
    console = Console()
    with console.status("loading TensorFlow"):
        from pipeline.experiments import reproduce as experiment
        from pipeline.experiments.dataset import read_labelled_images

    dataset = read_labelled_images(str(data), settings.data)
    with Progress(console=console) as progress:
        bars: dict[str, TaskID] = {}

        def show(section: str, done: int, count: int) -> None:
            if section not in bars:
                bars[section] = progress.add_task(section, total=count)
            progress.update(bars[section], completed=done)

        page = experiment.reproduce(
            dataset,
            settings,
            output,
            workers or os.cpu_count() or 1,
            experiment.QUICK if quick else experiment.FULL,
            show,
        )
    console.print(str(page), soft_wrap=True, highlight=False)
