"""Contrast limited adaptive histogram equalisation, equal to OpenCV's to the pixel.

The paper (section II) equalises every image with `cv2.createCLAHE`. This is the same
arithmetic in TensorFlow ops: integer histograms, and an interpolation in float32 in
OpenCV's order of operations. K. Zuiderveld, "Contrast Limited Adaptive Histogram
Equalization", Graphics Gems IV (1994), describes the method.
"""

from collections.abc import Callable
from typing import Literal

import tensorflow as tf

from models.shapes import Length, shape_of

Histogram = Literal["bincount", "one_hot"]

BINS = 256


def clahe(
    images: tf.Tensor,
    clip_limit: float = 2.0,
    tile_grid: tuple[int, int] = (8, 8),
    histogram: Histogram = "bincount",
) -> tf.Tensor:
    """Equalises each image as `cv2.createCLAHE(clip_limit, (columns, rows)).apply` does.

    Args:
        images: uint8 [B, H, W, 1]; any H and W of at least one pixel.
        clip_limit: a bin keeps at most this many times the mean bin count, and always at
            least one; 0 (or less) switches clipping off.
        tile_grid: (rows, columns) of tiles. OpenCV's `tileGridSize` is (columns, rows).
        histogram: how tiles are counted, with equal results: "bincount" is the fast one on a
            CPU, "one_hot" a matrix product that TensorFlow Lite has a builtin for.

    Returns:
        uint8 [B, H, W, 1].

    Raises:
        ValueError: the grid has no tile, or the histogram is unknown.
    """
    tile_rows, tile_columns = tile_grid
    if tile_rows < 1 or tile_columns < 1:
        raise ValueError(f"tile_grid needs a row and a column at least; received {tile_grid}")
    if histogram not in _HISTOGRAMS:
        raise ValueError(f"histogram must be one of {list(_HISTOGRAMS)}; received {histogram!r}")
    batch, height, width = shape_of(images)[:3]
    pixels = tf.reshape(images, [batch, height, width])

    tile_height, tile_width = _tile_size(height, width, tile_grid)
    tiled = _extend(pixels, tile_rows * tile_height, tile_columns * tile_width)
    counts = _HISTOGRAMS[histogram](
        tf.reshape(tiled, [batch, tile_rows, tile_height, tile_columns, tile_width])
    )
    area = tile_height * tile_width
    tables = _equalising_tables(_clip(counts, clip_limit, area), area)
    tables = tf.reshape(tables, [batch, tile_rows * tile_columns * BINS])

    above, below, down = _neighbours(height, tile_height, tile_rows)
    left, right, along = _neighbours(width, tile_width, tile_columns)
    down = tf.reshape(down, [-1, 1])
    value = tf.cast(pixels, tf.int32)

    def equalised(row: tf.Tensor, column: tf.Tensor) -> tf.Tensor:
        offset = (tf.reshape(row, [-1, 1]) * tile_columns + column) * BINS
        return tf.gather(tables, offset + value, batch_dims=1)

    # The order of these products and sums is OpenCV's; any other rounds differently.
    upper = equalised(above, left) * (1 - along) + equalised(above, right) * along
    lower = equalised(below, left) * (1 - along) + equalised(below, right) * along
    result = tf.round(upper * (1 - down) + lower * down)
    return tf.reshape(tf.cast(result, tf.uint8), [batch, height, width, 1])


def _tile_size(height: Length, width: Length, tile_grid: tuple[int, int]) -> tuple[Length, Length]:
    """Pixels of a tile; an axis that fits still grows by a tile's share if the other misfits."""
    rows, columns = tile_grid
    if isinstance(height, int) and isinstance(width, int):
        grow = int(height % rows != 0 or width % columns != 0)
    else:
        grow = tf.cast(tf.logical_or(height % rows != 0, width % columns != 0), tf.int32)
    return height // rows + grow, width // columns + grow


def _extend(pixels: tf.Tensor, height: Length, width: Length) -> tf.Tensor:
    """Mirrors rows below and columns to the right, without repeating the edge (reflect-101)."""
    for axis, length in ((1, height), (2, width)):
        source = shape_of(pixels)[axis]
        if isinstance(source, int) and source == length:
            continue
        # tf.pad cannot mirror more than it has, and small images need that here.
        period = tf.maximum(2 * (source - 1), 1)
        position = tf.range(length) % period
        pixels = tf.gather(pixels, tf.minimum(position, period - position) % source, axis=axis)
    return pixels


