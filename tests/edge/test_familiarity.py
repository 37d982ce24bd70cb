"""The out-of-distribution score: phantoms are what this model knows, and nothing else is."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edge import Classifier


@pytest.fixture(scope="module")
def classifier(edge_model: Path) -> Classifier:
    return Classifier(edge_model)


def test_new_images_of_the_known_kind_are_familiar(classifier):
    from pipeline.sample import draw_phantoms

    fresh = [phantom.pixels for phantom in draw_phantoms(40, seed=99)]
    familiar = [classifier.predict(pixels).familiar for pixels in fresh]
    assert np.mean(familiar) >= 0.9


def noise() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (300, 260), np.uint8)


def ramp() -> np.ndarray:
    return np.tile(np.linspace(0, 255, 300).astype(np.uint8), (260, 1))


def checks() -> np.ndarray:
    return (np.kron(np.indices((8, 8)).sum(axis=0) % 2, np.ones((32, 32))) * 255).astype(np.uint8)


@pytest.mark.parametrize(
    "pixels",
    [
        pytest.param(np.zeros((300, 260), np.uint8), id="black"),
        pytest.param(np.full((300, 260), 128, np.uint8), id="grey"),
        pytest.param(np.full((300, 260), 255, np.uint8), id="white"),
        pytest.param(noise(), id="noise"),
        pytest.param(ramp(), id="ramp"),
        pytest.param(checks(), id="checks"),
    ],
)
def test_frames_without_a_chest_are_unfamiliar(classifier, pixels):
    assert not classifier.predict(pixels).familiar


@pytest.mark.parametrize("name", ["china.jpg", "flower.jpg"])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_photos_are_unfamiliar(classifier, name, mode):
    from sklearn.datasets import load_sample_image

    buffer = io.BytesIO()
    Image.fromarray(load_sample_image(name)).convert(mode).save(buffer, "PNG")
    assert not classifier.predict(buffer.getvalue()).familiar


def test_a_coloured_copy_is_less_familiar(classifier, sample_folder):
    path = next((sample_folder / "train").iterdir())
    grey = Image.open(path)
    buffer = io.BytesIO()
    Image.merge("RGB", [grey, grey.point(lambda v: v // 2), grey.point(lambda v: v // 3)]).save(
        buffer, "PNG"
    )
    assert classifier.predict(path).familiar
    assert not classifier.predict(buffer.getvalue()).familiar


def test_real_x_rays_are_not_phantoms(classifier, cxr4):
    paths = sorted((cxr4 / "test").iterdir())[::10]
    assert np.mean([classifier.predict(path).familiar for path in paths]) < 0.1
