"""The paper's linear support vector machine, trained by stochastic gradient descent (III.A).

Four classifiers, one against all, are the four columns of one linear layer: for class l,
an image has the label y = +1 if it is of class l and -1 if not, and the raw score
w_l . x + b_l. The class with the largest raw score is predicted.

One image x is one step (eq. 3.1 to 3.3). Where the paper's lines cannot be meant as
printed, they are read so that each step is a subgradient step, of size epsilon, of

    J(w, b) = |w|^2 / (2 epochs) + C max(0, 1 - y (w . x + b))

- The condition "1 - y . w^T x + b > 0" lacks a parenthesis: 1 - y (w . x + b) > 0, that is,
  the image is on the wrong side of its margin. At exactly 0 nothing is corrected.
- Eq. 3.1 is the step of w inside the margin, and eq. 3.3 outside of it, as printed.
- Eq. 3.2, "b = b - epsilon w / epochs", subtracts a vector from a number, and would leave b
  at 0 if w were b. It is read as the same step for b, which J does not shrink:
  b = b + epsilon C y. Outside of the margin b stays, as eq. 3.3 says by not naming it.
- "Set epsilon = epsilon_original / epochs" stands inside the loop over the epochs. With the
  total it would do something once only; it is read as division by the number of the epoch,
  counting from 1: the usual 1 / t decay.
- Pixels are divided by 255, of which the paper speaks for the MLP only: on 0 to 255 a step would
  move the margin 65,025 times as far. The images come in another order each epoch.
- The final score "w^T chi" is taken with the bias that was learned.

J is Keras's L2 penalty plus a loss, so plain gradient descent with a batch of one image is
the paper's algorithm, on any backend. `models.svm_steps` takes the same steps faster.
"""

import keras

from models.features import CLASSES


def build_svm(
    image_size: tuple[int, int], classes: int = len(CLASSES), *, epochs: int = 100
) -> keras.Model:
    """Builds flatten and one linear layer, which starts at zero (section III.A.2).

    Args:
        image_size: (height, width) in pixels.
        classes: one-against-all classifiers.
        epochs: the total number, by which eq. 3.1 and 3.3 divide w.

    Returns:
        A model from float32 [B, H, W, 1] in [0, 1] to raw scores, float32 [B, classes].
    """
    images = keras.Input((*image_size, 1), name="image")
    x = keras.layers.Flatten(name="flatten")(images)
    margins = keras.layers.Dense(
        classes,
        kernel_initializer="zeros",
        # Keras's L2(a) is a |w|^2.
        kernel_regularizer=keras.regularizers.L2(1 / (2 * epochs)),
        dtype="float32",
        name="margins",
    )(x)
    return keras.Model(images, margins, name="svm")


@keras.saving.register_keras_serializable("coronet")
class OneAgainstAllHinge(keras.losses.Loss):
    """C times the hinge losses of the one-against-all classifiers, summed.

    Args:
        c: the tolerance C of eq. 3.1.
    """

    def __init__(self, c: float = 0.1, name: str = "one_against_all_hinge", **kwargs: object):
        super().__init__(name=name, **kwargs)
        self.c = c

    def call(self, y_true: keras.KerasTensor, y_pred: keras.KerasTensor) -> keras.KerasTensor:
        """Takes one-hot labels and raw scores, [B, classes] each; returns [B]."""
        signs = 2 * keras.ops.cast(y_true, y_pred.dtype) - 1
        # relu has gradient 0 at 0, which the condition's strict ">" asks for.
        return self.c * keras.ops.sum(keras.ops.relu(1 - signs * y_pred), axis=-1)

    def get_config(self) -> dict[str, object]:
        return {**super().get_config(), "c": self.c}


def decaying_step(
    epsilon: float, steps_per_epoch: int
) -> keras.optimizers.schedules.LearningRateSchedule:
    """Returns epsilon / t in epoch t, counting from 1."""
    return keras.optimizers.schedules.InverseTimeDecay(
        epsilon, decay_steps=steps_per_epoch, decay_rate=1.0, staircase=True
    )
