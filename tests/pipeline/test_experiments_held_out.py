"""A fold as the splits of a run."""

import csv
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import tensorflow as tf
from tfx.dsl.components.base.base_beam_executor import BaseBeamExecutor
from tfx.types import standard_artifacts

from components.artifacts import Quarantine
from components.ingestion.executor import Executor
from components.ingestion.settings import DataSettings
from components.ingestion.split_table import read_split_table
from models.features import CLASSES, FILENAME, TEST_SPLIT
from pipeline.experiments.dataset import read_labelled_images
from pipeline.experiments.folds import make_folds
from pipeline.experiments.held_out import split_table
from pipeline.sample import write_sample


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


@pytest.fixture(scope="module")
def copied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sample in which half of the images come again, re-encoded, under another patient's name.

    One image is there a second time under another label.
    """
    folder = tmp_path_factory.mktemp("copied") / "data"
    write_sample(folder, images=140)
    table = folder / "train.csv"
    rows = list(csv.DictReader(table.open(encoding="utf-8", newline="")))
    for number, row in enumerate(list(rows[::2])):
        image = cv2.imread(str(folder / "train" / row["filename"]), cv2.IMREAD_GRAYSCALE)
        name = f"again-{number}.jpeg"
        cv2.imwrite(str(folder / "train" / name), image, [cv2.IMWRITE_JPEG_QUALITY, 70])
        rows.append({**row, "filename": name, "patient_id": f"other {number}"})
    shutil.copy(folder / "train" / rows[1]["filename"], folder / "train" / "contrary.jpeg")
    label = next(name for name in CLASSES if name != rows[1]["label"])
    rows.append({**rows[1], "filename": "contrary.jpeg", "label": label})
    with table.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return folder


SETTINGS = DataSettings(max_bad_fraction=0.05)


def test_copies_are_resolved_as_in_a_run(copied: Path) -> None:
    dataset = read_labelled_images(str(copied), SETTINGS)
    assert "train/contrary.jpeg" not in dataset.names
    assert len(dataset) == 140 + 70 - 1  # the one with two labels is left out altogether
    group = dict(zip(dataset.names, dataset.groups, strict=True))
    key = dict(zip(dataset.names, dataset.keys, strict=True))
    again = [name for name in dataset.names if "again" in name]
    assert len({key[name] for name in again}) == 70
    names_of: dict[str, set[str]] = {}
    for name, one in group.items():
        names_of.setdefault(one, set()).add(name)
    for name in again:
        assert any("again" not in other for other in names_of[group[name]]), name


def test_the_gate_sees_the_fold_and_nothing_else(copied: Path, tmp_path: Path) -> None:
    dataset = read_labelled_images(str(copied), SETTINGS)
    fold = make_folds(dataset.labels, dataset.groups, 5, seed=1)[0]
    table = tmp_path / "splits.csv"
    table.write_text(split_table(dataset.keys, fold))
    examples, refused = standard_artifacts.Examples(), Quarantine()
    examples.uri, refused.uri = str(tmp_path / "examples"), str(tmp_path / "quarantine")
    context = BaseBeamExecutor.Context(tmp_dir=str(tmp_path / "tmp"), unique_id="1")
    settings = SETTINGS.model_copy(update={"split_file": str(table)})
    Executor(context).Do(
        {},
        {"examples": [examples], "quarantine": [refused]},
        {"data_root": str(copied), "settings_json": settings.model_dump_json()},
    )
    files = sorted(str(file) for file in Path(examples.uri, f"Split-{TEST_SPLIT}").glob("*.gz"))
    tested = {
        tf.train.Example.FromString(record).features.feature[FILENAME].bytes_list.value[0].decode()
        for record in tf.data.TFRecordDataset(files, "GZIP").as_numpy_iterator()
    }
    assert tested == {dataset.names[index] for index in fold.test}
