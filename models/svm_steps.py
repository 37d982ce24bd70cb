"""The SVM's steps, one image after another, without a framework's overhead for each.

A step of eq. 3.1 to 3.3 is a few vector operations. As a training step of Keras, with a
batch of one image, nearly all of its time goes into calling TensorFlow. Here the images of
a batch are taken in one call, in their order, each by a step of its own: the same updates.
"""

import keras
import numpy as np
import tensorflow as tf

ROWS_AT_A_TIME = 128
"""Images of a batch: enough that what a batch costs is little beside the steps of its images."""


def step_by_step(
    kernel: np.ndarray,
    bias: np.ndarray,
    images: np.ndarray,
    labels: np.ndarray,
    weights: np.ndarray,
    rate: np.ndarray,
    *,
    c: float,
    epochs: int,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Takes one step of eq. 3.1 to 3.3 for each image, as `models.svm` reads them.

    Args:
        kernel: float32 [D, classes], w of every classifier.
        bias: float32 [classes].
        images: float32 [B, ...], D values each.
        labels: float32 [B, classes], one-hot.
        weights: float32 [B], by which each image multiplies C.
        rate: epsilon of this epoch.
        c: the tolerance C of eq. 3.1.
        epochs: the total number, by which eq. 3.1 and 3.3 divide w.

    Returns:
        The kernel and the bias after the last step; each image's raw scores, [B, classes],
        and objective J, [B], before its own step. All float32.
    """
    # A classifier's weights lie together, and no caller's array is written to.
    w, b = kernel.T.copy(), bias.copy()
    rows = images.reshape(len(images), -1)
    signs = 2 * labels - 1
    decay = np.float32(rate / epochs)
    steps = (rate * c * weights[:, None] * signs).astype(np.float32)
    scores = np.empty_like(labels)
    penalties = np.empty_like(weights)
    for number, (x, y, step) in enumerate(zip(rows, signs, steps, strict=True)):
        # einsum, unlike BLAS, sums in an order that no number of threads changes.
        scores[number] = np.einsum("cd,d->c", w, x) + b
        penalties[number] = np.einsum("cd,cd->", w, w)
        inside = np.flatnonzero(y * scores[number] < 1)
        w -= decay * w  # 3.3, and the first term of 3.1
        for column in inside:
            w[column] += step[column] * x  # 3.1
        b[inside] += step[inside]  # 3.2
    hinge = np.maximum(1 - signs * scores, 0).sum(axis=1)
    objectives = weights * c * hinge + penalties / (2 * epochs)
    return w.T, b, scores, objectives.astype(np.float32)


class RowByRow(keras.Model):
    """The SVM's network, which trains on the images of a batch one after another.

    Compile it with an optimizer, whose learning rate is epsilon, with
    `OneAgainstAllHinge`, which knows C, and with metrics. Only for Keras on TensorFlow.

    Args:
        network: of `models.svm.build_svm`; the weights are shared.
        epochs: that it was built for.
    """

    def __init__(self, network: keras.Model, epochs: int):
        super().__init__(network.inputs, network.outputs, name=network.name)
        self._epochs = epochs

    def train_step(self, data: tuple[tf.Tensor, tf.Tensor, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Takes images [B, H, W, 1], one-hot labels [B, classes] and weights [B]."""
        images, labels, weights = data
        kernel, bias = self.trainable_variables

        def steps(*arrays: np.ndarray) -> tuple[np.ndarray, ...]:
            return step_by_step(*arrays, c=self.loss.c, epochs=self._epochs)

        new_kernel, new_bias, scores, objectives = tf.numpy_function(
            steps,
            [kernel.value, bias.value, images, labels, weights, self.optimizer.learning_rate],
            [tf.float32] * 4,
        )
        kernel.assign(tf.ensure_shape(new_kernel, kernel.shape))
        bias.assign(tf.ensure_shape(new_bias, bias.shape))
        self.optimizer.iterations.assign_add(1)
        scores = tf.ensure_shape(scores, labels.shape)
        for metric in self.metrics:
            if metric.name == "loss":
                metric.update_state(tf.ensure_shape(objectives, weights.shape))
            else:
                metric.update_state(labels, scores)
        return self.get_metrics_result()
