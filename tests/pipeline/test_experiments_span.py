"""Training in the coordinates of the span gives what training on the pixels gives."""

from pathlib import Path

import keras
import numpy as np
import pytest

from models.classifier import build_network
from models.data import Split
from models.settings import (
    AugmentationSettings,
    ClassifierSettings,
    CoronetSettings,
    MlpSettings,
    SvmSettings,
    TrainingSettings,
)
from models.training import Job, fit
from pipeline.experiments.span import Span, holds_for, is_shorter, span_of

SEED = 5
SIDE = 12
PLAIN = AugmentationSettings(enabled=False)


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    random = np.random.default_rng(2)
    images = random.integers(0, 256, (60, SIDE, SIDE, 1)).astype(np.uint8)
    images[7] = images[3]  # a copy adds no dimension
    return images


@pytest.fixture(scope="module")
def labels() -> np.ndarray:
    return np.arange(60) % 4


def test_inner_products_are_those_of_the_images(images: np.ndarray) -> None:
    span = span_of(images)
    flat = images.reshape(60, -1).astype(float)
    vectors = span.coordinates.reshape(60, -1)
    assert vectors.shape[1] == np.linalg.matrix_rank(flat) == 59
    np.testing.assert_allclose(vectors @ vectors.T, flat @ flat.T, rtol=1e-5)


def test_projected_weights_give_the_same_products(images: np.ndarray) -> None:
    span = span_of(images)
    weights = np.random.default_rng(3).normal(size=(SIDE * SIDE, 5)).astype(np.float32)
    projected = span.project(images, weights)
    np.testing.assert_allclose(
        span.coordinates.reshape(60, -1) @ projected,
        images.reshape(60, -1) @ weights,
        rtol=1e-3,
        atol=0.1,
    )


def test_a_span_survives_the_disk(tmp_path: Path, images: np.ndarray) -> None:
    span = span_of(images)
    span.save(tmp_path / "spans" / "one.npz")
    loaded = Span.load(tmp_path / "spans" / "one.npz")
    np.testing.assert_array_equal(loaded.coordinates, span.coordinates)
    np.testing.assert_array_equal(loaded.mixing, span.mixing)


@pytest.mark.parametrize(
    "settings",
    [
        SvmSettings(epsilon=1e-3, training=TrainingSettings(epochs=3), augmentation=PLAIN),
        MlpSettings(
            hidden=(8, 8),
            training=TrainingSettings(
                epochs=3, batch_size=8, learning_rate=0.1, momentum=0.5, schedule="constant"
            ),
            augmentation=PLAIN,
        ),
    ],
    ids=["svm", "mlp"],
)
def test_the_trained_classifier_is_the_same(
    settings: ClassifierSettings, images: np.ndarray, labels: np.ndarray, tmp_path: Path
) -> None:
    assert holds_for(settings)
    span = span_of(images)
    keras.utils.set_random_seed(SEED)
    first, *others = build_network(settings, (SIDE, SIDE)).get_weights()
    starts = {"pixels": None, "span": [span.project(images, first), *others]}
    outputs = {}
    for name, vectors in (("pixels", images), ("span", span.coordinates)):
        parts = [Split(vectors[part], labels[part]) for part in (slice(0, 40), slice(40, 50))]
        job = Job("it", settings, SEED, str(tmp_path / name))
        fitted = fit(job, *parts, starts[name])
        network = build_network(settings, parts[0].size)
        network.set_weights(fitted.weights)
        outputs[name] = network.predict(vectors[50:] / np.float32(255), verbose=0)
    assert np.ptp(outputs["pixels"]) > 0.01  # it did learn something that could differ
    np.testing.assert_allclose(outputs["span"], outputs["pixels"], atol=1e-4)


def test_what_a_rotation_would_change_is_trained_on_pixels() -> None:
    assert not holds_for(CoronetSettings(augmentation=PLAIN))
    assert not holds_for(SvmSettings(augmentation=AugmentationSettings()))
    adam = TrainingSettings(optimizer="adam")
    assert not holds_for(MlpSettings(training=adam, augmentation=PLAIN))
    mirrored = TrainingSettings(flip_at_test=True)
    assert not holds_for(MlpSettings(training=mirrored, augmentation=PLAIN))


def test_a_span_is_taken_where_it_is_shorter_than_the_pixels() -> None:
    assert is_shorter(images=1000, pixels=200 * 200)
    assert not is_shorter(images=1000, pixels=16 * 16)
    assert not is_shorter(images=20_000, pixels=640 * 640)
