"""What `AnomalyGate` does."""

import json
import os
from typing import Any

import tensorflow_data_validation as tfdv
from tensorflow_metadata.proto.v0 import anomalies_pb2
from tfx.components.statistics_gen import stats_artifact_utils
from tfx.dsl.components.base import base_executor
from tfx.dsl.io import fileio
from tfx.types import artifact_utils
from tfx.types.artifact import Artifact
from tfx.utils import io_utils

from components.anomaly_gate.findings import Finding, findings
from models.errors import InputError
from models.features import TRAIN_SPLIT

ANOMALIES = "SchemaDiff.pb"  # as TFX's ExampleValidator names it
VERDICT = "verdict.json"


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
                (ExampleStatistics) and `schema` (Schema).
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
        if input_dict.get("statistics") and input_dict.get("schema"):
            warnings += _drift_findings(
                artifact_utils.get_single_instance(input_dict["statistics"]),
                artifact_utils.get_single_uri(input_dict["schema"]),
            )
        verdict = artifact_utils.get_single_instance(output_dict["verdict"])
        fileio.makedirs(verdict.uri)
        content = {"warnings": [finding.to_dict() for finding in warnings]}
        with fileio.open(os.path.join(verdict.uri, VERDICT), "w") as file:
            file.write(json.dumps(content, indent=2) + "\n")


def _schema_findings(artifact: Artifact) -> list[Finding]:
    found = []
    for split in artifact_utils.decode_split_names(artifact.split_names):
        path = os.path.join(artifact_utils.get_split_uri([artifact], split), ANOMALIES)
        with fileio.open(path, "rb") as file:
            found += findings(anomalies_pb2.Anomalies.FromString(file.read()), split)
    return found


def _drift_findings(statistics: Artifact, schema_folder: str) -> list[Finding]:
    """Returns what drifts from the train split to the others, by the schema's comparators.

    A small split differs by chance, so this warns and does not stop the run.
    """
    schema = io_utils.SchemaReader().read(io_utils.get_only_uri_in_dir(schema_folder))
    train = stats_artifact_utils.load_statistics(statistics, TRAIN_SPLIT).proto()
    found = []
    for split in artifact_utils.decode_split_names(statistics.split_names):
        if split != TRAIN_SPLIT:
            current = stats_artifact_utils.load_statistics(statistics, split).proto()
            anomalies = tfdv.validate_statistics(current, schema, previous_statistics=train)
            found += findings(anomalies, split)
    return found
