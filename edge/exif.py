"""EXIF orientation, found by the same rules as in the training graph (`models.exif`).

Ingestion and the edge share it. Pillow's own would also obey XMP and text chunks, which the
graph does not know, and fail over tags that have nothing to do with the orientation.
"""

from typing import Literal

import numpy as np
from PIL import Image

ORIENTATION = 0x0112
UPRIGHT = 1
_NAME = b"Exif\0\0"
_ENTRY = 12  # bytes


def orientation(image: Image.Image) -> int:
    """Returns the orientation in the EXIF block of `image`, 1 to 8; 1 if none or damaged.

    Ask before the pixels are loaded: what comes after them in the file does not count.
    """
    tiff = image.info.get("exif", b"").removeprefix(_NAME)
    order: Literal["little", "big"] = "little" if tiff[:2] == b"II" else "big"

    def number(at: int, width: int) -> int:
        # Zeros stand for all past the end, so that damaged lengths cannot fail.
        return int.from_bytes(tiff[at : at + width].ljust(width, b"\0"), order)

    directory = number(4, 4)
    for at in range(directory + 2, directory + 2 + _ENTRY * number(directory, 2), _ENTRY):
        if number(at, 2) == ORIENTATION:
            value = number(at + 8, 2)
            return value if UPRIGHT <= value <= 8 else UPRIGHT
    return UPRIGHT


def upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Turns and mirrors `pixels` ([H, W]) into the view that `orientation` means."""
    if orientation in (5, 6, 7, 8):
        pixels = pixels.T
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)
