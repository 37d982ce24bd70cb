"""A local HTTP server with the part of the Kubeflow Pipelines v2beta1 API that is needed.

Requests are held against the fields of the client's generated models, an uploaded package
must be a `PipelineSpec`, and a run's parameters must be what that declares, as on a real
server. Answers are made of the same models.
"""

import json
import threading
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from email.parser import BytesParser
from email.policy import HTTP
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import kfp_server_api
import yaml
from google.protobuf import json_format
from kfp.pipeline_spec import pipeline_spec_pb2

Json = dict[str, Any]
API = "/apis/v2beta1"


class RefusedError(Exception):
    """The server's answer to a request that it does not accept."""

    def __init__(self, status: HTTPStatus, message: str) -> None:
        super().__init__(message)
        self.status = status


class FakeServer:
    """State of the server; `serve` starts it.

    Attributes:
        token: what requests must bear; None lets everybody in.
        states: what a run goes through, one state a look; the last one stays.
        outages: which requests for a run, counted from 1, find the server unavailable.
        looks: how many requests for a run there were.
        pipelines, versions, experiments, runs: what was created, as the API shows it.
        authorizations: the Authorization header of every request.
    """

    def __init__(
        self,
        token: str | None = None,
        states: tuple[str, ...] = ("SUCCEEDED",),
        outages: Collection[int] = (),
    ) -> None:
        self.token = token
        self.states = states
        self.outages = outages
        self.looks = 0
        self.pipelines: list[Json] = []
        self.versions: list[Json] = []
        self.experiments: list[Json] = []
        self.runs: list[Json] = []
        self.authorizations: list[str | None] = []
        self.url = ""

    @contextmanager
    def serve(self) -> Iterator["FakeServer"]:
        """Serves on a free local port until the block ends."""
        server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            server.shutdown()
            server.server_close()
            thread.join()

    def answer(self, method: str, target: str, body: bytes, content_type: str) -> Json:
        """Returns the API's answer to one request."""
        parts = urlsplit(target)
        query = {key: values[0] for key, values in parse_qs(parts.query).items()}
        path = parts.path.removeprefix(API).strip("/").split("/")
        match (method, *path):
            case ("GET", "healthz"):
                return {"multi_user": False}
            case ("GET", "pipelines"):
                return {"pipelines": _filtered(self.pipelines, query)}
            case ("POST", "pipelines", "upload"):
                return self._upload_pipeline(query, _uploaded(body, content_type))
            case ("POST", "pipelines", "upload_version"):
                spec = _uploaded(body, content_type)
                return self._add_version(query["pipelineid"], query["name"], spec)
            case ("GET", "pipelines", pipeline_id, "versions"):
                found = [
                    version for version in self.versions if version["pipeline_id"] == pipeline_id
                ]
                return {"pipeline_versions": _filtered(found, query)}
            case ("GET", "experiments"):
                return {"experiments": _filtered(self.experiments, query)}
            case ("POST", "experiments"):
                experiment = _body(body, kfp_server_api.V2beta1Experiment)
                experiment["experiment_id"] = f"experiment-{len(self.experiments)}"
                self.experiments.append(experiment)
                return experiment
            case ("POST", "runs"):
                return self._create_run(_body(body, kfp_server_api.V2beta1Run))
            case ("GET", "runs"):
                size = int(query.get("page_size", 10))
                return {"runs": list(reversed(self.runs))[:size]}
            case ("GET", "runs", run_id):
                return self._look_at_run(run_id)
        raise RefusedError(HTTPStatus.NOT_FOUND, f"no such call: {method} {parts.path}")

    def _upload_pipeline(self, query: Json, spec: Json) -> Json:
        if any(pipeline["display_name"] == query["name"] for pipeline in self.pipelines):
            raise RefusedError(HTTPStatus.CONFLICT, f"{query['name']} already exists")
        pipeline = {
            "pipeline_id": f"pipeline-{len(self.pipelines)}",
            "display_name": query["name"],
        }
        self.pipelines.append(pipeline)
        self._add_version(pipeline["pipeline_id"], query["name"], spec)
        return pipeline

    def _add_version(self, pipeline_id: str, name: str, spec: Json) -> Json:
        version = {
            "pipeline_id": pipeline_id,
            "pipeline_version_id": f"version-{len(self.versions)}",
            "display_name": name,
            "pipeline_spec": spec,
        }
        self.versions.append(version)
        return version

    def _create_run(self, run: Json) -> Json:
        reference = run["pipeline_version_reference"]
        version = next(
            version
            for version in self.versions
            if version["pipeline_version_id"] == reference["pipeline_version_id"]
            and version["pipeline_id"] == reference["pipeline_id"]
        )
        declared = version["pipeline_spec"]["root"]["inputDefinitions"]["parameters"]
        given = run["runtime_config"]["parameters"]
        for name, value in given.items():
            if name not in declared:
                raise RefusedError(HTTPStatus.BAD_REQUEST, f"unknown parameter {name}")
            wants_text = declared[name]["parameterType"] == "STRING"
            if isinstance(value, str) != wants_text:
                raise RefusedError(HTTPStatus.BAD_REQUEST, f"parameter {name} is {value!r}")
        missing = [
            name
            for name, definition in declared.items()
            if name not in given and "defaultValue" not in definition
        ]
        if missing:
            raise RefusedError(HTTPStatus.BAD_REQUEST, f"parameters are missing: {missing}")
        created = {**run, "run_id": f"run-{len(self.runs)}", "state": "PENDING", "looks": 0}
        self.runs.append(created)
        return _shown(created)

    def _look_at_run(self, run_id: str) -> Json:
        self.looks += 1
        if self.looks in self.outages:
            raise RefusedError(HTTPStatus.SERVICE_UNAVAILABLE, "no healthy upstream")
        run = next((run for run in self.runs if run["run_id"] == run_id), None)
        if run is None:
            raise RefusedError(HTTPStatus.NOT_FOUND, f"run {run_id} not found")
        run["state"] = self.states[min(run["looks"], len(self.states) - 1)]
        run["looks"] += 1
        run["run_details"] = {
            "task_details": [{"display_name": "trainer-svm", "state": run["state"]}]
        }
        if run["state"] == "FAILED":
            run["error"] = {"code": 13, "message": "trainer-svm: out of memory"}
        return _shown(run)


