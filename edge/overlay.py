"""Draws a saliency map over the image that it explains."""

import numpy as np
from PIL import Image


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
