"""Images in the coordinates of what they span: exact, and as short as there are images.

A classifier whose first layer is linear sees an image x only through w . x. Gradient descent
moves w along images, so what matters of w never leaves their span, and every number that the
training computes depends on inner products of images alone. An orthonormal basis of the span
keeps all of them. N images of 640 x 640 pixels then are N vectors of at most N numbers, and
an epoch costs what it costs for thumbnails. It is the kernel trick with the linear kernel.

Nothing is fitted: the basis is a rotation, so the classifier is, up to rounding, the one that
the pixels give. That holds for gradient descent with momentum, decay or averaging, which
commute with rotations. It does not hold for Adam, which treats each axis by itself, nor for
augmentation, which makes images outside of the span.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from models.settings import ClassifierSettings, MlpSettings, SvmSettings
from pipeline.atomic import staged

_EXACT_COLUMNS = 256
"""Pixels at a time: sums of so many products of two bytes stay below 2^24, the whole numbers
that float32 holds, so that the quick float32 multiplication is exact."""
_COLUMNS = 1 << 14
_MOST_IMAGES = 8000  # half a gigabyte of products, and minutes for their eigenvectors
# Directions whose share of the largest eigenvalue is rounding: images that repeat each other.
_RANK_TOLERANCE = 1e-12


@dataclass(frozen=True)
class Span:
    """N images as N vectors.

    Attributes:
        coordinates: float32 [N, 1, r, 1], in pixel values, r <= N; shaped as images, so that
            whatever trains on images trains on them.
        mixing: float64 [N, r]; the basis vectors are these sums of the images.
    """

    coordinates: np.ndarray
    mixing: np.ndarray

    def save(self, file: Path) -> None:
        """Writes the span; the file appears whole or not at all."""
        file.parent.mkdir(parents=True, exist_ok=True)
        with staged(file) as staging:
            np.savez(staging, coordinates=self.coordinates, mixing=self.mixing)

    @classmethod
    def load(cls, file: Path) -> "Span":
        """Reads what `save` wrote."""
        with np.load(file, allow_pickle=False) as arrays:
            return cls(arrays["coordinates"], arrays["mixing"])

    def project(self, images: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """Returns what weights on pixels are in the coordinates.

        Args:
            images: uint8 [N, H, W, 1], those of the span.
            weights: float32 [H * W, units].

        Returns:
            float32 [r, units], with coordinates . result = images . weights.
        """
        if not weights.any():  # the SVM's start: nothing to read all the pixels for
            return np.zeros((self.mixing.shape[1], weights.shape[1]), np.float32)
        products = np.zeros((len(images), weights.shape[1]))
        flat = images.reshape(len(images), -1)
        for columns in _column_blocks(flat.shape[1], _COLUMNS):
            products += flat[:, columns].astype(np.float32) @ weights[columns]
        return (self.mixing.T @ products).astype(np.float32)


def is_shorter(images: int, pixels: int) -> bool:
    """Whether `images` images of `pixels` pixels are worth the work, N^2 numbers and N^3 steps."""
    return images <= min(pixels, _MOST_IMAGES)


def holds_for(settings: ClassifierSettings) -> bool:
    """Whether training in coordinates gives the classifier that training on pixels gives."""
    training = settings.training
    if settings.augmentation.enabled or training.backend != "tensorflow":
        return False
    if training.flip_at_test:  # the mirror image is outside of the span
        return False
    if isinstance(settings, SvmSettings):
        return True
    return isinstance(settings, MlpSettings) and training.optimizer == "sgd"


def span_of(images: np.ndarray) -> Span:
    """Returns the span of `images`, uint8 [N, H, W, 1], by their inner products."""
    flat = images.reshape(len(images), -1)
    products = np.zeros((len(images), len(images)))
    for columns in _column_blocks(flat.shape[1], _EXACT_COLUMNS):
        block = flat[:, columns].astype(np.float32)
        products += block @ block.T
    values, vectors = np.linalg.eigh(products)
    kept = values > values[-1] * _RANK_TOLERANCE
    lengths = np.sqrt(values[kept])
    coordinates = (vectors[:, kept] * lengths).astype(np.float32)
    return Span(coordinates[:, None, :, None], vectors[:, kept] / lengths)


def _column_blocks(count: int, most: int) -> list[slice]:
    return [slice(start, start + most) for start in range(0, count, most)]
