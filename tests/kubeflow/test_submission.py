"""Uploading, starting and following a run, against a server that speaks KFP's v2beta1 API."""

import json
import socketserver
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from fake_server import FakeServer
from typer.testing import CliRunner

from kubeflow import submission
from kubeflow.submission import Progress, Server, check_remote, run_parameters
from models.errors import InputError

GOLDEN = Path(__file__).parent / "golden" / "default.json"
VALUES = {"data_root": "gs://b/x-rays", "output_root": "gs://b/out", "threshold": "0.85"}


@pytest.fixture
def spec() -> dict:
    return json.loads(GOLDEN.read_text())


@pytest.fixture(autouse=True)
def no_credentials(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv(submission.TOKEN_VARIABLE, raising=False)
    monkeypatch.delenv(submission.ENDPOINT_VARIABLE, raising=False)
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    place = "kubernetes.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION"
    monkeypatch.setattr(place, str(tmp_path / "no-kubeconfig"))


@pytest.fixture
def fake() -> Iterator[FakeServer]:
    with FakeServer(states=("PENDING", "RUNNING", "SUCCEEDED")).serve() as server:
        yield server


def _submit(server: Server, spec: dict) -> Progress:
    pipeline_id, version_id = server.upload(spec)
    parameters = run_parameters(spec, VALUES)
    return server.start(pipeline_id, version_id, "first run", parameters, "gs://b/out/artifacts")


def test_upload_start_and_follow(fake: FakeServer, spec: dict) -> None:
    server = Server(fake.url)
    started = _submit(server, spec)
    assert started.link == f"{fake.url}/#/runs/details/{started.run_id}"
    (run,) = fake.runs
    assert run["display_name"] == "first run"
    assert run["runtime_config"] == {
        "parameters": {**VALUES, "threshold": 0.85},
        "pipeline_root": "gs://b/out/artifacts",
    }
    assert fake.versions[-1]["pipeline_spec"] == spec
    seen: list[Progress] = []
    ended = server.wait(started.run_id, seen.append, interval=0)
    assert [progress.state for progress in seen] == ["PENDING", "RUNNING", "SUCCEEDED"]
    assert ended.tasks == {"trainer-svm": "SUCCEEDED"}


def test_the_same_specification_is_one_version_a_changed_one_is_new(
    fake: FakeServer, spec: dict
) -> None:
    server = Server(fake.url)
    first = server.upload(spec)
    assert server.upload(spec) == first
    spec["root"]["dag"]["tasks"]["xray-schema-gen"]["retryPolicy"]["maxRetryCount"] = 9
    second = server.upload(spec)
    assert second[0] == first[0]
    assert second[1] != first[1]
    assert len(fake.pipelines) == 1


@pytest.mark.parametrize("state", ["FAILED", "CANCELED", "SKIPPED"])
def test_waiting_ends_with_every_final_state(state: str, spec: dict) -> None:
    with FakeServer(states=("RUNNING", state)).serve() as fake:
        server = Server(fake.url)
        started = _submit(server, spec)
        ended = server.wait(started.run_id, lambda _: None, interval=0)
    assert ended.state == state
    assert ("out of memory" in ended.error) == (state == "FAILED")


def test_a_run_is_followed_through_outages(spec: dict) -> None:
    """Of which each is one look short of what stops it."""
    limit = submission.FAILED_LOOKS
    outages = {*range(2, limit + 1), *range(limit + 2, 2 * limit + 1)}
    states = ("PENDING", "RUNNING", "SUCCEEDED")
    with FakeServer(states=states, outages=outages).serve() as fake:
        server = Server(fake.url)
        started = _submit(server, spec)
        seen: list[Progress] = []
        server.wait(started.run_id, seen.append, interval=0)
    assert tuple(progress.state for progress in seen) == states
    assert fake.looks == len(outages) + len(states)


def test_a_server_that_stays_away_ends_the_wait_and_says_how_to_look_again(spec: dict) -> None:
    with FakeServer(states=("RUNNING",), outages=range(2, 1000)).serve() as fake:
        server = Server(fake.url)
        started = _submit(server, spec)
        with pytest.raises(InputError, match=r"503 \(no healthy.* coronet kubeflow status run-0"):
            server.wait(started.run_id, lambda _: None, interval=0)
    assert fake.looks == 1 + submission.FAILED_LOOKS


def test_the_newest_runs_come_first(fake: FakeServer, spec: dict) -> None:
    server = Server(fake.url)
    runs = [_submit(server, spec).run_id for _ in range(3)]
    assert [progress.run_id for progress in server.latest(2)] == runs[:0:-1]


def test_the_token_comes_from_the_environment_and_shows_nowhere(
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    spec: dict,
) -> None:
    with FakeServer(token="very-secret").serve() as fake:
        with pytest.raises(InputError, match=f"401.*{submission.TOKEN_VARIABLE}"):
            Server(fake.url).upload(spec)
        monkeypatch.setenv(submission.TOKEN_VARIABLE, "wrong-secret")
        with pytest.raises(InputError, match="401") as refused:
            Server(fake.url).upload(spec)
        monkeypatch.setenv(submission.TOKEN_VARIABLE, "very-secret")
        assert _submit(Server(fake.url), spec).run_id
        assert "Bearer very-secret" in fake.authorizations
    everything = "".join(capfd.readouterr()) + caplog.text + str(refused.value)
    assert "secret" not in everything


def test_a_token_that_no_header_can_hold_is_not_shown(
    fake: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(submission.TOKEN_VARIABLE, "very-secret\n")
    with pytest.raises(InputError, match=f"{submission.TOKEN_VARIABLE} holds a line") as refused:
        Server(fake.url)
    assert "secret" not in str(refused.value)


def test_errors_say_what_the_server_said(fake: FakeServer, spec: dict) -> None:
    server = Server(fake.url)
    with pytest.raises(InputError, match=r"404 \(run nothing not found"):
        server.progress("nothing")
    pipeline_id, version_id = server.upload(spec)
    with pytest.raises(InputError, match=r"400 \(parameters are missing"):
        server.start(pipeline_id, version_id, "bad", {"data_root": "gs://b/x"}, "gs://b/out")


@pytest.mark.parametrize(
    ("endpoint", "message"),
    [
        ("http://127.0.0.1:9", "no Kubeflow Pipelines server answers"),
        ("http://user:password@127.0.0.1:9", "holds credentials"),
        ("127.0.0.1:9", "give a URL"),
        ("ftp://somewhere", "give a URL"),
        ("http://user:password@[", "not a URL"),
        ("http://user:password@\N{ADDRESSED TO THE SUBJECT}", "not a URL"),
        ("http://localhost:x", "answers at http://localhost:x: nonnumeric port"),
        ("http://a..b", r"answers at http://a\.\.b: .*label empty"),
    ],
)
def test_a_bad_endpoint_is_named(endpoint: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as error:
        Server(endpoint)
    assert "password" not in str(error.value)


class _Ssh(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        self.request.recv(65536)  # closed with something unread, a connection is reset
        self.request.sendall(b"SSH-2.0-OpenSSH_9.2\r\n")


def test_a_port_that_speaks_something_else_is_named() -> None:
    with socketserver.TCPServer(("127.0.0.1", 0), _Ssh) as server:
        threading.Thread(target=server.handle_request, daemon=True).start()
        endpoint = f"http://127.0.0.1:{server.server_address[1]}"
        with pytest.raises(InputError, match=f"server answers at {endpoint}: SSH-2.0"):
            Server(endpoint)


def test_without_an_endpoint_or_a_cluster_it_says_what_to_give() -> None:
    with pytest.raises(InputError, match=f"--endpoint URL.*{submission.ENDPOINT_VARIABLE}"):
        Server()


def test_the_endpoint_can_come_from_the_environment(
    fake: FakeServer, spec: dict, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(submission.ENDPOINT_VARIABLE, fake.url)
    assert _submit(Server(), spec).link.startswith(f"{fake.url}/#/runs/")


def test_a_server_that_goes_away_is_named(spec: dict) -> None:
    with FakeServer().serve() as fake:
        server = Server(fake.url)
    with pytest.raises(InputError, match="cannot find the run run-0"):
        server.progress("run-0")


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"thresold": "0.8"}, "no parameter 'thresold': choose from .*threshold"),
        ({"threshold": "high"}, "threshold='high' is not a float"),
        ({"epochs_svm": "2.5"}, "epochs_svm='2.5' is not a int"),
    ],
)
def test_a_bad_parameter_is_named(changed: dict, message: str, spec: dict) -> None:
    with pytest.raises(InputError, match=message):
        run_parameters(spec, {**VALUES, **changed})


def test_a_missing_parameter_is_named(spec: dict) -> None:
    with pytest.raises(InputError, match="a value for output_root"):
        run_parameters(spec, {"data_root": "gs://b/x"})


def test_only_object_stores_reach_the_cluster() -> None:
    check_remote("--output-root", "gs://bucket/folder")
    check_remote("--output-root", "s3://bucket/folder")
    for location in ("/data", "minio://bucket/x", "gs://", "file:///data"):
        with pytest.raises(InputError, match="--output-root: the cluster needs gs://"):
            check_remote("--output-root", location)


def test_the_commands(fake: FakeServer, spec: dict, monkeypatch: pytest.MonkeyPatch) -> None:
    from pipeline.commands import kubeflow

    monkeypatch.setattr(kubeflow, "_compile", lambda settings: spec)  # tested by itself
    options = ["--data-root", "gs://b/x", "--output-root", "gs://b/out", "--data-digest", "d1"]
    endpoint = ["--endpoint", fake.url]
    run = CliRunner().invoke
    started = run(
        kubeflow.kubeflow,
        ["submit", *options, *endpoint, "--no-wait", "--param", "epochs_svm=3"],
        catch_exceptions=False,
    )
    assert started.exit_code == 0, started.output
    assert fake.runs[0]["runtime_config"]["parameters"]["epochs_svm"] == 3
    assert f"{fake.url}/#/runs/details/run-0" in started.output
    listed = run(kubeflow.kubeflow, ["status", *endpoint], catch_exceptions=False)
    assert "run-0  PENDING" in listed.output
    shown = run(kubeflow.kubeflow, ["status", "run-0", *endpoint], catch_exceptions=False)
    assert "trainer-svm" in shown.output
    refused = run(kubeflow.kubeflow, ["submit", *options, *endpoint, "--param", "epochs_svm"])
    assert isinstance(refused.exception, InputError)


def test_a_failed_run_is_exit_status_1(spec: dict, monkeypatch: pytest.MonkeyPatch) -> None:
    from pipeline.commands import kubeflow

    monkeypatch.setattr(kubeflow, "_compile", lambda settings: spec)
    options = ["--data-root", "gs://b/x", "--output-root", "gs://b/out", "--data-digest", "d1"]
    with FakeServer(states=("FAILED",)).serve() as fake:
        ended = CliRunner().invoke(
            kubeflow.kubeflow, ["submit", *options, "--endpoint", fake.url], catch_exceptions=False
        )
    assert ended.exit_code == kubeflow.RUN_FAILED
    assert "out of memory" in ended.output
