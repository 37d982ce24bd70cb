"""`coronet check`: a folder against a bundle's schema, statistics and edge build."""

import dataclasses
import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from models.errors import InputError
from models.features import CLASSES


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory):
    """A function (name, count, side, spread of sides) to a flat folder of noisy images."""

    def write(name: str, count: int, side: int, spread: float = 0.2) -> Path:
        folder = tmp_path_factory.mktemp("images") / name
        folder.mkdir()
        rng = np.random.default_rng(side)
        for index in range(count):
            coarse = rng.uniform(0, 255, (8, 8)).astype(np.float32)
            size = rng.integers(round((1 - spread) * side), round((1 + spread) * side) + 1, 2)
            picture = cv2.resize(coarse, size.tolist(), interpolation=cv2.INTER_LINEAR)
            cv2.imwrite(str(folder / f"{index}.png"), picture.astype(np.uint8))
        return folder

    return write


@pytest.fixture(scope="module")
def bundle(images, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("root")
    for index, name in enumerate(CLASSES):
        shutil.copytree(images(f"train-{name}", 12, 198 + index), root / name)
    return write_bundle(root, tmp_path_factory.mktemp("run") / "push")


def write_bundle(root: Path, folder: Path) -> Path:
    """A bundle of real training statistics and our schema, without an edge build."""
    import tensorflow as tf
    import tensorflow_data_validation as tfdv

    from components.ingestion import records
    from components.ingestion.discovery import Plan, discover
    from components.ingestion.reading import Image, Reading
    from components.ingestion.references import Reference
    from components.ingestion.schema import SCHEMA_FILE
    from components.ingestion.settings import DataSettings
    from components.pusher import bundle as bundles

    settings = DataSettings()
    references = [
        item
        for item in discover(str(root), Plan("folder"), settings)
        if isinstance(item, Reference)
    ]
    folder.mkdir()
    path = str(folder.parent / "train.tfrecord")
    with tf.io.TFRecordWriter(path) as file:
        for item in Reading(str(root), "folder", settings).read(references):
            assert isinstance(item, Image)
            file.write(records.to_example(item).SerializeToString())
    schema = tfdv.load_schema_text(SCHEMA_FILE)
    statistics = tfdv.generate_statistics_from_tfrecord(
        path, stats_options=tfdv.StatsOptions(schema=schema)
    )
    assert not tfdv.validate_statistics(statistics, schema).anomaly_info
    shutil.copy(SCHEMA_FILE, folder / bundles.SCHEMA)
    (folder / bundles.STATISTICS).write_bytes(statistics.SerializeToString())
    bundles.write_manifest(str(folder), {"classes": list(CLASSES)})
    return folder


def run_check(bundle: Path, folder: Path, **options):
    from pipeline.checking import check

    return check(bundle, folder, **{"max_bad_fraction": 0.01, "max_unfamiliar": 0.1, **options})


def test_images_like_the_training_images_fit(bundle, images):
    folder = images("alike", 30, 199)
    (folder / "labels.csv").write_text("filename,label\n0.png,unheard of\n")  # ignored
    result = run_check(bundle, folder)
    assert result.findings == ()
    assert result.images == 30
    assert result.unfamiliar is None
    assert result.fits


def test_images_of_another_size_are_skewed(bundle, images):
    result = run_check(bundle, images("large", 10, 900))
    assert {finding.feature for finding in result.findings} == {"size_bucket"}
    assert {finding.split for finding in result.findings} == {"skew"}
    assert not result.fits


def test_an_odd_size_among_images_of_one_size_fits(images, tmp_path):
    for name in CLASSES:
        shutil.copytree(images(f"one-size-{name}", 12, 200, spread=0), tmp_path / "root" / name)
    bundle = write_bundle(tmp_path / "root", tmp_path / "push")
    folder = images("one-size", 29, 200, spread=0)
    shutil.copy(images("odd", 1, 210, spread=0) / "0.png", folder / "odd.png")
    assert run_check(bundle, folder).findings == ()


def test_unreadable_images_count(bundle, images):
    folder = images("broken", 30, 199)
    (folder / "broken.png").write_bytes(b"broken")
    result = run_check(bundle, folder)
    assert [refusal.reason for refusal in result.refused] == ["not_an_image"]
    assert not result.fits
    assert dataclasses.replace(result, limits=(0.2, 0.1)).fits


class Suspicious:
    """Finds every image with an odd number of columns unfamiliar."""

    def predict(self, image: np.ndarray):
        from edge.classifier import Prediction

        return Prediction("viral", {}, {}, float(image.shape[1] % 2) * 2, image)


def test_unfamiliar_images_are_named_and_limited(bundle, images):
    folder = images("strange", 30, 199)
    result = run_check(bundle, folder, classifier=Suspicious())
    odd = [path.name for path in folder.iterdir() if cv2.imread(str(path)).shape[1] % 2]
    assert result.unfamiliar == tuple(sorted(odd))
    assert len(odd) > 4
    assert result.predicted == {"normal": 0, "bacterial": 0, "viral": 30, "covid": 0}
    assert not result.fits
    assert dataclasses.replace(result, limits=(0.01, 1.0)).fits


def test_a_folder_without_images(bundle, tmp_path):
    (tmp_path / "notes.txt").write_text("nothing here")
    with pytest.raises(InputError, match="no image in"):
        run_check(bundle, tmp_path)


def test_something_that_is_not_a_bundle(images, tmp_path):
    with pytest.raises(InputError, match="is not a bundle"):
        run_check(tmp_path, images("any", 3, 195))


def test_a_bundle_without_statistics(bundle, images, tmp_path):
    copy = tmp_path / "push"
    shutil.copytree(bundle, copy)
    (copy / "statistics.pb").unlink()
    with pytest.raises(InputError, match=r"no statistics\.pb"):
        run_check(copy, images("few", 3, 195))


def run_command(*arguments: Path | str):
    from pipeline.commands.check import check

    app = typer.Typer()
    app.command()(check)
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_the_command(bundle, images, tmp_path):
    details = tmp_path / "details.json"
    result = run_command(bundle, images("cli", 10, 900), "--details", details)
    assert result.exit_code == 3, result.output
    assert "does not fit" in result.output
    assert "size_bucket" in result.output
    assert json.loads(details.read_text())["fits"] is False


@pytest.mark.parametrize("details", ["nowhere/details.json", "folder"])
def test_details_that_cannot_be_written_do_not_cost_the_result(bundle, images, tmp_path, details):
    (tmp_path / "folder").mkdir()
    result = run_command(bundle, images("lost", 10, 900), "--details", tmp_path / details)
    assert isinstance(result.exception, InputError)
    assert f"cannot write {tmp_path / details}" in str(result.exception)
    assert "does not fit" in result.output
    assert [path.name for path in tmp_path.rglob("*")] == ["folder"]


def test_a_folder_whose_name_looks_like_markup(bundle, images, tmp_path):
    folder = tmp_path / "[" / "x]"
    shutil.copytree(images("markup", 5, 199), folder)
    result = run_command(bundle, folder)
    assert "images      5 readable" in result.output, result.exception
