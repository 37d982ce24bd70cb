"""DICOM radiographs as a viewer shows them; needs pydicom (`pip install coronet-edge[dicom]`)."""

import io
import warnings
from typing import Any

import numpy as np
from PIL import Image

from edge import jpeg
from edge.errors import EdgeError

DEFLATED = b"1.2.840.10008.1.2.1.99"
"""A file with these bytes anywhere is not for pydicom: it inflates the whole data set without a
limit, and finds the transfer syntax behind whatever else is in the header, in any encoding."""


def read_pixels(data: bytes, name: str, max_pixels: int) -> np.ndarray:
    """Decodes a single-frame monochrome DICOM file, as `presentation` does.

    Returns:
        uint8 [H, W], 0 black.

    Raises:
        EdgeError: pydicom is not installed, or the file is damaged, holds no single
            monochrome frame, is deflated, or has more than `max_pixels` pixels.
    """
    try:
        import pydicom
    except ImportError as error:
        raise EdgeError(f"{name} is DICOM: install pydicom to read it") from error
    if DEFLATED in data:
        raise EdgeError(f"{name} is deflated DICOM: save it in another transfer syntax")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about non-conforming values, of which many exist
            dataset = pydicom.dcmread(io.BytesIO(data))
            _check(dataset, name, max_pixels)
            return presentation(dataset)
    except EdgeError:
        raise
    except Exception as error:  # a damaged header or codec may raise anything
        raise EdgeError(f"{name} is not readable DICOM: {error or type(error).__name__}") from error


def _check(dataset: Any, name: str, max_pixels: int) -> None:
    if "PixelData" not in dataset:
        raise EdgeError(f"{name} is DICOM without an image")
    if int(dataset.get("NumberOfFrames") or 1) != 1:
        raise EdgeError(f"{name} has several frames: a radiograph has one")
    if int(dataset.SamplesPerPixel) != 1 or not str(dataset.PhotometricInterpretation).startswith(
        "MONOCHROME"
    ):
        raise EdgeError(f"{name} is colour DICOM: not a radiograph")
    if int(dataset.Rows) * int(dataset.Columns) > max_pixels:
        raise EdgeError(
            f"{name} has {dataset.Columns} x {dataset.Rows} pixels, over the limit of "
            f"{max_pixels:,}: scale it down"
        )
    width, height = size_inside(dataset)
    if (width, height) != (int(dataset.Columns), int(dataset.Rows)):
        raise EdgeError(
            f"{name} has {dataset.Columns} x {dataset.Rows} pixels by its header, but the "
            f"picture inside has {width} x {height}: it is damaged"
        )


def size_inside(dataset: Any) -> tuple[int, int]:
    """Returns the (width, height) of the JPEG, JPEG-LS or JPEG 2000 inside; else the header's.

    Decoders take the memory that the picture inside asks for, which a limit on the header's
    size does not see.
    """
    by_header = int(dataset.Columns), int(dataset.Rows)
    if not dataset.file_meta.TransferSyntaxUID.is_compressed:
        return by_header
    from pydicom.encaps import generate_frames

    frame = next(generate_frames(dataset.PixelData, number_of_frames=1))
    try:
        with Image.open(io.BytesIO(frame), formats=("JPEG", "JPEG2000")) as image:
            return image.size
    except OSError:
        # Pillow knows neither lossless JPEG nor JPEG-LS; RLE's decoder allocates by the header.
        return jpeg.frame_size(frame) or by_header


def presentation(dataset: Any) -> np.ndarray:
    """Returns the pixels of a pydicom data set as a viewer shows them.

    The standard's greyscale pipeline (PS3.3 C.11.1 and C.11.2): modality table or rescale, then
    VOI table or window (the range of the pixels without padding where there is none), then
    MONOCHROME1 inverted.

    Returns:
        uint8 [H, W], 0 black.
    """
    from pydicom.pixels import apply_modality_lut, apply_voi, apply_windowing
    from pydicom.uid import RLELossless

    if dataset.file_meta.TransferSyntaxUID == RLELossless:
        # pylibjpeg-rle panics over damaged data, past `except Exception`.
        dataset.pixel_array_options(decoding_plugin="pydicom")
    stored = dataset.pixel_array
    values = apply_modality_lut(stored, dataset)
    if dataset.get("VOILUTSequence"):
        descriptor = dataset.VOILUTSequence[0].LUTDescriptor
        low, high = 0.0, 2.0 ** descriptor[2] - 1
        # pydicom 3.0 counts entries in the type of the output: 8 bits overflow at the 256th.
        descriptor[2] = max(descriptor[2], 16)
        values = apply_voi(values, dataset)
    elif dataset.get("WindowWidth") is not None and dataset.get("WindowCenter") is not None:
        values = apply_windowing(values, dataset)
        with np.errstate(over="ignore"):
            low, high = apply_windowing(np.array([-np.inf, np.inf]), dataset)
    else:
        padding = dataset.get("PixelPaddingValue")
        shown = values[stored != padding] if padding is not None else values
        shown = shown if shown.size else values
        low, high = shown.min(), shown.max()
    span = float(high) - float(low) or 1.0
    scaled = np.clip((values.astype(np.float64) - low) / span, 0, 1)
    if dataset.PhotometricInterpretation == "MONOCHROME1":
        scaled = 1 - scaled
    return np.rint(scaled * 255).astype(np.uint8)
