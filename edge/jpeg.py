"""The size that a JPEG says it has, for the kinds that Pillow does not open as well."""

import struct

_START = b"\xff\xd8"
_FRAMES = frozenset({*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC})  # T.81, table B.1, and JPEG-LS


def frame_size(data: bytes) -> tuple[int, int] | None:
    """Returns the (width, height) in the frame header of `data`, any kind of JPEG or JPEG-LS.

    None if there is none before the first scan, or `data` is something else.
    """
    if data[:2] != _START:
        return None
    at = 2
    while data[at : at + 1] == b"\xff" and at + 9 <= len(data):
        marker = data[at + 1]
        if marker == 0xFF:  # a fill byte
            at += 1
            continue
        if marker in _FRAMES:
            height, width = struct.unpack(">HH", data[at + 5 : at + 9])
            return width, height
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return None
