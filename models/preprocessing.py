"""From a decoded X-ray of any size to what a classifier sees (the paper's section II)."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import tensorflow as tf

from models.clahe import Histogram, clahe
from models.decoding import decode
from models.resizing import Method, resize
from models.settings import PreprocessingSettings
from models.shapes import Length


@dataclass(frozen=True)
class SizeStatistics:
    """Heights and widths over all training images, in pixels.

    The numbers are Python's, or scalar tensors where analyzers of TensorFlow Transform fill
    them in: minima and maxima int64, means float32.
    """

    min_height: Length
    max_height: Length
    mean_height: float | tf.Tensor
    min_width: Length
    max_width: Length
    mean_width: float | tf.Tensor


@dataclass(frozen=True)
class ResolvedPreprocessing:
    """Preprocessing with the target size worked out: all that serving needs to know.

    Attributes:
        method: the paper's resizing method, "A" to "D".
        height, width: pixels of the result.
        clahe: whether to equalise after resizing.
        clip_limit: of CLAHE, as in OpenCV; 0 switches clipping off.
        tile_grid: (rows, columns) of CLAHE tiles.
    """

    method: Method
    height: int
    width: int
    clahe: bool = True
    clip_limit: float = 2.0
    tile_grid: tuple[int, int] = (8, 8)

    def to_dict(self) -> dict[str, Any]:
        """Returns a mapping that JSON can hold."""
        return {**asdict(self), "tile_grid": list(self.tile_grid)}

    @classmethod
    def from_dict(cls, mapping: Mapping[str, Any]) -> "ResolvedPreprocessing":
        """Reverses `to_dict`, also after a trip through JSON.

        Raises:
            TypeError: a key is missing or unknown.
        """
        rows, columns = mapping["tile_grid"]
        return cls(**{**mapping, "tile_grid": (rows, columns)})


def target_size(
    settings: PreprocessingSettings, statistics: SizeStatistics
) -> tuple[Length, Length]:
    """Works out the size that images are resized to (section II and section III.C.3).

    With H and W the maximum or minimum height and width over all training images:

    - B and C: H x W, "the threshold dimensions".
    - A and D: a square of max{W, H} under the maximum threshold, of min{W, H} under the
      minimum.

    For a preset size s, A and D make a square of s. B and C have one side of s and the other
    proportional to the ratio between the mean height and width of the training images
    (section III.C.3, point 2); we give s to the longer side, so that s bounds the work.

    Args:
        settings: method, threshold and preset size.
        statistics: of the training images; ignored for A and D with a preset size.

    Returns:
        (height, width): Python ints where the statistics are Python numbers or not needed,
        else scalar int32 tensors.
    """
    square = settings.method in ("A", "D")
    if settings.threshold == "preset":
        if square:
            return settings.size, settings.size
        return _proportional(settings.size, statistics.mean_height, statistics.mean_width)
    if settings.threshold == "max":
        height, width = statistics.max_height, statistics.max_width
    else:
        height, width = statistics.min_height, statistics.min_width
    if isinstance(height, int) and isinstance(width, int):
        side = max(height, width) if settings.threshold == "max" else min(height, width)
    else:
        height, width = tf.cast(height, tf.int32), tf.cast(width, tf.int32)
        choose = tf.maximum if settings.threshold == "max" else tf.minimum
        side = choose(height, width)
    return (side, side) if square else (height, width)


def resolve(settings: PreprocessingSettings, size: tuple[int, int]) -> ResolvedPreprocessing:
    """Fixes `settings` to the size that Transform worked out.

    Args:
        settings: what the user asked for.
        size: (height, width) of any transformed image, or `target_size` of the statistics.
    """
    height, width = size
    return ResolvedPreprocessing(
        method=settings.method,
        height=height,
        width=width,
        clahe=settings.clahe,
        clip_limit=settings.clip_limit,
        tile_grid=settings.tile_grid,
    )


def preprocess(
    images: tf.Tensor, resolved: ResolvedPreprocessing, histogram: Histogram = "bincount"
) -> tf.Tensor:
    """Resizes and equalises a batch of equally large images.

    Args:
        images: uint8 [B, H, W, 1]; H and W may be unknown when the graph is built.
        resolved: what to do.
        histogram: see `models.clahe.clahe`; "one_hot" for TensorFlow Lite.

    Returns:
        uint8 [B, height, width, 1].
    """
    resized = resize(images, resolved.method, (resolved.height, resolved.width))
    if not resolved.clahe:
        return resized
    return clahe(resized, resolved.clip_limit, resolved.tile_grid, histogram)


def preprocess_encoded(encoded: tf.Tensor, resolved: ResolvedPreprocessing) -> tf.Tensor:
    """Decodes, resizes and equalises images of any sizes.

    Args:
        encoded: string [B], contents of image files (see `models.decoding.decode`).
        resolved: what to do.

    Returns:
        uint8 [B, height, width, 1].
    """
    # Files are decoded on the CPU anyway, and a GPU refuses to count histograms once training in
    # the same process has asked for determinism.
    with tf.device("CPU:0"):
        return tf.map_fn(
            lambda content: preprocess(tf.expand_dims(decode(content), 0), resolved)[0],
            encoded,
            fn_output_signature=tf.TensorSpec([resolved.height, resolved.width, 1], tf.uint8),
        )


def to_unit(images: tf.Tensor) -> tf.Tensor:
    """Returns uint8 images as float32 in [0, 1], as every classifier takes them."""
    return tf.cast(images, tf.float32) / 255


def _proportional(
    longer: int, mean_height: float | tf.Tensor, mean_width: float | tf.Tensor
) -> tuple[Length, Length]:
    """(height, width) in the ratio of the means, the longer of them `longer` pixels."""
    if isinstance(mean_height, (int, float)) and isinstance(mean_width, (int, float)):
        scale = longer / max(mean_height, mean_width)
        return max(round(mean_height * scale), 1), max(round(mean_width * scale), 1)
    scale = longer / tf.maximum(mean_height, mean_width)
    height, width = (
        tf.maximum(tf.cast(tf.round(mean * scale), tf.int32), 1)
        for mean in (mean_height, mean_width)
    )
    return height, width
