"""Answers about images from models that did not train on them, on disk."""

from pathlib import Path

import numpy as np

from pipeline.experiments.best_model import data

_PROBABILITIES = "probabilities"


def save(file: Path, probabilities: np.ndarray) -> None:
    """Writes probabilities [N, classes], one row for each training image."""
    data.save(file, **{_PROBABILITIES: probabilities.astype(np.float32)})


def load(file: Path) -> np.ndarray:
    """Reads what `save` wrote: float32 [N, classes]."""
    with np.load(file, allow_pickle=False) as arrays:
        return arrays[_PROBABILITIES]
