"""A run of the pipeline with a Tuner before each Trainer, and what the Tuners found.

The best values reach the Trainer as the Tuner's HyperParameters artifact; what follows is
the usual run: evaluation, gate, bundle, report.
"""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tfx.dsl.io import fileio

from models.features import DESCRIPTION_FILE
from models.hyperparameters import EPOCHS
from pipeline.experiments.results import markdown_table, write_text
from pipeline.run_store import open_run

RESULTS_FILE = "tuner_results.json"  # TFX's name


@dataclass(frozen=True)
class Trial:
    """One trial of a Tuner.

    Attributes:
        values: by setting.
        accuracy: on the eval split, of the epoch whose weights were kept.
        epochs: how long it was trained; None where every trial trains as long.
    """

    values: dict[str, Any]
    accuracy: float
    epochs: int | None


def read_trials(run_folder: Path, model: str) -> list[Trial]:
    """Returns the trials of `model` in the newest run in `run_folder`, the best first.

    Raises:
        InputError: there is no run.
        LookupError: the run has no Tuner for `model`.
    """
    results = open_run(run_folder).output(f"Tuner.{model}", "tuner_results")
    if results is None:
        raise LookupError(f"the newest run in {run_folder} did not tune {model}")
    with fileio.open(os.path.join(results.uri, RESULTS_FILE), "r") as file:
        records = json.loads(file.read())
    return sorted(map(_trial, records), key=lambda trial: -trial.accuracy)


def trained_with(run_folder: Path, model: str) -> dict[str, Any]:
    """Returns the tuned values that the Trainer of `model` says it took, in the newest run.

    Raises:
        InputError: there is no run.
        LookupError: the run has no Trainer for `model`.
    """
    trained = open_run(run_folder).output(f"Trainer.{model}", "model")
    if trained is None:
        raise LookupError(f"the newest run in {run_folder} did not train {model}")
    with fileio.open(os.path.join(trained.uri, DESCRIPTION_FILE), "r") as file:
        description = json.loads(file.read())
    return _settings_only(description["tuned"])


def _settings_only(values: dict[str, Any]) -> dict[str, Any]:
    """Leaves out what KerasTuner notes for itself."""
    return {key: value for key, value in values.items() if not key.startswith("tuner/")}


def _trial(record: dict[str, Any]) -> Trial:
    bookkeeping = ("trial_id", "score")
    return Trial(
        values=_settings_only(
            {key: value for key, value in record.items() if key not in bookkeeping}
        ),
        accuracy=record["score"],
        epochs=record.get(EPOCHS),
    )


def trial_table(trials: Sequence[Trial]) -> str:
    """Returns the trials as a Markdown table, one line a trial."""
    names = list(trials[0].values)
    with_epochs = trials[0].epochs is not None
    rows = [
        [
            *(_text(trial.values[name]) for name in names),
            *([str(trial.epochs)] if with_epochs else []),
            f"{trial.accuracy:.3f}",
        ]
        for trial in trials
    ]
    return markdown_table([*names, *(["epochs"] if with_epochs else []), "accuracy"], rows)


def _text(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _chapter(run_folder: Path, model: str) -> str:
    values = trained_with(run_folder, model)
    taken = ", ".join(f"{name} = {_text(value)}" for name, value in values.items())
    table = trial_table(read_trials(run_folder, model))
    return f"## {model}\n\n{table}\nThe Trainer took {taken}.\n"


def write_trials(run_folder: Path, models: Sequence[str]) -> str:
    """Writes `tuning.md` into the run's folder, and returns its text."""
    text = "\n".join(_chapter(run_folder, model) for model in models)
    write_text(run_folder / "tuning.md", text)
    return text
