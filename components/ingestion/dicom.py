"""DICOM radiographs: presentation pixels, the patient, and nothing else of the header.

Pixels follow the standard's grayscale pipeline (PS3.3 C.11.1 and C.11.2): modality LUT or
rescale, VOI LUT or window, then inversion for MONOCHROME1.
"""

import io
import warnings
from dataclasses import dataclass

import numpy as np
import pydicom
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.encaps import generate_frames
from pydicom.pixels import apply_modality_lut, apply_voi, apply_windowing
from pydicom.uid import RLELossless

from components.ingestion import jpeg
from components.ingestion.fields import field_text
from components.ingestion.limits import check_size
from components.ingestion.refusals import Reason, RefusedError
from components.ingestion.settings import DataSettings

PREAMBLE = 128
DEFLATED = b"1.2.840.10008.1.2.1.99"


@dataclass(frozen=True)
class Instance:
    """One DICOM image: `pixels` uint8 [H, W], the patient id as found, the label tag's text."""

    pixels: np.ndarray
    patient: str
    label: str


def is_dicom(data: bytes) -> bool:
    return data[PREAMBLE : PREAMBLE + 4] == b"DICM"


def read(data: bytes, settings: DataSettings) -> Instance:
    """Decodes a single-frame monochrome DICOM file.

    Raises:
        RefusedError: damaged, without pixels, several frames, colour, too large, or in an
            encoding that is not supported.
    """
    if DEFLATED in data:
        # pydicom inflates the whole data set without a limit, and finds the transfer syntax
        # behind whatever else is in the header, in more than one encoding.
        raise RefusedError(Reason.DICOM_UNSUPPORTED, "deflated transfer syntax: recompress it")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about non-conforming values, of which many exist
            dataset = pydicom.dcmread(io.BytesIO(data))
            _check_header(dataset, settings)
            pixels = presentation(dataset)
            label = field_text(dataset.get(settings.dicom_label_tag))
            return Instance(pixels, field_text(dataset.get("PatientID")), label)
    except RefusedError:
        raise
    except NotImplementedError as error:
        raise RefusedError(Reason.DICOM_UNSUPPORTED, str(error)) from error
    except Exception as error:
        # As in `readers`: a damaged header or codec may raise anything.
        raise RefusedError(
            Reason.DAMAGED_DICOM, f"{error or type(error).__name__}".split("\n")[0]
        ) from error


def _check_header(dataset: Dataset, settings: DataSettings) -> None:
    if "PixelData" not in dataset:
        raise RefusedError(Reason.DICOM_WITHOUT_PIXELS, "a report or index, not an image")
    frames = int(dataset.get("NumberOfFrames") or 1)
    if frames != 1:
        raise RefusedError(
            Reason.MULTI_FRAME, f"DICOM with {frames} frames: a radiograph has a single one"
        )
    photometric = str(dataset.PhotometricInterpretation)
    if int(dataset.SamplesPerPixel) != 1 or photometric not in ("MONOCHROME1", "MONOCHROME2"):
        raise RefusedError(
            Reason.COLOUR_PICTURE, f"DICOM with {photometric} pixels: not a radiograph"
        )
    check_size(int(dataset.Columns), int(dataset.Rows), settings)
    if dataset.file_meta.TransferSyntaxUID.is_compressed:
        _check_codestream(dataset)


def _check_codestream(dataset: Dataset) -> None:
    """Refuses a JPEG, JPEG-LS or JPEG 2000 inside of another size than the DICOM header's."""
    frame = next(generate_frames(dataset.PixelData, number_of_frames=1))
    try:
        with Image.open(io.BytesIO(frame), formats=["JPEG", "JPEG2000"]) as image:
            size: tuple[int, int] | None = image.size
    except OSError:
        size = jpeg.frame_size(frame)  # Pillow knows neither lossless JPEG nor JPEG-LS
    if size is None:
        return  # RLE, whose decoder allocates by the DICOM header
    if size != (int(dataset.Columns), int(dataset.Rows)):
        raise RefusedError(
            Reason.DAMAGED_DICOM,
            f"{dataset.Columns} x {dataset.Rows} pixels by its header, but the picture inside has "
            f"{size[0]} x {size[1]}",
        )


def presentation(dataset: Dataset) -> np.ndarray:
    """Returns the pixels as a viewer shows them, uint8 [H, W], 0 black.

    Without a window or a VOI LUT, the range of the pixels (without padding) is the window.
    """
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
