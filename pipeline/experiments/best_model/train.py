"""In PyTorch's environment: fine-tune the teachers, then train the student on their answers.

A student run may start from the weights of an earlier one (`--initial`): a restarted
cosine, on more images or at a larger size.
"""

import argparse
import json
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import nn
from torch.nn import functional

from pipeline.atomic import staged, write_text
from pipeline.experiments.best_model import data, soft_labels, unseen
from pipeline.experiments.best_model.checkpoint import Checkpoint
from pipeline.experiments.best_model.lessons import Lessons
from pipeline.experiments.best_model.losses import cross_entropy, distillation
from pipeline.experiments.best_model.mixing import mix, numbered_mix
from pipeline.experiments.best_model.network import CLASSES, Coronet
from pipeline.experiments.best_model.precision import autocast
from pipeline.experiments.best_model.scores import scores
from pipeline.experiments.best_model.teacher import KINDS, Teacher
from pipeline.experiments.best_model.views import ViewSettings, numbered_view, random_view

WARM_UP = 0.1  # share of the steps
CLIP_NORM = 5.0
BATCHES_PREDICTED = 64


@dataclass
class Job:
    """One training run.

    Attributes:
        network: what is trained.
        size: pixels a side that it sees.
        epochs, rate, weight_decay, batch: of AdamW under one cycle of warm-up and cosine.
        smoothing: of the labels.
        mixed: share of the batches that are mixed; with lessons, of the pictures.
        mixup: see `mix`; with lessons, numbered mixes take its place.
        lessons: what teachers say; None trains on the labels alone.
        imitation: weight of the soft labels against the labels.
        left_out: a fold besides the one that validates.
    """

    network: nn.Module
    size: int
    epochs: int
    rate: float
    weight_decay: float
    seed: int
    batch: int = 32
    smoothing: float = 0.1
    mixed: float = 0.3
    mixup: float = 0.2
    lessons: Lessons | None = None
    imitation: float = 0.0
    left_out: int = data.NO_FOLD

    def settings(self) -> dict[str, object]:
        """Returns its numbers, by name."""
        parts = ("network", "lessons")
        return {one.name: getattr(self, one.name) for one in fields(self) if one.name not in parts}


@dataclass(frozen=True)
class Batch:
    """A batch to learn from.

    Attributes:
        images: float32 [B, 1, side, side] in [0, 1].
        targets: [B, classes], the smoothed labels.
        soft: [B, classes], the teachers' soft labels; empty columns without teachers.
        weights: [B], of the images by their class.
    """

    images: torch.Tensor
    targets: torch.Tensor
    soft: torch.Tensor
    weights: torch.Tensor


class Batches:
    """An epoch's batches of random pictures, other ones each time.

    Args:
        prepared: images and labels.
        indices: of the images to learn from.
        drawn: indices that numbered mixes were drawn from when they were labelled.
        job: what to do.

    Attributes:
        random: where they are drawn from; its state after an epoch is all that the next one needs.
        steps_an_epoch: whole batches of the images.
    """

    def __init__(
        self, prepared: data.Prepared, indices: np.ndarray, drawn: np.ndarray, job: Job
    ) -> None:
        self._prepared, self._indices, self._drawn, self._job = prepared, indices, drawn, job
        self.random = np.random.default_rng(job.seed)
        counts = np.bincount(prepared.labels[indices], minlength=CLASSES)
        # The square root softens the weights: covid has a fifth of the others' images.
        self._weights = np.sqrt(counts.sum() / (CLASSES * counts))[prepared.labels]
        hard = np.eye(CLASSES)[prepared.labels]
        self._targets = hard * (1 - job.smoothing) + job.smoothing / CLASSES
        self.steps_an_epoch = len(indices) // job.batch

    def __iter__(self) -> Iterator[Batch]:
        order = self.random.permutation(self._indices)
        for start in range(0, self.steps_an_epoch * self._job.batch, self._job.batch):
            yield self._batch(order[start : start + self._job.batch])

    def _batch(self, chosen: np.ndarray) -> Batch:
        job = self._job
        if job.lessons is not None:
            return self._taught(chosen, job.lessons)
        views = [
            random_view(self._prepared.images[one], self.random, ViewSettings()) for one in chosen
        ]
        images = torch.from_numpy(np.stack(views)[:, None])
        targets = torch.from_numpy(self._targets[chosen]).float()
        weights = torch.from_numpy(self._weights[chosen]).float()
        if self.random.random() < job.mixed:
            images, targets, weights = mix(images, targets, weights, self.random, job.mixup)
        return Batch(images, targets, torch.empty(len(chosen), 0), weights)

    def _taught(self, chosen: np.ndarray, lessons: Lessons) -> Batch:
        rows = [self._picture(index, lessons) for index in chosen]
        views, *others = (np.stack(column) for column in zip(*rows, strict=True))
        targets, soft, weights = (torch.from_numpy(column).float() for column in others)
        return Batch(torch.from_numpy(views)[:, None], targets, soft, weights)

    def _picture(self, index: int, lessons: Lessons) -> tuple[np.ndarray, ...]:
        """Returns a picture [side, side], its target [classes], soft label [classes] and weight."""
        job, images = self._job, self._prepared.images
        # Lungs mirrored are lungs: one more picture for the price of none.
        mirror = self.random.choice((-1, 1))
        if self.random.random() < job.mixed:
            number = int(self.random.integers(lessons.mixes.shape[1]))
            mix = numbered_mix(images, self._drawn, number)
            label, weight = mix.of(self._targets), mix.of(self._weights)
            return mix.image[:, ::mirror], label, lessons.of_mix(number, mix), weight
        number = int(self.random.integers(lessons.views.shape[2]))
        view = numbered_view(images[index], index, number)[:, ::mirror]
        return view, self._targets[index], lessons.of_view(index, number), self._weights[index]


