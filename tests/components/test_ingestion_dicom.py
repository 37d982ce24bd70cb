"""DICOM against the standard's formulas, pydicom's own sample files, and hostile headers."""

import io
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom import examples
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import (
    MPEG2MPML,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    RLELossless,
    generate_uid,
)

from components.ingestion.readers import read
from components.ingestion.refusals import Reason, RefusedError
from components.ingestion.settings import DataSettings

SETTINGS = DataSettings(min_grey_levels=8)
SECRETS = {
    "PatientName": "Secret^Name",
    "PatientID": "MRN-0815",
    "PatientBirthDate": "19700101",
    "PatientAddress": "1 Hidden Street",
    "AccessionNumber": "ACC-4711",
    "InstitutionName": "Hidden Hospital",
    "ReferringPhysicianName": "Hidden^Doctor",
    "StudyDescription": "hidden description",
}


def make(pixels: np.ndarray, **header: object) -> bytes:
    """A DICOM file of `pixels`, uint16 or int16 [H, W]; 12 bits stored unless said otherwise."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID = "1.2.840.10008.5.1.4.1.1.1.1"
    dataset.SOPInstanceUID = generate_uid()
    dataset.Rows, dataset.Columns = pixels.shape
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 12, 11
    dataset.PixelRepresentation = int(pixels.dtype == np.int16)
    dataset.PixelData = pixels.tobytes()
    for key, value in {**SECRETS, **header}.items():
        if key in ("TransferSyntaxUID", "FileMetaInformationVersion"):
            setattr(dataset.file_meta, key, value)
        else:
            setattr(dataset, key, value)
    buffer = io.BytesIO()
    pydicom.dcmwrite(buffer, dataset, enforce_file_format=True)
    return buffer.getvalue()


@pytest.fixture(scope="module")
def deep(xray: Callable[..., np.ndarray]) -> np.ndarray:
    """12-bit pixels, uint16 [64, 80]."""
    return xray().astype(np.uint16) * 16 + 5


def linear_window(values: np.ndarray, center: float, width: float) -> np.ndarray:
    """PS3.3 C.11.2.1.2.1, to 0..255."""
    scaled = ((values - (center - 0.5)) / (width - 1) + 0.5) * 255
    scaled[values <= center - 0.5 - (width - 1) / 2] = 0
    scaled[values > center - 0.5 + (width - 1) / 2] = 255
    return np.rint(scaled).astype(np.uint8)


def test_without_a_window_the_range_of_the_pixels_is_shown(deep):
    low, high = float(deep.min()), float(deep.max())
    expected = np.rint((deep - low) / (high - low) * 255).astype(np.uint8)
    np.testing.assert_array_equal(read(make(deep), SETTINGS).pixels, expected)


def test_the_window_is_applied_as_the_standard_says(deep):
    data = make(deep, WindowCenter=1800, WindowWidth=1500)
    expected = linear_window(deep.astype(np.float64), 1800, 1500)
    np.testing.assert_array_equal(read(data, SETTINGS).pixels, expected)


@pytest.mark.parametrize("half", [{"WindowCenter": 1800}, {"WindowWidth": 1500}])
def test_half_a_window_is_none(deep, half):
    np.testing.assert_array_equal(
        read(make(deep, **half), SETTINGS).pixels, read(make(deep), SETTINGS).pixels
    )


def test_the_first_of_several_windows_counts(deep):
    data = make(deep, WindowCenter=[1800, 40], WindowWidth=[1500, 80])
    expected = linear_window(deep.astype(np.float64), 1800, 1500)
    np.testing.assert_array_equal(read(data, SETTINGS).pixels, expected)


def test_rescale_comes_before_the_window(deep):
    data = make(deep, RescaleSlope=2, RescaleIntercept=-1000, WindowCenter=2600, WindowWidth=3000)
    expected = linear_window(deep.astype(np.float64) * 2 - 1000, 2600, 3000)
    np.testing.assert_array_equal(read(data, SETTINGS).pixels, expected)


def test_monochrome1_is_inverted(deep):
    plain = read(make(deep), SETTINGS).pixels
    inverted = read(make(deep, PhotometricInterpretation="MONOCHROME1"), SETTINGS).pixels
    np.testing.assert_allclose(inverted.astype(int), 255 - plain.astype(int), atol=1)


def test_signed_pixels(deep):
    signed = (deep.astype(np.int32) - 2048).astype(np.int16)
    np.testing.assert_array_equal(
        read(make(signed), SETTINGS).pixels, read(make(deep), SETTINGS).pixels
    )


def test_padding_does_not_stretch_the_range(deep):
    padded = deep.copy()
    padded[:, :5] = 4095
    shown = read(make(padded, PixelPaddingValue=4095), SETTINGS).pixels
    inside = deep[:, 5:].astype(float)
    expected = np.rint((inside - inside.min()) / (inside.max() - inside.min()) * 255)
    np.testing.assert_array_equal(shown[:, 5:], expected)


@pytest.mark.parametrize("bits", [8, 12])
def test_a_voi_lookup_table(deep, bits):
    table = Dataset()
    table.LUTDescriptor = [4096, 0, bits]
    highest = 2**bits - 1
    table.LUTData = [highest - min(highest, level * highest // 3000) for level in range(4096)]
    table["LUTData"].VR = "US"
    shown = read(make(deep, VOILUTSequence=[table]), SETTINGS).pixels
    expected = np.rint(np.array(table.LUTData)[deep] / highest * 255)
    np.testing.assert_array_equal(shown, expected)


@pytest.mark.parametrize(
    ("compressed", "plain"),
    [
        ("MR_small_RLE.dcm", "MR_small.dcm"),
        ("MR_small_jp2klossless.dcm", "MR_small.dcm"),
        ("MR_small_jpeg_ls_lossless.dcm", "MR_small.dcm"),
        ("MR_small_bigendian.dcm", "MR_small.dcm"),
    ],
)
def test_lossless_transfer_syntaxes_give_the_same_pixels(compressed, plain):
    """pydicom's sample files: RLE, JPEG 2000, JPEG-LS and big endian of one image."""
    one, other = (
        read(Path(str(get_testdata_file(name))).read_bytes(), SETTINGS).pixels
        for name in (compressed, plain)
    )
    np.testing.assert_array_equal(one, other)


