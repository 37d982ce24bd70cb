"""EXIF orientation, read inside the graph: cameras and scanners store a turn, not turned pixels.

The tag is found as the formats prescribe: along the JPEG segments or PNG chunks to the EXIF
block, then through its first directory to tag 0x0112 (CIPA DC-008, section 4.6).
"""

from collections.abc import Callable

import tensorflow as tf

_ORIENTATION_TAG = 0x0112
_UPRIGHT = 1
_ABSENT = -1

# EXIF comes before the pixels and fits one JPEG segment of 64 KiB.
_SEARCHED_BYTES = 1 << 18
_MAX_SEGMENTS = 256
_MENTIONS_EXIF = r"\C*(Exif\x00\x00|eXIf)\C*"  # \C is a byte, where a dot is a character
_JPEG_START = b"\xff\xd8\xff"
_JPEG_SCAN = b"\xff\xda\x00"  # start of scan, whose length always fits one byte

_JPEG_START_OF_SCAN = 0xFFDA
_JPEG_EXIF_MARKER = 0xFFE1  # APP1
_JPEG_EXIF_NAME = 0x457869660000  # "Exif\0\0"
_PNG_EXIF = 0x65584966  # "eXIf"
_PNG_PIXELS = 0x49444154  # "IDAT"


def orientation(encoded: tf.Tensor) -> tf.Tensor:
    """Reads the EXIF orientation of an encoded image.

    Args:
        encoded: string scalar, the content of an image file.

    Returns:
        int64 scalar, 1 to 8; 1 (upright) where there is none or it is damaged.
    """
    head = tf.strings.substr(encoded, 0, _SEARCHED_BYTES)
    # Most files have none, and finding that out is a small part of the work of walking them.
    return tf.cond(
        tf.strings.regex_full_match(_before_pixels(head), _MENTIONS_EXIF),
        lambda: _find_orientation(head),
        lambda: tf.constant(_UPRIGHT, tf.int64),
    )


def upright(image: tf.Tensor, orientation: tf.Tensor) -> tf.Tensor:
    """Turns and mirrors an image into the view that its EXIF orientation means.

    Args:
        image: [H, W, C].
        orientation: int64 scalar, 1 to 8.

    Returns:
        [H, W, C], or [W, H, C] for orientations 5 to 8.
    """

    def among(*values: int) -> tf.Tensor:
        return tf.reduce_any(orientation == tf.constant(values, tf.int64))

    def turned() -> tf.Tensor:
        view = tf.cond(among(5, 6, 7, 8), lambda: tf.transpose(image, [1, 0, 2]), lambda: image)
        view = tf.cond(among(3, 4, 7, 8), lambda: tf.reverse(view, [0]), lambda: view)
        return tf.cond(among(2, 3, 6, 7), lambda: tf.reverse(view, [1]), lambda: view)

    result = tf.cond(among(_UPRIGHT), lambda: image, turned)
    return tf.ensure_shape(result, [None, None, image.shape[-1]])


def _before_pixels(head: tf.Tensor) -> tf.Tensor:
    """What of a JPEG comes before its first scan; all of `head` where that is not sure.

    The pixels are most of a file. A second start inside is a thumbnail with a scan of its own.
    """
    before_scan = _split(head, _JPEG_SCAN, times=1)[0]
    starts = tf.size(_split(before_scan, _JPEG_START, times=2)) - 1
    plain = tf.logical_and(tf.io.is_jpeg(head), starts == 1)
    return tf.where(plain, before_scan, head)


def _split(text: tf.Tensor, separator: bytes, times: int) -> tf.Tensor:
    """Splits a string scalar at the first `times` separators: string [1 to times + 1]."""
    return tf.strings.split(tf.expand_dims(text, 0), separator, maxsplit=times).values


