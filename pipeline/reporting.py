"""Writes a run's report again, from what ML Metadata knows of the run."""

import shutil
from pathlib import Path

from ml_metadata.proto import metadata_store_pb2 as mlmd
from tfx.dsl.io import fileio
from tfx.types import Artifact, artifact_utils

from components.artifacts import Report
from components.report.executor import Executor
from models.errors import InputError
from pipeline.run_store import Run, open_run

NODE = "ReportWriter"


def rebuild_report(output: Path) -> None:
    """Runs `ReportWriter` again on the inputs that the newest run in `output` gave it.

    Nothing is trained or evaluated, and ML Metadata stays as it is. The new page replaces
    the old one when it is complete.

    Raises:
        InputError: `output` holds no run that got as far as the report, or an artifact of
            it is gone.
    """
    run = open_run(output)
    execution = run.executions.get(NODE)
    if execution is None:
        raise InputError(
            f"the newest run in {output} did not get as far as its report: run it again"
        )
    staging = output / ".report.incoming"
    shutil.rmtree(staging, ignore_errors=True)
    written = Report()
    written.uri = str(staging)
    try:
        Executor().Do(
            _inputs(run, NODE),
            {"report": [written]},
            {"context_json": execution.custom_properties["context_json"].string_value},
        )
        shutil.rmtree(output / "report", ignore_errors=True)
        staging.rename(output / "report")
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _inputs(run: Run, node: str) -> dict[str, list[Artifact]]:
    inputs = {}
    for key, artifacts in run.inputs(node).items():
        for artifact in artifacts:
            if not fileio.exists(artifact.uri):
                raise InputError(f"{artifact.uri} is gone, and the report needs it")
        inputs[key] = [_typed(run, artifact) for artifact in artifacts]
    return inputs


def _typed(run: Run, artifact: mlmd.Artifact) -> Artifact:
    (kind,) = run.store.get_artifact_types_by_id([artifact.type_id])
    return artifact_utils.deserialize_artifact(kind, artifact)
