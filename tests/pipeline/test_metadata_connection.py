"""ML Metadata in SQLite, and on a real MariaDB server where one is installed."""

import getpass
import json
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from absl import logging
from ml_metadata import MetadataStore
from ml_metadata.proto import metadata_store_pb2 as mlmd
from tfx import v1 as tfx

from components.schema_gen.component import XraySchemaGen
from models.errors import InputError
from pipeline.config import Config, MetadataSettings
from pipeline.dag_runner import ProgressDagRunner
from pipeline.metadata_connection import (
    PASSWORD_VARIABLE,
    check_connection,
    connection_config,
)
from pipeline.run_store import RUN_CONTEXT, latest_run, open_run

PASSWORD = "only for the test"
START_SECONDS = 60


def _record_run(store: MetadataStore, name: str) -> None:
    context_type = mlmd.ContextType(name=RUN_CONTEXT)
    context = mlmd.Context(type_id=store.put_context_type(context_type), name=name)
    store.put_contexts([context])


def test_sqlite_is_created_and_remembers(tmp_path: Path) -> None:
    connection = connection_config(MetadataSettings(), tmp_path / "metadata.db")
    _record_run(MetadataStore(connection), "first")
    assert latest_run(MetadataStore(connection)).run_id == "first"


def test_the_password_comes_from_the_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    settings = MetadataSettings(backend="mysql", host="db.example.com", user="writer")
    monkeypatch.delenv(PASSWORD_VARIABLE, raising=False)
    with pytest.raises(InputError, match=f"writer@db.example.com .*{PASSWORD_VARIABLE}"):
        connection_config(settings, tmp_path / "unused.db")
    monkeypatch.setenv(PASSWORD_VARIABLE, PASSWORD)
    mysql = connection_config(settings, tmp_path / "unused.db").mysql
    assert (mysql.host, mysql.port, mysql.user) == ("db.example.com", 3306, "writer")
    assert mysql.password == PASSWORD
    assert not (tmp_path / "unused.db").exists()


@pytest.mark.parametrize("damage", [b"no database at all" * 9, None], ids=["junk", "cut short"])
def test_a_damaged_file_is_named_with_what_to_do(damage: bytes | None, tmp_path: Path) -> None:
    file = tmp_path / "metadata.db"
    connection = connection_config(MetadataSettings(), file)
    _record_run(MetadataStore(connection), "first")
    file.write_bytes(damage or file.read_bytes()[: file.stat().st_size // 2])
    damaged = f"cannot open {file}: it is damaged or not writable; .*--output"
    with pytest.raises(InputError, match=damaged):
        check_connection(MetadataSettings(), connection)
    with pytest.raises(InputError, match=damaged):
        open_run(tmp_path)


@dataclass(frozen=True)
class MariaDb:
    """A running server with an empty database and a user that owns it."""

    settings: MetadataSettings


@pytest.fixture(scope="module")
def mariadb(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MariaDb]:
    programs = {name: shutil.which(name) for name in ("mariadbd", "mariadb-install-db", "mariadb")}
    missing = [name for name, path in programs.items() if path is None]
    if missing:
        pytest.skip(
            f"NOT RUN on a real server: no {', '.join(missing)}; "
            "install Debian's package mariadb-server"
        )
    folder = tmp_path_factory.mktemp("mariadb")
    data, control = folder / "data", folder / "control.sock"
    account = getpass.getuser()
    subprocess.run(
        [
            "mariadb-install-db",
            "--no-defaults",
            f"--datadir={data}",
            f"--user={account}",
            "--auth-root-authentication-method=normal",
        ],
        check=True,
        capture_output=True,
    )
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = subprocess.Popen(
        [
            "mariadbd",
            "--no-defaults",
            f"--datadir={data}",
            f"--user={account}",
            f"--socket={control}",
            f"--pid-file={folder / 'server.pid'}",
            "--bind-address=127.0.0.1",
            f"--port={port}",
        ],
        stdout=subprocess.DEVNULL,
        stderr=(folder / "server.log").open("w"),
    )
    try:
        settings = MetadataSettings(backend="mysql", host="127.0.0.1", port=port)
        _create_database(control, settings, server)
        yield MariaDb(settings)
    finally:
        server.terminate()
        server.wait()


def _create_database(
    control: Path, settings: MetadataSettings, server: subprocess.Popen[bytes]
) -> None:
    statements = (
        f"CREATE DATABASE {settings.database};"
        f"CREATE USER '{settings.user}'@'127.0.0.1' IDENTIFIED BY '{PASSWORD}';"
        f"GRANT ALL ON {settings.database}.* TO '{settings.user}'@'127.0.0.1';"
    )
    deadline = time.monotonic() + START_SECONDS
    command = ["mariadb", "--no-defaults", f"--socket={control}", "--user=root", "-e", statements]
    while (done := subprocess.run(command, capture_output=True, text=True)).returncode:
        assert server.poll() is None, "the server ended"
        assert time.monotonic() < deadline, done.stderr
        time.sleep(0.2)


def test_a_mysql_server_keeps_runs_for_everybody(
    mariadb: MariaDb, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(PASSWORD_VARIABLE, PASSWORD)
    connection = connection_config(mariadb.settings, tmp_path / "unused.db")
    _record_run(MetadataStore(connection), "first")
    _record_run(MetadataStore(connection), "second")
    assert latest_run(MetadataStore(connection)).run_id == "second"
    assert not (tmp_path / "unused.db").exists()


def test_a_mysql_server_lets_a_second_run_take_nodes_from_the_cache(
    mariadb: MariaDb,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    tmp_path: Path,
) -> None:
    monkeypatch.setenv(PASSWORD_VARIABLE, PASSWORD)
    logging.set_verbosity(logging.INFO)
    connection = connection_config(mariadb.settings, tmp_path / "unused.db")
    cached = []
    for run in ("one", "two"):
        pipeline = tfx.dsl.Pipeline(
            pipeline_name="on-mysql",
            pipeline_root=str(tmp_path / "artifacts"),
            components=[XraySchemaGen()],
            enable_cache=True,
            metadata_connection_config=connection,
        )
        ProgressDagRunner(run, lambda *_: None, lambda node: cached.append(node.cached)).run(
            pipeline
        )
    assert cached == [False, True]
    # The folder's run is its own, though somebody else's is newer.
    _record_run(MetadataStore(connection), "somebody else's")
    config = Config(metadata=mariadb.settings)
    (tmp_path / "config.yaml").write_text(config.to_yaml())
    (tmp_path / "run.json").write_text(json.dumps({"run_id": "two"}))
    newest = open_run(tmp_path)
    schema = newest.output("XraySchemaGen", "schema")
    assert newest.run_id == "two"
    assert schema is not None
    assert (Path(schema.uri) / "schema.pbtxt").is_file()
    # TFX serializes the pipeline, and logs much: nowhere the password.
    said = "".join(capfd.readouterr()) + caplog.text
    assert "XraySchemaGen" in said
    assert PASSWORD not in said + repr(newest.executions)


def test_a_server_that_does_not_let_us_in_is_named(
    mariadb: MariaDb, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(PASSWORD_VARIABLE, PASSWORD)
    check_connection(mariadb.settings, connection_config(mariadb.settings, tmp_path / "no.db"))
    monkeypatch.setenv(PASSWORD_VARIABLE, "wrong")
    connection = connection_config(mariadb.settings, tmp_path / "no.db")
    place = f"coronet@127.0.0.1:{mariadb.settings.port}/coronet"
    with pytest.raises(InputError, match=place) as error:
        check_connection(mariadb.settings, connection)
    assert "wrong" not in str(error.value)
