"""The convolution of the grey image, rewritten for the kernels that integers have.

Those take several input channels a step, and a grey image has one: the rest of the step is
wasted. Two by two neighbouring pixels as four channels hold the same numbers, and a kernel
over such blocks, one for each of a block's four positions, computes the same sums.
"""

import keras
import numpy as np
import tensorflow as tf

_BLOCK = 2


def grey_convolutions(
    network: keras.Model,
) -> dict[str, keras.layers.BatchNormalization | None]:
    """Finds the convolutions that `BlockedConvolution` can stand for.

    Returns:
        By name of the convolution: the normalisation of its output, if that is all that
        reads it, which the rewritten kernel can then take in.
    """
    return {
        layer.name: _normalization(network, layer)
        for layer in network.layers
        if isinstance(layer, keras.layers.Conv2D)
        and layer.input.shape[-1] == 1
        and layer.strides == layer.dilation_rate == (1, 1)
        and layer.padding == "same"
        and min(layer.kernel_size) > 1
        and all(size % 2 for size in layer.kernel_size)
        and layer.activation is keras.activations.linear
    }


def _normalization(
    network: keras.Model, convolution: keras.layers.Conv2D
) -> keras.layers.BatchNormalization | None:
    readers = [
        layer
        for layer in network.layers
        if any(tensor is convolution.output for tensor in keras.tree.flatten(layer.input))
    ]
    if len(readers) == 1 and isinstance(readers[0], keras.layers.BatchNormalization):
        return readers[0]
    return None


class BlockedConvolution(keras.layers.Layer):
    """A convolution of one channel, and the normalisation of its output, by 2 x 2 blocks.

    Args:
        convolution: one that `grey_convolutions` found.
        normalization: to take in, or None.
    """

    def __init__(
        self,
        convolution: keras.layers.Conv2D,
        normalization: keras.layers.BatchNormalization | None,
    ):
        super().__init__(name=convolution.name)
        kernel, self._bias = _folded(convolution, normalization)
        self._reach = [size // 2 for size in convolution.kernel_size]
        self._kernel = _blocked(kernel)

    def call(self, images: tf.Tensor) -> tf.Tensor:
        height, width = images.shape[1:3]
        # An odd side gets a row or column more, which is cut off again.
        (above, left), odd = self._reach, (height % _BLOCK, width % _BLOCK)
        around = [[0, 0], [above, above + odd[0]], [left, left + odd[1]], [0, 0]]
        blocks = tf.nn.space_to_depth(tf.pad(images, around), _BLOCK)
        sums = tf.nn.conv2d(blocks, self._kernel, 1, "VALID")
        sums = tf.nn.bias_add(sums, np.tile(self._bias, _BLOCK**2))
        pixels = tf.nn.depth_to_space(sums, _BLOCK)
        return tf.slice(pixels, [0, 0, 0, 0], [-1, height, width, -1]) if any(odd) else pixels

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return (*input_shape[:-1], len(self._bias))


class TakenIn(keras.layers.Layer):
    """Stands where a normalisation was that a `BlockedConvolution` took in."""

    def call(self, inputs: tf.Tensor, mask: None = None) -> tf.Tensor:
        return inputs

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return input_shape


def _folded(
    convolution: keras.layers.Conv2D, normalization: keras.layers.BatchNormalization | None
) -> tuple[np.ndarray, np.ndarray]:
    """Kernel [rows, columns, 1, filters] and bias [filters], with the normalisation inside."""
    kernel = keras.ops.convert_to_numpy(convolution.kernel).astype(np.float64)
    bias = np.zeros(kernel.shape[-1])
    if convolution.use_bias:
        bias = keras.ops.convert_to_numpy(convolution.bias).astype(np.float64)
    if normalization is not None:
        mean, variance = normalization.moving_mean.numpy(), normalization.moving_variance.numpy()
        factor = 1 / np.sqrt(variance.astype(np.float64) + normalization.epsilon)
        if normalization.scale:
            factor = factor * normalization.gamma.numpy()
        kernel, bias = kernel * factor, (bias - mean) * factor
        if normalization.center:
            bias = bias + normalization.beta.numpy()
    return kernel.astype(np.float32), bias.astype(np.float32)


def _blocked(kernel: np.ndarray) -> np.ndarray:
    """[rows, columns, 1, n] to [rows // 2 + 1, columns // 2 + 1, 4, 4 * n].

    Channels of input and output are the positions in a block, as `space_to_depth` orders them.
    """
    rows, columns, _, filters = kernel.shape
    blocked = np.zeros(
        (rows // _BLOCK + 1, _BLOCK, columns // _BLOCK + 1, _BLOCK, _BLOCK, _BLOCK, filters),
        np.float32,
    )
    for row, column, down, right in np.ndindex(rows, columns, _BLOCK, _BLOCK):
        y, x = row + down, column + right
        at = (y // _BLOCK, y % _BLOCK, x // _BLOCK, x % _BLOCK, down, right)
        blocked[at] = kernel[row, column, 0]
    shape = (blocked.shape[0], blocked.shape[2], _BLOCK**2, _BLOCK**2 * filters)
    return blocked.transpose(0, 2, 1, 3, 4, 5, 6).reshape(shape)
