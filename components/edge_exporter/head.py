"""The classifier's last layers, in ops and numbers that full-integer quantization spares.

What is rounded early is averaged over many pixels afterwards; what is rounded here is not.
TFLite's own softmax rounds to 256 levels, and one image with large logits would leave too
few levels for those of all others. So the softmax and the dense layer under it stay float.
They are small, and what they read is still integers.

The roundings below leave something that is the same for every image: scores a little too
low for one class, too high for another. The float head can take that back (`Correction`).
"""

from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf

from models.classifier import TemperatureSoftmax
from models.features import PROBABILITIES

_HOMOGENEOUS = (keras.layers.LeakyReLU, keras.layers.Dropout)  # f(s x) = s f(x) for s > 0


# How many images' worth of evidence a correction has to overcome.
_RIDGE = 1.0


@dataclass(frozen=True)
class Correction:
    """What turns the logits of an integer build into those of the float network.

    Attributes:
        matrix: float32 [classes, classes], by which centred logits are multiplied.
        offset: float32 [classes], added after that.
    """

    matrix: np.ndarray
    offset: np.ndarray

    def of(self, weights: np.ndarray) -> np.ndarray:
        """Returns centred logits, or the weights [..., classes] that make them, multiplied."""
        return (weights - weights.mean(axis=-1, keepdims=True)) @ self.matrix


def fit_correction(found: np.ndarray, expected: np.ndarray) -> Correction:
    """Fits a correction by least squares, drawn towards none at all.

    Args:
        found: scores [N, classes] of the integer build, up to a constant an image.
        expected: those of the float network for the same images.
    """
    found, expected = (
        (scores - scores.mean(axis=1, keepdims=True)).astype(np.float64)
        for scores in (found, expected)
    )
    classes = found.shape[1]
    penalty = np.append(np.full(classes, _RIDGE), 0)  # the offset is free
    rows = np.column_stack([found, np.ones(len(found))])
    wanted = rows.T @ expected + penalty[:, np.newaxis] * np.eye(classes + 1, classes)
    solution = np.linalg.solve(rows.T @ rows + np.diag(penalty), wanted).astype(np.float32)
    return Correction(solution[:-1], solution[-1])


def has_softmax(network: keras.Model) -> bool:
    """Tells whether `network` ends in a float head that a correction can go into."""
    return any(_is_softmax(layer) for layer in network.layers)


def float_layers(
    network: keras.Model, correction: Correction | None = None
) -> dict[str, keras.Layer]:
    """Returns stand-ins for the layers of `network`, by name, that are to stay float.

    They expect of the hidden layers below them what `even_weights` makes of those.

    Args:
        network: a classifier.
        correction: of the logits under its softmax.
    """
    found: dict[str, keras.Layer] = {}
    for layer in network.layers:
        if _is_softmax(layer):
            hidden = _hidden_layer(network, layer)
            factors = None if hidden is None else _factors(hidden)
            found[layer.name] = _FloatDense(layer, factors, correction)
        elif isinstance(layer, TemperatureSoftmax):
            found[layer.name] = _FloatSoftmax(layer.temperature)
    return found


def even_weights(network: keras.Model) -> dict[str, list[np.ndarray]]:
    """Returns kernel and bias, by name, of the hidden layers under a float softmax layer.

    Each unit is scaled so that its largest weight is 1. TFLite gives all of a dense layer's
    weights one step, set by the largest, which leaves units of small weights few levels.
    """
    hidden = [_hidden_layer(network, layer) for layer in network.layers if _is_softmax(layer)]
    return {
        layer.name: [weights * _factors(layer) for weights in layer.get_weights()]
        for layer in hidden
        if layer is not None
    }


def _is_softmax(layer: keras.Layer) -> bool:
    return getattr(layer, "activation", None) is keras.activations.softmax


def _hidden_layer(network: keras.Model, output: keras.Layer) -> keras.layers.Dense | None:
    """The dense layer that only `output` reads, past layers that let factors through."""
    tensor = output.input
    while True:
        maker = next(layer for layer in network.layers if layer.output is tensor)
        readers = [
            layer
            for layer in network.layers
            if any(read is tensor for read in keras.tree.flatten(layer.input))
        ]
        if len(readers) != 1:
            return None
        if isinstance(maker, keras.layers.Dense):
            return maker if maker.activation is keras.activations.linear else None
        if not isinstance(maker, _HOMOGENEOUS):
            return None
        tensor = maker.input


def _factors(hidden: keras.layers.Dense) -> np.ndarray:
    """Positive, float32 [units]."""
    largest = np.abs(keras.ops.convert_to_numpy(hidden.kernel)).max(axis=0)
    factors: np.ndarray = 1 / np.where(largest > 0, largest, np.float32(1))
    return factors


class _FloatDense(keras.layers.Layer):
    """A dense layer and its softmax, with the weights of `dense`.

    Args:
        dense: the layer to stand for.
        factors: [inputs], by which its inputs come multiplied; None: as they were.
        correction: of its logits.
    """

    def __init__(
        self,
        dense: keras.layers.Dense,
        factors: np.ndarray | None,
        correction: Correction | None,
    ):
        super().__init__(name=dense.name)
        self._units = dense.units
        self._kernel, self._bias = (
            keras.ops.convert_to_numpy(one) for one in (dense.kernel, dense.bias)
        )
        if factors is not None:
            self._kernel = self._kernel / factors[:, np.newaxis]
        if correction is not None:
            self._kernel = correction.of(self._kernel)
            self._bias = correction.of(self._bias) + correction.offset

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        # A matrix product or a sum of two tensors would become an int8 one.
        products = tf.expand_dims(inputs, -1) * self._kernel
        return _softmax(tf.reduce_sum(products, axis=1) - tf.negative(self._bias))

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return (*input_shape[:-1], self._units)


class _FloatSoftmax(keras.layers.Layer):
    """softmax(scores / temperature)."""

    def __init__(self, temperature: float):
        super().__init__(name=PROBABILITIES)
        self._temperature = temperature

    def call(self, scores: tf.Tensor) -> tf.Tensor:
        return _softmax(scores / self._temperature)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return input_shape


def _softmax(logits: tf.Tensor) -> tf.Tensor:
    shifted = tf.exp(logits - tf.reduce_max(logits, axis=-1, keepdims=True))
    # Written as a quotient, the converter would recognise it and put its own op back.
    return shifted * tf.math.reciprocal(tf.reduce_sum(shifted, axis=-1, keepdims=True))
