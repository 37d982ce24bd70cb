"""JPEG metadata: nothing of it is kept, and the pixels stay what they were."""

import io

import numpy as np
import pytest
from PIL import Image

from components.ingestion.jpeg import without_metadata
from components.ingestion.readers import read
from components.ingestion.refusals import Reason, RefusedError
from components.ingestion.settings import DataSettings

SECRET = b"DOE^JANE 1970-01-01"


def segment(marker: int, content: bytes) -> bytes:
    return bytes([0xFF, marker]) + (len(content) + 2).to_bytes(2, "big") + content


def pixels(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)))


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"restart_marker_blocks": 2}])
def test_no_metadata_is_kept_and_the_pixels_are(xray, encode, options):
    plain = encode(xray(), "JPEG", **options)
    exif = Image.Exif()
    exif[0x010E] = SECRET.decode()  # ImageDescription
    told = encode(
        xray(), "JPEG", exif=exif.tobytes(), comment=SECRET, icc_profile=SECRET, **options
    )
    for marker in (0xE1, 0xE2, 0xED, 0xEF, 0xFE):
        told = told[:2] + segment(marker, SECRET) + told[2:]
    told += SECRET
    assert told.count(SECRET) >= 9
    kept = without_metadata(told)
    assert SECRET not in kept
    np.testing.assert_array_equal(pixels(kept), pixels(plain))
    assert without_metadata(kept) == kept
    assert read(told, DataSettings()).encoded == kept
    assert read(told, DataSettings()).digest == read(plain, DataSettings()).digest


def test_a_thumbnail_is_not_kept(xray, encode):
    thumbnail = b"JFIF\0\1\2\0\0\1\0\1" + bytes([2, 2]) + bytes(range(12))
    plain = encode(xray(), "JPEG")
    told = plain[:2] + segment(0xE0, thumbnail) + plain[2:]
    assert without_metadata(told) == plain


def test_fill_bytes_before_a_marker_are_allowed(xray, encode):
    plain = encode(xray(), "JPEG")
    filled = plain[:2] + b"\xff\xff" + plain[2:]
    np.testing.assert_array_equal(pixels(without_metadata(filled)), pixels(plain))


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[:20] + b"loose bytes" + data[20:],
        lambda data: data.replace(b"\xff\xdb\x00\x43", b"\xff\xdb\x00\x23", 1),  # a table's length
        lambda data: data[:2] + data,  # a second start
    ],
    ids=["bytes between segments", "a wrong length", "two starts"],
)
def test_a_broken_structure_is_refused_even_where_pillow_makes_do(xray, encode, damage):
    broken = damage(encode(xray(), "JPEG"))
    with pytest.raises(ValueError, match="at byte"):
        without_metadata(broken)
    with pytest.raises(RefusedError) as refused:
        read(broken, DataSettings())
    assert refused.value.reason == Reason.DAMAGED_IMAGE


@pytest.mark.parametrize(
    "data", [b"", b"\xff\xd8", b"\xff\xd8\xff", b"GIF89a", b"\xff\xd8\xff\xda"]
)
def test_what_is_no_jpeg(data):
    with pytest.raises(ValueError, match="no "):
        without_metadata(data)


def test_real_xrays_are_not_touched(cxr4):
    for path in sorted((cxr4 / "train").iterdir())[:50]:
        data = path.read_bytes()
        if data.startswith(b"\xff\xd8"):
            np.testing.assert_array_equal(pixels(without_metadata(data)), pixels(data))
