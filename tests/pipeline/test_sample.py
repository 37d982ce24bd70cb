"""The built-in sample: deterministic, in the paper's proportions, and not too easy."""

import csv
import errno
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from sklearn.model_selection import cross_val_score
from sklearn.svm import LinearSVC
from typer import Typer
from typer.testing import CliRunner

from models.errors import InputError
from models.features import CLASSES
from pipeline import sample
from pipeline.commands.sample import sample as command
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


def _tree(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def _stray(name: str) -> Callable[[Path], None]:
    """Adds the user's own file to a sample."""

    def add(folder: Path) -> None:
        (folder / name).write_text("mine")

    return add


def _theirs(folder: Path) -> None:
    """Makes a folder of the user's that only speaks of a sample."""
    shutil.rmtree(folder)
    folder.mkdir()
    (folder / "README.md").write_text("Unlike Synthetic chest phantoms, these are ours.\n")


def _not_text(folder: Path) -> None:
    (folder / "README.md").write_bytes(b"\xff\xfe")


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (_stray("notes.txt"), "notes.txt"),
        (_stray("train/mine.jpeg"), "train/mine.jpeg"),
        (_stray("train/phantom-notes.txt"), "train/phantom-notes.txt"),
        (_theirs, "README.md"),
        (_not_text, "README.md"),
    ],
)
def test_a_sample_with_something_of_the_users_is_left_alone(
    change: Callable[[Path], None], named: str, tmp_path: Path
) -> None:
    folder = tmp_path / "sample"
    write_sample(folder, images=40)
    change(folder)
    before = _tree(tmp_path)
    with pytest.raises(InputError, match=f"did not write its {named}"):
        write_sample(folder, images=40)
    assert _tree(tmp_path) == before


def test_a_sample_replaces_an_older_one(tmp_path: Path) -> None:
    folder = tmp_path / "sample"
    write_sample(folder, images=41)
    write_sample(folder, images=40)
    assert len(_rows(folder)) == len(list((folder / "train").iterdir())) == 40


@pytest.mark.parametrize("place", ["file", "file/sample", "link", "", ".."])
def test_a_place_that_cannot_be_replaced_is_named(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("mine")
    (tmp_path / "link").symlink_to(tmp_path / "empty")
    monkeypatch.chdir(tmp_path / "empty" if place in ("", "..") else tmp_path)
    with pytest.raises(InputError, match=r"name a|name the folder"):
        write_sample(Path(place), images=40)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["empty", "file", "link"]


def test_a_failure_leaves_nothing_beside_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(images: int, seed: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(sample, "draw_phantoms", fails)
    with pytest.raises(InputError, match="No space left"):
        write_sample(tmp_path / "new", images=40)
    assert list(tmp_path.iterdir()) == []


def test_a_negative_seed_is_refused(tmp_path: Path) -> None:
    app = Typer()
    app.command()(command)
    result = CliRunner().invoke(app, [str(tmp_path / "new"), "--seed", "-1"])
    assert result.exit_code == 2
    assert isinstance(result.exception, SystemExit)
