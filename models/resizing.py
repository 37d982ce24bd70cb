"""The paper's resizing methods A to D (section II, figure 2) as one separable resampling.

Every method is the same two steps along each axis: scale the image to some length, then
take a window of the wanted length out of it, or put it into one. A window that sticks out
is black. `_axis_weights` writes both steps as a few weighted source pixels for each output
pixel, so that nothing outside the window is ever computed and the output's size does not
depend on the input's.

The kernel is the exact area average (what OpenCV calls `INTER_AREA`) along an axis that
shrinks, and linear interpolation (`INTER_LINEAR`) along one that grows. Weights come from
integer overlaps, so TensorFlow and TensorFlow Lite compute the same ones.
"""

from typing import Literal, TypeAlias

import tensorflow as tf

from models.shapes import Length, checked, shape_of

Method = Literal["A", "B", "C", "D"]
METHODS: tuple[Method, ...] = ("A", "B", "C", "D")

Size: TypeAlias = tuple[Length, Length]


def resize(images: tf.Tensor, method: Method, size: Length | Size) -> tf.Tensor:
    """Resizes a batch by one of the paper's methods (section II.A to II.D).

    - A: keeps the aspect ratio, fits inside the frame, fills the rest with black.
    - B: stretches to the frame.
    - C and D: keep the aspect ratio, cover the frame, cut the centre out of it.

    The paper says of C only that it applies B's dimensions "keeping each image's aspect
    ratio", and later (section III.C.3) that C and D cropped the images. So C is read as: B's
    rectangle, covered and cropped. It differs from D in the frame alone (D's is the square of
    the threshold size; `models.preprocessing.target_size` makes it), and from A in
    cropping where A pads.

    Args:
        images: uint8 [B, H, W, 1]; H and W may be unknown when the graph is built.
        method: "A", "B", "C" or "D".
        size: pixels of the frame: one side of a square, or (height, width).

    Returns:
        uint8 [B, height, width, 1].

    Raises:
        ValueError: the method is unknown.
    """
    if method not in METHODS:
        raise ValueError(f"method must be one of {', '.join(METHODS)}; received {method!r}")
    height, width = size if isinstance(size, tuple | list) else (size, size)
    if any(not tf.is_tensor(side) and side < 1 for side in (height, width)):
        raise ValueError(f"size must be 1 pixel or more; received {size}")
    images = checked(images)
    batch, source_height, source_width = shape_of(images)[:3]

    scaled_height, scaled_width = height, width
    if method != "B":
        # Which side touches the frame: compare H / height with W / width in integers.
        taller = source_height * width > source_width * height
        height_touches = taller if method == "A" else tf.logical_not(taller)
        scaled_height = tf.where(
            height_touches, height, _rounded_ratio(source_height * width, source_width)
        )
        scaled_width = tf.where(
            height_touches, _rounded_ratio(source_width * height, source_height), width
        )

    columns, column_weights = _axis_weights(source_width, scaled_width, width)
    rows, row_weights = _axis_weights(source_height, scaled_height, height)
    # Gathering whole rows is a block copy each, so the axis to resample goes first.
    pixels = tf.reshape(images, [batch, source_height, source_width])
    pixels = _resample(tf.transpose(pixels, [2, 0, 1]), columns, column_weights)  # [w, B, H]
    pixels = _resample(tf.transpose(pixels, [2, 1, 0]), rows, row_weights)  # [h, B, w]
    pixels = tf.transpose(pixels, [1, 0, 2])
    # Weights sum to one, up to rounding in the last place: 255.00001 still rounds to 255.
    return tf.reshape(tf.cast(tf.round(pixels), tf.uint8), [batch, height, width, 1])


def _rounded_ratio(numerator: Length, denominator: Length) -> tf.Tensor:
    """The ratio to the nearest integer, halves up, at least one pixel."""
    return tf.maximum((2 * numerator + denominator) // (2 * denominator), 1)


def _axis_weights(source: Length, scaled: Length, window: Length) -> tuple[tf.Tensor, tf.Tensor]:
    """Writes "scale `source` to `scaled` pixels, centre a window on it" as weighted pixels.

    Args:
        source: pixels along the axis before.
        scaled: pixels along the axis after scaling.
        window: pixels along the axis of the result.

    Returns:
        Indices int32 [window, K] into the source and weights float32 [window, K]. The
        weights of an output pixel sum to 1, or to 0 outside the scaled image.
    """
    source, scaled = tf.convert_to_tensor(source), tf.convert_to_tensor(scaled)
    margin = (window - scaled) // 2  # negative: the window cuts the centre out
    position = tf.reshape(tf.range(window) - margin, [-1, 1])
    # An interval of source / scaled pixels touches at most this many pixels.
    tap = tf.reshape(tf.range(tf.maximum(-(-source // scaled) + 1, 2)), [1, -1])

    # Lengths are in units of 1 / (2 * scaled) of a source pixel, places are seen from the middle
    # of the axis: from its start, those of a long strip that is cropped would pass 2^31.
    unit = 2 * scaled
    middle = source // 2  # the pixel that `start` and `centre` count from
    half_pixel = source % 2 * scaled

    # Shrinking: overlap of [position, position + 1) * source / scaled with each source pixel.
    start = (2 * position - scaled) * source + half_pixel
    end = start + 2 * source
    nearby = start // unit + tap
    overlap = tf.minimum(end, (nearby + 1) * unit) - tf.maximum(start, nearby * unit)
    area_weight = tf.cast(tf.maximum(overlap, 0), tf.float32) / tf.cast(2 * source, tf.float32)

    # Growing: pixel centres lie at half positions.
    centre = start + source - scaled
    left = centre // unit
    fraction = tf.cast(centre - left * unit, tf.float32) / tf.cast(unit, tf.float32)
    linear_weight = tf.where(tap == 0, 1 - fraction, tf.where(tap == 1, fraction, 0.0))

    shrinks = source >= scaled
    index = middle + tf.where(shrinks, nearby, left + tap)
    weight = tf.where(shrinks, area_weight, linear_weight)
    inside = tf.logical_and(position >= 0, position < scaled)
    return tf.clip_by_value(index, 0, source - 1), tf.where(inside, weight, 0.0)


def _resample(pixels: tf.Tensor, index: tf.Tensor, weight: tf.Tensor) -> tf.Tensor:
    """Weighted sums of slices along the first axis: [n, B, m] to float32 [window, B, m]."""
    taps = tf.cast(tf.gather(pixels, index), tf.float32)  # [window, K, B, m]
    return tf.reduce_sum(taps * tf.expand_dims(tf.expand_dims(weight, -1), -1), axis=1)
