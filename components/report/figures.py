"""Line drawings as inline SVG that follows the page's colours."""

import io
import re
from collections.abc import Mapping, Sequence

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from components.evaluation.results import Reliability

# Matplotlib draws in these colours; the page's stylesheet says what they look like.
_COLOURS = {"#000001": "--text", "#000002": "--line-1", "#000003": "--line-2", "#000004": "--grid"}
_TEXT, _FIRST, _SECOND, _GRID = _COLOURS
_STYLE = {
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 11,
    "text.color": _TEXT,
    "axes.labelcolor": _TEXT,
    "axes.edgecolor": _GRID,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": _GRID,
    "grid.linewidth": 0.6,
    "xtick.color": _GRID,
    "ytick.color": _GRID,
    "xtick.labelcolor": _TEXT,
    "ytick.labelcolor": _TEXT,
    "legend.frameon": False,
}
_SIZE = (4.8, 3.0)  # inches; readable on a phone without zooming


def training_curves(history: Mapping[str, Sequence[float]], metric: str, label: str) -> str:
    """Draws `metric` and `val_<metric>` per epoch, as the paper's figures 10 to 12 do.

    Args:
        history: values per epoch, from `history.json`.
        metric: `accuracy` or `loss`.
        label: of the vertical axis.
    """
    with matplotlib.rc_context(_STYLE):
        figure, axes = _figure()
        series = ((metric, "training", _FIRST, "-"), (f"val_{metric}", "validation", _SECOND, "--"))
        for key, name, colour, style in series:
            values = history[key]
            axes.plot(
                np.arange(1, len(values) + 1),
                values,
                style,
                color=colour,
                label=name,
                marker="." if len(values) < 40 else None,
            )
        axes.set_xlabel("epoch")
        axes.set_ylabel(label)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        axes.legend()
        return _svg(figure)


def reliability_diagram(builds: Mapping[str, Reliability]) -> str:
    """Draws accuracy against confidence for up to two builds, with the diagonal."""
    with matplotlib.rc_context(_STYLE):
        figure, axes = _figure()
        axes.plot([0, 1], [0, 1], ":", color=_TEXT, linewidth=1, label="perfect")
        styles = ((_FIRST, "o-"), (_SECOND, "s--"))
        for (name, reliability), (colour, style) in zip(builds.items(), styles, strict=False):
            filled = reliability.counts > 0
            axes.plot(
                reliability.confidences[filled],
                reliability.accuracies[filled],
                style,
                color=colour,
                label=name,
                markersize=5,
            )
        axes.set_xlim(0, 1)
        axes.set_ylim(0, 1.02)
        axes.set_xlabel("confidence")
        axes.set_ylabel("accuracy")
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter(PercentFormatter(1, decimals=0))
        axes.legend(loc="lower right")
        return _svg(figure)


def _figure() -> tuple[Figure, Axes]:
    figure = Figure(figsize=_SIZE, layout="constrained")
    return figure, figure.add_subplot()


def _svg(figure: Figure) -> str:
    """Returns the <svg> element, without what would clash or repeat within a page."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    drawing = buffer.getvalue()
    drawing = drawing[drawing.index("<svg") :]
    drawing = re.sub(r"<metadata>.*?</metadata>", "", drawing, flags=re.DOTALL)
    # Groups are numbered anew in each drawing; nothing refers to them.
    drawing = re.sub(r'<g id="[^"]*"', "<g", drawing)
    drawing = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", drawing, count=1)
    drawing = re.sub(r'(<svg[^>]*?) height="[^"]*"', r'\1 aria-hidden="true"', drawing, count=1)
    for colour, variable in _COLOURS.items():
        drawing = drawing.replace(colour, f"var({variable})")
    return drawing
