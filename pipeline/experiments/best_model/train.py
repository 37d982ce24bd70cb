"""In PyTorch's environment: fine-tune the teachers, then train the student.

A student run may start from the weights of an earlier one (`--initial`): a restarted
cosine, on more images or at a larger size.
"""

import argparse
import json
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import nn
from torch.nn import functional

from pipeline.experiments.best_model import data
from pipeline.experiments.best_model.losses import FeatureHints, cross_entropy, distillation
from pipeline.experiments.best_model.mixing import mix
from pipeline.experiments.best_model.network import CLASSES, Coronet
from pipeline.experiments.best_model.teacher import KINDS, Teacher
from pipeline.experiments.best_model.views import ViewSettings, random_view

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
        mixed: share of the batches that are mixed.
        mixup, cutmix: see `mix`.
        teachers: frozen, evaluated at the images' full size.
        imitation: weight of the teachers' soft labels against the labels'.
        hint: weight of the first teacher's features; 0 leaves them out.
        stop_after: epochs after which the cycle is left; None runs it to its end.
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
    cutmix: float = 0.0
    teachers: list[Teacher] = field(default_factory=list)
    imitation: float = 0.0
    hint: float = 0.0
    stop_after: int | None = None


class Batches:
    """Endless batches of random views, with smoothed targets and image weights."""

    def __init__(self, prepared: data.Prepared, indices: np.ndarray, job: Job) -> None:
        self._prepared, self._indices, self._job = prepared, indices, job
        self._random = np.random.default_rng(job.seed)
        counts = np.bincount(prepared.labels[indices], minlength=CLASSES)
        # The square root softens the weights: covid has a fifth of the others' images.
        self._class_weights = np.sqrt(counts.sum() / (CLASSES * counts))
        self.steps_an_epoch = len(indices) // job.batch

    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
        while True:
            order = self._random.permutation(self._indices)
            for start in range(0, self.steps_an_epoch * self._job.batch, self._job.batch):
                yield self._batch(order[start : start + self._job.batch])

    def _batch(self, chosen: np.ndarray) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        job, labels = self._job, self._prepared.labels[chosen]
        views = [
            random_view(self._prepared.images[index], self._random, ViewSettings())
            for index in chosen
        ]
        images = torch.from_numpy(np.stack(views)[:, None])
        targets = torch.eye(CLASSES)[labels] * (1 - job.smoothing) + job.smoothing / CLASSES
        weights = torch.from_numpy(self._class_weights[labels]).float()
        if self._random.random() < job.mixed:
            return mix(images, targets, weights, self._random, job.mixup, job.cutmix)
        return images, targets, weights


def train(job: Job, prepared: data.Prepared, fold: int, output: Path) -> None:
    """Runs `job`; after each epoch writes the weights and a line of `history.jsonl`.

    Args:
        job: what to do.
        prepared: images and labels.
        fold: left out of training and validated on; `data.NO_FOLD` trains on everything.
        output: folder for `weights.pt` and `history.jsonl`.
    """
    output.mkdir(parents=True, exist_ok=True)
    indices, validation = prepared.split(fold)
    batches = Batches(prepared, indices, job)
    total = job.epochs * batches.steps_an_epoch
    last = (job.stop_after or job.epochs) * batches.steps_an_epoch
    network = job.network.to(memory_format=torch.channels_last).train()
    hints = _hints(job, prepared) if job.hint else None
    optimizer = _optimizer(job, hints)
    started, losses = time.monotonic(), []
    for step, (images, targets, weights) in enumerate(batches, start=1):
        for group in optimizer.param_groups:
            group["lr"] = job.rate * _one_cycle((step - 1) / total)
        loss = _loss(job, hints, images, targets, weights)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), CLIP_NORM)
        optimizer.step()
        losses.append(loss.item())
        if step % batches.steps_an_epoch == 0:
            line = {
                "epoch": step // batches.steps_an_epoch,
                "loss": float(np.mean(losses)),
                "seconds": time.monotonic() - started,
                **validate(network, prepared, validation, job.size),
            }
            print(json.dumps(line), flush=True)
            with (output / "history.jsonl").open("a", encoding="utf-8") as history:
                history.write(json.dumps(line) + "\n")
            torch.save(network.state_dict(), output / "weights.partial")
            (output / "weights.partial").replace(output / "weights.pt")
            network.train()
            losses = []
        if step == last:
            return


