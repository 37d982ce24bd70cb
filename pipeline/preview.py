"""The paper's figure 2 for any image: each preprocessing method, without and with CLAHE."""

import io
import textwrap
import warnings
from dataclasses import dataclass

import numpy as np
import tensorflow as tf
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from components.ingestion.names import printable
from models.image_ops import METHODS, clahe
from models.preprocessing import SizeStatistics, preprocess, resolve, target_size
from models.settings import PreprocessingSettings

_DOTS_PER_INCH = 150
_LETTERS = 18  # of a title, at most, over a panel
_SAYS = {
    "A": "fitted, black bars",
    "B": "stretched",
    "C": "rectangle covered, cropped",
    "D": "square covered, cropped",
}


@dataclass(frozen=True)
class Panel:
    """One column of the page: a way to preprocess, and what comes out of it.

    Attributes:
        title: the method in words.
        plain, equalised: uint8 [h, w], without and with CLAHE.
    """

    title: str
    plain: np.ndarray
    equalised: np.ndarray


def panels(pixels: np.ndarray, size: int, aspect: float, clip_limit: float) -> list[Panel]:
    """Runs an image through the model's own preprocessing graph, method by method.

    Args:
        pixels: uint8 [H, W], the decoded image.
        size: the preset size of the paper's section II, in pixels.
        aspect: height / width of the rectangle of methods B and C.
        clip_limit: of CLAHE.

    Returns:
        The original, then methods A to D.
    """
    batch = tf.constant(pixels[None, ..., None])
    # Of the training images, a preset size needs nothing but the ratio of the means.
    statistics = SizeStatistics(0, 0, aspect, 0, 0, 1.0)
    result = [Panel("original", pixels, _grey(clahe(batch, clip_limit)))]
    for method in METHODS:
        plain, equalised = (
            PreprocessingSettings(method=method, size=size, clahe=equalise, clip_limit=clip_limit)
            for equalise in (False, True)
        )
        target = target_size(plain, statistics)
        result.append(
            Panel(
                f"method {method}: {_SAYS[method]}",
                _grey(preprocess(batch, resolve(plain, target))),
                _grey(preprocess(batch, resolve(equalised, target))),
            )
        )
    return result


def draw(columns: list[Panel], title: str) -> bytes:
    """Lays the panels side by side, plain above equalised; returns the page as PNG."""
    figure = Figure(figsize=(3 * len(columns), 7.4), facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    lines = textwrap.wrap(printable(title), _LETTERS * len(columns))
    figure.suptitle("\n".join(lines), parse_math=False)  # a file's name is no formula
    axes = figure.subplots(2, len(columns), squeeze=False)
    for column, panel in enumerate(columns):
        height, width = panel.plain.shape
        rows = ((panel.plain, panel.title), (panel.equalised, "with CLAHE"))
        for row, (image, name) in enumerate(rows):
            axis = axes[row, column]
            axis.imshow(image, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
            axis.set_title(name, fontsize=10)
            axis.set_xticks([])
            axis.set_yticks([])
        axes[1, column].set_xlabel(f"{width} x {height} px", fontsize=9)
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"Glyph \d+")  # of the title; a box stands for it
        figure.savefig(buffer, format="png", dpi=_DOTS_PER_INCH)
    return buffer.getvalue()


def _grey(batch: tf.Tensor) -> np.ndarray:
    return batch.numpy()[0, ..., 0]
