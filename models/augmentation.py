"""Random augmentation of training images: one affine resampling, and mixup.

Everything here is a pure function of its seed, so a run that is taken up again after a
crash draws what it would have drawn.
"""

import math

import tensorflow as tf

from models.settings import AugmentationSettings


def augment(images: tf.Tensor, settings: AugmentationSettings, seed: tf.Tensor) -> tf.Tensor:
    """Rotates, shifts, shears, zooms and mirrors each image at random, in one resampling.

    The transforms are composed as Keras's `ImageDataGenerator`, which the paper used,
    composes them; pixels from outside repeat the edge, as its `fill_mode="nearest"` does.
    One bilinear resampling blurs less than one for each transform.

    Args:
        images: float32 [B, H, W, 1].
        settings: ranges to draw from.
        seed: int64 or int32 [2].

    Returns:
        float32 [B, H, W, 1].
    """
    batch, height, width = tf.unstack(tf.shape(images)[:3])
    transforms = draw_transforms(
        settings, batch, tf.cast(height, tf.float32), tf.cast(width, tf.float32), seed
    )
    return tf.raw_ops.ImageProjectiveTransformV3(
        images=images,
        transforms=transforms,
        output_shape=tf.stack([height, width]),
        interpolation="BILINEAR",
        fill_mode="NEAREST",
        fill_value=0.0,
    )


def draw_transforms(
    settings: AugmentationSettings,
    batch: tf.Tensor | int,
    height: tf.Tensor | float,
    width: tf.Tensor | float,
    seed: tf.Tensor,
) -> tf.Tensor:
    """Draws the transform of each image of a batch.

    Args:
        settings: ranges to draw from.
        batch: number of images.
        height, width: pixels of an image, as floats.
        seed: int64 or int32 [2].

    Returns:
        float32 [batch, 8]: rows (a, b, c, d, e, f, 0, 0) that send an output pixel (x, y)
        to the input position (a x + b y + c, d x + e y + f).
    """
    unit = tf.random.stateless_uniform([7, batch], seed, minval=-1.0, maxval=1.0)
    angle = unit[0] * math.radians(settings.rotation_degrees)
    shift_x = unit[1] * settings.shift * width
    shift_y = unit[2] * settings.shift * height
    shear = unit[3] * settings.shear
    zoom_x = 1 + unit[4] * settings.zoom
    zoom_y = 1 + unit[5] * settings.zoom
    mirror = tf.where(unit[6] < 0, -1.0, 1.0) if settings.flip else tf.ones_like(unit[6])

    # rotation . shift . shear . zoom . mirror, about the centre of the image
    cosine, sine = tf.cos(angle), tf.sin(angle)
    shear_x, shear_y = -tf.sin(shear), tf.cos(shear)
    a = cosine * zoom_x * mirror
    b = (cosine * shear_x - sine * shear_y) * zoom_y
    d = sine * zoom_x * mirror
    e = (sine * shear_x + cosine * shear_y) * zoom_y
    moved_x = cosine * shift_x - sine * shift_y
    moved_y = sine * shift_x + cosine * shift_y
    centre_x, centre_y = (width - 1) / 2, (height - 1) / 2
    c = centre_x + moved_x - a * centre_x - b * centre_y
    f = centre_y + moved_y - d * centre_x - e * centre_y
    zero = tf.zeros_like(a)
    return tf.stack([a, b, c, d, e, f, zero, zero], axis=1)


def mixup(
    images: tf.Tensor, labels: tf.Tensor, alpha: float, seed: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Blends each image, and its label, with another of the batch (Zhang et al., 2018).

    Args:
        images: float32 [B, H, W, 1].
        labels: float32 [B, classes], rows summing to 1.
        alpha: shares are drawn from Beta(alpha, alpha).
        seed: int64 or int32 [2].

    Returns:
        Images and labels, shaped as they came. The batch is in random order already, so
        the partner is the neighbour.
    """
    gammas = tf.random.stateless_gamma([2, tf.shape(images)[0]], seed, alpha)
    # Both draws can underflow to 0 for a small alpha; then the image stays as it is.
    share = tf.where(gammas[0] + gammas[1] > 0, gammas[0] / tf.reduce_sum(gammas, axis=0), 1.0)

    def blend(values: tf.Tensor) -> tf.Tensor:
        weight = tf.reshape(share, [-1] + [1] * (values.shape.rank - 1))
        return weight * values + (1 - weight) * tf.roll(values, shift=1, axis=0)

    return blend(images), blend(labels)
