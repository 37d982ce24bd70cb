"""Random views of an X-ray for training: one affine resampling, then brightness and contrast."""

from dataclasses import dataclass

import cv2
import numpy as np


@dataclass(frozen=True)
class ViewSettings:
    """Half-ranges of the uniform draws.

    Attributes:
        rotation: degrees.
        shift: share of the side.
        zoom: relative; the aspect ratio varies by a third of it.
        shear: radians.
        gamma: logarithm of the exponent.
        contrast: relative, about mid-grey.
        brightness: of the range [0, 1].
    """

    rotation: float = 15.0
    shift: float = 0.08
    zoom: float = 0.15
    shear: float = 0.1
    gamma: float = 0.25
    contrast: float = 0.2
    brightness: float = 0.08


def numbered_view(image: np.ndarray, index: int, number: int) -> np.ndarray:
    """Returns view `number` of image `index`: always the same, so that it can be labelled once.

    Args:
        image: uint8 [side, side].
        index: of the image in the data set.
        number: of the view, from 0.

    Returns:
        float32 [side, side] in [0, 1].
    """
    return random_view(image, np.random.default_rng((index, number)), ViewSettings())


def random_view(
    image: np.ndarray, random: np.random.Generator, settings: ViewSettings
) -> np.ndarray:
    """Returns a view of `image`, mirrored in half of the cases; black moves in at the borders.

    Args:
        image: uint8 [side, side].
        random: source of the draws.
        settings: how far views may differ.

    Returns:
        float32 [side, side] in [0, 1].
    """
    side = image.shape[0]
    angle = np.deg2rad(random.uniform(-settings.rotation, settings.rotation))
    shear = random.uniform(-settings.shear, settings.shear)
    zoom = random.uniform(1 - settings.zoom, 1 + settings.zoom)
    aspect = random.uniform(1 - settings.zoom / 3, 1 + settings.zoom / 3)
    mirror = -1 if random.random() < 0.5 else 1
    linear = np.array(
        [
            [np.cos(angle), -np.sin(angle + shear)],
            [np.sin(angle), np.cos(angle + shear)],
        ]
    ) @ np.diag([zoom * mirror, zoom * aspect])
    centre = np.full(2, (side - 1) / 2)
    shift = random.uniform(-settings.shift, settings.shift, 2) * side
    offset = centre - linear @ centre + shift
    view = cv2.warpAffine(
        image,
        np.column_stack([linear, offset]),
        (side, side),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
    )
    unit = view.astype(np.float32) / 255
    unit = unit ** np.exp(random.uniform(-settings.gamma, settings.gamma))
    contrast = random.uniform(1 - settings.contrast, 1 + settings.contrast)
    brightness = random.uniform(-settings.brightness, settings.brightness)
    return np.clip((unit - 0.5) * contrast + 0.5 + brightness, 0, 1).astype(np.float32)


def resized(image: np.ndarray, side: int) -> np.ndarray:
    """Returns the square image with another `side`: area sampling down, bilinear up."""
    smaller = side < image.shape[0]
    interpolation = cv2.INTER_AREA if smaller else cv2.INTER_LINEAR
    return cv2.resize(image, (side, side), interpolation=interpolation)
