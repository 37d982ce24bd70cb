"""By blocks of 2 x 2 pixels, a convolution of a grey image computes what it did."""

import numpy as np
import pytest


def build(size: tuple[int, int], kernel: tuple[int, int], normalized: bool, bias: bool):
    import keras

    inputs = keras.Input((*size, 1))
    hidden = keras.layers.Conv2D(5, kernel, padding="same", use_bias=bias, name="grey")(inputs)
    if normalized:
        hidden = keras.layers.BatchNormalization(name="norm")(hidden)
    outputs = keras.layers.Conv2D(2, 1)(keras.layers.LeakyReLU(0.3)(hidden))
    network = keras.Model(inputs, outputs)
    rng = np.random.default_rng(0)
    for layer in network.layers:
        for variable in layer.weights:
            values = rng.normal(0, 0.5, variable.shape)
            variable.assign(np.exp(values) if variable.name == "moving_variance" else values)
    return network


@pytest.mark.parametrize("size", [(8, 8), (7, 10), (9, 11)])
@pytest.mark.parametrize("kernel", [(9, 9), (3, 5)])
@pytest.mark.parametrize(("normalized", "bias"), [(True, True), (True, False), (False, True)])
def test_the_sums_are_the_same(size, kernel, normalized, bias):
    from components.edge_exporter.stem import BlockedConvolution, grey_convolutions

    network = build(size, kernel, normalized, bias)
    found = grey_convolutions(network)
    assert list(found) == ["grey"]
    assert (found["grey"] is not None) == normalized
    grey = network.get_layer("grey")
    images = np.random.default_rng(1).random((3, *size, 1), np.float32)
    expected = grey(images)
    if normalized:
        expected = network.get_layer("norm")(expected, training=False)
    blocked = BlockedConvolution(grey, found["grey"])(images)
    np.testing.assert_allclose(blocked, expected, rtol=1e-4, atol=1e-4)


def test_a_normalisation_is_left_where_others_read_the_convolution():
    import keras

    from components.edge_exporter.stem import grey_convolutions

    inputs = keras.Input((8, 8, 1))
    sums = keras.layers.Conv2D(3, 3, padding="same", name="grey")(inputs)
    outputs = keras.layers.Add()([keras.layers.BatchNormalization()(sums), sums])
    assert grey_convolutions(keras.Model(inputs, outputs)) == {"grey": None}


@pytest.mark.parametrize(
    "options",
    [
        {"strides": 2},
        {"padding": "valid"},
        {"kernel_size": 1},
        {"kernel_size": 4},
        {"activation": "relu"},
        {"dilation_rate": 2},
    ],
)
def test_other_convolutions_are_left_alone(options):
    import keras

    from components.edge_exporter.stem import grey_convolutions

    inputs = keras.Input((8, 8, 1))
    layer = keras.layers.Conv2D(3, **({"kernel_size": 3, "padding": "same"} | options))
    assert grey_convolutions(keras.Model(inputs, layer(inputs))) == {}
