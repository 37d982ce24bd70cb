"""What the report shows, read from the artifacts of one run. No drawing, no HTML."""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tfx.components.statistics_gen import stats_artifact_utils
from tfx.dsl.io import fileio
from tfx.types import Artifact

from components import candidates
from components.anomaly_gate.executor import VERDICT
from components.anomaly_gate.findings import Distance, Finding
from components.evaluation import results
from components.ingestion import quarantine
from components.pusher.executor import is_blessed
from edge.metadata import FILE_NAME as EDGE_METADATA
from models.features import CLASSES, DESCRIPTION_FILE, SPLITS, TRAIN_SPLIT

SHOWN_REFUSALS = 200
_KINDS = {
    "num_stats": "number",
    "string_stats": "text",
    "bytes_stats": "bytes",
    "struct_stats": "group",
}


@dataclass(frozen=True)
class Build:
    """One build of a classifier and its verdict.

    Attributes:
        evaluation: on the test split; None if it was not evaluated.
        blessed: whether its gate let it through.
    """

    evaluation: results.Evaluation | None
    blessed: bool


@dataclass(frozen=True)
class EdgeFiles:
    """The TFLite build's files.

    Attributes:
        metadata: the content of `edge.json`.
        sizes: bytes of each TFLite file.
        folder: where they are.
    """

    metadata: dict[str, Any]
    sizes: dict[str, int]
    folder: str


@dataclass(frozen=True)
class ModelContent:
    """One classifier.

    Attributes:
        description: the content of `model.json`; empty if there is none.
        history: per epoch, by metric, the content of `history.json`; empty if there is none.
        model_folder: the Model artifact's place, or None.
    """

    name: str
    description: dict[str, Any]
    history: dict[str, list[float]]
    float_build: Build
    edge_build: Build
    edge_files: EdgeFiles | None
    model_folder: str | None


@dataclass(frozen=True)
class FeatureStatistics:
    """One feature of the training split, from TFDV; None where TFDV gives nothing."""

    name: str
    kind: str
    missing: int
    minimum: float | None = None
    mean: float | None = None
    maximum: float | None = None
    distinct: int | None = None


@dataclass(frozen=True)
class DataContent:
    """The data of the run.

    Attributes:
        splits: images by split and class.
        features: statistics of the training split.
        findings: what AnomalyGate warned of: against the schema, or drift.
        distances: all that it measured between splits, and since the run before.
        previous: whether there was a run before to compare with.
        refusals: the first `SHOWN_REFUSALS` refused inputs: path, reason, detail.
        refused: refused inputs by reason.
        duplicates: what ingestion counted about copies and leaks, before it resolved them.
        copies_resolved: whether it did.
    """

    splits: dict[str, dict[str, int]]
    features: tuple[FeatureStatistics, ...]
    findings: tuple[Finding, ...]
    distances: tuple[Distance, ...]
    previous: bool
    refusals: tuple[dict[str, str], ...]
    refused: dict[str, int]
    duplicates: dict[str, int]
    copies_resolved: bool


@dataclass(frozen=True)
class RunContent:
    """Everything that the report shows, apart from pictures.

    Attributes:
        pushed: the classifier that was pushed, or None.
        pushed_edge: whether its edge build was pushed too.
        context: `config`, `data_digest` and `revision` of the run.
    """

    pushed: str | None
    pushed_edge: bool
    models: tuple[ModelContent, ...]
    data: DataContent
    context: dict[str, Any]

    @property
    def best(self) -> ModelContent | None:
        """What was pushed, else the most accurate classifier; None if none was evaluated."""
        ranked = sorted(
            (model for model in self.models if model.float_build.evaluation),
            key=lambda model: (model.name == self.pushed, _accuracy(model)),
        )
        return ranked[-1] if ranked else None


