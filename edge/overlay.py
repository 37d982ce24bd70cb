"""Draws a saliency map over the image that it explains."""

import textwrap
from collections.abc import Sequence
from typing import Final

import numpy as np
from PIL import Image, ImageDraw, ImageFont

_FONT_SIZE: Final = 12  # pixels
_LINE: Final = 16
_LETTERS: Final = 64  # a line
_WIDTH: Final = 400  # that so many letters need


def draw(model_image: np.ndarray, lost: np.ndarray, side: int = 400) -> Image.Image:
    """Returns the image in grey with the parts that carry the prediction in red.

    Args:
        model_image: uint8 [h, w].
        lost: float32 [rows, columns], from `edge.saliency.occlusion`.
        side: pixels of the picture's longer side.
    """
    height, width = model_image.shape
    scale = side / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    strength = np.maximum(lost, 0)
    strength = strength / (strength.max() or 1)
    heat = Image.fromarray((strength * 170).astype(np.uint8)).resize(
        size, Image.Resampling.BILINEAR
    )
    picture = Image.fromarray(model_image).resize(size, Image.Resampling.BILINEAR).convert("RGB")
    picture.paste((214, 40, 40), mask=heat)
    return picture


def caption(picture: Image.Image, sentences: Sequence[str]) -> Image.Image:
    """Returns `picture` with `sentences` below it, each on lines of its own."""
    lines = [line for sentence in sentences for line in textwrap.wrap(sentence, _LETTERS)]
    size = (max(picture.width, _WIDTH), picture.height + _LINE * (len(lines) + 1))
    page = Image.new("RGB", size, "white")
    page.paste(picture)
    ImageDraw.Draw(page).multiline_text(
        (_LINE // 2, picture.height + _LINE // 2),
        "\n".join(lines),
        fill="black",
        font=ImageFont.load_default(_FONT_SIZE),
    )
    return page
