"""`coronet run`: one local run of the DAG, with progress, a lock and a summary.

An output folder holds:

    config.yaml      the configuration; a valid --config file
    run.json         how the last run ended: verdict, seconds a node
    report/          index.html and the model card
    push/            the bundle (see components.pusher.bundle)
    artifacts/       what each node wrote (TFX's pipeline root), unless the configuration
                     names a place for it that other machines reach too
    store_id         where it does: the folder below that place which is this output's own
    metadata.db      ML Metadata, unless the configuration names a server
    logs/run.log     everything that TensorFlow, Beam and TFX say
"""

import contextlib
import fcntl
import json
import os
import shutil
import traceback
import uuid
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path

from ml_metadata import MetadataStore
from ml_metadata.proto import metadata_store_pb2 as mlmd
from rich.console import Console
from tfx.dsl.io import fileio

from components.beam_runner import use_in_process_runner
from components.evaluation.results import overall_metrics
from components.ingestion import storage
from components.ingestion.fingerprint import fingerprint
from components.pusher import bundle
from models.errors import InputError
from pipeline import beam_options, revision
from pipeline.atomic import write_text
from pipeline.config import Config
from pipeline.dag_runner import NodeResult, ProgressDagRunner
from pipeline.errors import RunFailedError
from pipeline.metadata_connection import check_connection, connection_config
from pipeline.pipeline import Destination, create_pipeline
from pipeline.run_store import CONFIG_FILE, METADATA_FILE, SUMMARY_FILE, Run

ARTIFACTS = "artifacts"
REPORT = "report"
PUSH = "push"
STORE_ID = "store_id"


@dataclass(frozen=True)
class Verdict:
    """How a run ended.

    Attributes:
        pushed: the classifier that was pushed, or None where none passed the gate.
        edge: whether its quantized build passed too.
        accuracies: on the test split, by classifier.
        report: the report's page.
        push: the bundle's folder.
        nodes: the result of every node, in the order in which they ran.
    """

    pushed: str | None
    edge: bool
    accuracies: dict[str, float]
    report: Path
    push: Path
    nodes: tuple[NodeResult, ...]


def run(config: Config, data: str, output: Path, console: Console) -> Verdict:
    """Runs the DAG on the images in `data`, and writes everything below `output`.

    `data` is a folder here or on a filesystem that Beam knows (`gs://`, `s3://`).

    Running again with nothing changed takes every node from the cache; after a run that
    was killed, the nodes that had finished are taken from the cache.

    Raises:
        InputError: the data cannot be used, or another run is writing to `output`.
        RunFailedError: a node failed for another reason.
    """
    if not storage.is_remote(data):
        data = str(Path(data).resolve())
    beam_options.check_reachable(config.beam, data, config.artifacts)
    output.mkdir(parents=True, exist_ok=True)
    output = output.resolve()
    use_in_process_runner()
    with _only_run(output):
        write_text(output / CONFIG_FILE, config.to_yaml())
        connection = connection_config(config.metadata, output / METADATA_FILE)
        check_connection(config.metadata, connection)
        artifacts = config.artifacts or str(output / ARTIFACTS)
        if config.metadata.backend == "sqlite":
            if config.artifacts:
                artifacts = os.path.join(artifacts, _store_id(output))
            _retire_dead_executions(connection, artifacts)
        pipeline = create_pipeline(
            config,
            data_root=data,
            destination=Destination(root=artifacts, push=str(output / PUSH)),
            context={"data_digest": fingerprint(data), "revision": revision.current()},
            metadata=connection,
            beam_args=beam_options.arguments(config.beam, sum(1 for _ in storage.walk(data))),
        )
        run_id = datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        begun: list[str] = []
        results: list[NodeResult] = []
        with console.status("starting") as status:

            def started(node: str, number: int, count: int) -> None:
                begun.append(node)
                status.update(f"{node} ({number} of {count})")

            def finished(result: NodeResult) -> None:
                how = "cached" if result.cached else f"{result.seconds:.1f} s"
                console.print(f"  {result.node:<24} {how}", highlight=False)
                results.append(result)

            try:
                ProgressDagRunner(run_id, started, finished).run(pipeline)
            except InputError:
                raise
            except Exception as error:
                traceback.print_exc()  # into the log
                what = f"{type(error).__name__}: {error}"
                raise RunFailedError(f"{begun[-1]} failed: {what}") from error
        finished_run = Run(MetadataStore(connection), run_id)
        verdict = _conclude(finished_run, config, output, results)
    write_text(
        output / SUMMARY_FILE,
        json.dumps(
            {
                "run_id": run_id,
                "pushed": verdict.pushed,
                "edge": verdict.edge,
                "accuracies": verdict.accuracies,
                "nodes": [asdict(result) for result in results],
            },
            indent=2,
        )
        + "\n",
    )
    return verdict


