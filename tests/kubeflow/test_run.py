"""The compiled specification really runs: every container's command line, as a process.

What comes out must be what `coronet run` writes for the same data and settings.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import text_format
from local_backend import LocalBackend, TaskFailedError
from rich.console import Console
from tensorflow_metadata.proto.v0 import schema_pb2

import edge
from components.ingestion.fingerprint import fingerprint
from components.pusher import bundle
from kubeflow import runner
from models.features import SPLITS
from pipeline import local_runner, revision
from pipeline.config import Config, load
from pipeline.run_store import Run, latest_run, open_sqlite
from pipeline.sample import write_sample

pytestmark = pytest.mark.e2e

# Small enough for a test; the gate is low, since what is tested is the machinery.
SETTINGS = (
    "models=[svm]",
    "preprocessing.size=32",
    "preprocessing.tile_grid=[4, 4]",
    "gate.max_edge_drop=1.0",
)
EPOCHS = 5
THRESHOLD = 0.1


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("phantoms") / "sample"
    write_sample(folder, images=80)
    return folder


def _backend(config: Config, data: Path, root: Path, **parameters: str | float) -> LocalBackend:
    values: dict[str, str | float] = {
        "data_root": str(data),
        "data_digest": fingerprint(str(data)),
        "output_root": str(root / "out"),
        **parameters,
    }
    spec = runner.compile_specification(config, revision.current())
    return LocalBackend(spec, values, root / "artifacts", workers=2)


def _examples(folder: Path) -> list[bytes]:
    """Returns the records of a split, sorted, each with its features in one order."""
    files = sorted(str(file) for file in folder.iterdir())
    records = tf.data.TFRecordDataset(files, "GZIP").as_numpy_iterator()
    return sorted(
        tf.train.Example.FromString(record).SerializeToString(deterministic=True)
        for record in records
    )


def test_ingestion_and_statistics_run_in_containers(data: Path, tmp_path: Path) -> None:
    backend = _backend(load("sample", overrides=SETTINGS), data, tmp_path)
    backend.run(only={"xray-example-gen", "xray-schema-gen", "statistics-gen"})
    command = backend.command_lines["xray-example-gen"]
    assert command[:3] == ["python", "-m", "kubeflow.entrypoint"]
    splits = {
        split: len(
            list(_examples(backend.folder("xray-example-gen", "examples") / f"Split-{split}"))
        )
        for split in SPLITS
    }
    assert sum(splits.values()) == 80
    assert all(splits.values())
    assert json.loads(backend.outputs["xray-example-gen"]["examples"]["metadata"]["split_names"])
    statistics = backend.folder("statistics-gen", "statistics")
    assert (statistics / "Split-train" / "FeatureStats.pb").is_file()


def test_a_failing_container_fails_the_run_with_its_own_words(tmp_path: Path) -> None:
    config = load("sample", overrides=SETTINGS)
    backend = _backend(config, tmp_path, tmp_path, data_root=str(tmp_path / "nowhere"))
    with pytest.raises(TaskFailedError, match="nowhere does not exist"):
        backend.run(only={"xray-example-gen"})


@dataclass(frozen=True)
class Both:
    """The same pipeline, run from the specification and by the local runner."""

    kubeflow: LocalBackend
    pushed: Path
    local: Path
    run: Run

    def local_folder(self, node: str, key: str) -> Path:
        artifact = self.run.output(node, key)
        assert artifact is not None
        return Path(artifact.uri)


@pytest.fixture(scope="module")
def both(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Both:
    root = tmp_path_factory.mktemp("kubeflow")
    # The run's own epochs and threshold, not those that were compiled.
    kubeflow = _backend(
        load("sample", overrides=SETTINGS), data, root, epochs_svm=EPOCHS, threshold=THRESHOLD
    )
    kubeflow.run()
    local = tmp_path_factory.mktemp("local") / "run"
    same = (*SETTINGS, f"svm.training.epochs={EPOCHS}", f"gate.accuracy={THRESHOLD}")
    verdict = local_runner.run(load("sample", overrides=same), data, local, Console(quiet=True))
    assert verdict.pushed == "svm"
    return Both(kubeflow, root / "out" / "push", local, latest_run(open_sqlite(local)))


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_every_task_ran(both: Both) -> None:
    assert set(both.kubeflow.outputs) == set(both.kubeflow.spec["root"]["dag"]["tasks"])


@pytest.mark.slow
def test_examples_are_the_local_runs(both: Both) -> None:
    kubeflow = both.kubeflow.folder("xray-example-gen", "examples")
    local = both.local_folder("XrayExampleGen", "examples")
    for split in SPLITS:
        name = f"Split-{split}"
        assert _examples(kubeflow / name) == _examples(local / name)


@pytest.mark.slow
def test_transformed_examples_and_schema_are_the_local_runs(both: Both) -> None:
    kubeflow = both.kubeflow.folder("transform", "transformed_examples")
    local = both.local_folder("Transform", "transformed_examples")
    for name in ("Split-train", "Split-eval"):
        assert _examples(kubeflow / name) == _examples(local / name)
    schemas = [
        text_format.Parse((folder / "schema.pbtxt").read_text(), schema_pb2.Schema())
        for folder in (
            both.kubeflow.folder("xray-schema-gen", "schema"),
            both.local_folder("XraySchemaGen", "schema"),
        )
    ]
    assert schemas[0] == schemas[1]


@pytest.mark.slow
def test_the_runtime_parameters_took_effect(both: Both) -> None:
    history = json.loads(
        (both.kubeflow.folder("trainer-svm", "model_run") / "history.json").read_text()
    )
    assert len(history["epoch"]) == EPOCHS
    blessing = both.kubeflow.outputs["evaluator-svm"]["blessing"]["metadata"]
    assert blessing["blessed"] == 1
    page = (both.kubeflow.folder("report-writer", "report") / "index.html").read_text()
    assert "@{" not in page


@pytest.mark.slow
def test_the_bundle_is_the_local_runs(both: Both, data: Path) -> None:
    kubeflow = bundle.read_manifest(str(both.pushed))
    local = bundle.read_manifest(str(both.local / "push"))
    assert set(kubeflow) == set(local)
    for key in ("classes", "data_digest", "revision", "pipeline", "gate_passed"):
        assert kubeflow[key] == local[key], key
    assert set(kubeflow["files"]) == set(local["files"])
    for build in ("float", "edge"):
        assert kubeflow["metrics"][build] == pytest.approx(local["metrics"][build], abs=1e-6)
    for image in sorted((data / "train").glob("*.jpeg"))[:10]:
        predictions = [
            edge.Classifier(folder).predict(image).probabilities
            for folder in (both.pushed, both.local / "push")
        ]
        assert predictions[0] == pytest.approx(predictions[1], abs=1e-5)


@pytest.mark.slow
def test_the_saved_models_predict_the_same(both: Both, data: Path) -> None:
    encoded = [file.read_bytes() for file in sorted((data / "train").glob("*.jpeg"))[:10]]
    probabilities = []
    for folder in (both.pushed, both.local / "push"):
        model = tf.saved_model.load(str(folder / bundle.SAVED_MODEL))
        outputs = model.signatures["serving_default"](image=tf.constant(encoded))
        probabilities.append(outputs["probabilities"].numpy())
    np.testing.assert_allclose(probabilities[0], probabilities[1], atol=1e-5)
