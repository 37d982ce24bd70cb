"""Decoding against the graph that training uses."""

import io
import struct
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

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


def odd_exif(tag: int, kind: int, value: bytes) -> bytes:
    """EXIF that turns by 90 degrees, with one more tag, of a type that is not its own."""
    entries = [(EXIF_ORIENTATION, 3, b"\6\0"), (tag, kind, value)]
    packed = b"".join(
        struct.pack("<HHI4s", tag, kind, 1 if kind == 3 else len(value), value)
        for tag, kind, value in sorted(entries)
    )
    return b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<H", len(entries)) + packed + b"\0" * 4


def png_with_raw_profile(orientation: int) -> bytes:
    """A PNG with EXIF the way ImageMagick wrote it, as text."""
    block = rotated_exif(orientation).tobytes()
    text = PngInfo()
    text.add_text("Raw profile type exif", f"\nexif\n{len(block):8d}\n{block.hex()}\n")
    return encode(GREY, "PNG", pnginfo=text)


XMP = b"""<x:xmpmeta xmlns:x="adobe:ns:meta/">
<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="6"/>
</rdf:RDF></x:xmpmeta>"""
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
        for number in range(10)
    },
    **{
        f"PNG turned as {number}": encode(COLOUR, "PNG", exif=rotated_exif(number))
        for number in range(10)
    },
    "turned colour JPEG": encode(COLOUR, "JPEG", exif=rotated_exif(6)),
    "JPEG turned by XMP": encode(GREY, "JPEG", xmp=XMP),
    "PNG turned by a raw profile": png_with_raw_profile(6),
    "turned JPEG with a resolution unit in text": encode(
        GREY, "JPEG", exif=odd_exif(0x0128, 2, b"2\0")
    ),
    "turned JPEG with a resolution in text": encode(
        GREY, "JPEG", exif=odd_exif(0x011A, 2, b"72\0")
    ),
    "turned JPEG with a directory in text": encode(
        GREY, "JPEG", exif=odd_exif(0x8769, 2, b"abc\0")
    ),
    "JPEG with cut EXIF": encode(GREY, "JPEG", exif=odd_exif(0x0128, 2, b"2\0")[:24]),
}


@pytest.mark.parametrize("name", ENCODED)
def test_decodes_as_the_training_graph_does(name: str):
    import tensorflow as tf

    from models.image_ops import decode

    expected = decode(tf.constant(ENCODED[name])).numpy()[..., 0]
    np.testing.assert_array_equal(read_image(ENCODED[name]).pixels, expected)


def test_large_colour_images_decode_as_in_the_training_graph():
    import tensorflow as tf

    from models.image_ops import decode

    large = encode(Image.fromarray(RNG.integers(0, 256, (2000, 300, 3), np.uint8)), "PNG")
    expected = decode(tf.constant(large)).numpy()[..., 0]
    np.testing.assert_array_equal(read_image(large).pixels, expected)


def test_a_large_colour_image_takes_no_multiple_of_its_memory():
    height, width = 2500, 2000
    encoded = encode(Image.new("RGB", (width, height), (90, 100, 110)), "PNG")
    tracemalloc.start()
    try:
        read_image(encoded)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 10 * height * width  # bytes; the colours alone are 3 a pixel


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
        (b"not an image at all", r"cannot be decoded \(unknown format\)"),
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
    dataset = dicom(photometric)
    pixels = read_image(saved(dataset)).pixels
    np.testing.assert_array_equal(pixels, ingested(dataset))
    dark_is_low = photometric == "MONOCHROME2"
    assert (pixels[0, 0] < pixels[-1, -1]) == dark_is_low


@pytest.mark.parametrize("bits", [8, 12, 16])
def test_a_table_of_grey_values_is_applied_as_in_ingestion(bits: int):
    from pydicom.dataset import Dataset

    table = Dataset()
    table.add_new("LUTDescriptor", "US", [4096, 0, bits])
    values = np.linspace(0, 2**bits - 1, 4096).astype(np.uint16)
    table.add_new("LUTData", "OW", values.tobytes())
    dataset = dicom("MONOCHROME2")
    dataset.VOILUTSequence = [table]
    pixels = read_image(saved(dataset)).pixels
    np.testing.assert_array_equal(pixels, ingested(dataset))
    assert pixels.max() > 200


def test_damaged_rle_is_refused():
    import pydicom
    from pydicom.encaps import encapsulate, generate_frames

    dataset = dicom("MONOCHROME2")
    dataset.compress(pydicom.uid.RLELossless)
    np.testing.assert_array_equal(read_image(saved(dataset)).pixels, ingested(dataset))
    frame = bytearray(next(generate_frames(dataset.PixelData, number_of_frames=1)))
    frame[8:12] = struct.pack("<I", 70)  # the second segment, said to start inside the first
    dataset.PixelData = encapsulate([bytes(frame)])
    with pytest.raises(EdgeError, match="not readable DICOM"):
        read_image(saved(dataset))


@pytest.mark.parametrize("shape", [(40, 50), (400, 500)])
def test_a_jpeg_inside_has_the_size_that_the_header_says(shape: tuple[int, int]):
    import pydicom
    from pydicom.encaps import encapsulate

    dataset = dicom("MONOCHROME2")
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.JPEGBaseline8Bit
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 8, 8, 7
    inside = Image.fromarray(RNG.integers(0, 256, shape, np.uint8))
    dataset.PixelData = encapsulate([encode(inside, "JPEG")])
    if shape == (dataset.Rows, dataset.Columns):
        np.testing.assert_array_equal(read_image(saved(dataset)).pixels, ingested(dataset))
    else:
        with pytest.raises(EdgeError, match=r"50 x 40 pixels by its header.*500 x 400"):
            read_image(saved(dataset))


def test_a_jpeg_ls_inside_has_the_size_that_the_header_says():
    """Pillow cannot open it, and the decoder allocates what its frame header says."""
    from pydicom.data import get_testdata_file

    data = Path(str(get_testdata_file("MR_small_jpeg_ls_lossless.dcm"))).read_bytes()
    assert read_image(data).pixels.shape == (64, 64)
    start = data.index(b"\xff\xf7") + 5
    assert data[start : start + 4] == bytes([0, 64, 0, 64])
    data = data[:start] + struct.pack(">HH", 3000, 2000) + data[start + 4 :]
    with pytest.raises(EdgeError, match=r"64 x 64 pixels by its header.*2000 x 3000"):
        read_image(data)


@pytest.mark.parametrize("padding", [0, 8192])
def test_deflated_dicom_is_refused(padding: int):
    import pydicom

    dataset = dicom("MONOCHROME2")
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.DeflatedExplicitVRLittleEndian
    # In front of the transfer syntax, which is then not near the start.
    dataset.file_meta.FileMetaInformationVersion = b"\0\1" + b"\0" * padding
    with pytest.raises(EdgeError, match="deflated"):
        read_image(saved(dataset))


def saved(dataset) -> bytes:
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def ingested(dataset) -> np.ndarray:
    from components.ingestion.dicom import read
    from components.ingestion.settings import DataSettings

    return read(saved(dataset), DataSettings()).pixels


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
