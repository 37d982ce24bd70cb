"""Batch-norm statistics of images as they are served.

While a network trains, its batch normalisation follows augmented, mixed views, and weights
that still move; the moving statistics describe those. Taken again over the training images
as they are, they fit the network that was kept and the images it will be asked about.
"""

import keras
import numpy as np

from models.classifier import build_network
from models.data import Split, evaluation_batches
from models.settings import ClassifierSettings


def with_statistics_of(
    split: Split, weights: list[np.ndarray], settings: ClassifierSettings
) -> list[np.ndarray]:
    """Takes the statistics of every batch normalisation again; all else stays.

    They are mean and variance over all pixels of the split, each image seen once as it is
    and, where the augmentation mirrors, once mirrored. Every batch passes with its own
    statistics, as in training; the means are of equal weight for each image, and the variance
    is the whole one: within the batches and between them.

    Args:
        split: of training images.
        weights: of `build_network(settings, split.size)`, in its order.
        settings: of the classifier; the batches are as large as in training.

    Returns:
        The weights with the new statistics. Without batch normalisation: equal ones.
    """
    network = build_network(settings, split.size)
    network.set_weights(weights)
    layers = [
        layer for layer in network.layers if isinstance(layer, keras.layers.BatchNormalization)
    ]
    if not layers:
        return network.get_weights()
    for layer in layers:
        layer.momentum = 0.0  # the moving statistics become those of the last batch
    training_mode = _TrainingMode(network)
    means = [np.zeros(layer.moving_mean.shape) for layer in layers]
    squares = [np.zeros(layer.moving_mean.shape) for layer in layers]
    seen = 0

    def add(images: np.ndarray) -> None:
        nonlocal seen
        training_mode.predict_on_batch(images)
        seen += len(images)
        for layer, mean, square in zip(layers, means, squares, strict=True):
            batch_mean = keras.ops.convert_to_numpy(layer.moving_mean).astype(float)
            variance = keras.ops.convert_to_numpy(layer.moving_variance).astype(float)
            mean += len(images) * batch_mean
            square += len(images) * (variance + batch_mean**2)

    augmentation = settings.augmentation
    for batch, _ in evaluation_batches(split, settings.training.batch_size):
        images = np.asarray(batch)
        add(images)
        if augmentation.enabled and augmentation.flip:
            add(np.ascontiguousarray(images[:, :, ::-1]))
    for layer, mean, square in zip(layers, means, squares, strict=True):
        layer.moving_mean.assign(mean / seen)
        layer.moving_variance.assign(np.maximum(square / seen - (mean / seen) ** 2, 0))
    return network.get_weights()


class _TrainingMode(keras.Model):
    """Calls a network as in training, whoever calls this, `predict_on_batch` included."""

    def __init__(self, network: keras.Model):
        super().__init__(name="training_mode")
        self._network = network

    def call(self, images: keras.KerasTensor) -> keras.KerasTensor:
        return self._network(images, training=True)
