"""Training on another Keras backend, in a process of its own.

Keras fixes its backend when it is imported, so JAX or PyTorch train in a child process:

    KERAS_BACKEND=torch python -m models.backends FOLDER

The two processes exchange files only: arrays as `.npy`, weights as Keras's `.weights.h5`,
the rest as JSON. The input pipeline stays tf.data, and whichever backend trained, the
model is exported through TensorFlow.
"""

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import keras
import numpy as np

from models.classifier import build_network
from models.data import Split
from models.errors import DivergedError, InputError
from models.settings import (
    ClassifierSettings,
    CoronetSettings,
    MlpSettings,
    SvmSettings,
)
from models.training import Fitted, Job, fit

SETTINGS: dict[str, type[ClassifierSettings]] = {
    "svm": SvmSettings,
    "mlp": MlpSettings,
    "coronet": CoronetSettings,
}
"""The settings of each classifier, by its name."""

_SPLITS = ("training", "evaluation")
_JOB, _RESULT, _WEIGHTS, _PREDICTIONS = "job.json", "result.json", "best.weights.h5", "probe.npy"

PROBE_IMAGES = 16
PROBE_TOLERANCE = 1e-4
"""How far two backends may differ in any output on the same image and weights.

Float32 sums in another order differ by about 1e-6 on these networks.
"""


def train(
    job: Job,
    training_split: Split,
    evaluation_split: Split,
    initial_weights: Sequence[np.ndarray] | None = None,
) -> tuple[keras.Model, Fitted]:
    """Trains on the backend that the settings name.

    Args:
        job: what to train.
        training_split, evaluation_split: the images.
        initial_weights: see `models.training.fit`; on this process's backend only.

    Returns:
        The network in float32 with its best weights, on this process's backend, and what
        training found.

    Raises:
        InputError: the backend is not installed, or what `models.training.fit` raises.
        RuntimeError: the child process failed, or its network predicts differently here.
    """
    backend = job.settings.training.backend
    if backend == keras.backend.backend():
        fitted = fit(job, training_split, evaluation_split, initial_weights)
        network = build_network(job.settings, training_split.size)
        network.set_weights(fitted.weights)
        return network, fitted
    if initial_weights is not None:
        raise ValueError(f"initial weights are for {keras.backend.backend()}, not for {backend}")
    if importlib.util.find_spec(backend) is None:
        raise InputError(
            f"{job.name}.training.backend is {backend}, which is not installed: "
            f"pip install {backend}, or set {job.name}.training.backend=tensorflow"
        )
    with TemporaryDirectory() as scratch:
        folder = Path(scratch)
        _write_job(folder, job, training_split, evaluation_split)
        _run_child(folder, backend)
        return _read_result(folder, job, evaluation_split)


def _write_job(folder: Path, job: Job, *splits: Split) -> None:
    for name, split in zip(_SPLITS, splits, strict=True):
        np.save(folder / f"{name}-images.npy", split.images)
        np.save(folder / f"{name}-labels.npy", split.labels)
    described = {
        **asdict(job),
        "settings": job.settings.model_dump_json(),
        # The child works in a folder of its own.
        "run_folder": _absolute(job.run_folder),
        "checkpoint_folder": _absolute(job.checkpoint_folder),
    }
    (folder / _JOB).write_text(json.dumps(described), encoding="utf-8")


def _absolute(path: str) -> str:
    return os.path.abspath(path) if path and "://" not in path else path


def _run_child(folder: Path, backend: str) -> None:
    """Runs `main` below, and passes on what it prints, line by line.

    Raises:
        InputError: the child raised one.
        RuntimeError: it failed otherwise; its error output is on ours.
    """
    with subprocess.Popen(
        [sys.executable, "-m", "models.backends", str(folder)],
        env={**os.environ, "KERAS_BACKEND": backend},
        stdout=subprocess.PIPE,
        text=True,
        cwd=folder,  # `-m` looks for modules there first: not among the user's files
    ) as child:
        assert child.stdout is not None  # a pipe was asked for
        for line in child.stdout:
            print(line, end="", flush=True)
    if child.returncode:
        raise RuntimeError(f"training on {backend} ended with status {child.returncode}")
    result = _read_json(folder / _RESULT)
    if "refusal" in result:
        raise (DivergedError if result["diverged"] else InputError)(result["refusal"])


def _read_result(folder: Path, job: Job, evaluation_split: Split) -> tuple[keras.Model, Fitted]:
    network = build_network(job.settings, evaluation_split.size)
    network.load_weights(folder / _WEIGHTS)
    here = network.predict(_probe(evaluation_split), verbose=0)
    apart = float(np.max(np.abs(here - np.load(folder / _PREDICTIONS, allow_pickle=False))))
    if not apart <= PROBE_TOLERANCE * max(1.0, float(np.max(np.abs(here)))):
        raise RuntimeError(
            f"{job.name} trained on {job.settings.training.backend} predicts differently on "
            f"{keras.backend.backend()}: by up to {apart:g}"
        )
    return network, Fitted(weights=network.get_weights(), **_read_json(folder / _RESULT))


def _probe(split: Split) -> np.ndarray:
    return split.images[:PROBE_IMAGES] / np.float32(255)


def _read_json(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content


def main(folder: Path) -> None:
    """What the child process does."""
    described = _read_json(folder / _JOB)
    settings = SETTINGS[described["name"]].model_validate_json(described["settings"])
    job = Job(**{**described, "settings": settings})
    training_split, evaluation_split = (
        Split(
            images=np.load(folder / f"{name}-images.npy", mmap_mode="r", allow_pickle=False),
            labels=np.load(folder / f"{name}-labels.npy", allow_pickle=False),
        )
        for name in _SPLITS
    )
    try:
        fitted = fit(job, training_split, evaluation_split)
    except InputError as error:
        refused = {"refusal": str(error), "diverged": isinstance(error, DivergedError)}
        (folder / _RESULT).write_text(json.dumps(refused), encoding="utf-8")
        return
    network = build_network(settings, training_split.size)
    network.set_weights(fitted.weights)
    network.save_weights(folder / _WEIGHTS)
    np.save(folder / _PREDICTIONS, network.predict(_probe(evaluation_split), verbose=0))
    result = {key: value for key, value in asdict(fitted).items() if key != "weights"}
    (folder / _RESULT).write_text(json.dumps(result), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
