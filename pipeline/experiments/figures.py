"""Charts in the manner of the paper's figures, drawn with Matplotlib without a display."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from models.features import CLASSES, GATE_ACCURACY
from pipeline.atomic import staged
from pipeline.experiments.results import Summary

DOTS_PER_INCH = 110
BAR_COLOURS = ("#1f5fa8", "#b3470b", "#3c7a3f")
DARK = 0.72  # from here on, white is read more easily than black on `Blues`


def accuracy_bars(summaries: Sequence[Summary], title: str, file: Path) -> None:
    """Draws mean accuracy by method, one bar a threshold (the paper's figures 4 and 5).

    The whiskers are one standard deviation over the folds; the dashed line is the
    challenge's minimum accuracy, the dotted one what always naming the largest class gives.
    """
    methods = sorted({summary.setup.method for summary in summaries})
    thresholds = list(dict.fromkeys(summary.setup.threshold for summary in summaries))
    figure = Figure(figsize=(8, 4.2), layout="constrained")
    axes = figure.add_subplot()
    width = min(0.84 / len(thresholds), 0.4)
    for number, threshold in enumerate(thresholds):
        found = {s.setup.method: s for s in summaries if s.setup.threshold == threshold}
        present = [method for method in methods if method in found]
        positions = [
            methods.index(method) + (number - (len(thresholds) - 1) / 2) * width
            for method in present
        ]
        means = [found[method].mean for method in present]
        axes.bar(
            positions,
            means,
            width * 0.94,
            yerr=[found[method].deviation or np.nan for method in present],
            capsize=3,
            ecolor="black",
            color=BAR_COLOURS[number % len(BAR_COLOURS)],
            label=threshold,
        )
        for position, mean in zip(positions, means, strict=True):
            axes.text(position, 0.015, f"{mean:.3f}", ha="center", color="white", fontsize=8)
    axes.axhline(GATE_ACCURACY, linestyle="--", color="black", linewidth=1)
    axes.text(1.01, GATE_ACCURACY, f"minimum {GATE_ACCURACY}", **_at_the_right(axes))
    counts = np.array(summaries[0].confusion).sum(1)
    largest = counts.max() / counts.sum()
    axes.axhline(largest, linestyle=":", color="black", linewidth=1)
    axes.text(1.01, largest, f"largest class {largest:.2f}", **_at_the_right(axes))
    axes.set_xticks(range(len(methods)), [f"Method {method}" for method in methods])
    axes.set_xlim(-0.6, len(methods) - 0.4)
    axes.set_ylim(0, 1)
    axes.set_ylabel("mean accuracy ± standard deviation")
    axes.set_title(title, loc="left")
    figure.legend(title="threshold", loc="outside right upper", frameon=False)
    save(figure, file)


def confusion_matrices(matrices: Mapping[str, np.ndarray], file: Path, columns: int = 4) -> None:
    """Draws one confusion matrix a title (the paper's figures 6 and 13).

    Shades are shares of the true class, so that a small class shows as well as a large one.

    Args:
        matrices: title to counts [true, predicted].
        file: PNG to write.
        columns: matrices side by side.
    """
    columns = min(len(matrices), columns)
    rows = -(-len(matrices) // columns)
    figure = Figure(figsize=(3.1 * columns + 0.6, 3.3 * rows), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
    for axes in grid.flat[len(matrices) :]:
        axes.set_axis_off()
    for axes, (title, counts) in zip(grid.flat, matrices.items(), strict=False):
        shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
        axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
        axes.set_xticks(range(len(CLASSES)), CLASSES, rotation=35, ha="right")
        axes.set_yticks(range(len(CLASSES)), CLASSES)
        axes.set_title(title, fontsize=10)
        for (true, predicted), count in np.ndenumerate(counts):
            colour = "white" if shares[true, predicted] > DARK else "black"
            axes.text(predicted, true, str(count), ha="center", va="center", color=colour)
    figure.supxlabel("predicted", fontsize=10)
    figure.supylabel("true", fontsize=10)
    save(figure, file)


def training_curves(history: Mapping[str, Sequence[float]], title: str, file: Path) -> None:
    """Draws training and validation accuracy by epoch (the paper's figures 10 to 12).

    Args:
        history: `epoch`, `accuracy` and, if there was validation, `val_accuracy`.
        title: above the chart.
        file: PNG to write.
    """
    figure = Figure(figsize=(5, 3.4), layout="constrained")
    axes = figure.add_subplot()
    series = (("accuracy", "training", "-"), ("val_accuracy", "validation", "--"))
    for (key, label, style), colour in zip(series, BAR_COLOURS, strict=False):
        if key in history:
            few = "." if len(history["epoch"]) < 40 else None  # a single one is no line
            axes.plot(history["epoch"], history[key], style, color=colour, label=label, marker=few)
    axes.set_xlabel("epoch")
    axes.set_ylabel("accuracy")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.set_ylim(0, 1)
    axes.grid(axis="y", alpha=0.3)
    axes.set_title(title, loc="left")
    axes.legend(loc="lower right")
    save(figure, file)


def _at_the_right(axes: Axes) -> dict[str, Any]:
    """Where the name of a horizontal line stands: beside the axes."""
    return {"transform": axes.get_yaxis_transform(), "va": "center", "fontsize": 8}


def save(figure: Figure, file: Path) -> None:
    """Writes `figure` as PNG; the file appears whole or not at all."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with staged(file) as staging:
        FigureCanvasAgg(figure).print_figure(staging, dpi=DOTS_PER_INCH)
