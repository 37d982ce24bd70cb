"""CORONet in PyTorch: layer for layer the network of `models.coronet`, for training only."""

import numpy as np
import torch
from torch import nn
from torch.nn import functional

CLASSES = 4
LEAK = 0.3
KERAS_EPSILON = 1e-3
BATCH_NORM_MOMENTUM = 0.1  # PyTorch's 0.1 is Keras's 0.9
TRUNK_CHANNELS = 1024
# Per group: filters, stride of its ConvBlock, blocks in all (the paper's figure 14).
GROUPS = ((32, 1, 3), (64, 2, 3), (128, 2, 6), (256, 2, 3))


class NormalizedConvolution(nn.Module):
    """Convolution, then batch normalisation with Keras's epsilon."""

    def __init__(self, channels: int, filters: int, kernel: int, stride: int = 1) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(channels, filters, kernel, stride, padding=kernel // 2)
        self.normalization = nn.BatchNorm2d(
            filters, eps=KERAS_EPSILON, momentum=BATCH_NORM_MOMENTUM
        )
        nn.init.kaiming_normal_(self.convolution.weight, a=LEAK, mode="fan_out")
        nn.init.zeros_(self.convolution.bias)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.normalization(self.convolution(images))


class Block(nn.Module):
    """The paper's ConvBlock where `projected`, else its Bottleneck (figure 7)."""

    def __init__(self, channels: int, filters: int, stride: int, projected: bool) -> None:
        super().__init__()
        # In the order in which figure 14 numbers the layers.
        self.reduce = NormalizedConvolution(channels, filters, 1, stride)
        self.spatial = NormalizedConvolution(filters, filters, 3)
        self.expand = NormalizedConvolution(filters, 4 * filters, 1)
        self.shortcut = (
            NormalizedConvolution(channels, 4 * filters, 1, stride) if projected else None
        )

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        inner = self.expand(_leaky(self.spatial(_leaky(self.reduce(images)))))
        if self.shortcut is not None:
            return _leaky(inner + self.shortcut(images))
        return _leaky(_leaky(inner) + images)


class Coronet(nn.Module):
    """Figure 14 with the dense layer's kernel tied over the positions that it sees.

    Averaging over the positions before a [1024, 1024] kernel is the same function as figure
    14's flattened [16384, 1024] kernel that repeats it sixteen times. Tied, it has a
    sixteenth of the weights to overfit with, and does not depend on the image's size, so
    that most of the training can take smaller images. `keras_weights` unties it.
    """

    def __init__(self, dense_units: int = 1024, dropout: float = 0.5) -> None:
        super().__init__()
        self.stem = NormalizedConvolution(1, GROUPS[0][0], 9)
        blocks: list[Block] = []
        channels = GROUPS[0][0]
        for filters, stride, count in GROUPS:
            for number in range(count):
                blocks.append(
                    Block(channels, filters, 1 if number else stride, projected=number == 0)
                )
                channels = 4 * filters
        self.blocks = nn.ModuleList(blocks)
        self.dense = nn.Linear(TRUNK_CHANNELS, dense_units)
        self.dropout = nn.Dropout(dropout)
        self.output = nn.Linear(dense_units, CLASSES)

    def features(self, images: torch.Tensor) -> torch.Tensor:
        """Returns the output of the last group of blocks.

        Args:
            images: [B, 1, H, W] in [0, 1].
        """
        x = _leaky(self.stem(functional.pad(images, (3, 3, 3, 3))))
        x = functional.max_pool2d(x, 3)
        for block in self.blocks:
            x = block(x)
        return x

    def logits(self, last: torch.Tensor) -> torch.Tensor:
        """Returns [B, CLASSES] from the last group's output."""
        pooled = functional.avg_pool2d(last, 2).mean((2, 3))
        return self.output(self.dropout(_leaky(self.dense(pooled))))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Returns logits [B, CLASSES] for images [B, 1, H, W] in [0, 1]."""
        return self.logits(self.features(images))

    def convolutions(self) -> list[NormalizedConvolution]:
        """Returns the convolutions in the order of figure 14's numbers."""
        return [module for module in self.modules() if isinstance(module, NormalizedConvolution)]

    def keras_weights(self, image_size: int = 200) -> dict[str, np.ndarray]:
        """Returns the weights of figure 14's network for square images, by its layers' names.

        Keys are `layer/variable`, such as `conv2d_1/kernel`.
        """
        weights: dict[str, np.ndarray] = {}
        for number, module in enumerate(self.convolutions(), start=1):
            convolution, normalization = module.convolution, module.normalization
            layer = f"conv2d_{number}"
            weights[f"{layer}/kernel"] = _array(convolution.weight.permute(2, 3, 1, 0))
            weights[f"{layer}/bias"] = _array(convolution.bias)
            layer = f"batch_normalization_{number}"
            weights[f"{layer}/gamma"] = _array(normalization.weight)
            weights[f"{layer}/beta"] = _array(normalization.bias)
            weights[f"{layer}/moving_mean"] = _array(normalization.running_mean)
            weights[f"{layer}/moving_variance"] = _array(normalization.running_var)
        positions = _pooled_side(image_size) ** 2
        weights["dense_3/kernel"] = np.tile(_array(self.dense.weight.T), (positions, 1)) / positions
        weights["dense_3/bias"] = _array(self.dense.bias)
        weights["dense_4/kernel"] = _array(self.output.weight.T)
        weights["dense_4/bias"] = _array(self.output.bias)
        return weights


def _pooled_side(image_size: int) -> int:
    """Rows (and columns) that reach the dense layer: 4 for 200 pixels."""
    side = (image_size + 2 * 3) // 3
    for _, stride, _ in GROUPS:
        side = -(-side // stride)
    return side // 2


def _leaky(x: torch.Tensor) -> torch.Tensor:
    return functional.leaky_relu(x, LEAK)


def _array(tensor: torch.Tensor) -> np.ndarray:
    return tensor.detach().float().contiguous().numpy()
