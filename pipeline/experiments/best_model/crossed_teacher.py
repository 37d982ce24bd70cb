"""In PyTorch's environment: fine-tuned networks, asked about images they have not seen.

A fine-tuned network says of an image that it trained on little more than the label, wrong
labels included. So each fold is asked of a network that was trained without it; the fold
that validates was left out by all the teachers, who answer for it together.

    python -m pipeline.experiments.best_model.crossed_teacher --work WORK --fold 0 \\
        --teacher 1:lite2:WORK/crossed-1/weights.pt ... --size 288 --detail \\
        --soft-labels WORK/large-1/soft_labels.npz --output WORK/crossed.npz
"""

import argparse
import json
from pathlib import Path

import cv2
import numpy as np
import torch

from pipeline.experiments.best_model import data, soft_labels, unseen
from pipeline.experiments.best_model.network import CLASSES
from pipeline.experiments.best_model.scores import scores
from pipeline.experiments.best_model.views import resized


def main() -> None:
    """Entry point; prints a fold's scores by its teacher."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True, help="what `prepare` wrote")
    parser.add_argument("--output", type=Path, required=True, help="file to write")
    parser.add_argument("--fold", type=int, required=True, help="that no teacher trained on")
    parser.add_argument(
        "--soft-labels", type=Path, action="append", required=True, help="answers for that fold"
    )
    parser.add_argument(
        "--teacher",
        action="append",
        required=True,
        help="UNSEEN:KIND:WEIGHTS, one for each other fold",
    )
    parser.add_argument("--detail", action="store_true", help="they were trained with it")
    parser.add_argument("--size", type=int, default=200, help="that they were trained at")
    parser.add_argument("--views", type=int, default=soft_labels.VIEWS, help="of each image")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    cv2.setNumThreads(1)
    prepared = data.load(arguments.work, arguments.detail)
    teachers = {
        int(fold): rest for fold, rest in (text.split(":", 1) for text in arguments.teacher)
    }
    if missing := set(np.unique(prepared.folds).tolist()) - {arguments.fold, *teachers}:
        parser.error(f"no --teacher for fold {', '.join(map(str, sorted(missing)))}.")

    probabilities = np.empty((len(prepared.labels), CLASSES), np.float32)
    _, asked = prepared.split(arguments.fold)
    answers = [soft_labels.load(file).over_views()[asked] for file in arguments.soft_labels]
    probabilities[asked] = np.mean(answers, axis=0)
    images = np.stack([resized(image, arguments.size) for image in prepared.images])
    for fold, teacher in teachers.items():
        _, asked = prepared.split(fold)
        network = soft_labels.load_teacher(teacher)
        views = soft_labels.answer_views(network, images, asked, arguments.views)
        probabilities[asked] = soft_labels.over_views(views)
        print(json.dumps({"fold": fold, **scores(probabilities[asked], prepared.labels[asked])}))
    print(json.dumps({"fold": "all", **scores(probabilities, prepared.labels)}))
    unseen.save(arguments.output, probabilities)


if __name__ == "__main__":
    main()
