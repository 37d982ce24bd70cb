"""One training of a cross-validation, as a worker process does it."""

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from models.preprocessing import ResolvedPreprocessing
from models.settings import ClassifierSettings
from pipeline.experiments import span
from pipeline.experiments.folds import Fold
from pipeline.experiments.results import FoldResult, Setup, confusion_matrix

if TYPE_CHECKING:
    import keras

    from models.training import Job

HISTORY = ("epoch", "accuracy", "val_accuracy")
"""What a fold's result keeps of the training's history."""


@dataclass(frozen=True)
class Task:
    """One training: everything that a worker process needs, as plain data.

    Attributes:
        setup, fold: name the result.
        settings: JSON of the classifier's settings.
        seed: of the training.
        preprocessing: how the images came about.
        images, labels: `.npy` files, uint8 [N, H, W, 1] and int64 [N].
        span: `.npz` file of the images' coordinates; None trains on pixels.
        threads: of TensorFlow.
        parts: indices for training, validation and test.
        run_folder: for the training's log.
        result: JSON file to write.
    """

    setup: Setup
    fold: int
    settings: str
    seed: int
    preprocessing: ResolvedPreprocessing
    images: Path
    labels: Path
    span: Path | None
    parts: Fold
    run_folder: Path
    result: Path
    threads: int = 1


def run_task(task: Task) -> FoldResult:
    """Trains on one fold and writes its result: what a worker process does."""
    import keras
    import tensorflow as tf

    from models.backends import SETTINGS, train
    from models.data import Split
    from models.devices import share_gpus
    from models.training import Job

    share_gpus()
    # Refused once TensorFlow has started, as in a process that already did a task.
    with contextlib.suppress(RuntimeError):
        tf.config.threading.set_intra_op_parallelism_threads(task.threads)
        tf.config.threading.set_inter_op_parallelism_threads(task.threads)
    # A process trains one network after another: being retraced is no cause for warnings.
    tf.get_logger().setLevel("ERROR")
    keras.utils.clear_session()
    started = time.monotonic()
    images = np.load(task.images, mmap_mode="r", allow_pickle=False)
    labels = np.load(task.labels, allow_pickle=False)
    name = task.setup.model
    settings = SETTINGS[name].model_validate_json(task.settings)
    job = Job(name, settings, task.seed, run_folder=str(task.run_folder))
    initial_weights = None
    vectors = images
    if task.span is not None:
        known = span.Span.load(task.span)
        initial_weights = _projected_start(job, known, images)
        vectors = known.coordinates
    training, validation, test = (
        Split(np.asarray(vectors[part]), labels[part])
        for part in (task.parts.train, task.parts.validation, task.parts.test)
    )
    with _log_to(task.run_folder / "training.log"):
        network, fitted = train(job, training, validation, initial_weights)
    outputs = predict(network, test.images, settings)
    result = FoldResult(
        setup=task.setup,
        fold=task.fold,
        size=(task.preprocessing.height, task.preprocessing.width),
        confusion=confusion_matrix(test.labels, outputs.argmax(-1)),
        seconds=time.monotonic() - started,
        history={key: fitted.history[key] for key in HISTORY},
    )
    result.save(task.result)
    return result


def predict(network: "keras.Model", images: np.ndarray, settings: ClassifierSettings) -> np.ndarray:
    """Returns scores [N, classes], as the exported model gives them."""
    unit = images / np.float32(255)
    views = [unit, unit[:, :, ::-1]] if settings.training.flip_at_test else [unit]
    scores = [network.predict(view, batch_size=64, verbose=0) for view in views]
    return np.mean(scores, axis=0)


def _projected_start(job: "Job", known: span.Span, images: np.ndarray) -> list[np.ndarray]:
    """Returns the weights that training on the pixels would begin with, in the coordinates."""
    import keras

    from models.classifier import build_network

    height, width = images.shape[1:3]
    keras.utils.set_random_seed(job.seed)
    first, *others = build_network(job.settings, (height, width)).get_weights()
    return [known.project(images, first), *others]


@contextlib.contextmanager
def _log_to(file: Path) -> Iterator[None]:
    """Sends the lines of a training to `file`: several at once would mix on the console."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w", encoding="utf-8") as log, contextlib.redirect_stdout(log):
        yield
