"""Sends the compiled pipeline to a Kubeflow Pipelines v2 server, and follows its runs.

Credentials come from where the KFP client looks for them, which is the environment
(`KF_PIPELINES_*`), a service account's volume or the kubeconfig, and from
`CORONET_KFP_TOKEN`; never from an argument, which a process list would show.
"""

import contextlib
import hashlib
import http.client
import io
import json
import os
import tempfile
import time
import urllib.error
import urllib.request
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

with warnings.catch_warnings():
    warnings.simplefilter("ignore", FutureWarning)  # that it needs a server of version 2
    import kfp
import kfp_server_api
import kubernetes.config
import urllib3.exceptions

from models.errors import InputError

TOKEN_VARIABLE = "CORONET_KFP_TOKEN"
ENDPOINT_VARIABLE = kfp.client.client.KF_PIPELINES_ENDPOINT_ENV
IAP_VARIABLE = kfp.client.client.KF_PIPELINES_IAP_OAUTH2_CLIENT_ID_ENV  # fetches its own token
EXPERIMENT = "coronet"
# TensorFlow, Beam and KFP's launcher all write there. KFP's default, minio://, is KFP's only.
REMOTE_SCHEMES = ("gs", "s3")
FINAL_STATES = ("SUCCEEDED", "FAILED", "SKIPPED", "CANCELED")
FAILED_LOOKS = 10  # in a row, after which a run is not followed any further
_HEALTH_TIMEOUT = 10  # seconds
_REFUSALS = (401, 403)
_FAILURES = (kfp_server_api.ApiException, urllib3.exceptions.HTTPError, TimeoutError)


@dataclass(frozen=True)
class Progress:
    """How a run is doing.

    Attributes:
        run_id, name: as KFP knows it.
        state: one of KFP's `V2beta1RuntimeState`.
        tasks: the state of each task by its display name.
        error: what KFP says went wrong, or "".
        link: the run in KFP's user interface.
    """

    run_id: str
    name: str
    state: str
    tasks: Mapping[str, str]
    error: str
    link: str

    @property
    def finished(self) -> bool:
        """Whether the state will not change any more."""
        return self.state in FINAL_STATES


