"""JPEG files without what they say about the patient, the device and the place.

Exports of hospital systems carry names and dates in EXIF, XMP, IPTC or comment segments,
and sometimes the original image as a thumbnail. Only what the decoder needs is kept; the
compressed pixels stay as they are.
"""

import re

START, END, SCAN, COMMENT = 0xD8, 0xD9, 0xDA, 0xFE
APPLICATION = range(0xE0, 0xF0)
RESTARTS = range(0xD0, 0xD8)
STUFFED = 0x00  # after 0xFF in compressed data: the byte 0xFF itself
_AFTER_SCAN = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]", re.DOTALL)  # not stuffed, no restart
JFIF = b"JFIF\0"
JFIF_BYTES = 14  # of a JFIF segment without a thumbnail


def without_metadata(data: bytes) -> bytes:
    """Returns the JPEG `data` without application segments (but a plain JFIF), comments and
    whatever comes after the end of the image.

    Raises:
        ValueError: its structure is not that of a JPEG.
    """
    if data[:2] != bytes([0xFF, START]):
        raise ValueError("no start of image")
    kept = [data[:2]]
    at = 2
    while True:
        start = at
        while data[at : at + 2] == b"\xff\xff":  # fill bytes
            at += 1
        if data[at : at + 1] != b"\xff" or at + 1 >= len(data):
            raise ValueError(f"no marker at byte {at}")
        marker = data[at + 1]
        at += 2
        if marker == END:
            kept.append(bytes([0xFF, END]))
            return b"".join(kept)
        size = int.from_bytes(data[at : at + 2], "big")
        if marker in (STUFFED, START) or marker in RESTARTS or size < 2 or at + size > len(data):
            raise ValueError(f"no segment at byte {start}")
        content = data[at + 2 : at + size]
        at += size
        if marker == SCAN:
            at = _end_of_scan(data, at)
        plain_jfif = content.startswith(JFIF) and len(content) == JFIF_BYTES
        if marker == COMMENT or (marker in APPLICATION and not plain_jfif):
            continue
        kept.append(data[start:at])


def _end_of_scan(data: bytes, at: int) -> int:
    """Returns where the next marker after compressed data is."""
    marker = _AFTER_SCAN.search(data, at)
    if marker is None:
        raise ValueError("no end of image")
    return marker.start()
