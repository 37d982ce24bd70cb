"""Occlusion on a classifier whose reason is known."""

import numpy as np
import pytest
from PIL import Image

from edge import overlay, saliency
from models.features import DISCLAIMER


class CornerClassifier:
    """Believes in `sick` as far as the lower left corner is bright."""

    classes = ("well", "sick")

    def classify(self, model_image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        height, width = model_image.shape
        sick = model_image[-height // 5 :, : width // 5].mean() / 255
        return np.array([1 - sick, sick]), np.zeros(2)


@pytest.fixture
def image() -> np.ndarray:
    pixels = np.full((60, 80), 40, np.uint8)
    pixels[-12:, :16] = 255
    return pixels


def test_the_reason_is_found(image):
    lost = saliency.occlusion(CornerClassifier(), image, "sick")
    assert lost.shape == (saliency.GRID, saliency.GRID)
    row, column = np.unravel_index(lost.argmax(), lost.shape)
    assert row >= saliency.GRID - 2
    assert column <= 1
    assert np.abs(lost[: saliency.GRID // 2]).max() == 0
    assert np.abs(lost[:, saliency.GRID // 2 :]).max() == 0


def test_the_opposite_class_gains(image):
    lost = saliency.occlusion(CornerClassifier(), image, "well")
    assert lost.min() < 0
    assert lost.max() == 0


def test_the_image_is_left_alone(image):
    before = image.copy()
    saliency.occlusion(CornerClassifier(), image, "sick")
    np.testing.assert_array_equal(image, before)


def test_the_overlay_is_red_where_the_reason_is(image):
    lost = saliency.occlusion(CornerClassifier(), image, "sick")
    picture = np.asarray(overlay.draw(image, lost, side=80)).astype(int)
    assert picture.shape == (60, 80, 3)
    redness = picture[..., 0] - picture[..., 2]
    assert redness[-8, 8] > 50
    assert redness[5, -5] == 0


def test_a_caption_is_below_the_picture_and_inside_the_page():
    for width, height in ((400, 300), (20, 400)):
        picture = Image.new("RGB", (width, height), (200, 10, 10))
        page = overlay.caption(picture, ["covid 0.900", "bacterial " * 20, DISCLAIMER])
        assert page.crop((0, 0, width, height)).tobytes() == picture.tobytes()
        text = np.asarray(page.convert("L"))[height:]
        assert text.min() < 50
        for edge in (text[0], text[-1], text[:, 0], text[:, -1]):
            assert (edge == 255).all()


def test_an_overlay_without_any_reason_is_grey(image):
    picture = np.asarray(overlay.draw(image, np.zeros((10, 10), np.float32), side=80))
    np.testing.assert_array_equal(picture[..., 0], picture[..., 2])
