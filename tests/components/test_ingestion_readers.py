"""Every format against OpenCV, the serving graph's decoder, and a list of hostile bytes."""

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFile
from pydantic import ValidationError

from components.ingestion.readers import read
from components.ingestion.refusals import Reason, RefusedError
from components.ingestion.settings import DataSettings
from edge import exif
from edge.images import MAX_PIXELS

SETTINGS = DataSettings()
PNG_MAGIC = b"\x89PNG\r\n\x1a\n"


def png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims a size, and has a few bytes of pixels."""
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return PNG_MAGIC + png_chunk(b"IHDR", header) + png_chunk(b"IDAT", zlib.compress(bytes(99)))


def tinted(grey: np.ndarray) -> np.ndarray:
    """A grey image with the slight tint of a scan, uint8 [H, W, 3]."""
    rgb = np.stack([grey, grey, grey], axis=-1) + np.array([6, 0, -6])
    return np.clip(rgb, 0, 255).astype(np.uint8)


def test_a_grey_jpeg_is_kept_byte_for_byte(xray, encode):
    data = encode(xray(), "JPEG", quality=80)
    radiograph = read(data, SETTINGS)
    assert radiograph.encoded == data
    np.testing.assert_array_equal(
        radiograph.pixels, cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE)
    )


@pytest.mark.parametrize("name", ["PNG", "BMP", "TIFF", "GIF", "WEBP"])
def test_lossless_formats_give_the_same_pixels_and_digest(xray, encode, name):
    image = xray()
    options = {"lossless": True} if name == "WEBP" else {}
    radiograph = read(encode(image, name, **options), SETTINGS)
    np.testing.assert_array_equal(radiograph.pixels, image)
    assert radiograph.digest == read(encode(image, "PNG"), SETTINGS).digest
    assert radiograph.encoded.startswith(PNG_MAGIC)


def test_the_canonical_png_holds_the_pixels(xray, encode):
    radiograph = read(encode(tinted(xray()), "PNG"), SETTINGS)
    again = cv2.imdecode(np.frombuffer(radiograph.encoded, np.uint8), cv2.IMREAD_UNCHANGED)
    assert again.ndim == 2
    np.testing.assert_array_equal(again, radiograph.pixels)


@pytest.mark.parametrize(
    ("name", "options"), [("PNG", {}), ("BMP", {}), ("TIFF", {}), ("JPEG", {"quality": 85})]
)
def test_colour_becomes_the_luma_of_opencv(xray, encode, name, options):
    data = encode(tinted(xray()), name, **options)
    if name == "JPEG":  # has a luma channel
        expected = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE)
    else:
        expected = cv2.cvtColor(tinted(xray()), cv2.COLOR_RGB2GRAY)
    np.testing.assert_array_equal(read(data, SETTINGS).pixels, expected)


def test_sixteen_bits_keep_the_upper_eight(xray, encode):
    deep = xray().astype(np.uint16) * 256 + 37
    for name in ("PNG", "TIFF"):
        np.testing.assert_array_equal(read(encode(deep, name), SETTINGS).pixels, xray())


@pytest.mark.parametrize("bits", [8, 16])
def test_a_negative_tiff_is_inverted(xray, encode, bits):
    """PhotometricInterpretation 0 (TIFF 6.0, section 8): 0 is imaged as white."""
    stored = xray() if bits == 8 else xray().astype(np.uint16) * 257
    data = encode(stored, "TIFF")
    tag = data.index(struct.pack("<HHI", 262, 3, 1)) + 8
    negative = data[:tag] + struct.pack("<H", 0) + data[tag + 2 :]
    np.testing.assert_array_equal(read(data, SETTINGS).pixels, xray())
    np.testing.assert_array_equal(read(negative, SETTINGS).pixels, 255 - xray())


@pytest.mark.parametrize("bits", [12, 13, 14])
def test_fewer_bits_stored_in_sixteen_are_named(xray, encode, bits):
    deep = (xray().astype(np.uint16) << 8) >> (16 - bits)
    for name in ("PNG", "TIFF"):
        with pytest.raises(RefusedError, match=f"{bits} of 16 bits are used") as refused:
            read(encode(deep, name), SETTINGS)
        assert refused.value.reason == Reason.TOO_FEW_GREY_LEVELS
    anything = DataSettings(min_grey_levels=1)
    np.testing.assert_array_equal(read(encode(deep), anything).pixels, deep >> 8)


def test_a_dark_image_of_sixteen_bits_is_taken(xray, encode):
    dark = xray().astype(np.uint16) * 128
    np.testing.assert_array_equal(read(encode(dark), SETTINGS).pixels, xray() // 2)


def test_transparency_is_dropped(xray, encode):
    grey = Image.fromarray(xray())
    alpha = Image.fromarray(xray(5))
    for image in (
        Image.merge("LA", (grey, alpha)),
        Image.merge("RGBA", (grey, grey, grey, alpha)),
    ):
        np.testing.assert_array_equal(read(encode(image, "PNG"), SETTINGS).pixels, xray())


def test_a_palette_becomes_grey(xray, encode):
    palette = Image.fromarray(xray())
    palette.putpalette([value for level in range(256) for value in (level, level, level)])
    np.testing.assert_array_equal(read(encode(palette, "PNG"), SETTINGS).pixels, xray())


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("name", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_exif_orientation_is_applied(xray, encode, name, orientation):
    from PIL import ImageOps

    tags = Image.Exif()
    tags[exif.ORIENTATION] = orientation
    options = {"lossless": True} if name == "WEBP" else {}
    data = encode(xray(), name, exif=tags, **options)
    radiograph = read(data, SETTINGS)
    if name == "JPEG":
        upright = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE)
    else:
        plain = Image.fromarray(xray())
        plain.getexif()[exif.ORIENTATION] = orientation
        upright = np.asarray(ImageOps.exif_transpose(plain))
    np.testing.assert_array_equal(radiograph.pixels, upright)
    assert radiograph.pixels.shape == ((64, 80) if orientation <= 4 else (80, 64))
    kept = radiograph.encoded.startswith(b"\xff\xd8")
    assert kept == (name == "JPEG" and orientation == 1)


def exif_block(kind: int, count: int, value: bytes, order: str = "<") -> bytes:
    """A TIFF structure of two tags: the orientation, and a date of a type that dates have not."""
    head = b"II*\0" if order == "<" else b"MM\0*"
    orientation = struct.pack(f"{order}HHI", exif.ORIENTATION, kind, count) + value.ljust(4, b"\0")
    date = struct.pack(f"{order}HHII", 0x0132, 5, 1, 8)  # a fraction, with the header for value
    return head + struct.pack(f"{order}IH", 8, 2) + orientation + date + bytes(4)


def with_exif(png: bytes, block: bytes) -> bytes:
    end = len(PNG_MAGIC) + 25
    return png[:end] + png_chunk(b"eXIf", block) + png[end:]


TURNED = struct.pack("<H", 6)
ODD_EXIF = {
    "other tags of wrong types": exif_block(3, 1, TURNED),
    "big endian": exif_block(3, 1, struct.pack(">H", 6), ">"),
    "orientation of four bytes": exif_block(4, 1, TURNED),
    "big endian of four bytes": exif_block(4, 1, struct.pack(">I", 6), ">"),
    "orientation as text": exif_block(2, 2, b"6\0"),
    "orientation as fraction": exif_block(5, 1, struct.pack("<I", 8)),
    "no such orientation": exif_block(3, 1, struct.pack("<H", 9)),
    "no room for a tag": exif_block(3, 1, TURNED)[:10],
    "nothing": b"",
    "no TIFF structure": b"\xff" * 40,
}


@pytest.mark.parametrize("kind", ODD_EXIF)
def test_odd_exif_turns_a_png_as_the_serving_graph_does(xray, encode, kind):
    from models import image_ops

    data = with_exif(encode(xray()), ODD_EXIF[kind])
    served = image_ops.decode(data).numpy()[..., 0]
    np.testing.assert_array_equal(read(data, SETTINGS).pixels, served)


@pytest.mark.parametrize("kind", ODD_EXIF)
def test_odd_exif_turns_a_jpeg_as_the_serving_graph_does(xray, encode, kind):
    from models import image_ops

    block = b"Exif\0\0" + ODD_EXIF[kind]
    jpeg = encode(xray(), "JPEG")
    data = jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(block) + 2) + block + jpeg[2:]
    served = image_ops.decode(data).numpy()[..., 0]
    np.testing.assert_array_equal(read(data, SETTINGS).pixels, served)


@pytest.mark.parametrize("name", ["JPEG", "PNG"])
def test_an_orientation_in_xmp_turns_nothing_as_in_the_serving_graph(xray, encode, name):
    from PIL.PngImagePlugin import PngInfo

    from models import image_ops

    packet = '<x:xmpmeta><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
    notes = PngInfo()
    notes.add_itxt("XML:com.adobe.xmp", packet)
    options = {"pnginfo": notes} if name == "PNG" else {"xmp": packet.encode()}
    data = encode(xray(), name, **options)
    served = image_ops.decode(data).numpy()[..., 0]
    assert served.shape == (64, 80)
    np.testing.assert_array_equal(read(data, SETTINGS).pixels, served)


@settings(deadline=None, max_examples=50)  # time is not what is tested
@given(st.binary(max_size=80), st.booleans(), st.integers(0, 9))
def test_any_exif_means_what_it_means_to_the_serving_graph(noise, structured, value):
    from models.exif import orientation

    block = exif_block(3, 1, struct.pack("<H", value))[:40] + noise if structured else noise
    # Zeros, because past its end the graph reads on in the file.
    data = with_exif(png_header(64, 64), block + bytes(300))
    with Image.open(io.BytesIO(data)) as image:
        assert exif.orientation(image) == int(orientation(data))


def with_jpeg_size(jpeg: bytes, height: int, width: int) -> bytes:
    """The same file, whose frame header (ITU-T T.81, B.2.2) announces another size."""
    start = jpeg.index(b"\xff\xc0") + 5
    return jpeg[:start] + struct.pack(">HH", height, width) + jpeg[start + 4 :]


def hostile_files(xray, encode) -> dict[str, tuple[bytes, Reason]]:
    jpeg, png = encode(xray(), "JPEG"), encode(xray(), "PNG")
    frames = [Image.fromarray(xray(seed)) for seed in range(2)]
    photo = np.stack([xray(1), xray(2), xray(3)], axis=-1)
    flipped = bytearray(png)
    flipped[len(png) // 2] ^= 0xFF
    text = png_chunk(b"zTXt", b"a\0\0" + zlib.compress(b"\0" * 80_000_000))
    header_end = len(PNG_MAGIC) + 25
    return {
        "text_file": (b"these are not the pixels you are looking for", Reason.NOT_AN_IMAGE),
        "html_named_jpeg": (b"<html><body>404</body></html>", Reason.NOT_AN_IMAGE),
        "pdf": (b"%PDF-1.7 and so on", Reason.NOT_AN_IMAGE),
        "random_bytes": (np.random.default_rng(0).bytes(5000), Reason.NOT_AN_IMAGE),
        "jpeg_magic_only": (b"\xff\xd8\xff", Reason.DAMAGED_IMAGE),
        "truncated_jpeg": (jpeg[: len(jpeg) // 2], Reason.DAMAGED_IMAGE),
        "truncated_png": (png[: len(png) // 2], Reason.DAMAGED_IMAGE),
        "flipped_bit_png": (bytes(flipped), Reason.DAMAGED_IMAGE),
        "truncated_tiff": (encode(xray(), "TIFF")[:200], Reason.DAMAGED_IMAGE),
        "truncated_webp": (encode(xray(), "WEBP")[:300], Reason.DAMAGED_IMAGE),
        "truncated_bmp": (encode(xray(), "BMP")[:2000], Reason.DAMAGED_IMAGE),
        "png_text_bomb": (png[:header_end] + text + png[header_end:], Reason.DAMAGED_IMAGE),
        "billion_pixels": (png_header(40_000, 25_000), Reason.TOO_MANY_PIXELS),
        "header_bomb_png": (png_header(30_000, 30_000), Reason.TOO_MANY_PIXELS),
        "header_bomb_jpeg": (with_jpeg_size(jpeg, 30_000, 30_000), Reason.TOO_MANY_PIXELS),
        "long_strip": (png_header(20_001, 40), Reason.TOO_MANY_PIXELS),
        "over_max_pixels": (png_header(8_000, 8_000), Reason.TOO_MANY_PIXELS),
        "zero_width": (png_header(0, 64), Reason.DAMAGED_IMAGE),
        "thumbnail": (encode(xray(0, 20, 200), "PNG"), Reason.TOO_SMALL),
        "one_pixel": (encode(xray(0, 1, 1), "PNG"), Reason.TOO_SMALL),
        "blank": (encode(np.zeros((64, 64), np.uint8), "PNG"), Reason.TOO_FEW_GREY_LEVELS),
        "twelve_bits_in_sixteen": (
            encode(xray().astype(np.uint16) * 16, "PNG"),
            Reason.TOO_FEW_GREY_LEVELS,
        ),
        "fourteen_bits_in_sixteen": (
            encode(xray().astype(np.uint16) * 64, "PNG"),
            Reason.TOO_FEW_GREY_LEVELS,
        ),
        "black_and_white": (encode(xray() // 128 * 255, "PNG"), Reason.TOO_FEW_GREY_LEVELS),
        "colour_photograph": (encode(photo, "JPEG"), Reason.COLOUR_PICTURE),
        "colour_photograph_png": (encode(photo, "PNG"), Reason.COLOUR_PICTURE),
        "cmyk_jpeg": (
            encode(Image.fromarray(photo).convert("CMYK"), "JPEG"),
            Reason.UNSUPPORTED_PIXELS,
        ),
        "float_tiff": (
            encode(Image.fromarray(xray().astype(np.float32)), "TIFF"),
            Reason.UNSUPPORTED_PIXELS,
        ),
        "animated_gif": (
            encode(frames[0], "GIF", save_all=True, append_images=frames[1:]),
            Reason.MULTI_FRAME,
        ),
        "multi_page_tiff": (
            encode(frames[0], "TIFF", save_all=True, append_images=frames[1:]),
            Reason.MULTI_FRAME,
        ),
        "zip_named_png": (b"PK\x03\x04" + bytes(100), Reason.NESTED_ARCHIVE),
        "gzip_named_png": (b"\x1f\x8b\x08" + bytes(100), Reason.NESTED_ARCHIVE),
    }


HOSTILE = (
    "text_file",
    "html_named_jpeg",
    "pdf",
    "random_bytes",
    "jpeg_magic_only",
    "truncated_jpeg",
    "truncated_png",
    "flipped_bit_png",
    "truncated_tiff",
    "truncated_webp",
    "truncated_bmp",
    "png_text_bomb",
    "billion_pixels",
    "header_bomb_png",
    "header_bomb_jpeg",
    "long_strip",
    "over_max_pixels",
    "zero_width",
    "thumbnail",
    "one_pixel",
    "blank",
    "twelve_bits_in_sixteen",
    "fourteen_bits_in_sixteen",
    "black_and_white",
    "colour_photograph",
    "colour_photograph_png",
    "cmyk_jpeg",
    "float_tiff",
    "animated_gif",
    "multi_page_tiff",
    "zip_named_png",
    "gzip_named_png",
)


@pytest.fixture(scope="module")
def hostile(xray, encode) -> dict[str, tuple[bytes, Reason]]:
    files = hostile_files(xray, encode)
    assert sorted(files) == sorted(HOSTILE)
    return files


@pytest.mark.parametrize("kind", HOSTILE)
def test_refused(hostile, kind):
    data, reason = hostile[kind]
    with pytest.raises(RefusedError) as refused:
        read(data, SETTINGS)
    assert refused.value.reason == reason
    assert refused.value.detail


@pytest.mark.parametrize(
    "kind", ["billion_pixels", "header_bomb_png", "header_bomb_jpeg", "over_max_pixels"]
)
def test_a_huge_header_is_not_decoded(hostile, kind, monkeypatch):
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda self: pytest.fail("decoded"))
    monkeypatch.setattr(cv2, "imdecode", lambda *_: pytest.fail("decoded"))
    with pytest.raises(RefusedError) as refused:
        read(hostile[kind][0], SETTINGS)
    assert refused.value.reason == Reason.TOO_MANY_PIXELS


def test_the_edge_build_reads_whatever_is_let_in():
    assert DataSettings(max_pixels=MAX_PIXELS)
    with pytest.raises(ValidationError, match="less than or equal to 50000000"):
        DataSettings(max_pixels=MAX_PIXELS + 1)


def test_refused_pixels_can_be_allowed(xray, encode):
    loose = DataSettings(min_side=1, min_grey_levels=1)
    assert read(encode(xray(0, 20, 200), "PNG"), loose).pixels.shape == (20, 200)


def test_real_xrays_decode_as_in_the_serving_graph(cxr4: Path):
    from models import image_ops

    for path in sorted((cxr4 / "train").iterdir())[::25]:
        radiograph = read(path.read_bytes(), SETTINGS)
        served = image_ops.decode(radiograph.encoded).numpy()[..., 0]
        np.testing.assert_array_equal(radiograph.pixels, served, err_msg=path.name)


@pytest.mark.parametrize(
    "make",
    [
        lambda grey, encode: encode(tinted(grey), "JPEG", quality=85),
        lambda grey, encode: encode(tinted(grey), "PNG"),
        lambda grey, encode: encode(tinted(grey), "BMP"),
        lambda grey, encode: encode(grey.astype(np.uint16) * 256 + 99, "PNG"),
        lambda grey, encode: encode(Image.fromarray(grey).convert("RGBA"), "PNG"),
        lambda grey, encode: encode(grey, "GIF"),
    ],
    ids=["colour JPEG", "colour PNG", "colour BMP", "16-bit PNG", "RGBA PNG", "GIF"],
)
def test_other_encodings_decode_as_in_the_serving_graph(xray, encode, make: Callable[..., bytes]):
    """Training images go through `read`, served ones through the graph: no pixel differs."""
    from models import image_ops

    data = make(xray(), encode)
    served = image_ops.decode(data).numpy()[..., 0]
    np.testing.assert_array_equal(read(data, SETTINGS).pixels, served)
