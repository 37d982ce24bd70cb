"""CORONet against the paper's own table (figure 14)."""

import csv
from pathlib import Path

import keras
import numpy as np
import pytest

from models.coronet import LEAK, build_coronet
from models.errors import InputError

FIGURE_14 = Path(__file__).with_name("figure14.csv")
PARAMETERS = 22_641_156  # the figure's last column, added up


@pytest.fixture(scope="module")
def coronet() -> keras.Model:
    return build_coronet(image_size=200, classes=4)


def _inputs(layer: keras.layers.Layer) -> list[str]:
    tensors = layer.input if isinstance(layer.input, list) else [layer.input]
    return [tensor._keras_history.operation.name for tensor in tensors]


def test_every_row_of_figure_14(coronet: keras.Model) -> None:
    with FIGURE_14.open() as file:
        rows = list(csv.DictReader(file))
    assert len(coronet.layers) == len(rows)
    for layer, row in zip(coronet.layers, rows, strict=True):
        found = {
            "name": layer.name,
            "type": type(layer).__name__,
            "output_shape": "x".join(str(length) for length in layer.output.shape[1:]),
            "parameters": str(layer.count_params()),
            "connected_to": " ".join(_inputs(layer)) if row["connected_to"] else "",
        }
        assert found == row


def test_parameters_with_the_statistics_of_batch_normalisation(coronet: keras.Model) -> None:
    with FIGURE_14.open() as file:
        assert sum(int(row["parameters"]) for row in csv.DictReader(file)) == PARAMETERS
    assert coronet.count_params() == PARAMETERS


def test_leak_dropout_and_softmax(coronet: keras.Model) -> None:
    leaks = [layer for layer in coronet.layers if isinstance(layer, keras.layers.LeakyReLU)]
    assert {layer.negative_slope for layer in leaks} == {LEAK} == {0.3}
    assert coronet.get_layer("dropout_1").rate == 0.5
    assert coronet.get_layer("dense_4").activation is keras.activations.softmax
    assert not coronet.losses  # the paper names no L2


@pytest.mark.parametrize("size", [32, 33, (47, 64)])
def test_other_sizes_classify(size: int | tuple[int, int]) -> None:
    network = build_coronet(size, dense_units=8)
    height, width = size if isinstance(size, tuple) else (size, size)
    images = np.random.default_rng(0).random((2, height, width, 1), np.float32)
    probabilities = keras.ops.convert_to_numpy(network(images))
    assert probabilities.shape == (2, 4)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)


def test_too_small_an_image_is_refused() -> None:
    with pytest.raises(InputError, match="31 x 40"):
        build_coronet((31, 40))


@pytest.mark.parametrize(
    ("image_size", "classes", "message"),
    [
        ((200, 200, 1), 4, r"one side or \(height, width\) in pixels; received \(200, 200, 1\)"),
        ((64.0, 64.0), 4, "in pixels; received"),
        (64, 0, "classes must be 1 or more; received 0"),
    ],
)
def test_what_is_no_size_or_no_class_is_refused(
    image_size: object, classes: int, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        build_coronet(image_size, classes)


def test_a_list_is_a_size_too() -> None:
    assert build_coronet([48, 40], dense_units=8).input_shape == (None, 48, 40, 1)


def test_l2_penalises_every_convolution_kernel() -> None:
    network = build_coronet(32, dense_units=8, l2=0.5)
    kernels = [layer.kernel for layer in network.layers if isinstance(layer, keras.layers.Conv2D)]
    expected = 0.5 * sum(float(keras.ops.sum(keras.ops.square(kernel))) for kernel in kernels)
    assert len(kernels) == 50
    assert float(sum(network.losses)) == pytest.approx(expected, rel=1e-4)
