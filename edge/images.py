"""Image files to grey pixels, by the rules that the training graph follows.

A JPEG gives its luma channel, other colour is BT.601 luma in 15-bit fixed point,
transparency is dropped, 16 bits keep their upper 8, and the EXIF orientation is applied.
"""

import io
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image, UnidentifiedImageError

from edge import exif
from edge.errors import EdgeError

Source = str | Path | bytes | np.ndarray

FORMATS: Final = ("JPEG", "PNG", "BMP", "GIF")
MAX_FILE_BYTES: Final = 256 * 1024 * 1024
MAX_PIXELS: Final = 50_000_000
"""Above this a prediction would need hundreds of megabytes; the largest detectors have 17."""

COLOUR_LIMIT: Final = 0.06
"""Mean chroma above which a picture is no radiograph; tinted scans stay below it."""
_CHROMA_SIDE = 128  # chroma is a mean: a small copy gives it as well

_LUMA_WEIGHTS = np.array([9798, 19235, 3735], np.int32)
_LUMA_SHIFT = 15
_LUMA_BLOCK = 1 << 18  # pixels at a time: their products take eight times the image's memory


@dataclass(frozen=True)
class Picture:
    """A decoded image.

    Attributes:
        pixels: uint8 [H, W].
        colourfulness: mean difference of the strongest and the weakest of red, green and
            blue, in [0, 1]; 0 for a grey image.
    """

    pixels: np.ndarray
    colourfulness: float = 0.0


def read_image(source: Source) -> Picture:
    """Decodes `source`: a path, the bytes of a file, or uint8 [H, W] pixels.

    Raises:
        EdgeError: it cannot be read, is damaged, is empty, or has over `MAX_PIXELS` pixels.
    """
    if isinstance(source, np.ndarray):
        return Picture(_checked_pixels(source))
    name = "the image" if isinstance(source, bytes) else str(source)
    data = source if isinstance(source, bytes) else _read_file(Path(source))
    if not data:
        raise EdgeError(f"{name} is empty")
    if data[128:132] == b"DICM":
        from edge import dicom

        return Picture(dicom.read_pixels(data, name, MAX_PIXELS))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns of large images; we have a limit
            return _decode(data, name)
    except Image.DecompressionBombError as error:
        raise EdgeError(f"{name} is over the limit of {MAX_PIXELS:,} pixels") from error
    except (OSError, SyntaxError, ValueError) as error:
        if isinstance(error, EdgeError):
            raise
        # Pillow's own words for it name an object in memory.
        reason = "unknown format" if isinstance(error, UnidentifiedImageError) else error
        raise EdgeError(
            f"{name} cannot be decoded ({reason}): give a JPEG, PNG, BMP, GIF or DICOM file"
        ) from error


def check_size(width: int, height: int, name: str) -> None:
    """Raises `EdgeError` for an image of no pixels, or of too many."""
    if width < 1 or height < 1:
        raise EdgeError(f"{name} has no pixels ({width} x {height})")
    if width * height > MAX_PIXELS:
        raise EdgeError(
            f"{name} has {width} x {height} pixels, over the limit of {MAX_PIXELS:,}: scale it down"
        )


def _read_file(path: Path) -> bytes:
    try:
        size = path.stat().st_size
        if size > MAX_FILE_BYTES:
            raise EdgeError(f"{path} has {size:,} bytes, over the limit of {MAX_FILE_BYTES:,}")
        return path.read_bytes()
    except OSError as error:
        raise EdgeError(f"cannot read {path}: {error.strerror or error}") from error


def _checked_pixels(pixels: np.ndarray) -> np.ndarray:
    if pixels.dtype != np.uint8 or pixels.ndim != 2:
        raise EdgeError(
            f"decoded pixels must be uint8 [H, W]; received {pixels.dtype} {list(pixels.shape)}"
        )
    check_size(pixels.shape[1], pixels.shape[0], "the image")
    return pixels


def _decode(data: bytes, name: str) -> Picture:
    with Image.open(io.BytesIO(data), formats=FORMATS) as image:
        check_size(*image.size, name)
        turn = exif.orientation(image)
        picture = _jpeg(image, data) if image.format == "JPEG" else _without_loss(image)
    return Picture(exif.upright(picture.pixels, turn), picture.colourfulness)


def _jpeg(image: Image.Image, data: bytes) -> Picture:
    colourfulness = _jpeg_colourfulness(data) if image.mode != "L" else 0.0
    image.draft("L", image.size)  # libjpeg's own luma, without a way through RGB
    grey = image if image.mode == "L" else image.convert("L")
    return Picture(np.asarray(grey), colourfulness)


def _without_loss(image: Image.Image) -> Picture:
    if image.mode.startswith("I"):  # 16 bits, held in a wider integer
        return Picture((np.asarray(image).astype(np.int64) >> 8).astype(np.uint8))
    if image.mode in ("L", "LA"):
        return Picture(np.asarray(image.getchannel("L")))
    if image.mode == "1":
        return Picture(np.asarray(image.convert("L")))
    rgb = np.asarray(image.convert("RGB"))
    return Picture(_luma(rgb), _colourfulness(rgb))


def _luma(rgb: np.ndarray) -> np.ndarray:
    """The luma of uint8 [H, W, 3], as uint8 [H, W]."""
    height, width = rgb.shape[:2]
    luma = np.empty((height, width), np.uint8)
    half = 1 << (_LUMA_SHIFT - 1)
    rows = max(1, _LUMA_BLOCK // width)
    for top in range(0, height, rows):
        block = rgb[top : top + rows].astype(np.int32)
        luma[top : top + rows] = (block @ _LUMA_WEIGHTS + half) >> _LUMA_SHIFT
    return luma


def _jpeg_colourfulness(data: bytes) -> float:
    with Image.open(io.BytesIO(data), formats=("JPEG",)) as image:
        image.draft("RGB", (_CHROMA_SIDE, _CHROMA_SIDE))
        return _colourfulness(np.asarray(image.convert("RGB")))


def _colourfulness(rgb: np.ndarray) -> float:
    spread = rgb.max(axis=-1) - rgb.min(axis=-1)
    return float(spread.mean()) / 255
