"""The experiments' charts can be read: by contrast, without colour, and of a single epoch."""

from pathlib import Path

import cv2
import matplotlib
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb

from models.features import CLASSES
from pipeline.experiments import figures


def _luminance(colour: str | tuple[float, ...]) -> float:
    """The relative luminance of WCAG 2.2."""
    linear = [
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4
        for part in to_rgb(colour)
    ]
    return float(np.dot(linear, (0.2126, 0.7152, 0.0722)))


def _contrast(one: str | tuple[float, ...], other: str | tuple[float, ...]) -> float:
    darker, lighter = sorted((_luminance(one), _luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


@pytest.mark.parametrize("percent", range(0, 101, 4))
def test_counts_can_be_read_on_every_shade(
    percent: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: dict[str, str] = {}
    monkeypatch.setattr(figures, "save", lambda figure, file: None)
    monkeypatch.setattr(
        Axes, "text", lambda axes, x, y, text, color, **style: written.update({text: color})
    )
    counts = np.diag([1000] * len(CLASSES))
    counts[0, :2] = percent, 100 - percent
    figures.confusion_matrices({"all": counts}, tmp_path / "x.png")
    for count in (percent, 100 - percent):
        shade = matplotlib.colormaps["Blues"](count / 100)[:3]
        assert _contrast(written[str(count)], shade) >= 4.5


@pytest.mark.parametrize("colour", figures.BAR_COLOURS)
def test_white_can_be_read_on_every_bar(colour: str) -> None:
    assert _contrast("white", colour) >= 4.5


def test_a_single_epoch_is_drawn(tmp_path: Path) -> None:
    history = {"epoch": [1], "accuracy": [0.3], "val_accuracy": [0.6]}
    figures.training_curves(history, "one", tmp_path / "one.png")
    figures.training_curves({**history, "val_accuracy": [0.9]}, "one", tmp_path / "other.png")
    one, other = (cv2.imread(str(tmp_path / name)) for name in ("one.png", "other.png"))
    assert (one != other).any()


def test_the_curves_are_told_apart_without_colour(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = []
    monkeypatch.setattr(figures, "save", lambda figure, file: drawn.extend(figure.axes[0].lines))
    history = {"epoch": [1, 2], "accuracy": [0.3, 0.4], "val_accuracy": [0.6, 0.5]}
    figures.training_curves(history, "two", tmp_path / "two.png")
    assert len({line.get_linestyle() for line in drawn}) == 2
