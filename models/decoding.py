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
    the first frame of a GIF. Colour becomes BT.601 luma, transparency is dropped (in a GIF it
    is black), and of 16 bits the upper 8 are kept (`value >> 8`, as OpenCV does): stretch
    radiographs of fewer bits (10, 12, 14) stored in 16 before, or they come out dark. An EXIF
    orientation is applied.

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
        lambda: _to_grey(_in_colour(encoded, tf.io.decode_image(encoded, expand_animations=False))),
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


def _in_colour(encoded: tf.Tensor, pixels: tf.Tensor) -> tf.Tensor:
    """Looks up the palette of a BMP, whose indices TensorFlow takes for grey.

    Args:
        encoded: string scalar, an image file.
        pixels: uint8 [H, W, C], as TensorFlow decodes it.

    Returns:
        uint8 [H, W, 3] for a BMP with a palette, `pixels` for any other image.
    """

    def looked_up() -> tf.Tensor:
        # Where the pixels start and, at 14, how long the header is that the palette follows.
        places = tf.io.decode_raw(tf.strings.substr(encoded, 10, 8), tf.int32)
        start = 14 + places[1]
        entries = tf.strings.substr(encoded, start, tf.minimum(places[0] - start, 4 * 256))
        colours = tf.reshape(tf.io.decode_raw(entries, tf.uint8), [-1, 4])  # blue first
        return tf.gather(colours[:, 2::-1], tf.cast(pixels[..., 0], tf.int32))

    is_bmp = tf.strings.substr(encoded, 0, 2) == b"BM"
    indexed = tf.logical_and(is_bmp, tf.shape(pixels)[-1] == 1)
    return tf.cond(indexed, looked_up, lambda: pixels)


def _to_grey(pixels: tf.Tensor) -> tf.Tensor:
    """uint8 [H, W, C] to [H, W, 1]; C is grey, grey and alpha, RGB, or RGB and alpha."""

    def luma() -> tf.Tensor:
        rgb = tf.cast(pixels[..., :3], tf.int32)
        half = 1 << (_LUMA_SHIFT - 1)
        total = tf.reduce_sum(rgb * _LUMA_WEIGHTS, axis=-1, keepdims=True) + half
        return tf.cast(tf.bitwise.right_shift(total, _LUMA_SHIFT), tf.uint8)

    return tf.cond(tf.shape(pixels)[-1] >= 3, luma, lambda: pixels[..., :1])
