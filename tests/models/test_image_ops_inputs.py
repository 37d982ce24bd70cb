"""What the image functions refuse, and how they can be called."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from models.image_ops import clahe, resize

IMAGES = np.random.default_rng(0).integers(0, 256, (2, 40, 50, 1), dtype=np.uint8)

NO_IMAGES = {
    "one image without a batch": IMAGES[0],
    "shares": (IMAGES / 255).astype(np.float32),
    "16 bits": IMAGES.astype(np.uint16),
    "colours": np.repeat(IMAGES, 3, axis=-1),
}


@pytest.mark.parametrize("images", NO_IMAGES.values(), ids=NO_IMAGES)
@pytest.mark.parametrize("function", [clahe, lambda images: resize(images, "A", 20)])
def test_other_types_and_shapes_are_refused(function, images: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"must be uint8 \[B, H, W, 1\]; received"):
        function(images)


@pytest.mark.parametrize("size", [0, -3, (20, 0)])
def test_a_size_without_pixels_is_refused(size) -> None:
    with pytest.raises(ValueError, match="size must be 1 pixel or more; received"):
        resize(IMAGES, "A", size)


def test_a_list_is_a_size_too() -> None:
    np.testing.assert_array_equal(resize(IMAGES, "B", [20, 30]), resize(IMAGES, "B", (20, 30)))


def test_a_keras_layer_gives_the_same_pixels_for_any_number_of_images() -> None:
    inputs = keras.Input((40, 50, 1), dtype="uint8")
    model = keras.Model(inputs, keras.layers.Lambda(clahe, output_shape=(40, 50, 1))(inputs))
    np.testing.assert_array_equal(model(IMAGES), clahe(IMAGES))
    without_autograph = tf.function(clahe, autograph=False, reduce_retracing=True)
    unknown = without_autograph.get_concrete_function(tf.TensorSpec([None, None, None, 1], "uint8"))
    np.testing.assert_array_equal(unknown(tf.constant(IMAGES)), clahe(IMAGES))
