"""Reading a run back from ML Metadata: which nodes ran, how they ended, what they wrote."""

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from ml_metadata import MetadataStore
from ml_metadata.proto import metadata_store_pb2 as mlmd

from models.errors import InputError
from pipeline.config import MetadataSettings, load
from pipeline.metadata_connection import check_connection, connection_config

RUN_CONTEXT = "pipeline_run"
NODE_CONTEXT = "node"
METADATA_FILE = "metadata.db"
CONFIG_FILE = "config.yaml"
SUMMARY_FILE = "run.json"


def open_sqlite(output: Path) -> MetadataStore:
    """Opens the ML Metadata store of a local run's output folder.

    Raises:
        InputError: if `output` holds no run, or its store is damaged.
    """
    file = output / METADATA_FILE
    if not file.is_file():
        raise InputError(f"{output} holds no run (no {METADATA_FILE}): give the --output of one")
    connection = mlmd.ConnectionConfig()
    connection.sqlite.filename_uri = str(file)
    check_connection(MetadataSettings(), connection)
    return MetadataStore(connection)


@dataclass(frozen=True)
class Run:
    """One run of a pipeline, by the name of its context in ML Metadata."""

    store: MetadataStore
    run_id: str

    @cached_property
    def executions(self) -> dict[str, mlmd.Execution]:
        """The latest execution of each node, by node id such as `Trainer.svm`; read once."""
        context = self.store.get_context_by_type_and_name(RUN_CONTEXT, self.run_id)
        if context is None:
            raise InputError(f"no run {self.run_id!r} in this ML Metadata store")
        latest: dict[str, mlmd.Execution] = {}
        for execution in self.store.get_executions_by_context(context.id):
            for node in self.store.get_contexts_by_execution(execution.id):
                if node.type == NODE_CONTEXT:
                    name = node.name.partition(".")[2]
                    if name not in latest or execution.id > latest[name].id:
                        latest[name] = execution
        return latest

    def output(self, node: str, key: str) -> mlmd.Artifact | None:
        """Returns the artifact that `node` wrote under `key`, or None where it did not."""
        execution = self.executions.get(node)
        if execution is None:
            return None
        outputs = (mlmd.Event.OUTPUT, mlmd.Event.INTERNAL_OUTPUT, mlmd.Event.DECLARED_OUTPUT)
        for event in self.store.get_events_by_execution_ids([execution.id]):
            steps = [step.key for step in event.path.steps if step.HasField("key")]
            if event.type in outputs and key in steps:
                return self.store.get_artifacts_by_id([event.artifact_id])[0]
        return None

    def inputs(self, node: str) -> dict[str, list[mlmd.Artifact]]:
        """Returns the artifacts that `node` read, by input key; empty where it did not run."""
        execution = self.executions.get(node)
        if execution is None:
            return {}
        found: dict[str, list[mlmd.Artifact]] = {}
        for event in self.store.get_events_by_execution_ids([execution.id]):
            if event.type in (mlmd.Event.INPUT, mlmd.Event.DECLARED_INPUT):
                (key,) = (step.key for step in event.path.steps if step.HasField("key"))
                found.setdefault(key, []).extend(
                    self.store.get_artifacts_by_id([event.artifact_id])
                )
        return found


def latest_run(store: MetadataStore) -> Run:
    """Returns the newest run in `store`.

    Raises:
        InputError: there is none.
    """
    contexts = store.get_contexts_by_type(RUN_CONTEXT)
    if not contexts:
        raise InputError("this ML Metadata store holds no run yet: `coronet run` writes one")
    newest = max(contexts, key=lambda context: context.create_time_since_epoch)
    return Run(store, newest.name)


def open_run(output: Path) -> Run:
    """Opens the newest run in a local run's output folder, wherever its ML Metadata is.

    A server holds other people's runs too, so there the newest that ended is meant.

    Raises:
        InputError: `output` holds no run, or the server does not let us in.
    """
    config = output / CONFIG_FILE
    settings = load(file=config).metadata if config.is_file() else None
    if settings is None or settings.backend == "sqlite":
        return latest_run(open_sqlite(output))
    summary = output / SUMMARY_FILE
    if not summary.is_file():
        raise InputError(f"{output} holds no run that ended (no {SUMMARY_FILE})")
    connection = connection_config(settings, output / METADATA_FILE)
    check_connection(settings, connection)
    run_id = json.loads(summary.read_text(encoding="utf-8"))["run_id"]
    return Run(MetadataStore(connection), run_id)
