"""What the student imitates: the labels, and the teachers' soft labels."""

import numpy as np
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


def soften(logits: np.ndarray) -> np.ndarray:
    """Returns the teachers' mean probabilities at the raised temperature.

    Args:
        logits: [teachers, ..., classes].

    Returns:
        [..., classes], rows summing to 1.
    """
    return functional.softmax(torch.from_numpy(logits) / TEMPERATURE, -1).mean(0).numpy()


def distillation(logits: torch.Tensor, soft: torch.Tensor) -> torch.Tensor:
    """Returns Hinton's loss: the divergence from the soft labels at the raised temperature.

    Args:
        logits: of the student, [B, classes].
        soft: what `soften` returned, [B, classes]; mixed where the images are.
    """
    student = functional.log_softmax(logits / TEMPERATURE, 1)
    return functional.kl_div(student, soft, reduction="batchmean") * TEMPERATURE**2
