"""The compiled specification really runs: every container's command line, as a process.

What comes out must be what `coronet run` writes for the same data and settings, artifact by
artifact; `same_artifacts` says what "the same" means for each. The local run reads and writes
what to Python is no path (see `file_urls`).
"""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import file_urls
import pytest
from local_backend import LocalBackend, TaskFailedError
from ml_metadata.proto import metadata_store_pb2 as mlmd
from rich.console import Console
from same_artifacts import METRICS_TOLERANCE, PROPERTIES, Comparison, assert_close

from components.ingestion.fingerprint import fingerprint
from kubeflow import runner
from kubeflow.specification import task_name
from models.features import MODEL_NAMES
from pipeline import local_runner, revision
from pipeline.config import Config, load
from pipeline.run_store import Run, latest_run, open_sqlite
from pipeline.sample import write_sample

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1800)]

# Small enough for a test; the gate is low, since what is tested is the machinery.
SETTINGS = (
    "preprocessing.size=32",
    "preprocessing.tile_grid=[4, 4]",
    "mlp.hidden=[16]",
    "mlp.activations=[sigmoid]",
    "coronet.dense_units=32",
    "gate.max_edge_drop=1.0",
)
EPOCHS = 2
THRESHOLD = 0.1
WORKERS = 2
REVISION = "under test"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("phantoms") / "sample"
    write_sample(folder, images=100)  # enough for covid in the test split
    return folder


def _backend(config: Config, data: Path, root: Path, **parameters: str | float) -> LocalBackend:
    values: dict[str, str | float] = {
        "data_root": str(data),
        "data_digest": fingerprint(file_urls.url(data)),
        "output_root": str(root / "out"),
        **parameters,
    }
    spec = runner.compile_specification(config, REVISION)
    return LocalBackend(spec, values, root / "artifacts", workers=WORKERS)


def test_a_failing_container_fails_the_run_with_its_own_words(data: Path, tmp_path: Path) -> None:
    config = load("sample", overrides=("models=[svm]",))
    backend = _backend(config, data, tmp_path, data_root=str(tmp_path / "nowhere"))
    with pytest.raises(TaskFailedError, match="nowhere does not exist"):
        backend.run(only={"xray-example-gen"})


@dataclass(frozen=True)
class Both:
    """The same pipeline, run from the specification and by the local runner."""

    models: tuple[str, ...]
    kubeflow: LocalBackend
    pushed: Path
    local: Path
    run: Run

    @property
    def outputs(self) -> list[tuple[str, str]]:
        """Every task and output key of the specification."""
        return [(task, key) for task, keys in self.kubeflow.outputs.items() for key in keys]

    def local_artifact(self, task: str, key: str) -> mlmd.Artifact:
        (node,) = (node for node in self.run.executions if task_name(node) == task)
        artifact = self.run.output(node, key)
        assert artifact is not None, f"{node}.{key}"
        return artifact


@pytest.fixture(
    scope="module",
    params=[("svm",), pytest.param(MODEL_NAMES, marks=pytest.mark.slow)],
    ids=["svm", "every model"],
)
def both(
    request: pytest.FixtureRequest, data: Path, tmp_path_factory: pytest.TempPathFactory
) -> Both:
    models = request.param
    root = tmp_path_factory.mktemp("kubeflow")
    settings = (*SETTINGS, f"models=[{','.join(models)}]")
    # The run's own epochs and threshold, not those that were compiled.
    epochs = {f"epochs_{name}": EPOCHS for name in models}
    kubeflow = _backend(
        load("sample", overrides=settings), data, root, threshold=THRESHOLD, **epochs
    )
    kubeflow.run()
    local = tmp_path_factory.mktemp("local") / "run"
    same = [f"{name}.training.epochs={EPOCHS}" for name in models]
    same += [f"gate.accuracy={THRESHOLD}", f"artifacts={file_urls.url(local.parent / 'nodes')}"]
    config = load("sample", overrides=(*settings, *same))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(revision, "current", lambda: REVISION)
        verdict = local_runner.run(config, file_urls.url(data), local, Console(quiet=True))
    assert verdict.pushed in models
    assert not Path("file:").exists(), "something took a URL for a path"
    assert not (local / local_runner.ARTIFACTS).exists()
    return Both(models, kubeflow, root / "out" / "push", local, latest_run(open_sqlite(local)))


@pytest.fixture(scope="module")
def comparison(both: Both) -> Comparison:
    examples = both.kubeflow.folder("xray-example-gen", "examples")
    return Comparison(examples / "Split-test")


def test_every_task_ran_its_containers_command(both: Both) -> None:
    assert set(both.kubeflow.outputs) == set(both.kubeflow.spec["root"]["dag"]["tasks"])
    for command in both.kubeflow.command_lines.values():
        assert command[:3] == ["python", "-m", "kubeflow.entrypoint"]


def test_every_artifact_is_the_local_runs(both: Both, comparison: Comparison) -> None:
    assert {key for _, key in both.outputs} == set(comparison.by_key)
    for task, key in both.outputs:
        local = file_urls.path(both.local_artifact(task, key).uri)
        comparison.by_key[key](both.kubeflow.folder(task, key), local)


def test_what_is_said_about_the_artifacts_is_the_local_runs(both: Both) -> None:
    said = 0
    for task, key in both.outputs:
        artifact = both.local_artifact(task, key)
        kubeflow = both.kubeflow.outputs[task][key]["metadata"]
        for name in PROPERTIES:
            properties = (artifact.properties, artifact.custom_properties)
            values = [table[name] for table in properties if name in table]
            # A map from split to bool or number is stored as a structure; files hold it too.
            if any(value.HasField("struct_value") for value in values):
                continue
            here = [getattr(value, str(value.WhichOneof("value"))) for value in values]
            there = [kubeflow[name]] if name in kubeflow else []
            assert there == here, f"{task}.{key}: {name}"
            said += len(here)
    assert said > len(PROPERTIES)


def test_the_bundle_is_where_the_run_asked_and_the_local_runs(
    both: Both, comparison: Comparison
) -> None:
    comparison.bundles(both.pushed, both.local / "push")


def test_the_runtime_parameters_took_effect(both: Both) -> None:
    for name in both.models:
        folder = both.kubeflow.folder(f"trainer-{name}", "model_run")
        history = json.loads((folder / "history.json").read_text())
        assert len(history["epoch"]) == EPOCHS
    page = (both.kubeflow.folder("report-writer", "report") / "index.html").read_text()
    assert "@{" not in page


def test_the_comparison_sees_differences(
    both: Both, comparison: Comparison, tmp_path: Path
) -> None:
    examples = both.kubeflow.folder("xray-example-gen", "examples")
    swapped = tmp_path / "examples"
    shutil.copytree(examples, swapped)
    (swapped / "Split-eval").rename(swapped / "aside")
    (swapped / "Split-test").rename(swapped / "Split-eval")
    (swapped / "aside").rename(swapped / "Split-test")
    with pytest.raises(AssertionError):
        comparison.by_key["examples"](examples, swapped)
    edge_model = both.kubeflow.folder("edge-exporter-svm", "edge_model")
    changed = tmp_path / "edge_model"
    shutil.copytree(edge_model, changed)
    description = json.loads((changed / "edge.json").read_text())
    (changed / "edge.json").write_text(json.dumps({**description, "classes": ["other"]}))
    with pytest.raises(AssertionError):
        comparison.by_key["edge_model"](edge_model, changed)
    with pytest.raises(AssertionError):
        assert_close({"a": [0.5]}, {"a": [0.5001]}, "here", METRICS_TOLERANCE)
