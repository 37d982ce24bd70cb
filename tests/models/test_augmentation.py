"""Augmentation against OpenCV's affine warp, and what a seed promises."""

import math

import cv2
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from models.augmentation import augment, draw_transforms, mixup
from models.settings import AugmentationSettings

SEED = tf.constant([5, 9], tf.int64)
NOTHING = AugmentationSettings(rotation_degrees=0, shift=0, shear=0, zoom=0, flip=False)


def _images(count: int = 3, height: int = 21, width: int = 30) -> np.ndarray:
    rng = np.random.default_rng(0)
    smooth = [cv2.GaussianBlur(rng.random((height, width)), (0, 0), 2) for _ in range(count)]
    return np.stack(smooth)[..., np.newaxis].astype(np.float32)


@settings(max_examples=15, deadline=None)
@given(
    rotation=st.floats(0, 180),
    amount=st.floats(0, 0.6),
    seed=st.integers(0, 2**31 - 1),
    height=st.integers(8, 24),
    width=st.integers(8, 24),
)
def test_one_resampling_as_opencv_does_it(
    rotation: float, amount: float, seed: int, height: int, width: int
) -> None:
    images = _images(2, height, width)
    knobs = AugmentationSettings(
        rotation_degrees=rotation, shift=amount, shear=amount, zoom=amount, flip=True
    )
    drawn = tf.constant([seed, 1], tf.int64)
    found = augment(tf.constant(images), knobs, drawn).numpy()
    rows = draw_transforms(knobs, 2, float(height), float(width), drawn).numpy()
    for image, result, row in zip(images, found, rows, strict=True):
        expected = cv2.warpAffine(
            image,
            row[:6].reshape(2, 3).astype(float),
            (width, height),
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REPLICATE,
        )
        # OpenCV rounds positions to 1/32 of a pixel.
        np.testing.assert_allclose(result[..., 0], expected, atol=0.06)


def test_composed_as_image_data_generator_composes() -> None:
    knobs = AugmentationSettings(rotation_degrees=20, shift=0.3, shear=0.3, zoom=0.3)
    height, width, count = 40.0, 60.0, 50
    unit = tf.random.stateless_uniform([7, count], SEED, minval=-1.0, maxval=1.0).numpy()
    rows = draw_transforms(knobs, count, height, width, SEED).numpy()

    def matrix(*values: float) -> np.ndarray:
        return np.array([values[:3], values[3:], (0, 0, 1)])

    for (spin, right, down, shear, zoom_x, zoom_y, side), row in zip(unit.T, rows, strict=True):
        angle, slant = math.radians(20 * spin), 0.3 * shear
        mirror = -1 if side < 0 else 1
        parts = [
            matrix(1, 0, (width - 1) / 2, 0, 1, (height - 1) / 2),
            matrix(math.cos(angle), -math.sin(angle), 0, math.sin(angle), math.cos(angle), 0),
            matrix(1, 0, 0.3 * right * width, 0, 1, 0.3 * down * height),
            matrix(1, -math.sin(slant), 0, 0, math.cos(slant), 0),
            matrix(1 + 0.3 * zoom_x, 0, 0, 0, 1 + 0.3 * zoom_y, 0),
            matrix(mirror, 0, 0, 0, 1, 0),
            matrix(1, 0, -(width - 1) / 2, 0, 1, -(height - 1) / 2),
        ]
        expected = np.linalg.multi_dot(parts)
        np.testing.assert_allclose(row[:6].reshape(2, 3), expected[:2], rtol=1e-3, atol=1e-3)


def test_nothing_to_do_changes_nothing() -> None:
    images = _images()
    found = augment(tf.constant(images), NOTHING, SEED).numpy()
    np.testing.assert_allclose(found, images, atol=1e-6)


def test_flip_mirrors_about_half_of_the_images() -> None:
    images = _images(200, 8, 9)
    found = augment(tf.constant(images), NOTHING.model_copy(update={"flip": True}), SEED).numpy()
    same = np.isclose(found, images, atol=1e-5).all(axis=(1, 2, 3))
    mirrored = np.isclose(found, images[:, :, ::-1], atol=1e-5).all(axis=(1, 2, 3))
    assert (same ^ mirrored).all()
    assert 70 < mirrored.sum() < 130


def test_the_seed_decides() -> None:
    images, knobs = tf.constant(_images()), AugmentationSettings()
    first = augment(images, knobs, SEED).numpy()
    assert (augment(images, knobs, SEED).numpy() == first).all()
    assert not np.allclose(augment(images, knobs, SEED + 1).numpy(), first)
    assert not np.allclose(first[0], augment(tf.repeat(images[:1], 3, 0), knobs, SEED)[1])


def test_mixup_blends_image_and_label_alike() -> None:
    images, labels = tf.constant(_images(4)), tf.eye(4)
    mixed, soft = (tensor.numpy() for tensor in mixup(images, labels, 0.4, SEED))
    share = np.diag(soft)
    assert ((share >= 0) & (share <= 1)).all()
    assert share.min() < 1
    np.testing.assert_allclose(soft.sum(axis=1), 1, rtol=1e-6)
    weight = share.reshape(-1, 1, 1, 1)
    neighbour = np.roll(images.numpy(), 1, axis=0)
    expected = weight * images.numpy() + (1 - weight) * neighbour
    np.testing.assert_allclose(mixed, expected, atol=1e-6)


def test_mixup_shares_follow_the_beta_distribution() -> None:
    soft = mixup(tf.zeros([4000, 1, 1, 1]), tf.eye(4000), 0.3, SEED)[1].numpy()
    share = np.diag(soft)
    assert share.mean() == pytest.approx(0.5, abs=0.03)
    assert share.var() == pytest.approx(0.25 / 1.6, abs=0.02)  # 1 / (4 (2 alpha + 1))