def test_lossy_jpeg_inside():
    path = Path(str(get_testdata_file("JPGExtended.dcm")))
    shown = read(path.read_bytes(), SETTINGS).pixels
    dataset = pydicom.dcmread(path)
    assert shown.shape == (dataset.Rows, dataset.Columns)
    correlation = np.corrcoef(shown.ravel(), dataset.pixel_array.ravel())[0, 1]
    assert correlation > 0.9


def test_the_patient_is_found_and_nothing_else_leaves_the_header(deep):
    radiograph = read(make(deep), SETTINGS)
    assert radiograph.patient == "MRN-0815"
    for value in SECRETS.values():
        assert value.encode() not in radiograph.encoded


def test_the_label_tag(deep):
    settings = DataSettings(dicom_label_tag="ImageComments")
    assert read(make(deep, ImageComments="COVID-19"), settings).label == "COVID-19"
    assert read(make(deep), settings).label == ""
    number = DataSettings(dicom_label_tag="SeriesNumber")
    assert read(make(deep, SeriesNumber=0), number).label == "0"
    assert read(make(deep, SeriesNumber=None), number).label == ""


def refused(data: bytes) -> RefusedError:
    with pytest.raises(RefusedError) as caught:
        read(data, SETTINGS)
    return caught.value


def test_refused_multi_frame(deep):
    stacked = make(np.concatenate([deep, deep]), Rows=deep.shape[0], NumberOfFrames=2)
    error = refused(stacked)
    assert error.reason == Reason.MULTI_FRAME
    assert "2 frames" in error.detail


def test_refused_colour():
    data = Path(str(examples.get_path("rgb_color"))).read_bytes()
    assert refused(data).reason == Reason.COLOUR_PICTURE


@pytest.mark.parametrize(
    "header", [{"SamplesPerPixel": 3}, {"PhotometricInterpretation": "PALETTE COLOR"}]
)
def test_refused_colour_by_either_sign(deep, header):
    assert refused(make(deep, **header)).reason == Reason.COLOUR_PICTURE


