"""Runs whose artifacts or whose ML Metadata several output folders share."""

from pathlib import Path
from typing import Any

import pytest
from ml_metadata import MetadataStore
from ml_metadata.proto import metadata_store_pb2 as mlmd
from rich.console import Console
from tfx import v1 as tfx

from components.schema_gen.component import XraySchemaGen
from pipeline import local_runner
from pipeline.config import Config, MetadataSettings
from pipeline.local_runner import Verdict
from pipeline.metadata_connection import connection_config
from pipeline.pipeline import Destination
from pipeline.run_store import METADATA_FILE, latest_run, open_sqlite


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "any.png").write_bytes(b"any")
    return folder


@pytest.fixture(autouse=True)
def one_node(monkeypatch: pytest.MonkeyPatch) -> None:
    """In place of the DAG, one node of it; without a verdict."""

    def create_pipeline(
        config: Config, destination: Destination, metadata: Any, **_: Any
    ) -> tfx.dsl.Pipeline:
        return tfx.dsl.Pipeline(
            pipeline_name=config.name,
            pipeline_root=destination.root,
            components=[XraySchemaGen()],
            enable_cache=True,
            metadata_connection_config=metadata,
        )

    def conclude(_: Any, config: Config, output: Path, results: list[Any]) -> Verdict:
        return Verdict(None, False, {}, output, output, tuple(results))

    monkeypatch.setattr(local_runner, "create_pipeline", create_pipeline)
    monkeypatch.setattr(local_runner, "_conclude", conclude)


def _run(config: Config, data: Path, output: Path) -> bool:
    """Runs; returns whether the node came from the cache."""
    verdict = local_runner.run(config, str(data), output, Console(quiet=True))
    return verdict.nodes[0].cached


def _schema(output: Path) -> Path:
    artifact = latest_run(open_sqlite(output)).output("XraySchemaGen", "schema")
    assert artifact is not None
    return Path(artifact.uri) / "schema.pbtxt"


def _leave_running(connection: mlmd.ConnectionConfig) -> int:
    """Records an execution as a killed run leaves it; returns its id."""
    store = MetadataStore(connection)
    kind = store.put_execution_type(mlmd.ExecutionType(name="killed"))
    running = mlmd.Execution(type_id=kind, last_known_state=mlmd.Execution.RUNNING)
    (number,) = store.put_executions([running])
    return number


def _state(connection: mlmd.ConnectionConfig, number: int) -> int:
    (execution,) = MetadataStore(connection).get_executions_by_id([number])
    return execution.last_known_state


def test_two_outputs_with_one_place_for_artifacts_leave_each_other_alone(
    data: Path, tmp_path: Path
) -> None:
    config = Config(artifacts=str(tmp_path / "shared"))
    first, second = tmp_path / "first", tmp_path / "second"
    assert not _run(config, data, first)
    mine = _schema(first)
    mine.write_text("the first's")
    assert not _run(config, data, second)
    assert _schema(second) != mine
    assert tmp_path / "shared" in mine.parents
    assert mine.read_text() == "the first's"
    assert _run(config, data, first), "the folder's own name has changed"
    assert _schema(first) == mine


def test_what_a_killed_run_left_is_removed_from_its_own_artifacts_only(
    data: Path, tmp_path: Path
) -> None:
    config = Config(artifacts=str(tmp_path / "shared"))
    _run(config, data, tmp_path / "first")
    theirs = _schema(tmp_path / "first")
    output = tmp_path / "second"
    _run(config, data, output)
    connection = connection_config(MetadataSettings(), output / METADATA_FILE)
    killed = _leave_running(connection)
    halves = [schema.parent.with_name(str(killed)) for schema in (theirs, _schema(output))]
    for half in halves:
        half.mkdir(exist_ok=True)
    _run(config, data, output)
    assert _state(connection, killed) == mlmd.Execution.FAILED
    assert [half.exists() for half in halves] == [True, False]


def test_on_a_server_what_runs_is_left_running(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = connection_config(MetadataSettings(), tmp_path / "server.db")
    monkeypatch.setattr(local_runner, "connection_config", lambda *_: server)
    theirs = _leave_running(server)
    settings = MetadataSettings(backend="mysql", host="db.example.com", user="writer")
    shared = tmp_path / "shared"
    half = shared / "Trainer" / "model" / str(theirs)
    half.mkdir(parents=True)
    _run(Config(artifacts=str(shared), metadata=settings), data, tmp_path / "out")
    assert _state(server, theirs) == mlmd.Execution.RUNNING
    assert half.is_dir()
