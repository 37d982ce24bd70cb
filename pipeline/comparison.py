"""The classifiers of several runs in one table, from ML Metadata and the artifacts it names."""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text
from tfx.components.evaluator import constants
from tfx.dsl.io import fileio

from components.candidates import input_key
from components.evaluation import results
from components.ingestion.names import printable
from components.report.formats import UNKNOWN, share
from models.errors import InputError
from models.features import CLASSES, DESCRIPTION_FILE, MODEL_NAMES
from pipeline.run_store import open_run

REPORT_NODE = "ReportWriter"


@dataclass(frozen=True)
class Candidate:
    """One classifier of one run.

    Attributes:
        run: the run's output folder.
        evaluation: of the float build.
        edge_evaluation: of the edge build; None if it was not evaluated.
        blessed, edge_blessed: the gates' verdicts.
        description: the content of `model.json`.
        data_digest, revision: of the run.
    """

    run: Path
    model: str
    evaluation: results.Evaluation
    edge_evaluation: results.Evaluation | None
    blessed: bool
    edge_blessed: bool
    description: dict[str, Any]
    data_digest: str
    revision: str


def candidates_of(output: Path) -> list[Candidate]:
    """Returns the evaluated classifiers of the newest run in `output`.

    Raises:
        InputError: `output` holds no run that got as far as the report, or its artifacts
            are gone.
    """
    run = open_run(output)
    execution = run.executions.get(REPORT_NODE)
    if execution is None:
        raise InputError(
            f"the newest run in {output} did not get as far as its report: run it again"
        )
    context = json.loads(execution.custom_properties["context_json"].string_value)
    inputs = {key: found[0] for key, found in run.inputs(REPORT_NODE).items()}
    return [
        _candidate(output, name, inputs, context)
        for name in MODEL_NAMES
        if input_key(name, "evaluation") in inputs
    ]


_MEASURES = (
    "run",
    "model",
    "float",
    "gate of float",
    "edge",
    "gate of edge",
    *(f"recall {name}" for name in CLASSES),
    "calibration error",
    "Brier",
    "images",
    "best epoch",
    "preprocessing",
    "data",
    "revision",
)


def table(candidates: Sequence[Candidate]) -> Table:
    """Lays the candidates out, one column each: a terminal is too narrow for all measures.

    Intervals are Wilson's, 95 %.
    """
    laid_out = Table(
        caption="accuracy on each run's own test split, with 95 % intervals", show_header=False
    )
    columns = [_cells(candidate) for candidate in candidates]
    for cells in zip(_MEASURES, *columns, strict=True):
        laid_out.add_row(*(Text(cell, overflow="fold") for cell in cells))
    return laid_out


def warnings(candidates: Sequence[Candidate]) -> list[str]:
    """Says what makes a comparison unfair."""
    if len({candidate.data_digest for candidate in candidates}) < 2:
        return []
    return [
        "The runs were made on different data, so their test images differ: a difference in "
        "accuracy may come from the data."
    ]


def _candidate(output: Path, name: str, inputs: dict[str, Any], context: Any) -> Candidate:
    uris = {
        role: inputs[key].uri
        for role in ("model", "evaluation", "edge_evaluation")
        if (key := input_key(name, role)) in inputs
    }
    for uri in uris.values():
        if not fileio.exists(uri):
            raise InputError(f"{uri}, which the run in {output} wrote, is gone: run it again")
    edge = uris.get("edge_evaluation")
    with fileio.open(os.path.join(uris["model"], DESCRIPTION_FILE), "r") as file:
        description = json.loads(file.read())
    return Candidate(
        run=output,
        model=name,
        evaluation=results.load(uris["evaluation"]),
        edge_evaluation=results.load(edge) if edge else None,
        blessed=_blessed(inputs.get(input_key(name, "blessing"))),
        edge_blessed=_blessed(inputs.get(input_key(name, "edge_blessing"))),
        description=description,
        data_digest=context["data_digest"],
        revision=context["revision"],
    )


def _blessed(blessing: Any) -> bool:
    if blessing is None:
        return False
    value = blessing.custom_properties[constants.ARTIFACT_PROPERTY_BLESSED_KEY].int_value
    return value == constants.BLESSED_VALUE


def _cells(candidate: Candidate) -> list[str]:
    overall = candidate.evaluation.overall
    edge = candidate.edge_evaluation
    preprocessing = candidate.description["preprocessing"]
    return [
        printable(str(candidate.run)),
        candidate.model,
        accuracy_with_interval(overall),
        _verdict(candidate.blessed),
        accuracy_with_interval(edge.overall) if edge else UNKNOWN,
        _verdict(candidate.edge_blessed) if edge else UNKNOWN,
        *(share(result.recall) for result in overall.classes),
        share(overall.calibration_error),
        share(overall.brier),
        str(overall.images),
        f"{candidate.description['best_epoch']} of {candidate.description['epochs']}",
        f"{preprocessing['method']} {preprocessing['width']} x {preprocessing['height']}",
        candidate.data_digest[:8],
        candidate.revision,
    ]


def accuracy_with_interval(overall: results.SliceResult) -> str:
    """Accuracy and its 95% interval in words."""
    interval = overall.accuracy_interval
    return f"{overall.accuracy:.3f} ({interval.low:.3f} to {interval.high:.3f})"


def _verdict(blessed: bool) -> str:
    return "passed" if blessed else "failed"
