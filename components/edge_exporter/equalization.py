"""Evens out a network's channels before it is quantized, without changing what it computes.

An int8 tensor has one step for all its channels, set by the widest. A channel that never
gets far is left with few of the 256 levels. Convolution, normalisation, leaky rectifier,
pooling and sum all let a positive factor per channel through, so each channel may be scaled
where it is made and scaled back where it is read; cf. Nagel et al., "Data-Free Quantization
Through Weight Equalization and Bias Correction" (2019), and for the choice of the factor
Xiao et al., "SmoothQuant" (2023), eq. 4 with alpha = 1/2.
"""

from collections import defaultdict
from dataclasses import dataclass, field

import keras
import numpy as np

_BATCH = 4  # every activation of a batch is held at once
_SCALED = (keras.layers.Conv2D, keras.layers.Dense)  # absorb factors on both sides
_TRANSPARENT = (
    keras.layers.LeakyReLU,
    keras.layers.ReLU,
    keras.layers.MaxPooling2D,
    keras.layers.AveragePooling2D,
    keras.layers.Dropout,
    keras.layers.ZeroPadding2D,
    keras.layers.Flatten,
    keras.layers.Add,
)  # f(s x) = s f(x) for s > 0, channel by channel


@dataclass
class _Channels:
    """Tensors that must share their factors, since a layer that adds none lies between.

    Attributes:
        tensors: of the network.
        makers, readers: the layers that absorb the factors.
        fixed: whether something depends on the channels as they are.
    """

    tensors: list[keras.KerasTensor] = field(default_factory=list)
    makers: list[keras.Layer] = field(default_factory=list)
    readers: list[keras.Layer] = field(default_factory=list)
    fixed: bool = False


def equalize(network: keras.Model, images: np.ndarray) -> None:
    """Scales the weights of `network` in place; its outputs stay what they were.

    Args:
        network: functional, channels last. Layers of other kinds than CORONet's are left
            alone, and so are the channels that they read and make.
        images: float32 [N, H, W, C], training images; they show how wide each channel gets.
    """
    groups = [group for group in _groups(network) if not group.fixed]
    widths = _widths(network, groups, images)
    for group, width in zip(groups, widths, strict=True):
        reading = np.max([_reading(layer, len(width)) for layer in group.readers], axis=0)
        alive = (width > 0) & (reading > 0)
        if not alive.any():
            continue
        factors = np.ones_like(width)
        factors[alive] = np.sqrt(reading[alive] / width[alive])
        factors[alive] /= np.exp(np.log(factors[alive]).mean())
        for layer in group.makers:
            _scale_outputs(layer, factors)
        for layer in group.readers:
            _scale_inputs(layer, factors)


def _groups(network: keras.Model) -> list[_Channels]:
    """Partitions the tensors of `network`."""
    parents: dict[int, int] = {}

    def root(tensor: keras.KerasTensor) -> int:
        key = parents.setdefault(id(tensor), id(tensor))
        while parents[key] != key:
            key = parents[key]
        return key

    for layer in network.layers:
        if _is_transparent(layer):
            for tensor in keras.tree.flatten(layer.input):
                parents[root(tensor)] = root(layer.output)
    groups: defaultdict[int, _Channels] = defaultdict(_Channels)
    for layer in network.layers:
        inputs, outputs = keras.tree.flatten(layer.input), keras.tree.flatten(layer.output)
        for tensor in outputs:
            groups[root(tensor)].tensors.append(tensor)
        if _is_transparent(layer):
            continue
        for tensor in outputs:
            group = groups[root(tensor)]
            group.makers.append(layer)
            group.fixed |= not _scales_its_outputs(layer)
        for tensor in inputs:
            group = groups[root(tensor)]
            group.readers.append(layer)
            group.fixed |= not _scales(layer)
    for tensor in network.outputs:
        groups[root(tensor)].fixed = True
    return list(groups.values())


def _is_transparent(layer: keras.Layer) -> bool:
    if isinstance(layer, keras.layers.ReLU):
        return layer.max_value is None and not layer.threshold
    return isinstance(layer, _TRANSPARENT)


def _scales(layer: keras.Layer) -> bool:
    """Whether factors of its inputs can go into its kernel."""
    return isinstance(layer, _SCALED) and getattr(layer, "groups", 1) == 1


def _scales_its_outputs(layer: keras.Layer) -> bool:
    if isinstance(layer, keras.layers.BatchNormalization):
        return bool(layer.scale and layer.center)
    return _scales(layer) and layer.activation is keras.activations.linear


def _widths(network: keras.Model, groups: list[_Channels], images: np.ndarray) -> list[np.ndarray]:
    """The largest magnitude of each channel of each group."""
    tensors = [tensor for group in groups for tensor in group.tensors]
    observer = keras.Model(network.inputs, tensors)
    largest = [np.zeros(tensor.shape[-1]) for tensor in tensors]
    for start in range(0, len(images), _BATCH):
        for seen, values in zip(largest, observer(images[start : start + _BATCH]), strict=True):
            magnitude = np.abs(keras.ops.convert_to_numpy(values))
            np.maximum(seen, magnitude.reshape(-1, len(seen)).max(axis=0), out=seen)
    found = dict(zip(map(id, tensors), largest, strict=True))
    widths = []
    for group in groups:
        channels = min(tensor.shape[-1] for tensor in group.tensors)  # `Flatten` has more
        each = [found[id(tensor)].reshape(-1, channels).max(axis=0) for tensor in group.tensors]
        widths.append(np.max(each, axis=0))
    return widths


def _reading(layer: keras.Layer, channels: int) -> np.ndarray:
    """The largest weight with which `layer` reads each of its input's channels."""
    kernel = np.abs(keras.ops.convert_to_numpy(layer.kernel))
    largest: np.ndarray = kernel.reshape(-1, channels, kernel.shape[-1]).max(axis=(0, 2))
    return largest


def _scale_outputs(layer: keras.Layer, factors: np.ndarray) -> None:
    if isinstance(layer, keras.layers.BatchNormalization):
        variables = [layer.gamma, layer.beta]
    else:
        variables = [layer.kernel] + ([layer.bias] if layer.use_bias else [])
    for variable in variables:
        variable.assign(variable * factors.astype(np.float32))


def _scale_inputs(layer: keras.Layer, factors: np.ndarray) -> None:
    kernel = keras.ops.convert_to_numpy(layer.kernel)
    by_channel = kernel.reshape(-1, len(factors), kernel.shape[-1])
    scaled = by_channel / factors.astype(np.float32)[:, np.newaxis]
    layer.kernel.assign(scaled.reshape(kernel.shape))
