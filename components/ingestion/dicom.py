"""DICOM radiographs: presentation pixels, the patient, and nothing else of the header.

What the pixels are is decided in `edge.dicom`: a device sees what training saw.
"""

import io
import warnings
from dataclasses import dataclass

import numpy as np
import pydicom
from pydicom.dataset import Dataset

from components.ingestion.fields import field_text
from components.ingestion.limits import check_size
from components.ingestion.refusals import Reason, RefusedError
from components.ingestion.settings import DataSettings
from edge.dicom import DEFLATED, presentation, size_inside

PREAMBLE = 128


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
    width, height = size_inside(dataset)
    if (width, height) != (int(dataset.Columns), int(dataset.Rows)):
        raise RefusedError(
            Reason.DAMAGED_DICOM,
            f"{dataset.Columns} x {dataset.Rows} pixels by its header, but the picture inside has "
            f"{width} x {height}",
        )
