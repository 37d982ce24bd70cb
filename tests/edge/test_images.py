"""Decoding against the graph that training uses."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edge import EdgeError
from edge.images import COLOUR_LIMIT, MAX_PIXELS, read_image

EXIF_ORIENTATION = 0x0112


def encode(image: Image.Image, form: str, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def rotated_exif(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[EXIF_ORIENTATION] = orientation
    return exif


RNG = np.random.default_rng(3)
GREY = Image.fromarray(RNG.integers(0, 256, (37, 53), np.uint8))
COLOUR = Image.fromarray(RNG.integers(0, 256, (37, 53, 3), np.uint8))
WITH_ALPHA = Image.fromarray(RNG.integers(0, 256, (37, 53, 4), np.uint8))
DEEP = Image.fromarray(RNG.integers(0, 1 << 16, (37, 53), np.uint16))

ENCODED = {
    "grey JPEG": encode(GREY, "JPEG"),
    "colour JPEG": encode(COLOUR, "JPEG"),
    "subsampled JPEG": encode(COLOUR, "JPEG", subsampling=2),
    "progressive JPEG": encode(GREY, "JPEG", progressive=True),
    "grey PNG": encode(GREY, "PNG"),
    "colour PNG": encode(COLOUR, "PNG"),
    "RGBA PNG": encode(WITH_ALPHA, "PNG"),
    "grey and alpha PNG": encode(WITH_ALPHA.convert("LA"), "PNG"),
    "palette PNG": encode(COLOUR.quantize(64), "PNG"),
    "16-bit PNG": encode(DEEP, "PNG"),
    "1-bit PNG": encode(GREY.convert("1"), "PNG"),
    "BMP": encode(COLOUR, "BMP"),
    "GIF": encode(COLOUR.quantize(64), "GIF"),
    **{
        f"JPEG turned as {number}": encode(GREY, "JPEG", exif=rotated_exif(number))
        for number in range(2, 9)
    },
}


@pytest.mark.parametrize("name", ENCODED)
def test_decodes_as_the_training_graph_does(name: str):
    import tensorflow as tf

    from models.image_ops import decode

    expected = decode(tf.constant(ENCODED[name])).numpy()[..., 0]
    np.testing.assert_array_equal(read_image(ENCODED[name]).pixels, expected)


def test_real_files_decode_as_in_the_training_graph(cxr4: Path):
    import tensorflow as tf

    from models.image_ops import decode

    for path in sorted((cxr4 / "test").iterdir())[::40]:
        expected = decode(tf.constant(path.read_bytes())).numpy()[..., 0]
        np.testing.assert_array_equal(read_image(path).pixels, expected)


def test_colour_is_measured_and_grey_has_none():
    assert read_image(ENCODED["colour JPEG"]).colourfulness > COLOUR_LIMIT
    assert read_image(ENCODED["colour PNG"]).colourfulness > COLOUR_LIMIT
    grey_in_colour = encode(GREY.convert("RGB"), "JPEG")
    assert read_image(grey_in_colour).colourfulness == pytest.approx(0, abs=1e-3)
    assert read_image(ENCODED["grey JPEG"]).colourfulness == 0


def huge_png() -> bytes:
    """A small file whose header announces more pixels than anybody has memory for."""
    data = bytearray(encode(GREY, "PNG"))
    data[16:24] = (60_000).to_bytes(4, "big") * 2
    import zlib

    data[29:33] = zlib.crc32(data[12:29]).to_bytes(4, "big")
    return bytes(data)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (b"", "empty"),
        (b"not an image at all", "cannot be decoded"),
        (ENCODED["grey JPEG"][:400], "cannot be decoded"),
        (ENCODED["grey PNG"][:400], "cannot be decoded"),
        (huge_png(), "over the limit"),
        (np.zeros((0, 5), np.uint8), "no pixels"),
        (np.zeros((5, 5), np.float32), "uint8"),
        (np.zeros((5, 5, 3), np.uint8), "uint8"),
        (np.broadcast_to(np.uint8(0), (MAX_PIXELS, 2)), "over the limit"),
        (Path("/nowhere/x.png"), "/nowhere/x.png"),
        (Path(__file__).parent, "cannot read"),
        (b"\0" * 128 + b"DICM" + b"\0" * 64, "DICOM"),
    ],
)
def test_bad_images_are_refused_with_a_reason(source, message: str):
    with pytest.raises(EdgeError, match=message):
        read_image(source)


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_dicom_is_shown_as_ingestion_shows_it(photometric: str):
    from components.ingestion.dicom import presentation

    dataset = dicom(photometric)
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    pixels = read_image(buffer.getvalue()).pixels
    np.testing.assert_array_equal(pixels, presentation(dataset))
    dark_is_low = photometric == "MONOCHROME2"
    assert (pixels[0, 0] < pixels[-1, -1]) == dark_is_low


def dicom(photometric: str):
    """A 12-bit radiograph with a window, brighter towards the lower right as stored."""
    import pydicom
    from pydicom.dataset import FileDataset, FileMetaDataset

    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = pydicom.uid.DigitalXRayImageStorageForPresentation
    meta.MediaStorageSOPInstanceUID = pydicom.uid.generate_uid()
    meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    dataset = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.SOPClassUID = meta.MediaStorageSOPClassUID
    dataset.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
    dataset.Rows, dataset.Columns = 40, 50
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = photometric
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 12, 11
    dataset.PixelRepresentation = 0
    dataset.RescaleSlope, dataset.RescaleIntercept = "2", "-100"
    dataset.WindowCenter, dataset.WindowWidth = "3000", "4000"
    stored = (np.add.outer(np.arange(40), np.arange(50)) * 40).astype(np.uint16)
    dataset.PixelData = stored.tobytes()
    return dataset