class Server:
    """One Kubeflow Pipelines server."""

    def __init__(self, endpoint: str | None = None, namespace: str | None = None) -> None:
        """Connects.

        Args:
            endpoint: URL of the server; None takes `KF_PIPELINES_ENDPOINT`, else the cluster
                of the kubeconfig or the one that this runs in.
            namespace: for servers with many users.

        Raises:
            InputError: the URL holds credentials or is none, nobody answers there, or the
                token cannot be sent.
        """
        endpoint = endpoint or os.environ.get(ENDPOINT_VARIABLE)
        if endpoint is not None:
            _check_endpoint(endpoint)
        else:
            _require_cluster()
        try:
            with _without_chatter():
                self._client = kfp.Client(
                    host=endpoint,
                    existing_token=_token(),
                    namespace=namespace or "kubeflow",
                )
        except _FAILURES as error:
            raise InputError(_explain("reach the server", error)) from error
        self._endpoint = (endpoint or "").rstrip("/")
        self._namespace = namespace

    def upload(self, spec: Mapping[str, Any]) -> tuple[str, str]:
        """Uploads `spec`, and returns the ids of its pipeline and of its version.

        A version is named after its content, so that one that is there is used again.
        """
        name = spec["pipelineInfo"]["name"]
        text = json.dumps(spec, sort_keys=True)  # which is YAML too, the server's format
        version_name = f"{name}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"
        with _answering("upload the pipeline"), tempfile.TemporaryDirectory() as folder:
            package = Path(folder) / "pipeline.yaml"
            package.write_text(text, encoding="utf-8")
            pipeline_id = self._client.get_pipeline_id(name)
            if pipeline_id is None:
                pipeline = self._client.upload_pipeline(
                    str(package), pipeline_name=name, namespace=self._namespace
                )
                pipeline_id = pipeline.pipeline_id
            version_id = self._version_id(pipeline_id, version_name)
            if version_id is None:
                version = self._client.upload_pipeline_version(
                    str(package), pipeline_version_name=version_name, pipeline_id=pipeline_id
                )
                version_id = version.pipeline_version_id
        return pipeline_id, version_id

    def start(
        self,
        pipeline_id: str,
        version_id: str,
        name: str,
        parameters: Mapping[str, Any],
        pipeline_root: str,
        experiment: str = EXPERIMENT,
    ) -> Progress:
        """Starts a run of an uploaded version; see `Server.progress` for what is returned."""
        with _answering("start the run"):
            created = self._client.create_experiment(experiment, namespace=self._namespace)
            run = self._client.run_pipeline(
                experiment_id=created.experiment_id,
                job_name=name,
                params=dict(parameters),
                pipeline_id=pipeline_id,
                version_id=version_id,
                pipeline_root=pipeline_root,
            )
        return self._progress(run)

    def progress(self, run_id: str) -> Progress:
        """Returns how run `run_id` is doing."""
        with _answering(f"find the run {run_id}"):
            return self._progress(self._client.get_run(run_id))

    def latest(self, count: int) -> list[Progress]:
        """Returns the `count` newest runs, the newest first."""
        with _answering("list the runs"):
            listed = self._client.list_runs(
                page_size=count, sort_by="created_at desc", namespace=self._namespace
            )
        return [self._progress(run) for run in listed.runs or []]

    def wait(
        self, run_id: str, changed: Callable[[Progress], None], interval: float = 5
    ) -> Progress:
        """Follows a run until it ends, calling `changed` whenever something did.

        The KFP client's own wait never returns from a run that was cancelled. A run outlives
        a server that restarts, so it takes `FAILED_LOOKS` in a row to stop looking.

        Args:
            run_id: of a started run.
            changed: told of every new state of the run or of a task.
            interval: seconds between two looks.

        Raises:
            InputError: the server did not show the run, time after time.
        """
        last = None
        failures = 0
        while True:
            try:
                progress = self.progress(run_id)
            except InputError as error:
                failures += 1
                if failures == FAILED_LOOKS:
                    raise InputError(
                        f"{error} (the last of {failures} failed looks; the run may go on: "
                        f"coronet kubeflow status {run_id} looks again)"
                    ) from error
            else:
                failures = 0
                if progress != last:
                    changed(progress)
                if progress.finished:
                    return progress
                last = progress
            time.sleep(interval)

    def _version_id(self, pipeline_id: str, name: str) -> str | None:
        page_token = ""
        while True:
            page = self._client.list_pipeline_versions(
                pipeline_id, page_token=page_token, page_size=100
            )
            for version in page.pipeline_versions or []:
                if version.display_name == name:
                    found: str = version.pipeline_version_id
                    return found
            page_token = page.next_page_token or ""
            if not page_token:
                return None

    def _progress(self, run: kfp_server_api.V2beta1Run) -> Progress:
        details = run.run_details.task_details if run.run_details else None
        return Progress(
            run_id=run.run_id,
            name=run.display_name,
            state=str(run.state or "PENDING"),
            tasks={task.display_name: str(task.state) for task in details or []},
            error=run.error.message if run.error else "",
            link=f"{self._endpoint}/#/runs/details/{run.run_id}",
        )


def run_parameters(
    spec: Mapping[str, Any], values: Mapping[str, str | int | float]
) -> dict[str, str | int | float]:
    """Checks `values` against the parameters that `spec` declares, and returns them typed.

    Raises:
        InputError: an unknown parameter, a value of another type, or a missing one.
    """
    declared = spec["root"]["inputDefinitions"]["parameters"]
    typed: dict[str, str | int | float] = {}
    for name, value in values.items():
        if name not in declared:
            raise InputError(
                f"the pipeline has no parameter {name!r}: choose from {', '.join(declared)}"
            )
        kind = {"NUMBER_INTEGER": int, "NUMBER_DOUBLE": float}.get(
            declared[name]["parameterType"], str
        )
        try:
            typed[name] = kind(value)
        except ValueError as error:
            raise InputError(f"{name}={value!r} is not a {kind.__name__}") from error
    missing = [
        name
        for name, definition in declared.items()
        if "defaultValue" not in definition and name not in typed
    ]
    if missing:
        raise InputError(f"the run needs a value for {', '.join(missing)}")
    return typed


