"""In PyTorch's environment: a teacher's answers to a fixed set of pictures.

Labelled once, the pictures serve every student and every epoch, and several teachers cost a
student no more than one. They are views of single images, about which a teacher that was
trained on them has little to say beyond the label, and mixes of two, which it has not
learned by heart.

    python -m pipeline.experiments.best_model.soft_labels --work WORK --fold 0 \\
        --teacher lite0:WORK/teacher-1/weights.pt --output WORK/teacher-1/soft_labels.npz
"""

import argparse
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import nn

from pipeline.experiments.best_model import data
from pipeline.experiments.best_model.mixing import numbered_mix
from pipeline.experiments.best_model.network import CLASSES, Coronet
from pipeline.experiments.best_model.precision import autocast
from pipeline.experiments.best_model.teacher import KINDS, Teacher
from pipeline.experiments.best_model.views import numbered_view

VIEWS = 12
MIXES = 12_000
STUDENT = "coronet"  # an earlier student teaches a later one
_BATCH = 16
_REPORTED = 1000  # pictures


@dataclass(frozen=True)
class SoftLabels:
    """Logits of a teacher.

    Attributes:
        views: float32 [N, views, CLASSES], of `numbered_view`.
        mixes: float32 [mixes, CLASSES], of `numbered_mix`.
    """

    views: np.ndarray
    mixes: np.ndarray

    def save(self, file: Path) -> None:
        """Writes them as a NumPy archive."""
        data.save(file, views=self.views, mixes=self.mixes)

    def over_views(self) -> np.ndarray:
        """Returns probabilities [N, CLASSES], the mean over an image's views."""
        return over_views(self.views)


def over_views(logits: np.ndarray) -> np.ndarray:
    """Returns probabilities [N, CLASSES], the mean over the views of [N, views, CLASSES]."""
    return torch.from_numpy(logits).softmax(-1).mean(1).numpy()


def load(file: Path) -> SoftLabels:
    """Reads what `SoftLabels.save` wrote."""
    with np.load(file, allow_pickle=False) as arrays:
        return SoftLabels(arrays["views"], arrays["mixes"])


def answer(
    teacher: nn.Module, images: np.ndarray, drawn: np.ndarray, views: int, mixes: int
) -> SoftLabels:
    """Asks the teacher about every numbered picture.

    Args:
        teacher: in evaluation mode; takes [B, 1, side, side] in [0, 1].
        images: uint8 [N, side, side].
        drawn: indices of the images that mixes are drawn from.
        views: of each image.
        mixes: in all.
    """
    of_views = answer_views(teacher, images, np.arange(len(images)), views)
    of_mixes = _ask(teacher, lambda number: numbered_mix(images, drawn, number).image, mixes)
    return SoftLabels(of_views, of_mixes)


def answer_views(
    teacher: nn.Module, images: np.ndarray, asked: np.ndarray, views: int
) -> np.ndarray:
    """Asks the teacher about every numbered view of some of the images.

    Args:
        teacher: as for `answer`.
        images: uint8 [N, side, side].
        asked: indices [M] of the images in question.
        views: of each image.

    Returns:
        logits, float32 [M, views, CLASSES].
    """

    def view(number: int) -> np.ndarray:
        index = int(asked[number // views])
        return numbered_view(images[index], index, number % views)

    return _ask(teacher, view, len(asked) * views).reshape(len(asked), views, CLASSES)


def _ask(teacher: nn.Module, picture: Callable[[int], np.ndarray], count: int) -> np.ndarray:
    """Returns the logits, float32 [count, CLASSES], of pictures [side, side]."""
    logits = np.empty((count, CLASSES), np.float32)
    with torch.no_grad(), autocast():
        for start in range(0, count, _BATCH):
            stop = min(start + _BATCH, count)
            batch = np.stack([picture(number) for number in range(start, stop)])
            logits[start:stop] = teacher(torch.from_numpy(batch[:, None])).float().numpy()
            if stop // _REPORTED > start // _REPORTED or stop == count:
                print(json.dumps({"asked": stop, "of": count}), flush=True)
    return logits


def load_teacher(text: str) -> nn.Module:
    """Returns the network `KIND:WEIGHTS` in evaluation mode; KIND is of `KINDS` or `STUDENT`.

    Raises:
        ValueError: KIND is something else.
    """
    kind, _, file = text.partition(":")
    if kind not in (*KINDS, STUDENT):
        raise ValueError(f"--teacher {text!r}: it starts with one of {(*KINDS, STUDENT)} and ':'.")
    network = Coronet() if kind == STUDENT else Teacher(kind)
    network.load_state_dict(torch.load(file, weights_only=True))
    return network.eval().to(memory_format=torch.channels_last)


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True, help="what `prepare` wrote")
    parser.add_argument("--teacher", required=True, help="KIND:WEIGHTS")
    parser.add_argument("--output", type=Path, required=True, help="file to write")
    parser.add_argument("--fold", type=int, default=data.NO_FOLD, help="fold left out of mixes")
    parser.add_argument("--detail", action="store_true", help="ask a teacher trained with it")
    parser.add_argument("--views", type=int, default=VIEWS)
    parser.add_argument("--mixes", type=int, default=MIXES)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    cv2.setNumThreads(1)
    prepared = data.load(arguments.work, arguments.detail)
    drawn, _ = prepared.split(arguments.fold)
    teacher = load_teacher(arguments.teacher)
    answer(teacher, prepared.images, drawn, arguments.views, arguments.mixes).save(arguments.output)


if __name__ == "__main__":
    main()
