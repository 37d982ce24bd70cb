"""One image through each preprocessing, as in the paper's figure 2."""

import io
from dataclasses import dataclass, replace

import numpy as np
import tensorflow as tf
from PIL import Image

from components.report.mistakes import TestImage
from models.features import CLASSES
from models.preprocessing import ResolvedPreprocessing, preprocess_encoded
from models.resizing import Method

METHODS: tuple[Method, ...] = ("A", "B", "C", "D")


@dataclass(frozen=True)
class Sample:
    """One image, before and after.

    Attributes:
        original: uint8 [H, W].
        results: uint8 [h, w] by method.
    """

    filename: str
    label: str
    original: np.ndarray
    results: dict[str, np.ndarray]


def sample(image: TestImage, used: ResolvedPreprocessing) -> Sample:
    """Preprocesses `image` by all four methods, at the size and CLAHE that the run used."""
    encoded = tf.constant([image.encoded])
    return Sample(
        filename=image.filename,
        label=CLASSES[image.label],
        original=np.asarray(Image.open(io.BytesIO(image.encoded)).convert("L")),
        results={
            method: preprocess_encoded(encoded, replace(used, method=method)).numpy()[0, ..., 0]
            for method in METHODS
        },
    )
