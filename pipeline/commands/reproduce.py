"""`coronet reproduce`."""

from pathlib import Path
from typing import Annotated

import typer

from pipeline.commands.options import FirstOption, check_output
from pipeline.commands.progress import shown
from pipeline.commands.run import LOG


def reproduce(
    data: Annotated[Path, typer.Option(help="Labelled images: a folder per class, or a CSV.")],
    output: Annotated[Path, typer.Option(help="Folder of the page; results in it are kept.")],
    quick: Annotated[
        bool, typer.Option("--quick", help="Minutes instead of days: small images, few epochs.")
    ] = False,
    sections: Annotated[
        str,
        typer.Option(
            help="preprocessing, svm-grid, svm, mlp, mlp-learning, coronet, architecture."
        ),
    ] = "all",
    folds: Annotated[
        int | None, typer.Option(help="k of the k-fold; the paper's is 10.", min=3)
    ] = None,
    first: FirstOption = None,
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
    from dataclasses import replace

    from rich.console import Console

    from pipeline.config import load
    from pipeline.experiments.choices import choose
    from pipeline.quiet import quiet

    check_output(output, data)
    settings = load("paper", None, list(set_ or []))
    console = Console()
    with quiet(output / LOG):
        with console.status("loading TensorFlow"):
            from pipeline.experiments.bench import FULL, QUICK
            from pipeline.experiments.dataset import read_labelled_images
            from pipeline.experiments.reproduce import reproduce as run
            from pipeline.experiments.sections import SECTIONS

        chosen = choose("--sections", sections, tuple(SECTIONS))
        scale = QUICK if quick else FULL
        scale = replace(scale, folds=folds or scale.folds, first=first)
        with console.status("reading the images"):
            dataset = read_labelled_images(str(data), settings.data)
        with shown(console) as show:
            page = run(
                dataset, settings, output, workers or os.cpu_count() or 1, scale, show, chosen
            )
    console.print(str(page), soft_wrap=True, highlight=False)
