"""From a file's bytes to one grey 8-bit image, whatever the file is.

The format is told from the content, never from the name. Whoever wrote the bytes may mean
harm: sizes are checked in the header, before anything is decoded.
"""

import hashlib
import io
import struct
import warnings
from dataclasses import dataclass

import cv2
import numpy as np
from PIL import Image, TiffImagePlugin

from components.ingestion import dicom, jpeg
from components.ingestion.limits import check_content, check_size
from components.ingestion.refusals import Reason, RefusedError
from components.ingestion.settings import DataSettings
from edge import exif

COLOUR_LIMIT = 24
"""Mean difference of the largest and smallest channel, above which it is no radiograph."""
USED_BITS = 15
"""Of 16; an image that was stretched to 16 may be dark enough for 15, but hardly for 14."""

_PHOTOMETRIC, _WHITE_IS_ZERO = 262, 0  # TIFF 6.0, section 8

_ARCHIVE_MAGIC = (
    b"PK\x03\x04",
    b"PK\x05\x06",
    b"\x1f\x8b",
    b"BZh",
    b"\xfd7zXZ",
    b"7z\xbc\xaf",
    b"Rar!",
)


@dataclass(frozen=True)
class Radiograph:
    """One image as the pipeline uses it.

    Attributes:
        pixels: uint8 [H, W].
        encoded: the canonical encoding of `pixels`: if it was a grey 8-bit JPEG that needs
            no rotation, the file's own bytes without its metadata; else PNG.
        patient: what the file itself says (DICOM), unhashed; empty otherwise.
        label: what the file itself says (DICOM), empty otherwise.
    """

    pixels: np.ndarray
    encoded: bytes
    patient: str = ""
    label: str = ""

    @property
    def digest(self) -> str:
        """SHA-256 over the shape and the pixels: equal for any lossless encoding of them."""
        height, width = self.pixels.shape
        return hashlib.sha256(struct.pack("<II", height, width) + self.pixels.tobytes()).hexdigest()


def read(data: bytes, settings: DataSettings) -> Radiograph:
    """Decodes `data`: JPEG, PNG, BMP, TIFF, WebP, GIF (one frame each) or DICOM.

    Colour is reduced to luma (ITU-R 601), 16 bits to the upper 8, transparency is dropped
    and an EXIF orientation applied. DICOM: see `components.ingestion.dicom`.

    Raises:
        RefusedError: the bytes are not one of these, damaged, or not a usable radiograph.
    """
    if dicom.is_dicom(data):
        instance = dicom.read(data, settings)
        radiograph = Radiograph(
            instance.pixels, encode_png(instance.pixels), instance.patient, instance.label
        )
    else:
        radiograph = _read_picture(data, settings)
    check_content(radiograph.pixels, settings)
    return radiograph


def image_format(data: bytes) -> str | None:
    """Returns Pillow's name of the image format by its magic bytes, None if it is no image."""
    if data.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if data.startswith((b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")):
        return "TIFF"
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return "WEBP"
    if data.startswith((b"GIF87a", b"GIF89a")):
        return "GIF"
    return "BMP" if data.startswith(b"BM") else None


def _read_picture(data: bytes, settings: DataSettings) -> Radiograph:
    name = image_format(data)
    if name is None:
        if data.startswith(_ARCHIVE_MAGIC):
            raise RefusedError(Reason.NESTED_ARCHIVE, "an archive where an image should be")
        raise RefusedError(Reason.NOT_AN_IMAGE, f"unknown format, starts with {data[:8]!r}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            # Over our own limit, which is below its error, Pillow only warns.
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(data), formats=[name]) as image:
                return _from_pillow(image, data, settings)
    except RefusedError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise RefusedError(Reason.TOO_MANY_PIXELS, str(error)) from error
    except Exception as error:
        # Decoders meet damaged bytes with any exception there is; one file must not stop
        # the others.
        raise RefusedError(
            Reason.DAMAGED_IMAGE, f"{name}: {error or type(error).__name__}"
        ) from error


def _from_pillow(image: Image.Image, data: bytes, settings: DataSettings) -> Radiograph:
    check_size(image.width, image.height, settings)
    if getattr(image, "n_frames", 1) > 1:
        raise RefusedError(
            Reason.MULTI_FRAME, f"{image.format} with several frames: split it into single images"
        )
    turn = exif.orientation(image)
    # Pillow inverts those of 8 bits only.
    negative = (
        isinstance(image, TiffImagePlugin.TiffImageFile)
        and image.tag_v2.get(_PHOTOMETRIC) == _WHITE_IS_ZERO
    )
    image.load()
    if image.format == "JPEG":
        # Pillow makes do with a broken structure. TensorFlow does not always, and one such
        # file would stop Transform.
        stripped = jpeg.without_metadata(data)
        if image.mode == "L" and turn == exif.UPRIGHT:
            return Radiograph(np.asarray(image), stripped)
        _refuse_colour(image)
        # The luma channel as it is stored: what the serving graph decodes.
        stored = np.frombuffer(data, np.uint8)
        pixels = cv2.imdecode(stored, cv2.IMREAD_GRAYSCALE | cv2.IMREAD_IGNORE_ORIENTATION)
    elif image.mode.startswith("I;16"):
        pixels = _upper_bits(np.asarray(image).astype(np.uint16), negative, settings)
    else:
        pixels = _grey(image)
    pixels = exif.upright(pixels, turn)
    return Radiograph(pixels, encode_png(pixels))


def _grey(image: Image.Image) -> np.ndarray:
    if image.mode in ("1", "L"):
        return np.asarray(image.convert("L"))
    if image.mode in ("LA", "La"):
        return np.asarray(image.getchannel(0))
    if image.mode in ("RGB", "RGBA", "P", "PA"):
        # By way of RGBA, so that a palette's transparency is dropped and not filled in.
        colour = image if image.mode == "RGB" else image.convert("RGBA").convert("RGB")
        _refuse_colour(colour)
        return cv2.cvtColor(np.asarray(colour), cv2.COLOR_RGB2GRAY)
    raise RefusedError(
        Reason.UNSUPPORTED_PIXELS, f"{image.format} of mode {image.mode}: convert to 8-bit grey"
    )


def _upper_bits(deep: np.ndarray, negative: bool, settings: DataSettings) -> np.ndarray:
    """Reduces `deep` (uint16 [H, W]) to the upper 8 bits; `negative`: 0 means white.

    Raises:
        RefusedError: it uses so few bits that it would come out dark.
    """
    used = int(deep.max()).bit_length()
    if used < USED_BITS and settings.min_grey_levels > 1:
        raise RefusedError(
            Reason.TOO_FEW_GREY_LEVELS, f"{used} of 16 bits are used: stretch it to 16 bits"
        )
    grey = (deep >> 8).astype(np.uint8)
    return 255 - grey if negative else grey


def _refuse_colour(image: Image.Image) -> None:
    if image.mode not in ("L", "RGB"):
        raise RefusedError(
            Reason.UNSUPPORTED_PIXELS,
            f"{image.format} of mode {image.mode}: convert to 8-bit grey",
        )
    if image.mode == "RGB":
        channels = np.asarray(image)
        spread = float((channels.max(axis=2) - channels.min(axis=2)).mean())
        if spread > COLOUR_LIMIT:
            raise RefusedError(
                Reason.COLOUR_PICTURE,
                f"channels differ by {spread:.0f} of 255 on average: a photograph or drawing?",
            )


def encode_png(pixels: np.ndarray) -> bytes:
    """Returns `pixels` (uint8 [H, W]) as an 8-bit grey PNG."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG", compress_level=3)
    return buffer.getvalue()
