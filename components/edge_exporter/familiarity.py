"""How far an image is from the training images, as a small graph of TFLite builtins.

A classifier trained on four classes of chest X-rays answers with one of the four for a
photo of a cat, too. So the edge build carries a Gaussian over simple image features of the
training images (a thumbnail, and the texture in each part); the Mahalanobis distance from
it tells an X-ray from what is none.
"""

from dataclasses import dataclass

import numpy as np
import tensorflow as tf
from sklearn.covariance import LedoitWolf

_THUMBNAIL = 12  # pixels a side: coarse anatomy, no detail that differs between patients
_TEXTURE = 6  # cells a side
_COARSE_STEP = 4  # pixels
_TEXTURE_FLOOR = 1 / 255  # one grey level: flat cells stay finite


@dataclass(frozen=True)
class Familiarity:
    """A Gaussian over the features of images of one size.

    Attributes:
        mean: float32 [d].
        whitening: float32 [d, d]; features minus `mean`, times this, have unit covariance.
    """

    mean: np.ndarray
    whitening: np.ndarray

    def distance(self, images: tf.Tensor) -> tf.Tensor:
        """Root mean square of the whitened features: about 1 for a training image.

        Args:
            images: uint8 [B, H, W, 1], of the size that was fitted, preprocessed.

        Returns:
            float32 [B].
        """
        whitened = tf.matmul(_features(images) - self.mean, self.whitening)
        return tf.sqrt(tf.reduce_mean(tf.square(whitened), axis=1))


def fit(images: np.ndarray) -> Familiarity:
    """Fits to preprocessed training images, uint8 [N, H, W, 1].

    The covariance is shrunk towards a multiple of the identity (Ledoit and Wolf 2004), so
    that it can be inverted with fewer images than features.
    """
    features = np.concatenate(
        [_features(tf.constant(images[start : start + 64])) for start in range(0, len(images), 64)]
    )
    covariance = LedoitWolf().fit(features.astype(np.float64))
    values, vectors = np.linalg.eigh(covariance.covariance_)
    whitening = vectors / np.sqrt(np.maximum(values, np.finfo(np.float32).tiny))
    return Familiarity(
        mean=covariance.location_.astype(np.float32), whitening=whitening.astype(np.float32)
    )


def _features(images: tf.Tensor) -> tf.Tensor:
    """uint8 [B, H, W, 1] to float32 [B, 12 * 12 + 3 * 6 * 6].

    Texture is the mean size of horizontal differences: between neighbours, between
    neighbouring differences (finer), and between pixels some way apart (coarser).
    """
    height, width = images.shape[1], images.shape[2]
    pixels = tf.reshape(tf.cast(images, tf.float32) / 255.0, [-1, height, width])
    steps = _differences(pixels, 1)
    textures = [steps, _differences(steps, 1), _differences(pixels, _COARSE_STEP)]
    sizes = [_cell_means(tf.abs(texture), _TEXTURE) for texture in textures]
    logarithms = [tf.math.log(size + _TEXTURE_FLOOR) for size in sizes]
    return tf.concat([_cell_means(pixels, _THUMBNAIL), *logarithms], axis=1)


def _differences(values: tf.Tensor, step: int) -> tf.Tensor:
    """Each column less the one `step` to its left: [B, H, W] to [B, H, W - step]."""
    height, width = values.shape[1], values.shape[2]
    right = tf.slice(values, [0, 0, step], [-1, height, width - step])
    return right - tf.slice(values, [0, 0, 0], [-1, height, width - step])


def _cell_means(values: tf.Tensor, cells: int) -> tf.Tensor:
    """Means over a `cells` x `cells` grid: float32 [B, H, W] to [B, cells * cells]."""
    rows, columns = (_averaging(length, cells) for length in values.shape[1:])
    means = tf.matmul(tf.matmul(tf.constant(rows.T), values), tf.constant(columns))
    return tf.reshape(means, [-1, cells * cells])


def _averaging(length: int, cells: int) -> np.ndarray:
    """Matrix [length, cells] whose columns average a cell each, shares of pixels included."""
    edges = np.linspace(0, length, cells + 1)
    pixel = np.arange(length)[:, np.newaxis]
    overlap = np.minimum(pixel + 1, edges[1:]) - np.maximum(pixel, edges[:-1])
    return (np.maximum(overlap, 0) * cells / length).astype(np.float32)
