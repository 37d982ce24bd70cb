"""What an image must be to be used, whatever its format."""

import numpy as np

from components.ingestion.refusals import Reason, RefusedError
from components.ingestion.settings import DataSettings

MAX_SIDE = 20_000
"""Pixels; no detector has so many in a row, and a strip of few rows would pass `max_pixels`."""


def check_size(width: int, height: int, settings: DataSettings) -> None:
    """Refuses by the header's width and height, in pixels.

    Raises:
        RefusedError: over `max_pixels` in all, a side over `MAX_SIDE`, or the shorter one under
            `min_side`.
    """
    size = f"{width} x {height} pixels"
    if width * height > settings.max_pixels:
        limit = settings.max_pixels
        raise RefusedError(Reason.TOO_MANY_PIXELS, f"{size}; data.max_pixels is {limit}")
    if max(width, height) > MAX_SIDE:
        raise RefusedError(Reason.TOO_MANY_PIXELS, f"{size}; no side may have over {MAX_SIDE}")
    if min(width, height) < settings.min_side:
        raise RefusedError(Reason.TOO_SMALL, f"{size}; data.min_side is {settings.min_side}")


def check_content(pixels: np.ndarray, settings: DataSettings) -> None:
    """Refuses `pixels` (uint8) that carry next to no information.

    Raises:
        RefusedError: fewer than `min_grey_levels` distinct values.
    """
    levels = np.count_nonzero(np.bincount(pixels.ravel(), minlength=256))
    if levels < settings.min_grey_levels:
        raise RefusedError(
            Reason.TOO_FEW_GREY_LEVELS,
            f"{levels} distinct grey levels; data.min_grey_levels is {settings.min_grey_levels}: "
            "blank?",
        )
