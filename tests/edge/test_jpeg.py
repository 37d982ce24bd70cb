"""The size in a JPEG's frame header."""

import io

import pytest
from PIL import Image

from edge.jpeg import frame_size


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"comment": b"\xff\xc0" * 9}])
def test_the_size_in_the_frame_header_is_found(options):
    buffer = io.BytesIO()
    Image.new("L", (80, 64)).save(buffer, "JPEG", **options)
    data = buffer.getvalue()
    assert frame_size(data) == (80, 64)
    filled = data[:2] + b"\xff" * 3 + data[2:]
    assert frame_size(filled) == (80, 64)


@pytest.mark.parametrize("name", ["MR_small_jpeg_ls_lossless.dcm", "JPGExtended.dcm"])
def test_the_size_of_other_kinds_of_jpeg_is_found(name):
    """pydicom's sample files; what a DICOM header says about them is the oracle."""
    import pydicom
    from pydicom.data import get_testdata_file
    from pydicom.encaps import generate_frames

    dataset = pydicom.dcmread(str(get_testdata_file(name)))
    frame = next(generate_frames(dataset.PixelData, number_of_frames=1))
    assert frame_size(frame) == (dataset.Columns, dataset.Rows)


@pytest.mark.parametrize(
    "data", [b"", b"RLE", b"\xff\xd8", b"\xff\xd8\xff\xc0", b"\xff\xd8\xff\xda\0\x02" + bytes(20)]
)
def test_what_has_no_frame_header_has_no_size(data):
    assert frame_size(data) is None