def _find_orientation(head: tf.Tensor) -> tf.Tensor:
    # A last zero byte stands for all bytes past the end, so that damaged lengths cannot fail.
    data = tf.cast(tf.pad(tf.io.decode_raw(head, tf.uint8), [[0, 1]]), tf.int64)
    block = tf.cond(
        tf.io.is_jpeg(head),
        lambda: _walk(data, 2, _jpeg_segment),
        lambda: tf.cond(
            tf.equal(tf.strings.substr(head, 0, 4), b"\x89PNG"),
            lambda: _walk(data, 8, _png_chunk),
            lambda: tf.constant(_ABSENT, tf.int64),
        ),
    )
    return tf.cond(
        block == _ABSENT,
        lambda: tf.constant(_UPRIGHT, tf.int64),
        lambda: _read_orientation(data, block),
    )


def _unsigned(
    data: tf.Tensor, position: tf.Tensor, width: int, little_endian: tf.Tensor | None = None
) -> tf.Tensor:
    """Unsigned numbers of `width` bytes, big-endian unless said otherwise.

    Args:
        data: int64 [N], byte values of which the last stands for all past the end.
        position: int64 [...], where the numbers start.
        width: bytes of a number.
        little_endian: bool scalar.

    Returns:
        int64, shaped as `position`.
    """
    index = tf.expand_dims(position, -1) + tf.range(width, dtype=tf.int64)
    values = tf.gather(data, tf.minimum(index, tf.size(data, tf.int64) - 1))
    factors = tf.constant([256**power for power in reversed(range(width))], tf.int64)
    if little_endian is not None:
        factors = tf.where(little_endian, tf.reverse(factors, [0]), factors)
    return tf.reduce_sum(values * factors, axis=-1)


Step = Callable[[tf.Tensor, tf.Tensor], tuple[tf.Tensor, tf.Tensor, tf.Tensor]]
"""From the bytes and a segment's position: next position, EXIF block or _ABSENT, the end."""


def _jpeg_segment(data: tf.Tensor, position: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    marker = _unsigned(data, position, 2)
    size = _unsigned(data, position + 2, 2)
    is_exif = tf.logical_and(
        marker == _JPEG_EXIF_MARKER, _unsigned(data, position + 4, 6) == _JPEG_EXIF_NAME
    )
    # Any marker may be preceded by fill bytes of 0xFF.
    is_fill = marker == 0xFFFF
    following = tf.where(is_fill, position + 1, position + 2 + size)
    ends = tf.logical_or(marker < 0xFF00, marker == _JPEG_START_OF_SCAN)
    return following, tf.where(is_exif, position + 10, _ABSENT), ends


def _png_chunk(data: tf.Tensor, position: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    size = _unsigned(data, position, 4)
    name = _unsigned(data, position + 4, 4)
    ends = tf.logical_or(name == 0, name == _PNG_PIXELS)
    return position + 12 + size, tf.where(name == _PNG_EXIF, position + 8, _ABSENT), ends


def _walk(data: tf.Tensor, start: int, step: Step) -> tf.Tensor:
    """Follows segments until one is EXIF; returns its position in `data`, or _ABSENT."""

    def advance(
        position: tf.Tensor, block: tf.Tensor, ended: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        return step(data, position)

    _, block, _ = tf.while_loop(
        lambda position, block, ended: tf.logical_and(block == _ABSENT, tf.logical_not(ended)),
        advance,
        (tf.constant(start, tf.int64), tf.constant(_ABSENT, tf.int64), tf.constant(False)),
        maximum_iterations=_MAX_SEGMENTS,
    )
    return block


def _read_orientation(data: tf.Tensor, block: tf.Tensor) -> tf.Tensor:
    """Finds the tag in the first directory of the TIFF structure that starts at `block`."""
    little_endian = _unsigned(data, block, 2) == 0x4949  # "II", else "MM"
    directory = block + _unsigned(data, block + 4, 4, little_endian)
    entries = _unsigned(data, directory, 2, little_endian)
    positions = directory + 2 + 12 * tf.range(entries)
    is_orientation = _unsigned(data, positions, 2, little_endian) == _ORIENTATION_TAG
    values = _unsigned(data, tf.boolean_mask(positions, is_orientation) + 8, 2, little_endian)
    first = tf.concat([values, tf.constant([_UPRIGHT], tf.int64)], 0)[0]
    valid = tf.logical_and(first >= 1, first <= 8)
    return tf.where(valid, first, tf.constant(_UPRIGHT, tf.int64))
