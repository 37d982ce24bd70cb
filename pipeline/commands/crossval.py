"""`coronet crossval`."""

from pathlib import Path
from typing import Annotated

import typer

from pipeline.commands.options import FirstOption, check_output
from pipeline.commands.progress import shown
from pipeline.commands.run import LOG


def crossval(
    data: Annotated[Path, typer.Option(help="Labelled images: a folder per class, or a CSV.")],
    output: Annotated[Path, typer.Option(help="Folder of the experiment; results in it are kept.")],
    model: Annotated[str, typer.Option(help="svm, mlp, coronet, several with commas, or all.")],
    methods: Annotated[str, typer.Option(help="Resizing methods, with commas.")] = "A,B,C,D",
    thresholds: Annotated[str, typer.Option(help="max, min, preset; with commas.")] = "preset",
    folds: Annotated[int, typer.Option(help="k of the k-fold.", min=3)] = 10,
    first: FirstOption = None,
    workers: Annotated[int, typer.Option(help="Processes at a time; 0: one a core.", min=0)] = 0,
    preset: Annotated[str | None, typer.Option(help="sample, paper or best.")] = None,
    config: Annotated[Path | None, typer.Option(help="YAML file of settings.")] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", help="key=value, such as svm.training.epochs=5; repeatable."),
    ] = None,
) -> None:
    """Cross-validate classifiers over methods and thresholds; patients stay in one fold.

    Stopped and started again, it trains only the folds that are missing.
    """
    import os
    from functools import partial

    from rich.console import Console

    from models.features import MODEL_NAMES
    from pipeline.config import load
    from pipeline.experiments.choices import choose
    from pipeline.quiet import quiet

    check_output(output, data)
    settings = load(preset, config, list(set_ or []))
    names = choose("--model", model, MODEL_NAMES)
    chosen_methods = choose("--methods", methods, ("A", "B", "C", "D"))
    chosen_thresholds = choose("--thresholds", thresholds, ("max", "min", "preset"))
    console = Console()
    with quiet(output / LOG):
        with console.status("loading TensorFlow"):
            from pipeline.experiments.crossval import cross_validate, variants
            from pipeline.experiments.crossval_report import summary_table, write_report
            from pipeline.experiments.dataset import read_labelled_images

        with console.status("reading the images"):
            dataset = read_labelled_images(str(data), settings.data)
        chosen = variants(
            {name: settings.classifier(name) for name in names}, chosen_methods, chosen_thresholds
        )
        with shown(console) as show:
            results = cross_validate(
                dataset,
                chosen,
                folds,
                settings.seed,
                output,
                workers or os.cpu_count() or 1,
                partial(show, "folds"),
                first,
            )
        summaries = write_report(results, folds, output)
    console.print(summary_table(summaries, folds), soft_wrap=True, highlight=False)
    console.print(f"tables and figures: {output}", soft_wrap=True, highlight=False)
