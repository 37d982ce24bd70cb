"""A fold as the splits of a run."""

from pathlib import Path

import numpy as np

from components.ingestion.split_table import read_split_table
from pipeline.experiments.folds import make_folds
from pipeline.experiments.held_out import split_table


def test_the_fold_becomes_the_test_split(tmp_path: Path) -> None:
    labels = np.arange(120) % 4
    groups = [f"patient {number // 2}" for number in range(120)]
    labels = labels[[number // 2 for number in range(120)]]
    fold = make_folds(labels, groups, 5, seed=1)[2]
    (tmp_path / "splits.csv").write_text(split_table(groups, fold))
    table = read_split_table(str(tmp_path / "splits.csv"))
    for part, split in (
        (fold.train, "train"),
        (fold.validation, "eval"),
        (fold.test, "test"),
    ):
        assert {table[groups[index]] for index in part} == {split}
    assert set(table) == set(groups)