def _loss(
    job: Job,
    hints: FeatureHints | None,
    images: torch.Tensor,
    targets: torch.Tensor,
    weights: torch.Tensor,
) -> torch.Tensor:
    with torch.autocast("cpu", torch.bfloat16):
        with torch.no_grad():
            taught = [teacher.features(images) for teacher in job.teachers]
            soft = [
                teacher.logits(last).float()
                for teacher, (_, last) in zip(job.teachers, taught, strict=True)
            ]
        features = job.network.features(_resized(images, job.size))
        logits = job.network.logits(features[1])
        hint = hints(features, taught[0]) if hints is not None else torch.zeros(())
    loss = cross_entropy(logits.float(), targets, weights)
    if not job.teachers:
        return loss
    imitated = distillation(logits.float(), soft)
    return (1 - job.imitation) * loss + job.imitation * imitated + job.hint * hint


def _resized(images: torch.Tensor, size: int) -> torch.Tensor:
    if images.shape[-1] != size:
        images = functional.interpolate(
            images, size=(size, size), mode="bilinear", antialias=True, align_corners=False
        )
    return images.contiguous(memory_format=torch.channels_last)


def _hints(job: Job, prepared: data.Prepared) -> FeatureHints:
    probe = torch.from_numpy(prepared.images[:2, None]).float() / 255
    with torch.no_grad():
        middle, last = job.teachers[0].features(probe)
    return FeatureHints(middle.shape[1], last.shape[1])


def _optimizer(job: Job, hints: FeatureHints | None) -> torch.optim.Optimizer:
    parameters = list(job.network.parameters())
    groups = [
        {"params": [one for one in parameters if one.ndim > 1], "weight_decay": job.weight_decay},
        {"params": [one for one in parameters if one.ndim <= 1], "weight_decay": 0.0},
    ]
    if hints is not None:
        groups.append({"params": list(hints.parameters()), "weight_decay": 0.0})
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
    labels = prepared.labels[indices]
    probabilities = predict(network, prepared.images[indices], size)
    predictions = probabilities.argmax(1)
    true_probability = probabilities[np.arange(len(labels)), labels]
    return {
        "val_accuracy": float((predictions == labels).mean()),
        "val_loss": float(-np.log(np.maximum(true_probability, 1e-7)).mean()),
        "val_recall": [float((predictions[labels == c] == c).mean()) for c in range(CLASSES)],
    }


def predict(network: nn.Module, images: np.ndarray, size: int) -> np.ndarray:
    """Returns probabilities [N, CLASSES] of uint8 images [N, side, side]: image and mirror."""
    network.eval()
    found = []
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        for start in range(0, len(images), BATCHES_PREDICTED):
            batch = torch.from_numpy(images[start : start + BATCHES_PREDICTED, None])
            unit = _resized(batch.float() / 255, size)
            found.append(sum(network(view).float().softmax(1) for view in (unit, unit.flip(3))) / 2)
    return torch.cat(found).numpy()


def _load_teacher(text: str) -> Teacher:
    kind, _, file = text.partition(":")
    teacher = Teacher(kind)
    teacher.load_state_dict(torch.load(file, weights_only=True))
    return teacher.eval().to(memory_format=torch.channels_last)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    roles = parser.add_subparsers(dest="role", required=True)
    teacher = roles.add_parser("teacher", help="fine-tune an EfficientNet-Lite")
    teacher.add_argument("--kind", choices=KINDS, default="lite0")
    student = roles.add_parser("student", help="train CORONet")
    student.add_argument(
        "--teacher", action="append", default=[], help="KIND:WEIGHTS; the first gives features"
    )
    student.add_argument("--initial", type=Path, help="weights of an earlier student run")
    student.add_argument("--imitation", type=float, default=0.9)
    student.add_argument("--hint", type=float, default=0.5)
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
        role.add_argument("--stop-after", type=int, help="epochs; leaves the cycle early")
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
        stop_after=arguments.stop_after,
    )
    if arguments.role == "student":
        job.teachers = [_load_teacher(text) for text in arguments.teacher]
        if job.teachers:
            # A teacher can say what a mixed image shows, so images may be mixed more.
            job.mixed, job.mixup, job.cutmix = 0.5, 0.4, 1.0
            job.imitation, job.hint = arguments.imitation, arguments.hint
        if arguments.initial is not None:
            job.network.load_state_dict(torch.load(arguments.initial, weights_only=True))
    train(job, data.load(arguments.work), arguments.fold, arguments.output)


if __name__ == "__main__":
    main()