def _conclude(
    finished_run: Run, config: Config, output: Path, results: list[NodeResult]
) -> Verdict:
    """Reads the verdict from the store, and puts the report and the bundle in their places."""
    report = finished_run.output("ReportWriter", "report")
    pushed = finished_run.output("BundlePusher", "pushed_model")
    assert report is not None
    assert pushed is not None
    _bring_home(report.uri, output / REPORT)
    name = pushed.custom_properties["model"].string_value or None
    if name is not None:
        # A cached push does nothing: bring the bundle back if somebody removed it.
        bundle.deploy(pushed.uri, str(output / PUSH))
    accuracies: dict[str, float] = {}
    for model in config.models:
        evaluation = finished_run.output(f"Evaluator.{model}", "evaluation")
        assert evaluation is not None
        accuracies[model] = overall_metrics(evaluation.uri)["accuracy"]
    return Verdict(
        pushed=name,
        edge=pushed.custom_properties["edge"].int_value == 1,
        accuracies=accuracies,
        report=output / REPORT / "index.html",
        push=output / PUSH,
        nodes=tuple(results),
    )


def _bring_home(source: str, destination: Path) -> None:
    """Copies `source`, from wherever it is, beside `destination`, then renames the copy."""
    staging = destination.with_name(f".{destination.name}.incoming")
    shutil.rmtree(staging, ignore_errors=True)
    bundle.copy_tree(source, str(staging))
    shutil.rmtree(destination, ignore_errors=True)
    staging.rename(destination)


@contextlib.contextmanager
def _only_run(output: Path) -> Iterator[None]:
    """Holds the folder's lock, which the operating system lets go when the process dies."""
    with (output / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise InputError(
                f"another run is writing to {output}: wait for it, or name another --output"
            ) from error
        yield


def _store_id(output: Path) -> str:
    """Names the folder's own ML Metadata, and what its nodes write in a shared place.

    Every SQLite store numbers its executions from 1, and TFX names folders by that number: two
    output folders with one `artifacts` would overwrite each other's.
    """
    file = output / STORE_ID
    if not file.is_file():
        write_text(file, uuid.uuid4().hex + "\n")
    return file.read_text(encoding="utf-8").strip()


def _retire_dead_executions(connection: mlmd.ConnectionConfig, artifacts: str) -> None:
    """Marks executions that a killed run left RUNNING as failed, and removes their output.

    The caller holds the lock, so nobody is running them. TFX would never reuse what they
    wrote; this only keeps the store truthful and the disk free. Only for the folder's own
    SQLite store: on a server, what is RUNNING may be somebody else's.
    """
    store = MetadataStore(connection)
    dead = [
        execution
        for execution in store.get_executions()
        if execution.last_known_state in (mlmd.Execution.NEW, mlmd.Execution.RUNNING)
    ]
    for execution in dead:
        execution.last_known_state = mlmd.Execution.FAILED
        for folder in fileio.glob(os.path.join(artifacts, "*", "*", str(execution.id))):
            fileio.rmtree(folder)
    if dead:
        store.put_executions(dead)
