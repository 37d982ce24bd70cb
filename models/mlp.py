"""The paper's multi-layer network (section III.B)."""

from collections.abc import Sequence

import keras

from models.errors import InputError
from models.features import CLASSES


def build_mlp(
    image_size: tuple[int, int],
    classes: int = len(CLASSES),
    *,
    hidden: Sequence[int] = (512, 512),
    activations: Sequence[str] = ("sigmoid", "sigmoid"),
) -> keras.Model:
    """Builds flatten, dense layers, softmax (section III.B.2).

    Args:
        image_size: (height, width) in pixels.
        classes: units of the softmax.
        hidden: units of each hidden layer.
        activations: a Keras activation for each of them.

    Returns:
        A model from float32 [B, H, W, 1] in [0, 1] to float32 [B, classes], rows summing to 1.

    Raises:
        InputError: an activation that Keras does not know.
    """
    images = keras.Input((*image_size, 1), name="image")
    x = keras.layers.Flatten(name="flatten")(images)
    for number, (units, activation) in enumerate(zip(hidden, activations, strict=True), start=1):
        x = keras.layers.Dense(units, activation=_known(activation), name=f"hidden_{number}")(x)
    # Probabilities stay in float32 under mixed precision.
    probabilities = keras.layers.Dense(
        classes, activation="softmax", dtype="float32", name="softmax"
    )(x)
    return keras.Model(images, probabilities, name="mlp")


def _known(activation: str) -> str:
    try:
        keras.activations.get(activation)
    except ValueError as error:
        raise InputError(
            f"mlp.activations: Keras has no activation {activation!r}; try sigmoid, tanh or relu"
        ) from error
    return activation


@keras.saving.register_keras_serializable("coronet")
class HalfSquaredError(keras.losses.Loss):
    """The cost of eq. 3.6: half the squared error of the one-hot label, averaged over images.

    The paper's gradient step (eq. 3.9 and 3.10) adds the gradient, which would climb the
    cost; it is read as a subtraction, so that any Keras optimizer minimises this loss.
    """

    def call(self, y_true: keras.KerasTensor, y_pred: keras.KerasTensor) -> keras.KerasTensor:
        """Takes [B, classes] twice; returns [B]."""
        error = keras.ops.subtract(y_pred, keras.ops.cast(y_true, y_pred.dtype))
        return 0.5 * keras.ops.sum(keras.ops.square(error), axis=-1)
