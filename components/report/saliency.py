"""Grad-CAM: where in the image a convolutional classifier looked."""

import keras
import numpy as np
import tensorflow as tf

from models.features import SCORES

_POOLING = (keras.layers.AveragePooling2D, keras.layers.MaxPooling2D)


def has_feature_maps(classifier: keras.Model) -> bool:
    """Whether `classifier` convolves, so that Grad-CAM can explain it."""
    return bool(_feature_maps(classifier))


class GradCam:
    """Grad-CAM (Selvaraju et al., 2017) at the last feature maps of a Keras classifier."""

    def __init__(self, classifier: keras.Model) -> None:
        """Prepares a classifier with outputs `probabilities` and `scores`.

        Raises:
            ValueError: it has no feature maps.
        """
        maps = _feature_maps(classifier)
        if not maps:
            raise ValueError(f"{classifier.name} has no convolutional feature maps")
        (images,) = classifier.inputs
        self._model = keras.Model(images, [maps[-1], classifier.output[SCORES]])

    def __call__(self, images: np.ndarray, classes: np.ndarray) -> np.ndarray:
        """Explains the score of one class per image.

        Args:
            images: float32 [B, H, W, 1] in [0, 1].
            classes: int [B], the class that each map explains.

        Returns:
            float32 [B, H, W] in [0, 1]; 1 is the place that speaks most for the class. All
            zero where no place does.
        """
        with tf.GradientTape() as tape:
            maps, scores = self._model(images, training=False)
            chosen = tf.gather(scores, classes, axis=1, batch_dims=1)
        weights = tf.reduce_mean(tape.gradient(chosen, maps), axis=(1, 2), keepdims=True)
        relevance = tf.nn.relu(tf.reduce_sum(weights * maps, axis=-1, keepdims=True))
        resized = tf.image.resize(relevance, images.shape[1:3])[..., 0].numpy()
        peak = resized.max(axis=(1, 2), keepdims=True)
        return np.divide(resized, peak, out=np.zeros_like(resized), where=peak > 0)


def _feature_maps(classifier: keras.Model) -> list[keras.KerasTensor]:
    """Outputs [B, h, w, channels] of the layers from the first convolution on, in order."""
    outputs: list[keras.KerasTensor] = []
    for layer in classifier.layers:
        convolves = isinstance(layer, keras.layers.Conv2D)
        if (convolves or outputs) and not isinstance(layer, _POOLING):
            output = layer.output
            if isinstance(output, keras.KerasTensor) and len(output.shape) == 4:
                outputs.append(output)
    return outputs
