"""`coronet tune`."""

from pathlib import Path
from typing import Annotated

import typer


def tune(
    data: Annotated[Path, typer.Option(help="Labelled images: a folder per class, or a CSV.")],
    output: Annotated[Path, typer.Option(help="Folder for everything the run writes.")],
    model: Annotated[str, typer.Option(help="svm, mlp, coronet, several with commas, or all.")],
    preset: Annotated[str | None, typer.Option(help="sample, paper or best.")] = None,
    config: Annotated[Path | None, typer.Option(help="YAML file of settings.")] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", help="key=value, such as coronet.training.epochs=5; repeatable."),
    ] = None,
) -> None:
    """Search hyperparameters, then train, evaluate, gate and push with the best.

    SVM: the paper's grid over C and epsilon. MLP: the width of its layers. CORONet: rate,
    dropout, augmentation and dense width by Hyperband. Exit status as of `coronet run`.
    """
    from rich.console import Console

    from components.ingestion.preflight import preflight
    from models.features import DISCLAIMER, MODEL_NAMES
    from pipeline.commands.run import NOTHING_PASSED
    from pipeline.config import load
    from pipeline.experiments.choices import choose

    names = ",".join(choose("--model", model, MODEL_NAMES))
    settings = load(preset, config, [*(set_ or []), f"models=[{names}]", f"tune=[{names}]"])
    console = Console()
    preflight(str(data), settings.data)

    with console.status("loading TFX"):
        from pipeline import local_runner
        from pipeline.experiments.tuning import write_trials
    verdict = local_runner.run(settings, data, output, console)
    console.print(write_trials(output, settings.tune), soft_wrap=True, highlight=False)
    console.print(f"report   {verdict.report}", soft_wrap=True, highlight=False)
    if verdict.pushed is None:
        console.print("verdict  no model passed the gate: nothing was pushed")
        raise typer.Exit(NOTHING_PASSED)
    console.print(f"verdict  {verdict.pushed} passed and was pushed: {verdict.push}")
    console.print(DISCLAIMER)
