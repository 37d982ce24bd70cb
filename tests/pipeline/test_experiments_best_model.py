"""The submitted model: views, weights under Keras's names, submission."""

import csv
import io

import numpy as np
import pytest

from models.coronet import build_coronet
from models.features import CLASSES
from pipeline.experiments.best_model.data import Prepared
from pipeline.experiments.best_model.export import predict, submission, to_keras
from pipeline.experiments.best_model.views import ViewSettings, random_view

STILL = ViewSettings(0, 0, 0, 0, 0, 0, 0)
SIZE = 32


def test_a_view_without_ranges_is_the_image_or_its_mirror_image() -> None:
    random = np.random.default_rng(0)
    image = random.integers(0, 256, (20, 20)).astype(np.uint8)
    unit = image.astype(np.float32) / 255
    seen = set()
    for _ in range(20):
        view = random_view(image, random, STILL)
        same, mirrored = (np.abs(view - one).max() < 1e-6 for one in (unit, unit[:, ::-1]))
        assert same != mirrored
        seen.add(bool(same))
    assert seen == {True, False}


def test_views_stay_in_range_and_differ_by_seed() -> None:
    image = np.random.default_rng(1).integers(0, 256, (40, 40)).astype(np.uint8)
    views = [random_view(image, np.random.default_rng(seed), ViewSettings()) for seed in (1, 1, 2)]
    assert all(view.dtype == np.float32 and view.shape == (40, 40) for view in views)
    assert all(view.min() >= 0 and view.max() <= 1 for view in views)
    np.testing.assert_array_equal(views[0], views[1])
    assert np.abs(views[0] - views[2]).max() > 0.1


def test_a_fold_is_split_off_and_no_fold_is_everything() -> None:
    folds = np.array([0, 1, 1, 0, 2])
    images = np.zeros((5, 2, 2), np.uint8)
    prepared = Prepared(images, images, np.zeros(5, np.int64), folds)
    train, validation = prepared.split(1)
    assert (train.tolist(), validation.tolist()) == ([0, 3, 4], [1, 2])
    train, validation = prepared.split(1, left_out=0)
    assert (train.tolist(), validation.tolist()) == ([4], [1, 2])
    train, validation = prepared.split(-1)
    assert (train.tolist(), validation.tolist()) == ([0, 1, 2, 3, 4], [])


def weights_of(model) -> dict[str, np.ndarray]:
    return {
        f"{layer.name}/{variable.name}": variable.numpy()
        for layer in model.layers
        for variable in layer.variables
        if variable.name != "seed_generator_state"
    }


def test_weights_find_their_places_by_name() -> None:
    images = np.random.default_rng(2).integers(0, 256, (3, SIZE, SIZE)).astype(np.uint8)
    model = build_coronet(SIZE)
    weights = weights_of(model)
    again = to_keras(weights, SIZE)
    np.testing.assert_array_equal(predict(again, images), predict(model, images))
    # Averaged over image and mirror image: mirroring the input changes nothing.
    np.testing.assert_allclose(
        predict(again, images[:, :, ::-1]), predict(model, images), atol=1e-6
    )

    kernel = weights.pop("conv2d_5/kernel")
    with pytest.raises(ValueError, match="conv2d_5/kernel"):
        to_keras(weights, SIZE)
    with pytest.raises(ValueError, match="conv2d_99/kernel"):
        to_keras({**weights, "conv2d_5/kernel": kernel, "conv2d_99/kernel": kernel}, SIZE)


def test_the_submission_has_the_challenges_format() -> None:
    text = submission(np.array(["b.jpeg", "a.jpeg"]), np.eye(4)[[2, 0]])
    assert text == "filename,label\nb.jpeg,viral\na.jpeg,normal\n"
    assert [row["label"] for row in csv.DictReader(io.StringIO(text))] == [CLASSES[2], CLASSES[0]]