def gather(inputs: Mapping[str, Sequence[Artifact]], context: dict[str, Any]) -> RunContent:
    """Reads the artifacts of `ReportWriter`'s input; an artifact that is absent is left out."""
    pushed = inputs["pushed"][0] if inputs.get("pushed") else None
    return RunContent(
        pushed=(pushed.get_string_custom_property("model") or None) if pushed else None,
        pushed_edge=bool(pushed and pushed.get_int_custom_property("edge")),
        models=tuple(_model(name, roles) for name, roles in candidates.by_model(inputs).items()),
        data=_data(inputs),
        context=context,
    )


def _accuracy(model: ModelContent) -> float:
    evaluation = model.float_build.evaluation
    return evaluation.overall.accuracy if evaluation else -1.0


def _model(name: str, roles: Mapping[str, Artifact]) -> ModelContent:
    folder = roles["model"].uri if "model" in roles else None
    return ModelContent(
        name=name,
        description=_json(folder, DESCRIPTION_FILE) if folder else {},
        history=_json(roles["model_run"].uri, "history.json") if "model_run" in roles else {},
        float_build=_build(roles, "evaluation", "blessing"),
        edge_build=_build(roles, "edge_evaluation", "edge_blessing"),
        edge_files=_edge_files(roles["edge_model"].uri) if "edge_model" in roles else None,
        model_folder=folder,
    )


def _build(roles: Mapping[str, Artifact], evaluation: str, blessing: str) -> Build:
    return Build(
        evaluation=results.load(roles[evaluation].uri) if evaluation in roles else None,
        blessed=is_blessed(roles.get(blessing)),
    )


def _edge_files(folder: str) -> EdgeFiles:
    names = [name for name in fileio.listdir(folder) if name.endswith(".tflite")]
    sizes = {}
    for name in sorted(names):
        with fileio.open(os.path.join(folder, name), "rb") as file:
            sizes[name] = file.size()
    return EdgeFiles(_json(folder, EDGE_METADATA), sizes, folder)


def _data(inputs: Mapping[str, Sequence[Artifact]]) -> DataContent:
    folder = inputs["quarantine"][0].uri
    summary = _json(folder, quarantine.SUMMARY)
    refusals = []
    with fileio.open(os.path.join(folder, quarantine.JSONL), "r") as file:
        for line, _ in zip(file, range(SHOWN_REFUSALS), strict=False):
            refusals.append(json.loads(line))
    verdict = _json(inputs["verdict"][0].uri, VERDICT)
    return DataContent(
        splits={
            split: {name: summary["splits"][split][name] for name in CLASSES} for split in SPLITS
        },
        features=_statistics(inputs["statistics"][0]),
        findings=tuple(Finding(**warning) for warning in verdict["warnings"]),
        # A verdict that an earlier version cached has no distances.
        distances=tuple(Distance(**distance) for distance in verdict.get("distances", [])),
        previous=verdict.get("previous", False),
        refusals=tuple(refusals),
        refused=summary["refused"],
        duplicates={
            what: count for what, count in summary["duplicates"].items() if type(count) is int
        },
        copies_resolved=summary["duplicates"]["resolved"],
    )


def _statistics(artifact: Artifact) -> tuple[FeatureStatistics, ...]:
    dataset = stats_artifact_utils.load_statistics(artifact, TRAIN_SPLIT).proto().datasets[0]
    found = []
    for feature in dataset.features:
        kind = feature.WhichOneof("stats")
        stats = getattr(feature, kind)
        shared = {
            "name": feature.path.step[0],
            "kind": _KINDS[kind],
            "missing": stats.common_stats.num_missing,
        }
        if kind == "num_stats":
            shared |= {"minimum": stats.min, "mean": stats.mean, "maximum": stats.max}
        elif kind == "string_stats":
            shared |= {"distinct": stats.unique}
        found.append(FeatureStatistics(**shared))
    return tuple(sorted(found, key=lambda feature: feature.name))


def _json(folder: str, name: str) -> Any:
    with fileio.open(os.path.join(folder, name), "r") as file:
        return json.loads(file.read())
