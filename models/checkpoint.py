"""Training that goes on exactly where it was killed.

Keras's `BackupAndRestore` keeps weights and epoch. It forgets what callbacks remember
(the plateau's patience, the best epoch, the history) and the states of random generators
(dropout), so that a resumed run would end with other weights. Here all of it is kept.

state.json            written last, renamed into place; names the other two
variables-<n>.npz     every variable of model and optimizer after epoch n
best-<n>.npz          the weights that `SaveBest` holds
"""

import io
import json
from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf

from models.callbacks import Logs, RunLog, SaveBest, write_json

_STATE = "state.json"

# What Keras's own callbacks remember between epochs.
_KERAS_STATE: dict[type, tuple[str, ...]] = {
    keras.callbacks.ReduceLROnPlateau: ("best", "wait", "cooldown_counter"),
    keras.callbacks.EarlyStopping: ("best", "wait", "best_epoch"),
}


class Checkpoint(keras.callbacks.Callback):
    """Saves the training after every epoch; place it behind all other callbacks.

    Args:
        folder: its own, on any filesystem that TensorFlow knows.
        key: names everything that the result depends on; a state of another key is void.
        best: the callback that holds the best weights.
        others: the callbacks whose memory is kept.
    """

    def __init__(
        self, folder: str, key: str, best: SaveBest, others: Sequence[keras.callbacks.Callback]
    ):
        super().__init__()
        self._folder = folder
        self._key = key
        self._best = best
        self._others = [callback for callback in (*others, best) if _remembered(callback)]
        self._state = self._read_state()

    @property
    def finished_epochs(self) -> int:
        """How many epochs a run before this one has finished."""
        return self._state["epochs"] if self._state else 0

    @property
    def stopped(self) -> bool:
        """Whether the run before stopped early."""
        return bool(self._state and self._state["stopped"])

    def restore(self) -> None:
        """Puts model, optimizer and callbacks back to where the run before left them."""
        if not self._state:
            return
        for variable, value in zip(
            self._variables(), self._load(self._state["variables"]), strict=True
        ):
            variable.assign(value)
        self._best.weights = self._load(self._state["best"]) if self._state["best"] else []
        for callback, memory in zip(self._others, self._state["callbacks"], strict=True):
            for name, value in memory.items():
                setattr(callback, name, value)

    def on_train_begin(self, logs: Logs | None = None) -> None:
        # Here, because Keras's callbacks forget everything in their own `on_train_begin`.
        self.restore()

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        tf.io.gfile.makedirs(self._folder)
        variables = f"variables-{epoch + 1:04d}.npz"
        self._save(variables, [keras.ops.convert_to_numpy(each) for each in self._variables()])
        best = f"best-{self._best.best_epoch:04d}.npz" if self._best.weights else ""
        if best and (not self._state or best != self._state["best"]):
            self._save(best, self._best.weights)
        self._state = {
            "key": self._key,
            "epochs": epoch + 1,
            "stopped": self.model.stop_training,
            "variables": variables,
            "best": best,
            "callbacks": [
                {name: getattr(callback, name) for name in _remembered(callback)}
                for callback in self._others
            ],
        }
        write_json(f"{self._folder}/{_STATE}", self._state)
        for name in tf.io.gfile.listdir(self._folder):
            if name not in (_STATE, variables, best):
                tf.io.gfile.remove(f"{self._folder}/{name}")

    def _variables(self) -> list[keras.Variable]:
        # Not `weights`, which leaves out the states of random generators.
        return [*self.model.variables, *self.model.optimizer.variables]

    def _read_state(self) -> dict | None:
        path = f"{self._folder}/{_STATE}"
        if not tf.io.gfile.exists(path):
            return None
        with tf.io.gfile.GFile(path) as file:
            state: dict = json.loads(file.read())
        if state["key"] != self._key:
            tf.io.gfile.rmtree(self._folder)
            return None
        return state

    def _save(self, name: str, arrays: Sequence[np.ndarray]) -> None:
        buffer = io.BytesIO()
        np.savez(buffer, **{f"{number:05d}": array for number, array in enumerate(arrays)})
        with tf.io.gfile.GFile(f"{self._folder}/{name}", "wb") as file:
            file.write(buffer.getvalue())

    def _load(self, name: str) -> list[np.ndarray]:
        with tf.io.gfile.GFile(f"{self._folder}/{name}", "rb") as file:
            archive = np.load(io.BytesIO(file.read()), allow_pickle=False)
        return [archive[key] for key in sorted(archive.files)]


def _remembered(callback: keras.callbacks.Callback) -> tuple[str, ...]:
    """The attributes of a callback that outlive a crash."""
    if isinstance(callback, (RunLog, SaveBest)):
        return callback.STATE
    return next((names for kind, names in _KERAS_STATE.items() if isinstance(callback, kind)), ())
