"""Small pictures as data URIs, so that the page needs no other file."""

import base64
import io

import matplotlib
import numpy as np
from PIL import Image

THUMBNAIL = 200  # pixels of the longer side
_OVERLAY = 0.45  # weight of the colours over the image


def thumbnail(image: np.ndarray) -> str:
    """Returns uint8 [H, W] or [H, W, 3] as a data URI, at most `THUMBNAIL` pixels a side."""
    picture = Image.fromarray(image)
    picture.thumbnail((THUMBNAIL, THUMBNAIL))
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=85)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def overlay(image: np.ndarray, saliency: np.ndarray) -> np.ndarray:
    """Colours uint8 [H, W] by saliency, float32 [H, W] in [0, 1]; returns uint8 [H, W, 3]."""
    colours = matplotlib.colormaps["inferno"](saliency)[..., :3] * 255
    weight = _OVERLAY * saliency[..., np.newaxis]
    grey = np.repeat(image[..., np.newaxis], 3, axis=-1)
    return np.clip((1 - weight) * grey + weight * colours, 0, 255).astype(np.uint8)
