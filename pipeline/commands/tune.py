"""`coronet tune`."""

from pathlib import Path
from typing import Annotated

import typer

from pipeline.commands.options import (
    BeamRunnerOption,
    ConfigOption,
    PresetOption,
    SetOption,
    check_output,
    load_settings,
)
from pipeline.commands.run import LOG, NOTHING_PASSED


def tune(
    data: Annotated[
        str, typer.Option(help="Labelled images: a folder per class, or a CSV beside them.")
    ],
    output: Annotated[Path, typer.Option(help="Folder for everything the run writes.")],
    model: Annotated[str, typer.Option(help="svm, mlp, coronet, several with commas, or all.")],
    preset: PresetOption = None,
    config: ConfigOption = None,
    set_: SetOption = None,
    beam_runner: BeamRunnerOption = None,
) -> None:
    """Search hyperparameters, then train, evaluate, gate and push with the best.

    SVM: the paper's grid over C and epsilon. MLP: the width of its layers. CORONet: rate,
    dropout, augmentation and dense width by Hyperband. Exit status as of `coronet run`.
    """
    from rich.console import Console

    from components.ingestion.preflight import preflight
    from models.features import DISCLAIMER, MODEL_NAMES
    from pipeline.experiments.choices import choose
    from pipeline.quiet import quiet

    check_output(output, data)
    names = ",".join(choose("--model", model, MODEL_NAMES))
    overrides = [*(set_ or []), f"tune=[{names}]"]
    settings = load_settings(names, preset, config, overrides, beam_runner)
    console = Console()
    for note in preflight(data, settings.data).notes:
        console.print(note, highlight=False)

    with quiet(output / LOG):
        with console.status("loading TFX"):
            from pipeline import local_runner
            from pipeline.experiments.tuning import write_trials
        verdict = local_runner.run(settings, data, output, console)
        trials = write_trials(output, settings.tune)
    console.print(trials, soft_wrap=True, highlight=False)
    console.print(f"report   {verdict.report}", soft_wrap=True, highlight=False)
    if verdict.pushed is None:
        console.print("verdict  no model passed the gate: nothing was pushed")
        raise typer.Exit(NOTHING_PASSED)
    console.print(f"verdict  {verdict.pushed} passed and was pushed: {verdict.push}")
    console.print(DISCLAIMER)