def train(
    job: Job,
    prepared: data.Prepared,
    fold: int,
    output: Path,
    drawn: np.ndarray | None = None,
) -> None:
    """Runs `job`, or the rest of it where an earlier call was cut off.

    After each epoch `weights.pt` and `history.jsonl`, a line an epoch, are written anew.

    Args:
        job: what to do.
        prepared: images and labels.
        fold: left out of training and validated on; `data.NO_FOLD` trains on everything.
        output: folder for them.
        drawn: indices that numbered mixes were drawn from; None for those trained on.

    Raises:
        SystemExit: `output` holds an unfinished run of other settings.
    """
    output.mkdir(parents=True, exist_ok=True)
    indices, validation = prepared.split(fold, job.left_out)
    batches = Batches(prepared, indices, indices if drawn is None else drawn, job)
    network = job.network.to(memory_format=torch.channels_last)
    optimizer = _optimizer(job)
    settings = job.settings() | {"fold": fold, "images": len(indices)}
    checkpoint = Checkpoint(output, settings, network, optimizer, batches.random)
    history = checkpoint.restore()
    if history:
        _publish(network, history, output)  # the cut may have come before it
    started = time.monotonic()
    before = float(history[-1]["seconds"]) if history else 0.0
    for epoch in range(len(history), job.epochs):
        loss = _epoch(job, batches, optimizer, epoch)
        line = {
            "epoch": epoch + 1,
            "loss": loss,
            "seconds": before + time.monotonic() - started,
            **validate(network, prepared, validation, job.size),
        }
        print(json.dumps(line), flush=True)
        history.append(line)
        checkpoint.save(history)
        _publish(network, history, output)
    checkpoint.remove()


def _publish(network: nn.Module, history: list[dict[str, Any]], output: Path) -> None:
    with staged(output / "weights.pt") as staging:
        torch.save(network.state_dict(), staging)
    # Last: a run is whole when its history is.
    write_text(output / "history.jsonl", "".join(json.dumps(line) + "\n" for line in history))


def _epoch(job: Job, batches: Batches, optimizer: torch.optim.Optimizer, epoch: int) -> float:
    """Trains one epoch, counted from 0; returns its mean loss."""
    job.network.train()
    losses = []
    for step, batch in enumerate(batches, start=epoch * batches.steps_an_epoch):
        for group in optimizer.param_groups:
            group["lr"] = job.rate * _one_cycle(step / (job.epochs * batches.steps_an_epoch))
        loss = _loss(job, batch)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(job.network.parameters(), CLIP_NORM)
        optimizer.step()
        losses.append(loss.item())
    return float(np.mean(losses))


def _loss(job: Job, batch: Batch) -> torch.Tensor:
    with autocast():
        logits = job.network(_resized(batch.images, job.size)).float()
    loss = cross_entropy(logits, batch.targets, batch.weights)
    if job.lessons is None:
        return loss
    return (1 - job.imitation) * loss + job.imitation * distillation(logits, batch.soft)


def _resized(images: torch.Tensor, size: int) -> torch.Tensor:
    if images.shape[-1] != size:
        images = functional.interpolate(
            images, size=(size, size), mode="bilinear", antialias=True, align_corners=False
        )
    return images.contiguous(memory_format=torch.channels_last)


