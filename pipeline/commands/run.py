"""`coronet run`."""

from pathlib import Path
from typing import Annotated

import typer

from pipeline.commands.options import (
    BeamRunnerOption,
    ConfigOption,
    ModelOption,
    PresetOption,
    SetOption,
    check_output,
    load_settings,
)

NOTHING_PASSED = 3
LOG = "logs/run.log"


def run(
    data: Annotated[
        str, typer.Option(help="Labelled images: a folder per class, or a CSV beside them.")
    ],
    output: Annotated[Path, typer.Option(help="Folder for everything the run writes.")],
    model: ModelOption = None,
    preset: PresetOption = None,
    config: ConfigOption = None,
    set_: SetOption = None,
    beam_runner: BeamRunnerOption = None,
) -> None:
    """Run the pipeline: ingest, validate, transform, train, evaluate, gate, push, report.

    Exit status: 0 a model was pushed; 3 none passed the gate; 2 bad input or
    configuration; 1 anything else.
    """
    from rich.console import Console

    from components.ingestion.preflight import preflight
    from models.features import DISCLAIMER
    from pipeline.quiet import quiet

    check_output(output, data)
    settings = load_settings(model, preset, config, set_, beam_runner)
    console = Console()
    for note in preflight(data, settings.data).notes:
        console.print(note, highlight=False)

    with quiet(output / LOG):
        with console.status("loading TFX"):
            from pipeline import local_runner
        verdict = local_runner.run(settings, data, output, console)
    for name, accuracy in verdict.accuracies.items():
        margin = accuracy - settings.gate.accuracy
        side = "above" if margin >= 0 else "below"
        console.print(
            f"{name:<8} accuracy {accuracy:.4f}, {abs(margin):.4f} {side} the gate's "
            f"{settings.gate.accuracy}",
            highlight=False,
        )
    console.print(f"report   {verdict.report}", soft_wrap=True, highlight=False)
    if verdict.pushed is None:
        console.print("verdict  no model passed the gate: nothing was pushed")
        raise typer.Exit(NOTHING_PASSED)
    builds = "SavedModel and TFLite" if verdict.edge else "SavedModel only: the edge build failed"
    console.print(f"bundle   {verdict.push}", soft_wrap=True, highlight=False)
    console.print(f"verdict  {verdict.pushed} passed and was pushed ({builds})")
    console.print(DISCLAIMER)
