"""Options that several commands share: which settings, which classifiers, which Beam runner."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from models.errors import InputError

if TYPE_CHECKING:
    from pipeline.config import Config

_SCHEME = re.compile(r"[a-z][a-z0-9+.-]+:/")  # a Path keeps one slash of gs://
_PATTERN = re.compile(r"[][*?]")

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


def check_output(output: Path, data: str | Path) -> None:
    """Refuses an `--output` that a run could not use, before anything is written.

    Raises:
        InputError: it is on another machine, inside `data`, or a pattern.
    """
    if _SCHEME.match(str(output)):
        raise InputError(
            f"--output {output}: a folder of this machine gets the report, the bundle and the "
            "log; what the nodes write can go elsewhere, as in --set artifacts=gs://bucket/folder"
        )
    from components.ingestion.storage import is_remote

    place = output.resolve()
    if not is_remote(str(data)) and place.is_relative_to(Path(data).resolve()):
        raise InputError(
            f"--output {output} lies inside --data {data}, where what the run writes would be "
            "taken for data: name a folder outside of it"
        )
    if _PATTERN.search(str(place)):
        raise InputError(
            f"--output {place}: Beam takes [ ] * ? for patterns: name a folder without"
        )