def test_refused_padding_alone(deep):
    blank = np.full_like(deep, 4095)
    assert refused(make(blank, PixelPaddingValue=4095)).reason == Reason.TOO_FEW_GREY_LEVELS


def test_refused_video():
    dataset = pydicom.dcmread(str(get_testdata_file("MR_small_RLE.dcm")))
    dataset.file_meta.TransferSyntaxUID = MPEG2MPML
    buffer = io.BytesIO()
    pydicom.dcmwrite(buffer, dataset)
    error = refused(buffer.getvalue())
    assert error.reason == Reason.DICOM_UNSUPPORTED
    assert "MPEG2" in error.detail


def test_refused_without_pixels():
    data = Path(str(get_testdata_file("rtplan.dcm"))).read_bytes()
    assert refused(data).reason == Reason.DICOM_WITHOUT_PIXELS


def test_refused_deflated(deep):
    data = make(deep, TransferSyntaxUID=DeflatedExplicitVRLittleEndian)
    assert refused(data).reason == Reason.DICOM_UNSUPPORTED


def test_refused_deflated_behind_a_long_header(deep):
    data = make(
        deep,
        TransferSyntaxUID=DeflatedExplicitVRLittleEndian,
        FileMetaInformationVersion=bytes(5000),
    )
    assert refused(data).reason == Reason.DICOM_UNSUPPORTED


def test_refused_jpeg_ls_of_another_size():
    """Pillow cannot open it, and the decoder allocates what its frame header says."""
    data = Path(str(get_testdata_file("MR_small_jpeg_ls_lossless.dcm"))).read_bytes()
    start = data.index(b"\xff\xf7") + 5
    assert data[start : start + 4] == bytes([0, 64, 0, 64])
    error = refused(data[:start] + struct.pack(">HH", 3000, 2000) + data[start + 4 :])
    assert error.reason == Reason.DAMAGED_DICOM
    assert "64 x 64 pixels by its header, but the picture inside has 2000 x 3000" in error.detail


def test_refused_a_strip(deep):
    error = refused(make(deep, Rows=40, Columns=20_001))
    assert error.reason == Reason.TOO_MANY_PIXELS
    assert error.detail.startswith("20001 x 40 pixels")


def test_refused_truncated():
    data = Path(str(get_testdata_file("MR_small.dcm"))).read_bytes()
    assert refused(data[: len(data) - 3000]).reason == Reason.DAMAGED_DICOM


def test_refused_header_only(deep):
    assert refused(make(deep)[:140]).reason in (Reason.DAMAGED_DICOM, Reason.DICOM_WITHOUT_PIXELS)


def test_refused_billion_pixels(deep):
    data = make(deep, Rows=40_000, Columns=25_000)
    assert refused(data).reason == Reason.TOO_MANY_PIXELS


def test_refused_too_small(deep):
    assert refused(make(deep[:16])).reason == Reason.TOO_SMALL


@pytest.mark.parametrize("name", ["MR_small_jp2klossless.dcm"])
def test_refused_picture_of_another_size(name):
    """A small header around a large picture would be decoded before anybody looked."""
    dataset = pydicom.dcmread(str(get_testdata_file(name)))
    assert dataset.file_meta.TransferSyntaxUID == JPEG2000Lossless
    dataset.Rows = 40
    buffer = io.BytesIO()
    pydicom.dcmwrite(buffer, dataset)
    error = refused(buffer.getvalue())
    assert error.reason == Reason.DAMAGED_DICOM
    assert "40" in error.detail


@pytest.mark.parametrize(
    ("start", "damage"),
    [(20, bytes(40)), (24, b"\x94")],  # the latter starts a segment early: pylibjpeg-rle panics
)
def test_refused_damaged_rle(start, damage):
    dataset = pydicom.dcmread(str(get_testdata_file("MR_small_RLE.dcm")))
    assert dataset.file_meta.TransferSyntaxUID == RLELossless
    data = bytearray(dataset.PixelData)
    data[start : start + len(damage)] = damage
    dataset.PixelData = bytes(data)
    buffer = io.BytesIO()
    pydicom.dcmwrite(buffer, dataset)
    assert refused(buffer.getvalue()).reason == Reason.DAMAGED_DICOM
