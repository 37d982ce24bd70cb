"""Shapes in graphs that must serve fixed and unknown image sizes alike."""

from typing import TypeAlias

import tensorflow as tf

Length: TypeAlias = int | tf.Tensor
"""A number of pixels: a Python int, or a scalar int32 tensor known when the graph runs."""


def shape_of(tensor: tf.Tensor) -> list[Length]:
    """Returns the shape of `tensor`: Python ints where it is static, so that constants fold."""
    dynamic = tf.shape(tensor)
    return [
        # tf.gather, for TensorFlow Lite has no builtin for `dynamic[axis]` here.
        length if length is not None else tf.gather(dynamic, axis)
        for axis, length in enumerate(tensor.shape)
    ]


def checked(images: tf.Tensor) -> tf.Tensor:
    """Returns `images` if they can be uint8 [B, H, W, 1].

    Raises:
        ValueError: they are of another type or shape.
    """
    images = tf.convert_to_tensor(images)
    if images.dtype != tf.uint8 or not images.shape.is_compatible_with([None, None, None, 1]):
        raise ValueError(
            f"images must be uint8 [B, H, W, 1]; received {images.dtype.name} {images.shape}"
        )
    return images
