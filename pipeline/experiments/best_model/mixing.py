"""Mixing two pictures: mixup (whole images) and CutMix (a rectangle)."""

from dataclasses import dataclass

import numpy as np
import torch

from pipeline.experiments.best_model.views import ViewSettings, random_view


def mix(
    images: torch.Tensor,
    targets: torch.Tensor,
    weights: torch.Tensor,
    random: np.random.Generator,
    alpha: float,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Mixes each image with another of the batch, all by the same share (mixup).

    Args:
        images: [B, 1, side, side].
        targets: [B, classes], rows summing to 1.
        weights: [B].
        random: source of the draws.
        alpha: of the Beta(alpha, alpha) that draws the share.

    Returns:
        images, targets and weights, mixed in the same proportion.
    """
    others = torch.from_numpy(random.permutation(len(images)))
    share = random.beta(alpha, alpha)
    images = share * images + (1 - share) * images[others]
    targets = share * targets + (1 - share) * targets[others]
    return images, targets, share * weights + (1 - share) * weights[others]


@dataclass(frozen=True)
class NumberedMix:
    """Two views in one picture.

    Attributes:
        image: float32 [side, side] in [0, 1].
        first, second: indices of the images in the data set.
        share: of the first; the rest is the second's.
    """

    image: np.ndarray
    first: int
    second: int
    share: float

    def of(self, values: np.ndarray) -> np.ndarray:
        """Returns the mixture of the two images' rows of `values` [N, ...]."""
        return self.share * values[self.first] + (1 - self.share) * values[self.second]


def numbered_mix(images: np.ndarray, indices: np.ndarray, number: int) -> NumberedMix:
    """Returns mix `number` of random views: always the same, so that it can be labelled once.

    Half of the mixes are mixup, half CutMix, their shares drawn evenly.

    Args:
        images: uint8 [N, side, side].
        indices: of the images to draw from.
        number: from 0.
    """
    random = np.random.default_rng((len(images), number))
    first, second = random.choice(indices, 2, replace=False)
    views = [
        torch.from_numpy(random_view(images[index], random, ViewSettings()))[None, None]
        for index in (first, second)
    ]
    share = random.random()
    if random.random() < 0.5:
        mixed, share = _paste(views[0], views[1], share, random)
    else:
        mixed = share * views[0] + (1 - share) * views[1]
    return NumberedMix(mixed[0, 0].numpy(), int(first), int(second), share)


def _paste(
    image: torch.Tensor, other: torch.Tensor, share: float, random: np.random.Generator
) -> tuple[torch.Tensor, float]:
    """Pastes a rectangle of the other image; returns the share that was left as it was."""
    side = image.shape[-1]
    half = int(side * np.sqrt(1 - share)) // 2
    row, column = random.integers(0, side, 2)
    rows = slice(max(row - half, 0), min(row + half, side))
    columns = slice(max(column - half, 0), min(column + half, side))
    pasted = image.clone()
    pasted[:, :, rows, columns] = other[:, :, rows, columns]
    area = (rows.stop - rows.start) * (columns.stop - columns.start)
    return pasted, 1 - area / side**2
