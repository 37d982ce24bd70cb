"""Contrast limited adaptive histogram equalisation, equal to OpenCV's to the pixel.

The paper (section II) equalises every image with `cv2.createCLAHE`. This is the same
arithmetic in TensorFlow ops: integer histograms, and an interpolation in float32 in
OpenCV's order of operations. K. Zuiderveld, "Contrast Limited Adaptive Histogram
Equalization", Graphics Gems IV (1994), describes the method.

Table lookups, one a pixel, and counting take two fifths of the time: TensorFlow's gather
copies one entry in 1 to 2 ns on a core. Four lookups a pixel took three times as long in all.
XLA does lookup and interpolation in half the time, and gives the same pixels once a
`tf.nn.relu` stands between each product and its sum, so that it cannot contract them. It is
not used: TensorFlow Serving refuses graphs that demand XLA on a CPU unless it is told
otherwise (`--xla_cpu_compilation_enabled`), and every size is compiled anew.
"""

from collections.abc import Callable
from typing import Literal

import numpy as np
import tensorflow as tf

from models.shapes import Length, checked, shape_of

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
        images: uint8 [B, H, W, 1]; any H and W of at least one pixel. A tile must have fewer
            than 2^24 pixels, the whole numbers that float32 can count.
        clip_limit: a bin keeps at most this many times the mean bin count, and always at
            least one; 0 (or less) switches clipping off.
        tile_grid: (rows, columns) of tiles. OpenCV's `tileGridSize` is (columns, rows).
        histogram: how tiles are counted, with equal results: "bincount" is the fast one on a
            CPU, "one_hot" a matrix product that TensorFlow Lite has a builtin for.

    Returns:
        uint8 [B, H, W, 1].

    Raises:
        ValueError: the grid has no tile, tiles are known to be too large, or the histogram is
            unknown.
    """
    if len(tile_grid) != 2 or min(tile_grid) < 1:
        raise ValueError(f"tile_grid needs a row and a column at least; received {tile_grid}")
    if histogram not in _HISTOGRAMS:
        raise ValueError(f"histogram must be one of {list(_HISTOGRAMS)}; received {histogram!r}")
    images = checked(images)
    batch, height, width = shape_of(images)[:3]
    pixels = tf.reshape(images, [batch, height, width])
    if histogram == "one_hot" or (isinstance(batch, int) and batch == 1):
        return _equalise(pixels, clip_limit, tile_grid, histogram)
    # Halves that do not wait for each other keep two cores busier than ops that each share
    # out their work: between them one core waits for the other.
    halves = (pixels[: batch // 2], pixels[batch // 2 :])
    return tf.concat([_equalise(half, clip_limit, tile_grid, histogram) for half in halves], axis=0)


def _equalise(
    pixels: tf.Tensor, clip_limit: float, tile_grid: tuple[int, int], histogram: Histogram
) -> tf.Tensor:
    """As `clahe`, from uint8 [B, H, W]."""
    batch, height, width = shape_of(pixels)
    tile_rows, tile_columns = tile_grid
    tile_height, tile_width = _tile_size(height, width, tile_grid)
    if isinstance(tile_height, int) and tile_height * tile_width >= 1 << 24:
        raise ValueError(
            f"a tile must have fewer than 2^24 pixels; received {tile_height} x {tile_width}: "
            "choose a finer tile_grid"
        )
    tiled = _extend(pixels, tile_rows * tile_height, tile_columns * tile_width)
    counts = _HISTOGRAMS[histogram](tiled, (tile_height, tile_width), tile_grid)
    tables = _equalising_tables(counts, clip_limit, tile_height * tile_width)
    tables = tf.reshape(tables, [batch, tile_rows, tile_columns, BINS])

    row, down = _position(height, tile_height)
    column, along = _position(width, tile_width)
    regions = (tile_rows + 1) * (tile_columns + 1)
    offset = tf.reshape(row, [-1, 1]) * (tile_columns + 1) + column  # [H, W]
    first = tf.reshape(tf.range(batch) * (regions * BINS), [-1, 1])
    index = tf.reshape(tf.cast(pixels, tf.int32), [batch, -1]) + tf.reshape(offset * BINS, [1, -1])
    quads = tf.gather_nd(_pack_neighbours(tables), tf.reshape(index + first, [-1, 1]))

    # Whole planes of weights: broadcasting along rows or columns takes several times as long.
    shape = [1, height * width]
    along = tf.reshape(tf.broadcast_to(along, [height, width]), shape)
    down = tf.reshape(tf.broadcast_to(tf.reshape(down, [-1, 1]), [height, width]), shape)
    upper_left, upper_right, lower_left, lower_right = (
        tf.reshape(tf.cast(value, tf.float32), [batch, height * width])
        for value in tf.unstack(tf.bitcast(quads, tf.uint8), num=4, axis=-1)
    )
    # The order of these products and sums is OpenCV's; any other rounds differently.
    left, right = 1 - along, along
    upper = upper_left * left + upper_right * right
    lower = lower_left * left + lower_right * right
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


def _bincount(
    pixels: tf.Tensor, tile_size: tuple[Length, Length], tile_grid: tuple[int, int]
) -> tf.Tensor:
    """Histograms of tiles: uint8 [B, H, W] to int32 [B * rows * columns, 256]."""
    batch, height, width = shape_of(pixels)
    rows, columns = tile_grid
    row, column = tf.range(height) // tile_size[0], tf.range(width) // tile_size[1]
    offset = (tf.reshape(row, [-1, 1]) * columns + column) * BINS
    # One histogram an image, of tile and value together, needs no transposition.
    counts = tf.raw_ops.DenseBincount(
        input=tf.cast(tf.reshape(pixels, [batch, -1]), tf.int32) + tf.reshape(offset, [1, -1]),
        size=rows * columns * BINS,
        weights=tf.constant([], tf.int32),
    )
    return tf.reshape(counts, [batch * rows * columns, BINS])


def _one_hot(
    pixels: tf.Tensor, tile_size: tuple[Length, Length], tile_grid: tuple[int, int]
) -> tf.Tensor:
    """As `_bincount`: counts pairs of upper and lower four bits by a matrix product."""
    batch = shape_of(pixels)[0]
    (rows, columns), (height, width) = tile_grid, tile_size
    tiles = tf.reshape(tf.cast(pixels, tf.int32), [batch, rows, height, columns, width])
    values = tf.reshape(
        tf.transpose(tiles, [0, 1, 3, 2, 4]), [batch * rows * columns, height * width]
    )
    upper = tf.one_hot(values // 16, 16, axis=1)  # [tiles, 16, pixels]
    lower = tf.one_hot(values % 16, 16)  # [tiles, pixels, 16]
    counts = tf.cast(tf.matmul(upper, lower), tf.int32)
    return tf.reshape(counts, [batch * rows * columns, BINS])


_HISTOGRAMS: dict[str, Callable[[tf.Tensor, tuple[Length, Length], tuple[int, int]], tf.Tensor]] = {
    "bincount": _bincount,
    "one_hot": _one_hot,
}


def _equalising_tables(counts: tf.Tensor, clip_limit: float, area: Length) -> tf.Tensor:
    """What each tile maps each value to, from the clipped histogram's cumulative share of 255.

    Args:
        counts: int32 [tiles, 256].
        clip_limit: as of `clahe`.
        area: pixels of a tile, below 2^24: float32 then holds every sum exactly.

    Returns:
        uint8 [tiles, 256].
    """
    counts = tf.cast(counts, tf.float32)
    if clip_limit > 0:
        kept = tf.minimum(counts, tf.cast(_bin_limit(clip_limit, area), tf.float32))
        # What was cut is spread over all bins, once, and the rest over evenly spaced ones.
        cut = tf.cast(area, tf.int32) - tf.cast(tf.reduce_sum(kept, axis=-1), tf.int32)
        share = tf.reshape(tf.cast(cut // BINS, tf.float32), [-1, 1])
        counts = kept + share + tf.gather(tf.constant(_SPREAD), cut % BINS)
    scale = tf.constant(BINS - 1, tf.float32) / tf.cast(area, tf.float32)
    # Through integers, or TensorFlow Lite's converter would scale a matrix instead.
    cumulative = tf.cast(tf.cast(_cumulative_sum(counts), tf.int32), tf.float32)
    # Counts add up to the area, so the last entry rounds to 255 and nothing exceeds it.
    return tf.cast(tf.round(cumulative * scale), tf.uint8)


def _cumulative_sum(counts: tf.Tensor) -> tf.Tensor:
    """Running sums along the bins, float32 [tiles, 256]: within runs of 16, then of the runs.

    Two small matrix products take a quarter of the time of tf.cumsum.
    """
    runs = tf.reshape(counts, [-1, _RUN])  # [tiles * 16, 16]
    within = tf.matmul(runs, tf.constant(np.triu(np.ones((_RUN, _RUN), np.float32))))
    totals = tf.reshape(tf.reduce_sum(runs, axis=-1), [-1, _RUN])
    before = tf.matmul(totals, tf.constant(np.triu(np.ones((_RUN, _RUN), np.float32), 1)))
    return tf.reshape(within + tf.reshape(before, [-1, 1]), [-1, BINS])


def _spread() -> np.ndarray:
    """float32 [256, 256]: which bins get one more, for each rest of 0 to 255."""
    rest, index = np.arange(BINS)[:, None], np.arange(BINS)
    step = np.maximum(BINS // np.maximum(rest, 1), 1)
    return ((index % step == 0) & (index // step < rest)).astype(np.float32)


_SPREAD = _spread()
_RUN = 16  # the square root of BINS


def _bin_limit(clip_limit: float, area: Length) -> Length:
    # No bin exceeds the area, so neither need the limit, which may be huge.
    if isinstance(area, int):
        return int(min(max(clip_limit * area / BINS, 1), area))
    pixels = tf.cast(area, tf.float64)
    share = tf.constant(clip_limit, tf.float64) * pixels / BINS
    return tf.cast(tf.clip_by_value(share, tf.constant(1, tf.float64), pixels), tf.int32)


def _pack_neighbours(tables: tf.Tensor) -> tf.Tensor:
    """Puts the tables of four neighbouring tiles side by side, so that one lookup finds all.

    Args:
        tables: uint8 [B, rows, columns, 256].

    Returns:
        int32 [B * (rows + 1) * (columns + 1) * 256]. Its bytes, lowest first, are the values
        of the tiles above left, above right, below left and below right of where four tiles
        meet; at the border there is one tile on both sides.
    """
    rows, columns = shape_of(tables)[1:3]
    before_row, after_row = _both_sides(rows)
    before_column, after_column = _both_sides(columns)
    low = tf.cast(tables, tf.int32)
    high = tf.cast(tf.bitcast(tables, tf.int8), tf.int32)  # signed, or the top byte overflows
    left = tf.gather(low, before_column, axis=2)
    upper = left + 256 * tf.gather(low, after_column, axis=2)
    lower = left + 256 * tf.gather(high, after_column, axis=2)
    packed = tf.gather(upper, before_row, axis=1) + 65536 * tf.gather(lower, after_row, axis=1)
    return tf.reshape(packed, [-1])


def _both_sides(tiles: int) -> tuple[tf.Tensor, tf.Tensor]:
    """The tiles before and after each border between tiles, the outer borders included."""
    border = tf.range(tiles + 1)
    return tf.maximum(border - 1, 0), tf.minimum(border, tiles - 1)


def _position(length: Length, tile_length: Length) -> tuple[tf.Tensor, tf.Tensor]:
    """Where pixels lie among the centres of tiles.

    Returns:
        int32 [length], the number of tile centres at or before each pixel, and float32
        [length], the weight of the next. The weight is OpenCV's from before clamping to the
        grid: beyond the outer centres both tiles are the same one.
    """
    # OpenCV multiplies by the reciprocal; dividing would round differently.
    reciprocal = tf.constant(1, tf.float32) / tf.cast(tile_length, tf.float32)
    position = tf.cast(tf.range(length), tf.float32) * reciprocal - 0.5
    before = tf.floor(position)
    return tf.cast(before, tf.int32) + 1, position - before
