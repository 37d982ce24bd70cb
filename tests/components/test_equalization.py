"""Equalized, a network computes what it did, and its channels are of similar widths."""

import numpy as np
import pytest

SIDE = 32


@pytest.fixture
def images() -> np.ndarray:
    return np.random.default_rng(0).random((12, SIDE, SIDE, 1), np.float32)


def randomize(network) -> None:
    """Gives every variable, moving statistics too, values as uneven as training leaves them."""
    rng = np.random.default_rng(1)
    for layer in network.layers:
        for variable in layer.weights:
            if variable.name in ("gamma", "moving_variance"):
                variable.assign(np.exp(rng.normal(0, 1, variable.shape)))
            elif variable.name in ("beta", "moving_mean", "bias"):
                variable.assign(rng.normal(0, 0.3, variable.shape))


def coronet():
    from models.coronet import build_coronet

    return build_coronet(SIDE, dense_units=16)


def mlp():
    from models.mlp import build_mlp

    return build_mlp((SIDE, SIDE), hidden=(8, 8), activations=("relu", "sigmoid"))


def mixed():
    """Layers that stop factors: a rectifier with a ceiling, and a product of two tensors."""
    import keras

    inputs = keras.Input((SIDE, SIDE, 1))
    left = keras.layers.Conv2D(4, 3, padding="same")(inputs)
    left = keras.layers.ReLU(max_value=6)(left)
    right = keras.layers.Conv2D(4, 3, padding="same", use_bias=False)(inputs)
    gated = keras.layers.Multiply()([left, right])
    kept = keras.layers.DepthwiseConv2D(3)(keras.layers.Conv2D(4, 1)(gated))
    return keras.Model(inputs, keras.layers.Dense(3)(keras.layers.Flatten()(kept)))


@pytest.mark.parametrize("build", [coronet, mlp, mixed])
def test_the_outputs_stay(build, images):
    from components.edge_exporter.equalization import equalize

    network = build()
    randomize(network)
    expected = network(images).numpy()
    assert np.ptp(expected) > 1e-3
    equalize(network, images)
    np.testing.assert_allclose(network(images).numpy(), expected, rtol=1e-3, atol=1e-4)


def worst_channels_levels(network, images: np.ndarray) -> float:
    """Share of a tensor's 256 levels that its narrowest channel uses, at worst."""
    import keras

    names = [layer.name for layer in network.layers if layer.name.startswith("leaky_re_lu")]
    tensors = [network.get_layer(name).output for name in names]
    shares = []
    for values in keras.Model(network.inputs, tensors)(images):
        channels = np.abs(values.numpy()).reshape(-1, values.shape[-1]).max(axis=0)
        shares.append(channels.min() / channels.max())
    return min(shares)


def test_narrow_channels_get_more_levels(images):
    from components.edge_exporter.equalization import equalize

    network = coronet()
    randomize(network)
    before = worst_channels_levels(network, images)
    equalize(network, images)
    assert worst_channels_levels(network, images) > 3 * before


def test_a_channel_that_is_never_used_is_left_alone(images):
    import keras

    from components.edge_exporter.equalization import equalize

    inputs = keras.Input((SIDE, SIDE, 1))
    hidden = keras.layers.LeakyReLU()(keras.layers.Conv2D(3, 3, name="first")(inputs))
    network = keras.Model(inputs, keras.layers.Conv2D(2, 1)(hidden))
    kernel = network.get_layer("first").kernel
    kernel.assign(kernel.numpy() * np.array([0, 1, 1], np.float32))
    expected = network(images).numpy()
    equalize(network, images)
    found = network(images).numpy()
    assert np.isfinite(found).all()
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
