"""In PyTorch's environment: a teacher's answers to a fixed set of views of every image.

Labelled once, the views serve every student and every epoch, and several teachers cost a
student no more than one.

    python -m pipeline.experiments.best_model.soft_labels --work WORK \\
        --teacher lite0:WORK/teacher-1/weights.pt --output WORK/teacher-1/soft_labels.npz
"""

import argparse
from pathlib import Path

import cv2
import numpy as np
import torch

from pipeline.experiments.best_model import data
from pipeline.experiments.best_model.network import CLASSES
from pipeline.experiments.best_model.teacher import Teacher, load_teacher
from pipeline.experiments.best_model.views import numbered_view

VIEWS = 12
_LOGITS = "logits"
_REPORT_EVERY = 100


def answer(teacher: Teacher, images: np.ndarray, views: int) -> np.ndarray:
    """Returns the teacher's logits, float32 [N, views, CLASSES].

    Args:
        teacher: in evaluation mode.
        images: uint8 [N, side, side].
        views: of each image, by `numbered_view`.
    """
    logits = np.empty((len(images), views, CLASSES), np.float32)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        for index, image in enumerate(images):
            batch = np.stack([numbered_view(image, index, number) for number in range(views)])
            logits[index] = teacher(torch.from_numpy(batch[:, None])).float().numpy()
            if (index + 1) % _REPORT_EVERY == 0:
                print(f"{index + 1} of {len(images)} images", flush=True)
    return logits


def load(files: list[Path]) -> np.ndarray:
    """Returns the logits of several teachers, float32 [teachers, N, views, CLASSES]."""
    found = []
    for file in files:
        with np.load(file, allow_pickle=False) as arrays:
            found.append(arrays[_LOGITS])
    return np.stack(found)


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True, help="what `prepare` wrote")
    parser.add_argument("--teacher", required=True, help="KIND:WEIGHTS")
    parser.add_argument("--output", type=Path, required=True, help="file to write")
    parser.add_argument("--views", type=int, default=VIEWS)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    cv2.setNumThreads(1)
    logits = answer(
        load_teacher(arguments.teacher), data.load(arguments.work).images, arguments.views
    )
    partial = arguments.output.with_suffix(".partial.npz")
    np.savez(partial, **{_LOGITS: logits})
    partial.replace(arguments.output)


if __name__ == "__main__":
    main()
