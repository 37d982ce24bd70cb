"""Encoded images in, one grey uint8 image out, the same way in every graph."""

import tensorflow as tf

from models.exif import orientation, upright

# ITU-R BT.601 luma in OpenCV's 15-bit fixed point (`cv2.COLOR_RGB2GRAY`).
_LUMA_WEIGHTS = (9798, 19235, 3735)
_LUMA_SHIFT = 15

# Of zlib's levels: 0.54 bytes a pixel in half the time of the default's 0.48.
_FASTEST = 1


def decode(encoded: tf.Tensor) -> tf.Tensor:
    """Decodes one image to grey.

    JPEG (the luma channel, as `cv2.imread(..., IMREAD_GRAYSCALE)` reads it), PNG, BMP, and
    the first frame of a GIF. Colour becomes BT.601 luma, transparency is dropped, and of 16
    bits the upper 8 are kept (`value >> 8`, as OpenCV does): stretch radiographs of fewer
    bits (10, 12, 14) stored in 16 before, or they come out dark. An EXIF orientation is
    applied.

    Args:
        encoded: string scalar, the content of an image file.

    Returns:
        uint8 [H, W, 1].

    Raises:
        tf.errors.InvalidArgumentError: when run, if the bytes are not such an image.
    """
    pixels = tf.cond(
        tf.io.is_jpeg(encoded),
        lambda: tf.io.decode_jpeg(encoded, channels=1, dct_method="INTEGER_ACCURATE"),
        lambda: _to_grey(tf.io.decode_image(encoded, expand_animations=False)),
    )
    pixels.set_shape([None, None, 1])
    return upright(pixels, orientation(encoded))


def encode(image: tf.Tensor) -> tf.Tensor:
    """Encodes one image as PNG.

    Args:
        image: uint8 [H, W, 1].

    Returns:
        string scalar.
    """
    return tf.io.encode_png(image, compression=_FASTEST)


def _to_grey(pixels: tf.Tensor) -> tf.Tensor:
    """uint8 [H, W, C] to [H, W, 1]; C is grey, grey and alpha, RGB, or RGB and alpha."""

    def luma() -> tf.Tensor:
        rgb = tf.cast(pixels[..., :3], tf.int32)
        half = 1 << (_LUMA_SHIFT - 1)
        total = tf.reduce_sum(rgb * _LUMA_WEIGHTS, axis=-1, keepdims=True) + half
        return tf.cast(tf.bitwise.right_shift(total, _LUMA_SHIFT), tf.uint8)

    return tf.cond(tf.shape(pixels)[-1] >= 3, luma, lambda: pixels[..., :1])
