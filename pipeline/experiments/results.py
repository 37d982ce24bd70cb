"""What one fold gave, and the summary of several."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from components.evaluation.intervals import wilson
from models.features import CLASSES
from pipeline import atomic


@dataclass(frozen=True)
class Setup:
    """One bar of the paper's figures 4 and 5: a classifier on images of one preprocessing.

    Attributes:
        model: svm, mlp or coronet.
        method, threshold: of `PreprocessingSettings`.
        variant: what else sets it apart, such as `C = 0.1`; empty if nothing does.
    """

    model: str
    method: str
    threshold: str
    variant: str = ""


@dataclass(frozen=True)
class FoldResult:
    """One classifier, trained once and tested on one fold.

    Attributes:
        setup: what was trained.
        fold: from 0.
        size: (height, width) of the preprocessed images, pixels.
        confusion: counts, `confusion[true][predicted]`, in the order of `CLASSES`.
        seconds: training and prediction.
        history: training and validation accuracy by epoch.
    """

    setup: Setup
    fold: int
    size: tuple[int, int]
    confusion: tuple[tuple[int, ...], ...]
    seconds: float
    history: dict[str, list[float]] = field(default_factory=dict)

    @property
    def accuracy(self) -> float:
        """Share of the fold's images that were classified rightly, in [0, 1]."""
        counts = np.array(self.confusion)
        return float(np.trace(counts) / counts.sum())

    def save(self, file: Path) -> None:
        """Writes the result as JSON; the file appears whole or not at all."""
        write_text(file, json.dumps(asdict(self), indent=2) + "\n")

    @classmethod
    def load(cls, file: Path) -> "FoldResult":
        """Reads what `save` wrote."""
        values = json.loads(file.read_text(encoding="utf-8"))
        height, width = values["size"]
        return cls(
            setup=Setup(**values["setup"]),
            fold=values["fold"],
            size=(height, width),
            confusion=tuple(tuple(row) for row in values["confusion"]),
            seconds=values["seconds"],
            history=values["history"],
        )


@dataclass(frozen=True)
class Summary:
    """One setup over its folds.

    Attributes:
        setup: what was trained.
        folds: how many folds are in.
        sizes: (height, width) of the images, pixels; several where the folds' own training
            images gave several.
        mean: of the folds' accuracies.
        deviation: sample standard deviation of the folds' accuracies; 0 for one fold.
        low, high: Wilson interval (95%) of the accuracy over all tested images.
        recall: of each class, over all tested images; None for a class without images.
        confusion: summed over the folds.
        seconds: summed over the folds.
    """

    setup: Setup
    folds: int
    sizes: tuple[tuple[int, int], ...]
    mean: float
    deviation: float
    low: float
    high: float
    recall: tuple[float | None, ...]
    confusion: tuple[tuple[int, ...], ...]
    seconds: float


def size_text(sizes: Iterable[tuple[int, int]]) -> str:
    """Returns the sizes as a person writes them, width first."""
    return ", ".join(f"{width} x {height}" for height, width in sorted(sizes))


def summarize(results: Sequence[FoldResult]) -> list[Summary]:
    """Returns one summary a setup, in the order in which the setups first appear."""
    summaries = []
    for setup in dict.fromkeys(result.setup for result in results):
        own = [result for result in results if result.setup == setup]
        accuracies = np.array([result.accuracy for result in own])
        confusion = np.sum([result.confusion for result in own], axis=0)
        interval = wilson(int(np.trace(confusion)), int(confusion.sum()))
        summaries.append(
            Summary(
                setup=setup,
                folds=len(own),
                sizes=tuple(dict.fromkeys(result.size for result in own)),
                mean=float(accuracies.mean()),
                deviation=float(accuracies.std(ddof=1)) if len(own) > 1 else 0.0,
                low=interval.low,
                high=interval.high,
                recall=class_recall(confusion),
                confusion=tuple(tuple(int(count) for count in row) for row in confusion),
                seconds=sum(result.seconds for result in own),
            )
        )
    return summaries


def confusion_matrix(labels: np.ndarray, predictions: np.ndarray) -> tuple[tuple[int, ...], ...]:
    """Returns counts as `[true][predicted]`, also for classes that do not occur."""
    counts = np.zeros((len(CLASSES), len(CLASSES)), np.int64)
    np.add.at(counts, (labels, predictions), 1)
    return tuple(tuple(int(count) for count in row) for row in counts)


def class_recall(confusion: np.ndarray) -> tuple[float | None, ...]:
    """Returns each class's share of rightly classified images; None where it has none."""
    return tuple(
        float(row[index] / row.sum()) if row.sum() else None for index, row in enumerate(confusion)
    )


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Returns a table in Markdown."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines) + "\n"


def write_text(file: Path, text: str) -> None:
    """Writes `text` into `file`, whose folder is made if need be; never seen half-written."""
    file.parent.mkdir(parents=True, exist_ok=True)
    atomic.write_text(file, text)
