"""The prepared images on disk, between the project's environment and PyTorch's."""

from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np

from pipeline.atomic import staged

TRAIN_FILE = "train.npz"
TEST_FILE = "test.npz"
NO_FOLD = -1


@dataclass(frozen=True)
class Prepared:
    """Preprocessed training images.

    Attributes:
        images: uint8 [N, 200, 200].
        stretched: uint8 [N, 320, 320], the originals without CLAHE; for teachers.
        labels: int64 [N].
        folds: int64 [N]; a patient's images share one.
    """

    images: np.ndarray
    stretched: np.ndarray
    labels: np.ndarray
    folds: np.ndarray

    def split(self, fold: int, left_out: int = NO_FOLD) -> tuple[np.ndarray, np.ndarray]:
        """Returns the indices for training and validation.

        Args:
            fold: validates; `NO_FOLD` trains on everything.
            left_out: a fold to train without besides.
        """
        training = (self.folds != fold) & (self.folds != left_out)
        return np.flatnonzero(training), np.flatnonzero(self.folds == fold)


def save(file: Path, **arrays: np.ndarray) -> None:
    """Writes arrays as one NumPy archive; a file under its name is always whole."""
    with staged(file) as staging:
        np.savez(staging, **arrays)


def load(work: Path, detail: bool = False) -> Prepared:
    """Reads what `prepare` wrote below `work`.

    Args:
        work: folder.
        detail: whether the images are to be those of `stretched`, for teachers that see more.
    """
    with np.load(work / TRAIN_FILE, allow_pickle=False) as arrays:
        prepared = Prepared(**{field.name: arrays[field.name] for field in fields(Prepared)})
    return replace(prepared, images=prepared.stretched) if detail else prepared