def _handler(state: FakeServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._handle("GET")

        def do_POST(self) -> None:
            self._handle("POST")

        def log_message(self, format: str, *args: object) -> None:
            """Says nothing."""

        def _handle(self, method: str) -> None:
            state.authorizations.append(self.headers.get("Authorization"))
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            try:
                if state.token and self.headers.get("Authorization") != f"Bearer {state.token}":
                    raise RefusedError(HTTPStatus.UNAUTHORIZED, "who are you?")
                content_type = self.headers.get("Content-Type", "")
                self._send(HTTPStatus.OK, state.answer(method, self.path, body, content_type))
            except RefusedError as error:
                message = str(error)
                self._send(error.status, {"error_message": message, "error_details": message})

        def _send(self, status: HTTPStatus, document: Json) -> None:
            payload = json.dumps(document).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(payload)))
            self.end_headers()
            self.wfile.write(payload)

    return Handler


def _body(body: bytes, model: type) -> Json:
    document: Json = json.loads(body)
    unknown = set(document) - set(model.attribute_map.values())  # type: ignore[attr-defined]
    if unknown:
        raise RefusedError(HTTPStatus.BAD_REQUEST, f"unknown fields {sorted(unknown)}")
    return document


def _uploaded(body: bytes, content_type: str) -> Json:
    """Returns the pipeline in a multipart upload; refuses what is no `PipelineSpec`."""
    head = f"Content-Type: {content_type}\r\n\r\n".encode()
    message = BytesParser(policy=HTTP).parsebytes(head + body)
    (part,) = [part for part in message.iter_parts() if part.get_filename()]
    if not part.get_filename().endswith((".yaml", ".yml")):
        raise RefusedError(HTTPStatus.BAD_REQUEST, "unsupported package format")
    spec: Json = yaml.load(part.get_payload(decode=True), yaml.CSafeLoader)  # the quick one
    try:
        json_format.ParseDict(spec, pipeline_spec_pb2.PipelineSpec())
    except json_format.ParseError as error:
        raise RefusedError(HTTPStatus.BAD_REQUEST, f"invalid pipeline: {error}") from error
    return spec


def _filtered(items: list[Json], query: Json) -> list[Json]:
    """Applies the filter of a list call: equality of one key."""
    if "filter" not in query:
        return items
    (predicate,) = json.loads(query["filter"])["predicates"]
    return [item for item in items if item[predicate["key"]] == predicate["stringValue"]]


def _shown(run: Json) -> Json:
    return {key: value for key, value in run.items() if key != "looks"}
