"""What `AnomalyGate` does."""

import json
import os
from dataclasses import replace
from typing import Any

import tensorflow_data_validation as tfdv
from tensorflow_metadata.proto.v0 import anomalies_pb2, statistics_pb2
from tfx.components.statistics_gen import stats_artifact_utils
from tfx.dsl.components.base import base_executor
from tfx.dsl.io import fileio
from tfx.types import artifact_utils
from tfx.types.artifact import Artifact
from tfx.utils import io_utils

from components.anomaly_gate.findings import Distance, Finding, comparisons, distances, findings
from models.errors import InputError
from models.features import TRAIN_SPLIT

ANOMALIES = "SchemaDiff.pb"  # as TFX's ExampleValidator names it
VERDICT = "verdict.json"
AGAINST_PREVIOUS = f"{TRAIN_SPLIT} against the run before"
STATISTICS_ID = "statistics_id"
"""Custom property of the verdict: which statistics it accepts (see `components.resolver`)."""


class Executor(base_executor.BaseExecutor):
    """Executor of `AnomalyGate`."""

    def Do(
        self,
        input_dict: dict[str, list[Artifact]],
        output_dict: dict[str, list[Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Judges the anomalies.

        Args:
            input_dict: `anomalies` (ExampleAnomalies); optionally both `statistics`
                (ExampleStatistics) and `schema` (Schema), and with them
                `previous_statistics` (ExampleStatistics).
            output_dict: `verdict` (DataVerdict).
            exec_properties: none.

        Raises:
            InputError: ExampleValidator found an error; the message has TFDV's words.
        """
        self._log_startup(input_dict, output_dict, exec_properties)
        anomalies = artifact_utils.get_single_instance(input_dict["anomalies"])
        found = _schema_findings(anomalies)
        errors = [finding for finding in found if finding.severity == "ERROR"]
        if errors:
            listed = "\n".join(f"  {finding}" for finding in errors)
            raise InputError(
                f"the data does not fit its schema:\n{listed}\n"
                "Correct the data, or the schema if the data is right"
            )
        warnings = [finding for finding in found if finding.severity != "ERROR"]
        verdict = artifact_utils.get_single_instance(output_dict["verdict"])
        compared: list[Distance] = []
        previous = input_dict.get("previous_statistics") or [None]
        if input_dict.get("statistics") and input_dict.get("schema"):
            statistics = artifact_utils.get_single_instance(input_dict["statistics"])
            verdict.set_int_custom_property(STATISTICS_ID, statistics.id)
            schema_folder = artifact_utils.get_single_uri(input_dict["schema"])
            drifted, compared = _drift(statistics, schema_folder, previous[0])
            warnings += drifted
        content = {
            "warnings": [finding.to_dict() for finding in warnings],
            "distances": [distance.to_dict() for distance in compared],
            "previous": previous[0] is not None,
        }
        fileio.makedirs(verdict.uri)
        with fileio.open(os.path.join(verdict.uri, VERDICT), "w") as file:
            file.write(json.dumps(content, indent=2) + "\n")


def _schema_findings(artifact: Artifact) -> list[Finding]:
    found = []
    for split in artifact_utils.decode_split_names(artifact.split_names):
        path = os.path.join(artifact_utils.get_split_uri([artifact], split), ANOMALIES)
        with fileio.open(path, "rb") as file:
            found += findings(anomalies_pb2.Anomalies.FromString(file.read()), split)
    return found


def _drift(
    statistics: Artifact, schema_folder: str, previous: Artifact | None
) -> tuple[list[Finding], list[Distance]]:
    """Compares the other splits with the train split, and that with the one of `previous`.

    By the comparators of the schema. A small split differs by chance, and a hospital may
    well see another mixture this month, so this warns and does not stop the run.
    """
    schema = io_utils.SchemaReader().read(io_utils.get_only_uri_in_dir(schema_folder))
    train = _of_split(statistics, TRAIN_SPLIT)
    pairs = [
        (f"{split} against {TRAIN_SPLIT}", _of_split(statistics, split), train)
        for split in artifact_utils.decode_split_names(statistics.split_names)
        if split != TRAIN_SPLIT
    ]
    if previous is not None:
        pairs.append((AGAINST_PREVIOUS, train, _of_split(previous, TRAIN_SPLIT)))
    drifted: list[Finding] = []
    measured: list[Distance] = []
    for sets, current, earlier in pairs:
        anomalies = tfdv.validate_statistics(current, schema, previous_statistics=earlier)
        drifted += (
            replace(finding, severity="WARNING") for finding in comparisons(anomalies, sets)
        )
        measured += distances(anomalies, sets)
    return drifted, measured


def _of_split(artifact: Artifact, split: str) -> statistics_pb2.DatasetFeatureStatisticsList:
    return stats_artifact_utils.load_statistics(artifact, split).proto()