def _optimizer(job: Job) -> torch.optim.Optimizer:
    parameters = list(job.network.parameters())
    groups = [
        {"params": [one for one in parameters if one.ndim > 1], "weight_decay": job.weight_decay},
        {"params": [one for one in parameters if one.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, job.rate)


def _one_cycle(done: float) -> float:
    """Returns the share of the peak rate when a share `done` of the steps is done."""
    if done < WARM_UP:
        return done / WARM_UP
    return 0.5 * (1 + math.cos(math.pi * (done - WARM_UP) / (1 - WARM_UP)))


def validate(
    network: nn.Module, prepared: data.Prepared, indices: np.ndarray, size: int
) -> dict[str, object]:
    """Returns validation accuracy, loss and recall, predicted over the image and its mirror."""
    if len(indices) == 0:
        return {}
    return scores(predict(network, prepared.images[indices], size), prepared.labels[indices])


def predict(network: nn.Module, images: np.ndarray, size: int) -> np.ndarray:
    """Returns probabilities [N, CLASSES] of uint8 images [N, side, side]: image and mirror."""
    network.eval()
    found = []
    with torch.no_grad(), autocast():
        for start in range(0, len(images), BATCHES_PREDICTED):
            batch = torch.from_numpy(images[start : start + BATCHES_PREDICTED, None])
            unit = _resized(batch.float() / 255, size)
            found.append(sum(network(view).float().softmax(1) for view in (unit, unit.flip(3))) / 2)
    return torch.cat(found).numpy()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    roles = parser.add_subparsers(dest="role", required=True)
    teacher = roles.add_parser("teacher", help="fine-tune an EfficientNet-Lite")
    teacher.add_argument("--kind", choices=KINDS, default="lite0")
    teacher.add_argument(
        "--detail", action="store_true", help="train on the images that are larger, without CLAHE"
    )
    teacher.add_argument(
        "--left-out",
        type=int,
        default=data.NO_FOLD,
        help="a fold besides --fold, to be asked about",
    )
    student = roles.add_parser("student", help="train CORONet")
    student.add_argument(
        "--soft-labels", type=Path, action="append", default=[], help="of a network"
    )
    student.add_argument(
        "--unseen",
        type=Path,
        action="append",
        default=[],
        help="what `feature_teacher` or `crossed_teacher` wrote",
    )
    student.add_argument(
        "--mixes-fold", type=int, help="fold left out of the labelled mixes; default: --fold"
    )
    student.add_argument("--initial", type=Path, help="weights of an earlier student run")
    student.add_argument("--imitation", type=float, default=0.9)
    for role, rate, decay, epochs, size in (
        (teacher, 7e-4, 0.02, 10, 200),
        (student, 1.5e-3, 0.05, 24, 128),
    ):
        role.add_argument("--work", type=Path, required=True, help="what `prepare` wrote")
        role.add_argument("--output", type=Path, required=True, help="folder of this run")
        role.add_argument("--fold", type=int, default=data.NO_FOLD, help="fold to validate on")
        role.add_argument("--size", type=int, default=size)
        role.add_argument("--epochs", type=int, default=epochs)
        role.add_argument("--rate", type=float, default=rate)
        role.add_argument("--weight-decay", type=float, default=decay)
        role.add_argument("--seed", type=int, default=0)
        role.add_argument("--threads", type=int, default=torch.get_num_threads())
    return parser.parse_args()


def main() -> None:
    """Entry point."""
    arguments = _arguments()
    torch.set_num_threads(arguments.threads)
    cv2.setNumThreads(1)
    torch.manual_seed(arguments.seed)
    job = Job(
        network=Coronet() if arguments.role == "student" else Teacher(arguments.kind),
        size=arguments.size,
        epochs=arguments.epochs,
        rate=arguments.rate,
        weight_decay=arguments.weight_decay,
        seed=arguments.seed,
    )
    if arguments.role == "student":
        if arguments.soft_labels:
            job.lessons = Lessons.of(
                [soft_labels.load(file) for file in arguments.soft_labels],
                [unseen.load(file) for file in arguments.unseen],
            )
            job.imitation, job.mixed = arguments.imitation, 0.5
        if arguments.initial is not None:
            job.network.load_state_dict(torch.load(arguments.initial, weights_only=True))
    if arguments.role == "teacher":
        job.left_out = arguments.left_out
    prepared = data.load(arguments.work, arguments.role == "teacher" and arguments.detail)
    drawn = None
    if arguments.role == "student" and arguments.mixes_fold is not None:
        drawn, _ = prepared.split(arguments.mixes_fold)
    train(job, prepared, arguments.fold, arguments.output, drawn)


if __name__ == "__main__":
    main()
