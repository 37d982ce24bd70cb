"""Mixing pairs of a batch: mixup (whole images) and CutMix (a rectangle)."""

import numpy as np
import torch


def mix(
    images: torch.Tensor,
    targets: torch.Tensor,
    weights: torch.Tensor,
    random: np.random.Generator,
    mixup_alpha: float,
    cutmix_alpha: float,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Mixes each image with another of the batch, all by the same share.

    Args:
        images: [B, 1, side, side].
        targets: [B, classes], rows summing to 1.
        weights: [B].
        random: source of the draws.
        mixup_alpha, cutmix_alpha: of the Beta(a, a) that draws the share; 0 switches one
            off. With both, each is taken in half of the batches.

    Returns:
        images, targets and weights, mixed in the same proportion.
    """
    others = torch.from_numpy(random.permutation(len(images)))
    if cutmix_alpha and (not mixup_alpha or random.random() < 0.5):
        images, share = _paste(images, others, random.beta(cutmix_alpha, cutmix_alpha), random)
    else:
        share = random.beta(mixup_alpha, mixup_alpha)
        images = share * images + (1 - share) * images[others]
    targets = share * targets + (1 - share) * targets[others]
    return images, targets, share * weights + (1 - share) * weights[others]


def _paste(
    images: torch.Tensor, others: torch.Tensor, share: float, random: np.random.Generator
) -> tuple[torch.Tensor, float]:
    """Pastes a rectangle of the other images; returns the share that was left as it was."""
    side = images.shape[-1]
    half = int(side * np.sqrt(1 - share)) // 2
    row, column = random.integers(0, side, 2)
    rows = slice(max(row - half, 0), min(row + half, side))
    columns = slice(max(column - half, 0), min(column + half, side))
    pasted = images.clone()
    pasted[:, :, rows, columns] = images[others][:, :, rows, columns]
    area = (rows.stop - rows.start) * (columns.stop - columns.start)
    return pasted, 1 - area / side**2
