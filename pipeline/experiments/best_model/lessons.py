"""What the student imitates: several teachers' answers, at a raised temperature."""

from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional

from pipeline.experiments.best_model.losses import TEMPERATURE
from pipeline.experiments.best_model.mixing import NumberedMix
from pipeline.experiments.best_model.soft_labels import SoftLabels


@dataclass(frozen=True)
class Lessons:
    """Soft labels; each teacher counts the same.

    Attributes:
        views: float32 [teachers, N, views, classes], of the networks that saw the images.
        mixes: float32 [teachers, mixes, classes], of the same networks.
        images: float32 [others, N, classes], of models that had not seen the image.
    """

    views: np.ndarray
    mixes: np.ndarray
    images: np.ndarray

    @classmethod
    def of(cls, networks: list[SoftLabels], unseen: list[np.ndarray]) -> "Lessons":
        """Softens the teachers' answers.

        Args:
            networks: of `soft_labels`, a teacher each.
            unseen: of `unseen`, probabilities [N, classes] each; may be empty.
        """
        none = np.empty((0, *networks[0].views.shape[::2]), np.float32)
        return cls(
            views=_soften(np.stack([one.views for one in networks])),
            mixes=_soften(np.stack([one.mixes for one in networks])),
            images=np.concatenate([none, *(_soften(np.log(one))[None] for one in unseen)]),
        )

    def of_view(self, index: int, number: int) -> np.ndarray:
        """Returns the soft label [classes] of view `number` of image `index`."""
        return _mean(self.views[:, index, number], self.images[:, index])

    def of_mix(self, number: int, mix: NumberedMix) -> np.ndarray:
        """Returns the soft label [classes] of `mix`, which is number `number`."""
        return _mean(self.mixes[:, number], mix.of(self.images.swapaxes(0, 1)))


def _mean(*answers: np.ndarray) -> np.ndarray:
    return np.concatenate(answers).mean(0)


def _soften(logits: np.ndarray) -> np.ndarray:
    return functional.softmax(torch.from_numpy(logits).float() / TEMPERATURE, -1).numpy()
