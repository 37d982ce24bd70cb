"""The parts of the report: saliency, drawings, pictures, the model card."""

import base64
import io
import xml.etree.ElementTree as ElementTree

import keras
import numpy as np
import pytest
from PIL import Image

from components.evaluation.results import Reliability
from components.report import figures, pictures
from components.report.model_card import exclusive_sources
from components.report.render import _escape_markdown
from components.report.saliency import GradCam, has_feature_maps
from models.features import CLASSES, PROBABILITIES, SCORES

SIDE = 16


def _classifier() -> keras.Model:
    """Scores class 0 by the brightness of the image, and class 1 by its darkness."""
    images = keras.Input((SIDE, SIDE, 1))
    maps = keras.layers.Conv2D(1, 1, use_bias=False, kernel_initializer="ones")(images)
    pooled = keras.layers.GlobalAveragePooling2D()(keras.layers.AveragePooling2D(2)(maps))
    dense = keras.layers.Dense(len(CLASSES), use_bias=False)
    scores = dense(pooled)
    dense.set_weights([np.array([[1.0, -1.0, 0.0, 0.0]])])
    outputs = {PROBABILITIES: keras.layers.Softmax()(scores), SCORES: scores}
    return keras.Model(images, outputs)


def test_grad_cam_points_to_what_speaks_for_the_class() -> None:
    image = np.zeros((1, SIDE, SIDE, 1), np.float32)
    image[0, 2:5, 10:13] = 1
    explain = GradCam(_classifier())
    (bright,) = explain(image, np.array([0]))
    assert bright.shape == (SIDE, SIDE)
    np.testing.assert_array_equal(bright > 0.5, image[0, ..., 0] > 0.5)
    (dark,) = explain(image, np.array([1]))
    assert not dark.any(), "no place speaks for darkness: its gradient is negative"


def test_grad_cam_explains_each_image_by_its_own_class() -> None:
    images = np.random.default_rng(1).uniform(size=(2, SIDE, SIDE, 1)).astype(np.float32)
    explain = GradCam(_classifier())
    both = explain(images, np.array([0, 1]))
    np.testing.assert_allclose(both[0], explain(images[:1], np.array([0]))[0], atol=1e-6)
    assert both[0].max() == pytest.approx(1)
    assert not both[1].any()


def test_a_network_without_convolutions_has_no_grad_cam() -> None:
    images = keras.Input((SIDE, SIDE, 1))
    scores = keras.layers.Dense(len(CLASSES))(keras.layers.Flatten()(images))
    dense = keras.Model(images, {PROBABILITIES: keras.layers.Softmax()(scores), SCORES: scores})
    assert not has_feature_maps(dense)
    with pytest.raises(ValueError, match="no convolutional feature maps"):
        GradCam(dense)


def _drawings() -> list[str]:
    history = {"accuracy": [0.2, 0.5, 0.7], "val_accuracy": [0.3, 0.4, 0.6]}
    reliability = Reliability(np.array([0.0, 5, 9]), np.array([0, 0.5, 0.9]), np.array([0, 1, 0.8]))
    return [
        figures.training_curves(history, "accuracy", "accuracy"),
        figures.reliability_diagram({"float": reliability, "edge": reliability}),
    ]


@pytest.mark.parametrize("number", [0, 1])
def test_drawings_are_svg_in_the_pages_colours(number: int) -> None:
    drawing = _drawings()[number]
    root = ElementTree.fromstring(drawing)
    assert root.tag.endswith("svg")
    assert "viewBox" in root.attrib
    assert "width" not in root.attrib
    assert "#00000" not in drawing
    assert "var(--text)" in drawing
    assert "var(--line-1)" in drawing


def test_a_single_epoch_is_epoch_1() -> None:
    drawing = figures.training_curves({"accuracy": [0.3], "val_accuracy": [0.2]}, "accuracy", "")
    texts = [element.text for element in ElementTree.fromstring(drawing).iter() if element.text]
    assert "1" in texts
    assert not any(text.startswith(("0.9", "1.0")) for text in texts)


def test_drawings_of_one_page_share_no_id() -> None:
    identifiers = [
        element.attrib["id"]
        for drawing in _drawings()
        for element in ElementTree.fromstring(drawing).iter()
        if "id" in element.attrib
    ]
    assert len(identifiers) == len(set(identifiers))


def test_thumbnails_are_small_pictures_of_the_image() -> None:
    image = np.full((400, 600), 90, np.uint8)
    kind, _, content = pictures.thumbnail(image).partition(",")
    assert kind == "data:image/jpeg;base64"
    picture = Image.open(io.BytesIO(base64.b64decode(content)))
    assert picture.size == (200, 133)
    assert abs(float(np.asarray(picture).mean()) - 90) < 2


def test_overlay_leaves_what_is_not_salient() -> None:
    image = np.full((8, 8), 100, np.uint8)
    saliency = np.zeros((8, 8), np.float32)
    saliency[3, 3] = 1
    coloured = pictures.overlay(image, saliency)
    unchanged = np.ones((8, 8), bool)
    unchanged[3, 3] = False
    assert (coloured[unchanged] == 100).all()
    assert (coloured[3, 3] != 100).any()


@pytest.mark.parametrize(
    ("sources", "exclusive"),
    [
        ({("normal", "a"): 5, ("covid", "b"): 3}, {"normal": ("a",), "covid": ("b",)}),
        ({("normal", "a"): 5, ("viral", "a"): 5, ("covid", "b"): 3}, {"covid": ("b",)}),
        ({("normal", "a"): 5, ("covid", "a"): 3}, {}),
        ({("covid", "b"): 1, ("covid", "c"): 1, ("normal", "b"): 1}, {"covid": ("c",)}),
    ],
)
def test_sources_that_give_a_class_away(
    sources: dict[tuple[str, str], int], exclusive: dict[str, tuple[str, ...]]
) -> None:
    assert exclusive_sources(sources) == exclusive


def test_names_cannot_write_markdown_or_html() -> None:
    escaped = _escape_markdown("<img src=x>\n# [a](b) *c* `d` | e")
    assert "\n" not in escaped
    assert "\\<img src=x\\>" in escaped
    assert "\\[a\\]" in escaped
    assert "\\#" in escaped
