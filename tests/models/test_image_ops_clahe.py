"""CLAHE against OpenCV's, to the pixel."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from models.image_ops import clahe

HISTOGRAMS = ("bincount", "one_hot")


def opencv(images: np.ndarray, clip_limit: float, tile_grid: tuple[int, int]) -> np.ndarray:
    rows, columns = tile_grid
    equaliser = cv2.createCLAHE(clip_limit, (columns, rows))
    return np.stack([equaliser.apply(image[..., 0]).reshape(image.shape) for image in images])


@st.composite
def batches(draw: st.DrawFn) -> np.ndarray:
    """Noise, few grey levels, gradients and blank images of any shape."""
    shape = (draw(st.integers(1, 3)), draw(st.integers(1, 90)), draw(st.integers(1, 90)), 1)
    generator = np.random.default_rng(draw(st.integers(0, 2**32)))
    levels = draw(st.sampled_from([1, 2, 9, 256]))
    if draw(st.booleans()):
        return generator.integers(0, levels, shape, dtype=np.uint8)
    ramp = np.add.outer(np.arange(shape[1]), np.arange(shape[2])) * generator.integers(1, 5)
    return np.broadcast_to(ramp[..., None] % 256, shape).astype(np.uint8)


@pytest.mark.parametrize("histogram", HISTOGRAMS)
@settings(max_examples=150, deadline=None)
@given(
    images=batches(),
    clip_limit=st.one_of(st.sampled_from([0.0, 1.0, 2.0, 40.0]), st.floats(0, 300)),
    tile_grid=st.tuples(st.integers(1, 17), st.integers(1, 17)),
)
def test_equals_opencv_at_any_size_grid_and_limit(histogram, images, clip_limit, tile_grid):
    result = clahe(tf.constant(images), clip_limit, tile_grid, histogram).numpy()
    np.testing.assert_array_equal(result, opencv(images, clip_limit, tile_grid))


@pytest.mark.parametrize("shape", [(1, 1), (1, 200), (200, 1), (7, 8), (8, 7), (200, 200)])
@pytest.mark.parametrize("histogram", HISTOGRAMS)
def test_edge_shapes(shape, histogram):
    images = np.random.default_rng(0).integers(0, 256, (2, *shape, 1), dtype=np.uint8)
    result = clahe(tf.constant(images), 2.0, (8, 8), histogram).numpy()
    np.testing.assert_array_equal(result, opencv(images, 2.0, (8, 8)))


@pytest.mark.parametrize("clip_limit", [0.0, 2.0, 1e12])
def test_the_size_may_be_unknown_when_the_graph_is_built(clip_limit):
    graph = tf.function(
        lambda images: clahe(images, clip_limit, (3, 5)),
        input_signature=[tf.TensorSpec([None, None, None, 1], tf.uint8)],
    )
    for shape in ((2, 60, 45, 1), (1, 61, 45, 1), (3, 2, 1, 1)):
        images = np.random.default_rng(1).integers(0, 256, shape, dtype=np.uint8)
        # Past the area nothing is clipped; OpenCV's own int would overflow there.
        expected = opencv(images, min(clip_limit, 1e5), (3, 5))
        np.testing.assert_array_equal(graph(images).numpy(), expected)


def test_200_real_radiographs_at_their_own_size(cxr4: Path):
    paths = sorted((cxr4 / "train").glob("*.jpeg"))[::5][:200]
    assert len(paths) == 200
    graphs = [
        tf.function(
            lambda images, histogram=histogram: clahe(images, histogram=histogram),
            input_signature=[tf.TensorSpec([None, None, None, 1], tf.uint8)],
        )
        for histogram in HISTOGRAMS
    ]
    for path in paths:
        image = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)[None, ..., None]
        expected = opencv(image, 2.0, (8, 8))
        for graph in graphs:
            np.testing.assert_array_equal(graph(image).numpy(), expected, err_msg=path.name)


def test_refuses_tiles_that_float32_cannot_count():
    with pytest.raises(ValueError, match="finer tile_grid"):
        clahe(tf.zeros([1, 4096, 4096, 1], tf.uint8), tile_grid=(1, 1))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"tile_grid": (0, 8)}, "tile_grid"), ({"histogram": "sort"}, "histogram")],
)
def test_refuses_what_it_cannot_do(arguments, message):
    with pytest.raises(ValueError, match=message):
        clahe(tf.zeros([1, 8, 8, 1], tf.uint8), **arguments)