def _bincount(tiles: tf.Tensor) -> tf.Tensor:
    """Histograms uint8 [B, rows, h, columns, w] into int32 [B, rows, columns, 256]."""
    batch, rows, height, columns, width = shape_of(tiles)
    # One histogram an image, of tile and value together, needs no transposition.
    row = tf.reshape(tf.range(rows), [rows, 1, 1, 1])
    column = tf.reshape(tf.range(columns), [columns, 1])
    bins = (row * columns + column) * BINS + tf.cast(tiles, tf.int32)
    counts = tf.raw_ops.DenseBincount(
        input=tf.reshape(bins, [batch, rows * height * columns * width]),
        size=rows * columns * BINS,
        weights=tf.constant([], tf.int32),
    )
    return tf.reshape(counts, [batch, rows, columns, BINS])


def _one_hot(tiles: tf.Tensor) -> tf.Tensor:
    """As `_bincount`: counts pairs of upper and lower four bits by a matrix product.

    The sums are whole numbers below 2^24, which float32 holds exactly.
    """
    batch, rows, height, columns, width = shape_of(tiles)
    values = tf.reshape(
        tf.transpose(tf.cast(tiles, tf.int32), [0, 1, 3, 2, 4]),
        [batch * rows * columns, height * width],
    )
    upper = tf.one_hot(values // 16, 16, axis=1)  # [tiles, 16, pixels]
    lower = tf.one_hot(values % 16, 16)  # [tiles, pixels, 16]
    counts = tf.cast(tf.matmul(upper, lower), tf.int32)
    return tf.reshape(counts, [batch, rows, columns, BINS])


_HISTOGRAMS: dict[str, Callable[[tf.Tensor], tf.Tensor]] = {
    "bincount": _bincount,
    "one_hot": _one_hot,
}


def _clip(counts: tf.Tensor, clip_limit: float, area: Length) -> tf.Tensor:
    """Cuts bins at the limit and spreads what was cut over all bins, once."""
    if clip_limit <= 0:
        return counts
    kept = tf.minimum(counts, _bin_limit(clip_limit, area))
    cut = tf.reduce_sum(counts - kept, axis=-1, keepdims=True)
    rest = cut % BINS
    step = tf.maximum(BINS // tf.maximum(rest, 1), 1)
    index = tf.range(BINS)
    takes_one = tf.logical_and(index % step == 0, index // step < rest)
    return kept + cut // BINS + tf.cast(takes_one, tf.int32)


def _bin_limit(clip_limit: float, area: Length) -> Length:
    # No bin exceeds the area, so neither need the limit, which may be huge.
    if isinstance(area, int):
        return int(min(max(clip_limit * area / BINS, 1), area))
    pixels = tf.cast(area, tf.float64)
    share = tf.constant(clip_limit, tf.float64) * pixels / BINS
    return tf.cast(tf.clip_by_value(share, tf.constant(1, tf.float64), pixels), tf.int32)


def _equalising_tables(counts: tf.Tensor, area: Length) -> tf.Tensor:
    """What each tile maps each value to: its cumulative share of 255, float32, whole numbers."""
    scale = tf.constant(BINS - 1, tf.float32) / tf.cast(area, tf.float32)
    # Counts add up to the area, so the last entry rounds to 255 and nothing exceeds it.
    return tf.round(tf.cast(tf.cumsum(counts, axis=-1), tf.float32) * scale)


def _neighbours(
    length: Length, tile_length: Length, tiles: int
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """The two tiles whose centres enclose each pixel, and the weight of the second.

    Returns:
        int32, int32 and float32, [length] each. Weights are those from before clamping to
        the grid, as in OpenCV: beyond the outer centres both tiles are the same one.
    """
    # OpenCV multiplies by the reciprocal; dividing would round differently.
    reciprocal = tf.constant(1, tf.float32) / tf.cast(tile_length, tf.float32)
    position = tf.cast(tf.range(length), tf.float32) * reciprocal - 0.5
    first = tf.floor(position)
    weight = position - first
    first = tf.cast(first, tf.int32)
    return tf.maximum(first, 0), tf.minimum(first + 1, tiles - 1), weight
