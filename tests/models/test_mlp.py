"""The multi-layer network and its cost (section III.B)."""

import keras
import numpy as np
import pytest

from models.errors import InputError
from models.mlp import HalfSquaredError, build_mlp


def test_the_papers_layers_at_88_pixels() -> None:
    network = build_mlp((88, 88))
    dense = [layer for layer in network.layers if isinstance(layer, keras.layers.Dense)]
    assert [(layer.units, layer.activation.__name__) for layer in dense] == [
        (512, "sigmoid"),
        (512, "sigmoid"),
        (4, "softmax"),
    ]
    # 7744 inputs (section III.B.2), a bias for each unit.
    assert network.count_params() == 7744 * 512 + 512 + 512 * 512 + 512 + 512 * 4 + 4


def test_predictions_are_the_equations() -> None:
    network = build_mlp((2, 3), hidden=(5,), activations=("sigmoid",))
    images = np.random.default_rng(0).random((4, 2, 3, 1), np.float32)
    kernel, bias, last_kernel, last_bias = network.get_weights()
    hidden = 1 / (1 + np.exp(-(images.reshape(4, 6) @ kernel + bias)))  # eq. 3.5
    exponents = np.exp(hidden @ last_kernel + last_bias)  # eq. 3.4
    expected = exponents / exponents.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(keras.ops.convert_to_numpy(network(images)), expected, rtol=1e-5)


def test_any_number_of_layers_and_activations() -> None:
    network = build_mlp((4, 4), hidden=(3, 2, 7), activations=("relu", "tanh", "elu"))
    activations = [
        layer.activation.__name__
        for layer in network.layers
        if isinstance(layer, keras.layers.Dense)
    ]
    assert activations == ["relu", "tanh", "elu", "softmax"]
    assert build_mlp((4, 4), hidden=(), activations=()).count_params() == 16 * 4 + 4


def test_an_unknown_activation_is_named() -> None:
    with pytest.raises(InputError, match="sigmoyd"):
        build_mlp((4, 4), hidden=(3,), activations=("sigmoyd",))


def test_cost_of_equation_3_6() -> None:
    truth = np.array([[1.0, 0, 0, 0], [0, 0, 1, 0]], np.float32)
    found = np.array([[0.7, 0.1, 0.1, 0.1], [0.25, 0.25, 0.25, 0.25]], np.float32)
    # (0.09 + 3 * 0.01) and (0.5625 + 3 * 0.0625), over 2 N
    assert float(HalfSquaredError()(truth, found)) == pytest.approx((0.12 + 0.75) / 4)
