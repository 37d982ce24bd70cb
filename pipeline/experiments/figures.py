"""Charts in the manner of the paper's figures, drawn with Matplotlib without a display."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from models.features import CLASSES, GATE_ACCURACY
from pipeline.experiments.results import Summary

DOTS_PER_INCH = 110


def accuracy_bars(summaries: Sequence[Summary], title: str, file: Path) -> None:
    """Draws mean accuracy by method, one bar a threshold (the paper's figures 4 and 5).

    The whiskers are one standard deviation over the folds; the line is the challenge's
    minimum accuracy.
    """
    methods = sorted({summary.setup.method for summary in summaries})
    thresholds = sorted({summary.setup.threshold for summary in summaries})
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.add_subplot()
    width = 0.8 / len(thresholds)
    for number, threshold in enumerate(thresholds):
        found = {s.setup.method: s for s in summaries if s.setup.threshold == threshold}
        present = [method for method in methods if method in found]
        positions = [
            methods.index(method) + (number - (len(thresholds) - 1) / 2) * width
            for method in present
        ]
        axes.bar(
            positions,
            [found[method].mean for method in present],
            width,
            yerr=[found[method].deviation for method in present],
            capsize=3,
            label=threshold,
        )
    axes.axhline(GATE_ACCURACY, linestyle="--", color="black", linewidth=1)
    axes.set_xticks(range(len(methods)), [f"Method {method}" for method in methods])
    axes.set_ylim(0, 1)
    axes.set_ylabel("accuracy")
    axes.set_title(title)
    axes.legend(title="threshold", loc="lower right")
    save(figure, file)


def confusion_matrices(matrices: Mapping[str, np.ndarray], file: Path) -> None:
    """Draws one confusion matrix a title (the paper's figures 6 and 13).

    Args:
        matrices: title to counts [true, predicted].
        file: PNG to write.
    """
    columns = min(len(matrices), 2)
    rows = -(-len(matrices) // columns)
    figure = Figure(figsize=(4 * columns, 3.7 * rows), layout="constrained")
    for number, (title, counts) in enumerate(matrices.items()):
        axes = figure.add_subplot(rows, columns, number + 1)
        axes.imshow(counts, cmap="Blues", vmin=0)
        axes.set_xticks(range(len(CLASSES)), CLASSES)
        axes.set_yticks(range(len(CLASSES)), CLASSES)
        axes.set_xlabel("predicted")
        axes.set_ylabel("true")
        axes.set_title(title)
        for (true, predicted), count in np.ndenumerate(counts):
            dark = count > counts.max() / 2
            axes.text(
                predicted,
                true,
                str(count),
                ha="center",
                va="center",
                color="white" if dark else "black",
            )
    save(figure, file)


def training_curves(history: Mapping[str, Sequence[float]], title: str, file: Path) -> None:
    """Draws training and validation accuracy by epoch (the paper's figures 10 to 12).

    Args:
        history: `epoch`, `accuracy` and, if there was validation, `val_accuracy`.
        title: above the chart.
        file: PNG to write.
    """
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.add_subplot()
    for key, label in (("accuracy", "training"), ("val_accuracy", "validation")):
        if key in history:
            axes.plot(history["epoch"], history[key], label=label)
    axes.set_xlabel("epoch")
    axes.set_ylabel("accuracy")
    axes.set_ylim(0, 1)
    axes.set_title(title)
    axes.legend(loc="lower right")
    save(figure, file)


def save(figure: Figure, file: Path) -> None:
    """Writes `figure` as PNG; the file appears whole or not at all."""
    file.parent.mkdir(parents=True, exist_ok=True)
    staging = file.with_name(f".{file.name}.png")
    FigureCanvasAgg(figure).print_figure(staging, dpi=DOTS_PER_INCH)
    staging.replace(file)
