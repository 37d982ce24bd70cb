"""What happens at the end of an epoch, beside what Keras brings.

None of these knows how the training goes on after a crash; `models.checkpoint` saves and
restores the attributes that they name in `STATE`.
"""

import json
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, ClassVar

import keras
import numpy as np
import tensorflow as tf

from models.features import HISTORY_FILE
from models.settings import TrainingSettings

Logs = dict[str, Any]


class AveragedWeights(keras.callbacks.Callback):
    """Validates with the moving average of the weights, which the optimizer keeps.

    The moving statistics of batch normalisation are averages already, and stay.
    """

    def on_test_begin(self, logs: Logs | None = None) -> None:
        self._swap()

    def on_test_end(self, logs: Logs | None = None) -> None:
        self._swap()

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Within it, the model has the averaged weights."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    def _swap(self) -> None:
        optimizer = self.model.optimizer
        # Mixed float16 wraps the optimizer to scale the loss.
        optimizer = getattr(optimizer, "inner_optimizer", optimizer)
        averages = optimizer._model_variables_moving_average
        for weight, average in zip(optimizer._trainable_variables, averages, strict=True):
            held = keras.ops.convert_to_numpy(weight).copy()
            weight.assign(average)
            average.assign(held)


class SaveBest(keras.callbacks.Callback):
    """The paper's SaveBest: keeps the weights of the best epoch (section III.C.2).

    "When the loss reached a new minimum and the accuracy reached a new maximum, the model
    was then saved": an epoch replaces the saved one if its validation loss is lower AND its
    validation accuracy is higher than those of the epoch that is saved; the first epoch is
    always saved. Epochs that improve only one of the two leave both marks where they are.
    Other rules: see `TrainingSettings.save_best`.

    Args:
        rule: `both`, `loss`, `accuracy` or `last`.
        averaged: where the averaged weights are to be saved.

    Attributes:
        weights: of the best epoch, in the order of `model.weights`; empty before the first.
        best_epoch: counting from 1; 0 before the first.
    """

    STATE: ClassVar = ("best_epoch", "best_loss", "best_accuracy")

    def __init__(self, rule: str, averaged: AveragedWeights | None = None):
        super().__init__()
        self._rule = rule
        self._averaged = averaged
        self.weights: list[np.ndarray] = []
        self.best_epoch = 0
        self.best_loss = math.inf
        self.best_accuracy = -math.inf

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        logs = logs or {}
        loss, accuracy = float(logs["val_loss"]), float(logs["val_accuracy"])
        if not math.isfinite(loss) or not self._is_better(loss, accuracy):
            return
        self.best_epoch, self.best_loss, self.best_accuracy = epoch + 1, loss, accuracy
        if self._averaged is None:
            self.weights = self.model.get_weights()
        else:
            with self._averaged.applied():
                self.weights = self.model.get_weights()

    def _is_better(self, loss: float, accuracy: float) -> bool:
        if self._rule == "both":
            return loss < self.best_loss and accuracy > self.best_accuracy
        if self._rule == "loss":
            return loss < self.best_loss
        if self._rule == "accuracy":
            return (accuracy, -loss) > (self.best_accuracy, -self.best_loss)
        return True


class RunLog(keras.callbacks.Callback):
    """Writes the history as JSON and for TensorBoard, and a line an epoch.

    The learning rate is the one that the epoch began with.

    Args:
        folder: gets `history.json` and TensorBoard's event files.
        name: of the model, for the lines.
        epochs: the total, for the estimated time of arrival.
        images: in the training split.
        best: knows which epochs were saved.
    """

    STATE: ClassVar = ("history", "training_seconds")

    def __init__(self, folder: str, name: str, epochs: int, images: int, best: SaveBest):
        super().__init__()
        self._folder = folder
        self._name = name
        self._epochs = epochs
        self._images = images
        self._best = best
        self._durations: list[float] = []
        self.training_seconds: list[float] = []
        self._started = self._rate = 0.0
        self.history: dict[str, list[float]] = {}

    @property
    def images_per_second(self) -> float:
        """Of training, without validation; without the first epoch, which compiles."""
        steady = self.training_seconds[1:] or self.training_seconds
        return self._images * len(steady) / sum(steady) if steady else 0.0

    def on_train_begin(self, logs: Logs | None = None) -> None:
        tf.io.gfile.makedirs(self._folder)
        self._writer = tf.summary.create_file_writer(self._folder)

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        self._started = time.monotonic()
        rate = self.model.optimizer.learning_rate
        self._rate = float(keras.ops.convert_to_numpy(rate))

    def on_test_begin(self, logs: Logs | None = None) -> None:
        self.training_seconds.append(time.monotonic() - self._started)

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        values = {key: float(value) for key, value in (logs or {}).items()}
        # ReduceLROnPlateau adds the rate that it has just set; the epoch's own is meant.
        values["learning_rate"] = self._rate
        for key, value in {"epoch": epoch + 1, **values}.items():
            self.history.setdefault(key, []).append(value)
        with self._writer.as_default(step=epoch + 1):
            for key, value in values.items():
                tf.summary.scalar(key, value)
        self._writer.flush()
        self.write()
        self._durations.append(time.monotonic() - self._started)
        print(self._line(epoch + 1, values), flush=True)

    def on_train_end(self, logs: Logs | None = None) -> None:
        self._writer.close()

    def write(self) -> None:
        """Writes the history as JSON."""
        tf.io.gfile.makedirs(self._folder)
        write_json(f"{self._folder}/{HISTORY_FILE}", self.history)

    def _line(self, epoch: int, values: dict[str, float]) -> str:
        # The first epoch here compiles too, and would exaggerate.
        steady = self._durations[1:] or self._durations
        left = (self._epochs - epoch) * sum(steady) / len(steady)
        saved = "  saved" if self._best.best_epoch == epoch else ""
        return (
            f"{self._name} epoch {epoch}/{self._epochs}"
            f"  loss {values['loss']:.4f}  accuracy {values['accuracy']:.4f}"
            f"  val_loss {values['val_loss']:.4f}  val_accuracy {values['val_accuracy']:.4f}"
            f"  rate {values['learning_rate']:.2e}"
            f"  {self._images / self.training_seconds[-1]:.1f} images/s"
            f"  ETA {timedelta(seconds=round(left))}{saved}"
        )


def plateau(training: TrainingSettings) -> keras.callbacks.ReduceLROnPlateau:
    """Returns the paper's learning-rate schedule: a tenth after 3 epochs within 0.1."""
    return keras.callbacks.ReduceLROnPlateau(
        monitor="val_loss",
        factor=training.plateau_factor,
        patience=training.plateau_patience,
        min_delta=training.plateau_min_delta,
        mode="min",
    )


def early_stopping(training: TrainingSettings) -> keras.callbacks.EarlyStopping:
    """Returns Keras's early stopping on the validation loss."""
    return keras.callbacks.EarlyStopping(
        monitor="val_loss", patience=training.early_stopping_patience, mode="min"
    )


def write_json(path: str, content: object) -> None:
    """Writes beside `path`, then renames: a reader finds the old file or the new one."""
    with tf.io.gfile.GFile(f"{path}.incoming", "w") as file:
        file.write(json.dumps(content, indent=1, default=float) + "\n")
    tf.io.gfile.rename(f"{path}.incoming", path, overwrite=True)
