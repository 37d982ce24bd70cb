"""The four resizing methods against OpenCV's kernels and the paper's geometry."""

from fractions import Fraction
from math import floor

import cv2
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from models.image_ops import METHODS, resize


@tf.function(
    input_signature=[
        tf.TensorSpec([None, None, None, 1], tf.uint8),
        tf.TensorSpec([], tf.int32),
        tf.TensorSpec([], tf.int32),
    ]
)
def stretched(images, height, width):
    return resize(images, "B", (height, width))


def noise(height: int, width: int, seed: int = 0, batch: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (batch, height, width, 1), dtype=np.uint8)


def opencv(image: np.ndarray, height: int, width: int, interpolation: int) -> np.ndarray:
    return cv2.resize(image[..., 0], (width, height), interpolation=interpolation)[..., None]


def nearest(value: Fraction) -> int:
    return max(floor(value + Fraction(1, 2)), 1)


SIDES = st.integers(1, 60)


@settings(max_examples=150, deadline=None)
@given(SIDES, SIDES, st.fractions(1, 6), st.fractions(1, 6), st.integers(0, 2**32))
def test_shrinking_is_opencvs_area_average(height, width, down, along, seed):
    source_height, source_width = round(height * down), round(width * along)
    image = noise(source_height, source_width, seed)
    expected = opencv(image[0], height, width, cv2.INTER_AREA)
    whole = source_height % height == 0 and source_width % width == 0
    # At whole ratios OpenCV sums integers and its two-by-two case rounds halves up, where
    # the general case (and ours) rounds in float32, halves to even.
    difference = np.abs(stretched(image, height, width)[0].numpy().astype(int) - expected)
    assert difference.max() <= (1 if whole else 0)


@settings(max_examples=60, deadline=None)
@given(SIDES, SIDES, st.fractions(1, 6), st.fractions(1, 6), st.integers(0, 2**32))
def test_enlarging_is_linear(height, width, up, along, seed):
    image = noise(height, width, seed)
    target = round(height * up), round(width * along)
    expected = opencv(image[0], *target, cv2.INTER_LINEAR)
    # OpenCV's linear weights have 11 bits.
    assert np.abs(stretched(image, *target)[0].numpy().astype(int) - expected).max() <= 1


def test_each_axis_has_its_own_kernel():
    image = noise(90, 31)
    once = stretched(stretched(image, 90, 70), 40, 70)
    assert np.abs(stretched(image, 40, 70).numpy().astype(int) - once.numpy()).max() <= 1


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (57, 2), (40, 64), (64, 40), (64, 64)])
def test_every_method_keeps_the_frame_for_any_input(method, shape):
    images = noise(*shape, batch=2)
    result = resize(tf.constant(images), method, (40, 64))
    assert result.shape == (2, 40, 64, 1)
    assert result.dtype == tf.uint8
    if shape == (40, 64):
        np.testing.assert_array_equal(result, images)


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(["A", "C", "D"]),
    st.tuples(st.integers(8, 40), st.integers(8, 40)),
    st.fractions(Fraction(11, 10), 5),
    st.fractions(Fraction(11, 10), 5),
    st.integers(0, 2**32),
)
def test_padding_and_cropping_are_centred(method, size, down, along, seed):
    height, width = size
    image = noise(round(height * down) + 1, round(width * along) + 1, seed)[0]
    choose = min if method == "A" else max
    ratio = choose(Fraction(height, image.shape[0]), Fraction(width, image.shape[1]))
    scaled = opencv(
        image, nearest(image.shape[0] * ratio), nearest(image.shape[1] * ratio), cv2.INTER_AREA
    )
    if method == "A":
        expected = np.zeros((height, width, 1), np.uint8)
        top, left = (height - scaled.shape[0]) // 2, (width - scaled.shape[1]) // 2
        expected[top : top + scaled.shape[0], left : left + scaled.shape[1]] = scaled
    else:
        top, left = -((height - scaled.shape[0]) // 2), -((width - scaled.shape[1]) // 2)
        expected = scaled[top : top + height, left : left + width]
    result = resize(tf.constant(image[None]), method, (height, width))[0].numpy()
    assert np.abs(result.astype(int) - expected).max() <= 1
    assert np.mean(result != expected) < 0.05


@pytest.mark.parametrize(("height", "width", "side"), [(32, 20000, 200), (33, 19999, 512)])
def test_the_middle_of_a_long_strip_is_cut_out(height, width, side):
    """Its pixels' places, counted from its end, do not fit 32 bits."""
    strip = np.arange(width) * 251 // width
    scaled = nearest(Fraction(width * side, height))
    row = cv2.resize(strip.astype(np.uint8)[None], (scaled, 1), interpolation=cv2.INTER_LINEAR)
    left = -((side - scaled) // 2)
    image = np.broadcast_to(strip.astype(np.uint8)[:, None], (1, height, width, 1))
    for frame, images in (("wide", image), ("tall", image.transpose(0, 2, 1, 3))):
        result = resize(tf.constant(images), "D", side)[0, ..., 0].numpy().astype(int)
        found = result if frame == "wide" else result.T
        assert np.abs(found - row[:, left : left + side]).max() <= 1


def test_a_square_frame_has_one_number():
    images = tf.constant(noise(30, 50))
    np.testing.assert_array_equal(resize(images, "D", 20), resize(images, "D", (20, 20)))


def test_refuses_an_unknown_method():
    with pytest.raises(ValueError, match="received 'E'"):
        resize(tf.zeros([1, 8, 8, 1], tf.uint8), "E", 8)  # type: ignore[arg-type]
