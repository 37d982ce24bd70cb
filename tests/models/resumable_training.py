"""Trains a small network in a process that a test may kill.

    python resumable_training.py RUN_FOLDER CHECKPOINT_FOLDER

Prints, last, a digest of the best weights and of the history.
"""

import hashlib
import json
import sys

import numpy as np

from models.data import Split
from models.settings import MlpSettings, TrainingSettings
from models.training import Job, fit

EPOCHS = 60


def split(count: int, seed: int) -> Split:
    """Noise with a bright band whose place is the class."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 4, count)
    images = rng.integers(0, 120, (count, 16, 16, 1))
    for image, label in zip(images, labels, strict=True):
        image[4 * label : 4 * label + 4] += 30
    return Split(images.astype(np.uint8), labels)


def main(run_folder: str, checkpoint_folder: str) -> None:
    settings = MlpSettings(
        hidden=(32,),
        activations=("sigmoid",),
        training=TrainingSettings(
            epochs=EPOCHS,
            learning_rate=0.02,
            optimizer="adam",
            schedule="plateau",
            plateau_patience=2,
            plateau_min_delta=0.01,
            mixup_alpha=0.2,
            ema_momentum=0.9,
            save_best="loss",
        ),
    )
    job = Job("mlp", settings, 11, run_folder, checkpoint_folder)
    fitted = fit(job, split(96, seed=1), split(40, seed=2))
    digest = hashlib.sha256()
    for weights in fitted.weights:
        digest.update(weights.tobytes())
    print(json.dumps({"weights": digest.hexdigest(), "history": fitted.history}))


if __name__ == "__main__":
    main(*sys.argv[1:])