def check_remote(name: str, location: str) -> None:
    """Refuses a location that the cluster's containers could not all read and write.

    Raises:
        InputError: it is not on an object store that TensorFlow and Beam know.
    """
    scheme, separator, rest = location.partition("://")
    if scheme not in REMOTE_SCHEMES or not separator or not rest:
        wanted = " or ".join(f"{known}://bucket/folder" for known in REMOTE_SCHEMES)
        raise InputError(f"{name}: the cluster needs {wanted}, received {location!r}")


def _token() -> str | None:
    token = os.environ.get(TOKEN_VARIABLE)
    # The HTTP library's own error would show it.
    if token is not None and not (token.isascii() and token.isprintable()):
        raise InputError(
            f"the environment variable {TOKEN_VARIABLE} holds a line break, or another character "
            "that no token has: set it to the token alone"
        )
    return token


def _check_endpoint(endpoint: str) -> None:
    try:
        parts = urlsplit(endpoint)
    except ValueError as error:  # which may quote the credentials
        raise InputError(
            "--endpoint is not a URL: give one such as http://localhost:8080"
        ) from error
    if parts.username or parts.password:
        raise InputError(
            "--endpoint holds credentials, which a process list would show: put a token into "
            f"the environment variable {TOKEN_VARIABLE} instead"
        )
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise InputError(f"--endpoint {endpoint!r}: give a URL such as http://localhost:8080")
    # The client would ask five times, and log each refusal at length.
    request = urllib.request.Request(f"{endpoint.rstrip('/')}/apis/v2beta1/healthz")
    token = _token()
    if token is not None:
        request.add_header("Authorization", f"Bearer {token}")
    try:
        urllib.request.urlopen(request, timeout=_HEALTH_TIMEOUT).close()
    except urllib.error.HTTPError as error:
        if error.code in _REFUSALS and IAP_VARIABLE not in os.environ:
            raise InputError(
                f"{endpoint} answered {error.code} ({error.reason}): put a token into the "
                f"environment variable {TOKEN_VARIABLE}"
            ) from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise InputError(f"no Kubeflow Pipelines server answers at {endpoint}: {error}") from error


def _require_cluster() -> None:
    """Refuses to go on where the client would fall back to this machine's port 80."""
    if "KUBERNETES_SERVICE_HOST" in os.environ:
        return
    try:
        kubernetes.config.list_kube_config_contexts()
    except kubernetes.config.ConfigException as error:
        raise InputError(
            "no Kubeflow Pipelines server: give --endpoint URL, set the environment variable "
            f"{ENDPOINT_VARIABLE}, or have a kubeconfig ({error})"
        ) from error


@contextlib.contextmanager
def _answering(what: str) -> Iterator[None]:
    try:
        with _without_chatter():
            yield
    except _FAILURES as error:
        raise InputError(_explain(what, error)) from error


def _explain(what: str, error: Exception) -> str:
    """What the server said, without the headers that the client's own message prints."""
    if isinstance(error, kfp_server_api.ApiException):
        try:
            said = json.loads(error.body)["error_message"]
        except (TypeError, ValueError, KeyError):
            said = error.reason
        hint = f": put a token into {TOKEN_VARIABLE}" if error.status in _REFUSALS else ""
        return f"cannot {what}: the server answered {error.status} ({said}){hint}"
    return f"cannot {what}: {error}"


@contextlib.contextmanager
def _without_chatter() -> Iterator[None]:
    """Keeps the client's own prints and its warning about old servers off the console."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore", FutureWarning)
        yield
