"""The control that sees the border only."""

import numpy as np

from pipeline.experiments.border_control import border_only, control_table, cross_validated_control
from pipeline.experiments.folds import make_folds


def test_only_the_frame_is_left() -> None:
    images = np.full((2, 20, 40), 9, np.uint8)
    framed = border_only(images, 0.15)
    assert (framed[:, 3:17, 6:34] == 0).all()
    assert framed.sum() == 9 * 2 * (20 * 40 - 14 * 28)
    assert (images == 9).all()


def test_the_control_finds_what_the_border_gives_away_and_nothing_else() -> None:
    random = np.random.default_rng(0)
    labels = np.arange(240) % 4
    images = random.integers(0, 256, (240, 20, 20)).astype(np.uint8)
    folds = make_folds(labels, [str(number) for number in range(240)], 4, 1)
    nothing = cross_validated_control("noise", border_only(images, 0.15), labels, folds, 1)
    images[:, :3] = (60 * labels)[:, None, None]
    marked = cross_validated_control("marked", border_only(images, 0.15), labels, folds, 1)
    assert marked.right == marked.images == 240
    assert nothing.right < 100  # of 240, with 60 expected by chance
    table = control_table([marked])
    assert "| marked | 1.000 | 0.984 to 1.000 | 1.00 | 1.00 | 1.00 | 1.00 |" in table
