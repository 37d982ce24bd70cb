"""Batch-norm statistics, taken again: the right ones, of everything, kept only if better."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from models import training
from models.classifier import build_network
from models.data import Split
from models.recalibration import with_statistics_of
from models.settings import (
    AugmentationSettings,
    CoronetSettings,
    MlpSettings,
    TrainingSettings,
)
from models.training import Job, fit

SIDE = 32
BATCH = 8


def _settings(flip: bool = True, **training: Any) -> CoronetSettings:
    return CoronetSettings(
        dense_units=8,
        dropout=0.0,
        training=TrainingSettings(batch_size=BATCH, **training),
        augmentation=AugmentationSettings(flip=flip),
    )


def _split(count: int, seed: int) -> Split:
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (count, SIDE, SIDE, 1)).astype(np.uint8)
    return Split(images, rng.integers(0, 4, count))


def _trained_weights(settings: CoronetSettings) -> list[np.ndarray]:
    """Weights whose statistics fit nothing."""
    keras.utils.set_random_seed(7)
    return build_network(settings, (SIDE, SIDE)).get_weights()


@pytest.mark.parametrize("flip", [True, False])
def test_the_first_statistics_are_those_of_all_images_and_mirrors(flip: bool) -> None:
    settings, split = _settings(flip), _split(20, 1)  # 20 images: a short last batch
    before = _trained_weights(settings)
    network = build_network(settings, split.size)
    network.set_weights(with_statistics_of(split, before, settings))
    images = split.images / np.float32(255)
    seen = np.concatenate([images, images[:, :, ::-1]]) if flip else images
    first = keras.Model(network.input, network.get_layer("conv2d_1").output)
    maps = first.predict(seen, verbose=0).astype(float)
    layer = network.get_layer("batch_normalization_1")
    np.testing.assert_allclose(layer.moving_mean, maps.mean((0, 1, 2)), atol=1e-5)
    np.testing.assert_allclose(layer.moving_variance, maps.var((0, 1, 2)), rtol=1e-3, atol=1e-6)
    for variable, old in zip(network.weights, before, strict=True):
        if "moving" not in variable.name:
            np.testing.assert_array_equal(variable, old)


def test_every_layer_then_answers_as_in_training() -> None:
    """Of one batch alone, moving statistics and the batch's own are the same thing."""
    settings, split = _settings(flip=False), _split(BATCH, 2)
    network = build_network(settings, split.size)
    network.set_weights(with_statistics_of(split, _trained_weights(settings), settings))
    images = split.images / np.float32(255)
    served = keras.ops.convert_to_numpy(network(images, training=False))
    trained = keras.ops.convert_to_numpy(network(images, training=True))
    np.testing.assert_allclose(served, trained, atol=1e-4)


def test_a_network_without_batch_norm_stays() -> None:
    settings = MlpSettings(hidden=(4,), activations=("sigmoid",))
    weights = build_network(settings, (SIDE, SIDE)).get_weights()
    for old, new in zip(weights, with_statistics_of(_split(4, 1), weights, settings), strict=True):
        np.testing.assert_array_equal(old, new)


def _bands(count: int, seed: int) -> Split:
    """Noise with a bright band whose place is the class."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 4, count)
    images = rng.integers(0, 60, (count, SIDE, SIDE, 1))
    for image, label in zip(images, labels, strict=True):
        image[SIDE // 4 * label : SIDE // 4 * (label + 1)] += 150
    return Split(images.astype(np.uint8), labels)


def _fit(folder: Path, recalibrate: bool) -> training.Fitted:
    # With a momentum this high, the moving statistics are still those of no image at the end.
    settings = _settings(
        epochs=4,
        learning_rate=0.002,
        optimizer="adam",
        schedule="constant",
        batch_norm_momentum=0.999,
        save_best="last",
        recalibrate_batch_norm=recalibrate,
    ).model_copy(update={"augmentation": AugmentationSettings(enabled=False)})
    job = Job("coronet", settings, 3, str(folder))
    return fit(job, _bands(48, 1), _bands(16, 2))


def test_training_keeps_the_new_statistics_only_if_the_loss_falls(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    plain, better = _fit(tmp_path / "a", False), _fit(tmp_path / "b", True)
    assert (plain.recalibrated, better.recalibrated) == (False, True)
    assert better.history == plain.history
    assert "kept" in capsys.readouterr().out.splitlines()[-1]

    def spoil(split: Split, weights: list[np.ndarray], _: object) -> list[np.ndarray]:
        return [*weights[:-1], weights[-1] + np.array([50, 0, 0, 0], np.float32)]

    monkeypatch.setattr(training, "with_statistics_of", spoil)
    worse = _fit(tmp_path / "c", True)
    assert not worse.recalibrated
    assert "not kept" in capsys.readouterr().out.splitlines()[-1]
    for expected, found in zip(plain.weights, worse.weights, strict=True):
        np.testing.assert_array_equal(expected, found)
