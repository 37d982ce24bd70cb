"""The losses of a student: against the labels, and against the teachers' soft labels."""

import torch
from torch.nn import functional

TEMPERATURE = 2.0


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


def distillation(logits: torch.Tensor, soft: torch.Tensor) -> torch.Tensor:
    """Returns Hinton's loss: the divergence from the soft labels at the raised temperature.

    Args:
        logits: of the student, [B, classes].
        soft: probabilities at that temperature, [B, classes].
    """
    student = functional.log_softmax(logits / TEMPERATURE, 1)
    return functional.kl_div(student, soft, reduction="batchmean") * TEMPERATURE**2
