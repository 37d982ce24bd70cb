"""CORONet, the paper's residual convolutional network (section III.C, figure 14).

Layers carry the names of figure 14. Their odd starts (`max_pooling2d_2`, `add_17`,
`dense_3`) are where the counters of the author's session stood; they are kept so that
model and table can be read side by side.
"""

from collections.abc import Iterator
from itertools import count

import keras

from models.errors import InputError
from models.features import CLASSES
from models.settings import CORONET_MIN_SIZE

LEAK = 0.3
"""Slope of every leaky ReLU for negative inputs (section III.C.2)."""

# Per group: filters of the three convolutions, stride of its ConvBlock, and the number of
# Bottlenecks that follow it.
_GROUPS = (
    ((32, 32, 128), 1, 2),
    ((64, 64, 256), 2, 2),
    ((128, 128, 512), 2, 5),
    ((256, 256, 1024), 2, 2),
)

Filters = tuple[int, int, int]


def build_coronet(
    image_size: int | tuple[int, int] = 200,
    classes: int = len(CLASSES),
    *,
    dense_units: int = 1024,
    dropout: float = 0.5,
    l2: float = 0.0,
    batch_norm_momentum: float = 0.99,
) -> keras.Model:
    """Builds the network of figure 14.

    With the defaults it has the figure's 22,641,156 parameters, counting the moving
    statistics of batch normalisation.

    Args:
        image_size: pixels of a side, or (height, width); `CORONET_MIN_SIZE` or more.
        classes: units of the softmax.
        dense_units: width of the dense layer before it; the paper tried 256, then 1024.
        dropout: share of that layer's units dropped while training.
        l2: factor of an L2 penalty on the convolution kernels; the paper names none.
        batch_norm_momentum: of the moving statistics; the paper leaves Keras's 0.99.

    Returns:
        A model from float32 [B, H, W, 1] in [0, 1] to float32 [B, classes], rows summing to 1.

    Raises:
        InputError: the image is too small to survive the pooling.
    """
    sides = (image_size, image_size) if isinstance(image_size, int) else tuple(image_size)
    if len(sides) != 2 or not all(isinstance(side, int) for side in sides):
        raise InputError(
            f"image_size is one side or (height, width) in pixels; received {image_size}"
        )
    if classes < 1:
        raise InputError(f"classes must be 1 or more; received {classes}")
    height, width = sides
    if min(height, width) < CORONET_MIN_SIZE:
        raise InputError(
            f"CORONet needs images of {CORONET_MIN_SIZE} x {CORONET_MIN_SIZE} pixels or more; "
            f"received {height} x {width}: raise preprocessing.size, or choose another model"
        )
    layers = _FigureLayers(l2, batch_norm_momentum)

    images = keras.Input((height, width, 1), name="input_2")
    x = keras.layers.ZeroPadding2D(3, name="zero_padding2d_1")(images)
    x = layers.convolution(x, 32, kernel_size=9)
    x = layers.leaky_relu(layers.batch_normalization(x))
    x = keras.layers.MaxPooling2D(3, name="max_pooling2d_2")(x)
    for filters, stride, bottlenecks in _GROUPS:
        x = _conv_block(layers, x, filters, stride)
        for _ in range(bottlenecks):
            x = _bottleneck(layers, x, filters)
    x = keras.layers.AveragePooling2D(2, name="average_pooling2d_1")(x)
    x = keras.layers.Flatten(name="flatten_1")(x)
    x = keras.layers.Dense(dense_units, name="dense_3")(x)
    x = layers.leaky_relu(x)
    x = keras.layers.Dropout(dropout, name="dropout_1")(x)
    # Probabilities stay in float32 under mixed precision.
    probabilities = keras.layers.Dense(
        classes, activation="softmax", dtype="float32", name="dense_4"
    )(x)
    return keras.Model(images, probabilities, name="coronet")


class _FigureLayers:
    """Applies layers that are numbered in the order in which figure 14 numbers them."""

    def __init__(self, l2: float, batch_norm_momentum: float):
        self._l2 = l2
        self._momentum = batch_norm_momentum
        self._convolutions = count(1)
        self._normalizations = count(1)
        self._activations = count(1)
        self._additions = count(17)

    def convolution(
        self, x: keras.KerasTensor, filters: int, kernel_size: int = 1, stride: int = 1
    ) -> keras.KerasTensor:
        return keras.layers.Conv2D(
            filters,
            kernel_size,
            strides=stride,
            padding="same",
            kernel_regularizer=keras.regularizers.L2(self._l2) if self._l2 else None,
            name=_numbered("conv2d", self._convolutions),
        )(x)

    def batch_normalization(self, x: keras.KerasTensor) -> keras.KerasTensor:
        name = _numbered("batch_normalization", self._normalizations)
        return keras.layers.BatchNormalization(momentum=self._momentum, name=name)(x)

    def leaky_relu(self, x: keras.KerasTensor) -> keras.KerasTensor:
        name = _numbered("leaky_re_lu", self._activations)
        return keras.layers.LeakyReLU(negative_slope=LEAK, name=name)(x)

    def add(self, x: keras.KerasTensor, shortcut: keras.KerasTensor) -> keras.KerasTensor:
        return keras.layers.Add(name=_numbered("add", self._additions))([x, shortcut])


def _numbered(name: str, numbers: Iterator[int]) -> str:
    return f"{name}_{next(numbers)}"


def _narrow(
    layers: _FigureLayers, x: keras.KerasTensor, filters: Filters, stride: int
) -> keras.KerasTensor:
    """What both blocks begin with, and the 1 x 1 convolution that widens again."""
    x = layers.convolution(x, filters[0], stride=stride)
    x = layers.leaky_relu(layers.batch_normalization(x))
    x = layers.convolution(x, filters[1], kernel_size=3)
    x = layers.leaky_relu(layers.batch_normalization(x))
    return layers.convolution(x, filters[2])


def _conv_block(
    layers: _FigureLayers, x: keras.KerasTensor, filters: Filters, stride: int
) -> keras.KerasTensor:
    """Figure 7, right: the shortcut has a convolution and a normalisation of its own."""
    narrow = _narrow(layers, x, filters, stride)
    shortcut = layers.convolution(x, filters[2], stride=stride)
    narrow = layers.batch_normalization(narrow)
    return layers.leaky_relu(layers.add(narrow, layers.batch_normalization(shortcut)))


def _bottleneck(layers: _FigureLayers, x: keras.KerasTensor, filters: Filters) -> keras.KerasTensor:
    """Figure 7, left: the shortcut is the input; an activation also precedes the addition."""
    narrow = layers.batch_normalization(_narrow(layers, x, filters, stride=1))
    return layers.leaky_relu(layers.add(layers.leaky_relu(narrow), x))
