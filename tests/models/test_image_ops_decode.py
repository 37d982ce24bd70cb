"""Decoding against OpenCV and Pillow: depths, colours, transparency, orientation, damage."""

import io
from pathlib import Path

import cv2
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from models.exif import orientation
from models.image_ops import decode, encode

EXIF_ORIENTATION = 0x0112
GENERATOR = np.random.default_rng(7)
GREY = GENERATOR.integers(0, 256, (40, 30), dtype=np.uint8)
RGB = GENERATOR.integers(0, 256, (40, 30, 3), dtype=np.uint8)


@tf.function(input_signature=[tf.TensorSpec([], tf.string)])
def decoded(content):
    return tf.squeeze(decode(content), -1)


def file(image: Image.Image, kind: str, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def opencv(content: bytes, flags: int) -> np.ndarray:
    return cv2.imdecode(np.frombuffer(content, np.uint8), flags)


def luma(content: bytes) -> np.ndarray:
    return cv2.cvtColor(opencv(content, cv2.IMREAD_COLOR), cv2.COLOR_BGR2GRAY)


@pytest.mark.parametrize("image", [GREY, RGB], ids=["grey", "colour"])
@pytest.mark.parametrize("options", [{}, {"progressive": True}], ids=["baseline", "progressive"])
def test_jpeg_is_its_luma_channel(image, options):
    content = file(Image.fromarray(image), "JPEG", **options)
    np.testing.assert_array_equal(decoded(content), opencv(content, cv2.IMREAD_GRAYSCALE))


@pytest.mark.parametrize("mode", ["1", "L", "LA"])
def test_grey_png_keeps_its_values(mode):
    image = Image.fromarray(GREY).convert("1" if mode == "1" else "L")
    expected = np.asarray(image.convert("L"))
    if mode == "LA":
        image.putalpha(Image.fromarray(GREY[::-1]))
    np.testing.assert_array_equal(decoded(file(image, "PNG")), expected)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P"])
def test_colour_png_becomes_opencvs_luma(mode):
    image = Image.fromarray(RGB)
    if mode == "RGBA":
        image.putalpha(Image.fromarray(GREY))
    content = file(image.quantize(64) if mode == "P" else image, "PNG")
    np.testing.assert_array_equal(decoded(content), luma(content))


@pytest.mark.parametrize("shape", [(40, 30), (40, 30, 3)], ids=["grey", "colour"])
def test_of_16_bits_the_upper_8_count(shape):
    values = GENERATOR.integers(0, 1 << 16, shape, dtype=np.uint16)
    content = cv2.imencode(".png", values)[1].tobytes()
    upper = (values >> 8).astype(np.uint8)
    expected = upper if upper.ndim == 2 else cv2.cvtColor(upper, cv2.COLOR_BGR2GRAY)
    np.testing.assert_array_equal(decoded(content), expected)


def test_bmp_and_the_first_frame_of_a_gif():
    bmp = file(Image.fromarray(RGB), "BMP")
    np.testing.assert_array_equal(decoded(bmp), luma(bmp))
    frames = [Image.fromarray(GREY), Image.fromarray(GREY[::-1])]
    gif = file(frames[0], "GIF", save_all=True, append_images=frames[1:])
    np.testing.assert_array_equal(decoded(gif), GREY)


def with_palette(colours: np.ndarray) -> bytes:
    """A BMP of noise in these colours, uint8 [N, 3]."""
    image = Image.fromarray(GENERATOR.integers(0, len(colours), (9, 31), dtype=np.uint8), "P")
    image.putpalette(colours.tobytes())
    return file(image, "BMP")


@pytest.mark.parametrize("colours", [256, 16, 1])
def test_a_bmps_palette_is_looked_up(colours):
    ramp = np.linspace(255, 0, colours).astype(np.uint8)  # a negative, as scanners store it
    for palette in (np.stack([ramp] * 3, axis=1), RGB.reshape(-1, 3)[:colours]):
        bmp = with_palette(palette)
        np.testing.assert_array_equal(decoded(bmp), luma(bmp))


def test_a_bmp_that_lost_colours_of_its_palette_is_an_error_not_a_crash():
    bmp = bytearray(with_palette(RGB.reshape(-1, 3)[:256]))
    for start in (54, 54 + 4 * 7, 0, -1):
        bmp[10:14] = start.to_bytes(4, "little", signed=True)
        with pytest.raises(tf.errors.InvalidArgumentError):
            decoded(bytes(bmp))


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
@pytest.mark.parametrize("value", range(1, 9))
def test_exif_orientation_is_applied(kind, value):
    image = Image.fromarray(GREY)
    exif = image.getexif()
    exif[0x010F] = "a maker, so that the tag is not the first"
    exif[EXIF_ORIENTATION] = value
    content = file(image, kind, exif=exif)
    expected = ImageOps.exif_transpose(Image.open(io.BytesIO(content)))
    np.testing.assert_array_equal(decoded(content), np.asarray(expected))
    np.testing.assert_array_equal(decoded(content), opencv(content, cv2.IMREAD_GRAYSCALE))


def exif_block(little: bool, value: int) -> bytes:
    order = "little" if little else "big"
    entry = b"".join(
        number.to_bytes(width, order)
        for number, width in [(EXIF_ORIENTATION, 2), (3, 2), (1, 4), (value, 2), (0, 2)]
    )
    start = (b"II" if little else b"MM") + (42).to_bytes(2, order) + (8).to_bytes(4, order)
    return start + (1).to_bytes(2, order) + entry + bytes(4)


@pytest.mark.parametrize("little", [True, False], ids=["II", "MM"])
@pytest.mark.parametrize(("value", "expected"), [(6, 6), (0, 1), (9, 1), (777, 1)])
def test_both_byte_orders_and_nonsense_values(little, value, expected):
    content = file(Image.fromarray(GREY), "JPEG", exif=b"Exif\0\0" + exif_block(little, value))
    assert orientation(tf.constant(content)).numpy() == expected


def segment(marker: int, payload: bytes) -> bytes:
    return bytes([0xFF, marker]) + (len(payload) + 2).to_bytes(2, "big") + payload


PLAIN = file(Image.fromarray(GREY), "JPEG")
EXIF_SEGMENT = segment(0xE1, b"Exif\0\0" + exif_block(True, 6))


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        # JFIF's own thumbnails: a JPEG, scan and all, before the EXIF of the image.
        (PLAIN[:2] + segment(0xE0, b"JFXX\0\x10" + PLAIN) + EXIF_SEGMENT + PLAIN[2:], 6),
        (PLAIN[:2] + segment(0xE2, b"a scan \xff\xda") + EXIF_SEGMENT + PLAIN[2:], 6),
        (PLAIN + EXIF_SEGMENT, 1),
    ],
    ids=["after a thumbnail", "after what looks like a scan", "after the image"],
)
def test_only_what_comes_before_the_pixels_counts(content, expected):
    assert orientation(tf.constant(content)).numpy() == expected
    np.testing.assert_array_equal(decoded(content), opencv(content, cv2.IMREAD_GRAYSCALE))


ROTATED = file(Image.fromarray(GREY), "JPEG", exif=b"Exif\0\0" + exif_block(True, 6))


@settings(max_examples=60, deadline=None)
@given(st.integers(2, 120), st.binary(min_size=1, max_size=8), st.integers(0, len(ROTATED)))
def test_damaged_exif_never_fails(position, garbage, length):
    content = ROTATED[:position] + garbage + ROTATED[position + len(garbage) :]
    assert 1 <= orientation(tf.constant(content[:length])).numpy() <= 8


@pytest.mark.parametrize(
    "content", [b"", b"not an image", ROTATED[:90], b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"]
)
def test_what_is_no_image_is_an_error_not_a_crash(content):
    with pytest.raises(tf.errors.InvalidArgumentError):
        decoded(content)


def test_real_radiographs(cxr4: Path):
    paths = sorted((cxr4 / "train").glob("*.jpeg"))[::60]
    assert paths
    for path in paths:
        expected = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
        np.testing.assert_array_equal(decoded(path.read_bytes()), expected)


def test_encode_is_lossless():
    content = encode(tf.constant(GREY[..., None])).numpy()
    np.testing.assert_array_equal(opencv(content, cv2.IMREAD_UNCHANGED), GREY)
