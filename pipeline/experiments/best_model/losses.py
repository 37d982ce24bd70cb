"""What the student imitates: labels, the teachers' soft labels, and a teacher's features."""

import torch
from torch import nn
from torch.nn import functional

from pipeline.experiments.best_model.network import MIDDLE_CHANNELS, TRUNK_CHANNELS

TEMPERATURE = 2.0
# Rows and columns of feature maps that are compared.
_MIDDLE_SIDE, _LAST_SIDE = 8, 4


def cross_entropy(
    logits: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor
) -> torch.Tensor:
    """Returns the weighted mean cross-entropy.

    Args:
        logits: [B, classes].
        targets: [B, classes], rows summing to 1.
        weights: [B], of the images.
    """
    each = -(targets * logits.log_softmax(1)).sum(1)
    return (each * weights).sum() / weights.sum()


def distillation(logits: torch.Tensor, teacher_logits: list[torch.Tensor]) -> torch.Tensor:
    """Returns Hinton's loss: the divergence from the teachers' mean at a raised temperature."""
    softened = [functional.softmax(one / TEMPERATURE, 1) for one in teacher_logits]
    mean = torch.stack(softened).mean(0)
    student = functional.log_softmax(logits / TEMPERATURE, 1)
    return functional.kl_div(student, mean, reduction="batchmean") * TEMPERATURE**2


class FeatureHints(nn.Module):
    """FitNets' hints: the student's maps, through a learned 1 x 1 convolution, against a teacher's.

    Compared on coarse grids, because the two networks have different strides.
    """

    def __init__(self, teacher_middle_channels: int, teacher_last_channels: int) -> None:
        super().__init__()
        self.middle = nn.Conv2d(MIDDLE_CHANNELS, teacher_middle_channels, 1)
        self.last = nn.Conv2d(TRUNK_CHANNELS, teacher_last_channels, 1)

    def forward(
        self,
        student: tuple[torch.Tensor, torch.Tensor],
        teacher: tuple[torch.Tensor, torch.Tensor],
    ) -> torch.Tensor:
        """Returns the sum of the mean squared differences from the standardised targets."""
        return _difference(self.middle, student[0], teacher[0], _MIDDLE_SIDE) + _difference(
            self.last, student[1], teacher[1], _LAST_SIDE
        )


def _difference(
    adapter: nn.Conv2d, student: torch.Tensor, teacher: torch.Tensor, side: int
) -> torch.Tensor:
    target = functional.adaptive_avg_pool2d(teacher.float(), side)
    mean = target.mean((0, 2, 3), keepdim=True)
    deviation = target.std((0, 2, 3), keepdim=True)
    guess = adapter(functional.adaptive_avg_pool2d(student, side)).float()
    return functional.mse_loss(guess, (target - mean) / (deviation + 1e-3))
