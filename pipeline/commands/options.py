"""Options that several commands share: which settings, which classifiers, which Beam runner."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from pipeline.config import Config

ModelOption = Annotated[
    str | None, typer.Option(help="svm, mlp, coronet, several with commas, or all.")
]
PresetOption = Annotated[str | None, typer.Option(help="sample, paper or best.")]
ConfigOption = Annotated[Path | None, typer.Option(help="YAML file of settings.")]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", help="key=value, such as coronet.training.epochs=5; repeatable."),
]
FirstOption = Annotated[
    int | None,
    typer.Option(
        help="Run only this many of the folds; without it, a later run adds the others.", min=1
    ),
]
BeamRunnerOption = Annotated[
    str | None,
    typer.Option(
        help="auto, direct, multiprocess, flink, spark or dataflow; what the last three need is "
        "in beam.options."
    ),
]


def load_settings(
    model: str | None,
    preset: str | None,
    config: Path | None,
    set_: list[str] | None,
    beam_runner: str | None = None,
) -> "Config":
    """Returns the configuration that the options describe, each option over `--set`.

    Raises:
        InputError: see `pipeline.config.load`.
    """
    from models.features import MODEL_NAMES
    from pipeline.config import load

    overrides = list(set_ or [])
    if model is not None:
        chosen = MODEL_NAMES if model == "all" else tuple(model.split(","))
        overrides.append(f"models=[{','.join(chosen)}]")
    if beam_runner is not None:
        overrides.append(f"beam.runner={beam_runner}")
    return load(preset, config, overrides)
