"""The built-in sample: deterministic, in the paper's proportions, and not too easy."""

import csv
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest
from sklearn.model_selection import cross_val_score
from sklearn.svm import LinearSVC

from models.errors import InputError
from models.features import CLASSES
from pipeline.sample import draw_phantom, draw_phantoms, write_sample


def _rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "train.csv").open() as file:
        return list(csv.DictReader(file))


def test_same_seed_same_bytes(sample_folder: Path, tmp_path: Path) -> None:
    again = tmp_path / "again"
    write_sample(again, images=80)
    names = [row["filename"] for row in _rows(sample_folder)]
    for name in names:
        assert (again / "train" / name).read_bytes() == (
            sample_folder / "train" / name
        ).read_bytes()


def test_another_seed_draws_other_phantoms() -> None:
    first, other = (next(draw_phantoms(40, seed)).pixels for seed in (0, 1))
    assert first.shape != other.shape or (first != other).any()


def test_proportions_sizes_and_patients(sample_folder: Path) -> None:
    rows = _rows(sample_folder)
    assert len(rows) == 80
    counts = Counter(row["label"] for row in rows)
    assert set(counts) == set(CLASSES)
    assert counts["covid"] < counts["normal"] / 3
    assert len({row["patient_id"] for row in rows}) < len(rows)  # some were imaged twice
    labels = {}
    for row in rows:
        assert labels.setdefault(row["patient_id"], row["label"]) == row["label"]
    sizes = set()
    for row in rows:
        image = cv2.imread(str(sample_folder / "train" / row["filename"]), cv2.IMREAD_UNCHANGED)
        assert image.ndim == 2
        assert 150 <= min(image.shape) <= max(image.shape) <= 640
        sizes.add(image.shape)
    assert len(sizes) > 60
    assert "SYNTHETIC" in (sample_folder / "README.md").read_text()


def test_a_linear_model_learns_but_does_not_get_everything_right() -> None:
    rng = np.random.default_rng(3)
    labels = [label for label in CLASSES for _ in range(30)]
    images = [
        cv2.resize(draw_phantom(label, rng), (48, 48), interpolation=cv2.INTER_AREA).ravel() / 255
        for label in labels
    ]
    accuracy = cross_val_score(LinearSVC(C=0.01), np.array(images), labels, cv=4).mean()
    assert 0.4 < accuracy < 0.95


def test_refuses_to_overwrite_what_is_not_a_sample(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(InputError, match="not empty"):
        write_sample(tmp_path, images=40)
    assert (tmp_path / "thesis.txt").read_text() == "years of work"
    with pytest.raises(InputError, match="at least 40"):
        write_sample(tmp_path / "new", images=3)
