"""Training on another backend: the same network comes back, or a clear refusal."""

import importlib.util
from pathlib import Path

import keras
import numpy as np
import pytest

from models import backends
from models.data import Split
from models.errors import InputError
from models.settings import MlpSettings, TrainingSettings
from models.training import Job

OTHERS = ("torch", "jax")


def _split(count: int, seed: int) -> Split:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 4, count)
    images = rng.integers(0, 60, (count, 8, 8, 1))
    for image, label in zip(images, labels, strict=True):
        image[2 * label : 2 * label + 2] += 150
    return Split(images.astype(np.uint8), labels)


def _job(folder: Path, backend: str, **training: float) -> Job:
    settings = MlpSettings(
        hidden=(16,),
        activations=("sigmoid",),
        training=TrainingSettings(
            **{"epochs": 12, "learning_rate": 0.05, "optimizer": "adam"} | training,
            schedule="constant",
            backend=backend,
            save_best="loss",
        ),
    )
    return Job("mlp", settings, 1, str(folder / "run"), str(folder / "checkpoint"))


@pytest.mark.parametrize("backend", OTHERS)
def test_a_backend_that_is_missing_is_named(
    backend: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=f"pip install {backend}"):
        backends.train(_job(tmp_path, backend), _split(8, 1), _split(8, 2))


@pytest.mark.parametrize("backend", ["tensorflow", *OTHERS])
def test_the_network_comes_back_trained(backend: str, tmp_path: Path) -> None:
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"NOT RUN: {backend} is not installed (it is optional)")
    held_out = _split(40, 2)
    network, fitted = backends.train(_job(tmp_path, backend), _split(64, 1), held_out)
    found = network.predict(held_out.images / np.float32(255), verbose=0).argmax(axis=1)
    accuracy = float(np.mean(found == held_out.labels))
    assert accuracy == pytest.approx(fitted.history["val_accuracy"][fitted.best_epoch - 1])
    assert accuracy > 0.9
    assert keras.backend.backend() == "tensorflow"


def _child_result(folder: Path, job: Job, split: Split, difference: float) -> None:
    """Leaves what a child process leaves, its predictions wrong by `difference`."""
    network = backends.build_network(job.settings, split.size)
    network.save_weights(folder / "best.weights.h5")
    probe = network.predict(split.images[: backends.PROBE_IMAGES] / np.float32(255), verbose=0)
    np.save(folder / "probe.npy", probe + difference)
    (folder / "result.json").write_text(
        '{"best_epoch": 1, "images_per_second": 1.0, "history": {"epoch": [1]}}'
    )


def test_predictions_that_differ_between_backends_are_refused(tmp_path: Path) -> None:
    job, split = _job(tmp_path, "torch"), _split(20, 2)
    _child_result(tmp_path, job, split, difference=0.0)
    assert backends._read_result(tmp_path, job, split)[1].best_epoch == 1
    _child_result(tmp_path, job, split, difference=0.01)
    with pytest.raises(RuntimeError, match="predicts differently"):
        backends._read_result(tmp_path, job, split)


def test_a_child_that_fails_is_an_error(tmp_path: Path) -> None:
    job = _job(tmp_path, "torch")
    split = _split(16, 1)
    backends._write_job(tmp_path, job, split, split)
    (tmp_path / "evaluation-images.npy").unlink()
    with pytest.raises(RuntimeError, match="ended with status 1"):
        backends._run_child(tmp_path, "tensorflow")


def test_files_carry_the_whole_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    users, scratch = tmp_path / "users", tmp_path / "scratch"
    users.mkdir()
    scratch.mkdir()
    (users / "json.py").write_text("raise SystemExit('a module of the user')")
    monkeypatch.chdir(users)
    job, split = _job(Path("output"), "tensorflow", epochs=2), _split(16, 1)
    backends._write_job(scratch, job, split, split)
    backends._run_child(scratch, "tensorflow")
    assert (users / "output" / "run" / "history.json").is_file()
    network, fitted = backends._read_result(scratch, job, split)
    assert fitted.history["epoch"] == [1, 2]
    assert [weights.shape for weights in network.get_weights()] == [(64, 16), (16,), (16, 4), (4,)]
