"""The submitted model: views, weights under Keras's names, submission."""

import csv
import io
import os
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest

from models.coronet import build_coronet
from models.errors import InputError
from models.features import CLASSES
from pipeline.experiments import best_model
from pipeline.experiments.best_model.data import TEST_FILE, TRAIN_FILE, Prepared, load
from pipeline.experiments.best_model.export import predict, submission, to_keras
from pipeline.experiments.best_model.prepare import FOLDS, prepare
from pipeline.experiments.best_model.views import ViewSettings, random_view
from pipeline.sample import write_sample

STILL = ViewSettings(0, 0, 0, 0, 0, 0, 0)
SIZE = 32

RECIPE = Path(best_model.__file__).with_name("run.sh")


def test_a_view_without_ranges_is_the_image_or_its_mirror_image() -> None:
    random = np.random.default_rng(0)
    image = random.integers(0, 256, (20, 20)).astype(np.uint8)
    unit = image.astype(np.float32) / 255
    seen = set()
    for _ in range(20):
        view = random_view(image, random, STILL)
        same, mirrored = (np.abs(view - one).max() < 1e-6 for one in (unit, unit[:, ::-1]))
        assert same != mirrored
        seen.add(bool(same))
    assert seen == {True, False}


def test_views_stay_in_range_and_differ_by_seed() -> None:
    image = np.random.default_rng(1).integers(0, 256, (40, 40)).astype(np.uint8)
    views = [random_view(image, np.random.default_rng(seed), ViewSettings()) for seed in (1, 1, 2)]
    assert all(view.dtype == np.float32 and view.shape == (40, 40) for view in views)
    assert all(view.min() >= 0 and view.max() <= 1 for view in views)
    np.testing.assert_array_equal(views[0], views[1])
    assert np.abs(views[0] - views[2]).max() > 0.1


def test_a_fold_is_split_off_and_no_fold_is_everything() -> None:
    folds = np.array([0, 1, 1, 0, 2])
    images = np.zeros((5, 2, 2), np.uint8)
    prepared = Prepared(images, images, np.zeros(5, np.int64), folds)
    train, validation = prepared.split(1)
    assert (train.tolist(), validation.tolist()) == ([0, 3, 4], [1, 2])
    train, validation = prepared.split(1, left_out=0)
    assert (train.tolist(), validation.tolist()) == ([4], [1, 2])
    train, validation = prepared.split(-1)
    assert (train.tolist(), validation.tolist()) == ([0, 1, 2, 3, 4], [])


def weights_of(model) -> dict[str, np.ndarray]:
    return {
        f"{layer.name}/{variable.name}": variable.numpy()
        for layer in model.layers
        for variable in layer.variables
        if variable.name != "seed_generator_state"
    }


def test_weights_find_their_places_by_name() -> None:
    images = np.random.default_rng(2).integers(0, 256, (3, SIZE, SIZE)).astype(np.uint8)
    model = build_coronet(SIZE)
    weights = weights_of(model)
    again = to_keras(weights, SIZE)
    np.testing.assert_array_equal(predict(again, images), predict(model, images))
    # Averaged over image and mirror image: mirroring the input changes nothing.
    np.testing.assert_allclose(
        predict(again, images[:, :, ::-1]), predict(model, images), atol=1e-6
    )

    kernel = weights.pop("conv2d_5/kernel")
    with pytest.raises(ValueError, match="conv2d_5/kernel"):
        to_keras(weights, SIZE)
    with pytest.raises(ValueError, match="conv2d_99/kernel"):
        to_keras({**weights, "conv2d_5/kernel": kernel, "conv2d_99/kernel": kernel}, SIZE)


def test_the_submission_has_the_challenges_format() -> None:
    text = submission(np.array(["b.jpeg", "a.jpeg"]), np.eye(4)[[2, 0]])
    assert text == "filename,label\nb.jpeg,viral\na.jpeg,normal\n"
    assert [row["label"] for row in csv.DictReader(io.StringIO(text))] == [CLASSES[2], CLASSES[0]]


# Stands for both interpreters: notes the command, checks that its inputs are there, writes its
# output as the real stage would.
FAKE_PYTHON = """#!/bin/sh
echo "$*" >> commands
while [ $# -gt 0 ]; do
    case $1 in
        --output) output=$2 ;;
        --epochs) epochs=$2 ;;
        --initial | --soft-labels | --unseen | --weights) [ -e "$2" ] || exit 3 ;;
        --teacher) [ -e "${2##*:}" ] || exit 4 ;;
    esac
    shift
done
case $output in
    "") touch work/test.npz ;;
    *.*) touch "$output" ;;
    *)
        mkdir -p "$output"
        touch "$output/weights.pt"
        yes | head -n "$epochs" > "$output/history.jsonl"
        ;;
esac
"""


def commands_of_the_recipe(folder: Path, fold: str, **environment: str) -> list[str]:
    python = folder / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True, exist_ok=True)
    python.write_text(FAKE_PYTHON, encoding="utf-8")
    python.chmod(0o755)
    command = ["sh", str(RECIPE), "data", "work", str(python)]
    subprocess.run(command, cwd=folder, env={**os.environ, "FOLD": fold, **environment}, check=True)
    return (folder / "commands").read_text(encoding="utf-8").splitlines()


def test_the_validated_twin_never_trains_on_its_fold(tmp_path: Path) -> None:
    commands = commands_of_the_recipe(tmp_path, "0")
    trained = [line for line in commands if ".train " in line or ".recalibrate " in line]
    assert len(trained) > 10
    assert all("--fold 0 " in line for line in trained)
    assert not (tmp_path / "work" / "unseen-1.npz").exists()


def test_the_recipe_runs_no_stage_twice(tmp_path: Path) -> None:
    first = commands_of_the_recipe(tmp_path, "-1")
    assert len(set(first)) == len(first)
    students = [line for line in first if ".train student" in line]
    assert [line for line in students if "--fold -1 " in line] == students[-3:]
    again = commands_of_the_recipe(tmp_path, "-1")[len(first) :]
    assert [line.split()[1].rsplit(".", 1)[1] for line in again] == [
        "prepare", "recalibrate", "untie", "export",
    ]  # fmt: skip


def test_a_rehearsal_is_the_recipe_with_an_epoch_a_stage(tmp_path: Path) -> None:
    def stages(commands: list[str]) -> list[str]:
        shortened = (re.sub(r" --(views|mixes) \d+", "", line) for line in commands)
        return [re.sub(r"--epochs \d+", "--epochs N", line) for line in shortened]

    (tmp_path / "whole").mkdir()
    (tmp_path / "short").mkdir()
    whole = commands_of_the_recipe(tmp_path / "whole", "0")
    short = commands_of_the_recipe(tmp_path / "short", "0", REHEARSAL="1")
    assert stages(short) == stages(whole)
    assert {line.split("--epochs ")[1].split()[0] for line in short if "--epochs" in line} == {"1"}


def test_what_was_prepared_belongs_to_one_set_of_images(tmp_path: Path) -> None:
    data, work = tmp_path / "data", tmp_path / "work"
    write_sample(data, images=140)  # enough patients of every class for five folds
    prepare(data, work)
    assert not (work / TEST_FILE).exists(), "without a test.csv there is nothing to predict"
    prepared = load(work)
    assert prepared.images.shape == (140, 200, 200)
    assert set(prepared.folds.tolist()) == set(range(FOLDS))
    before = (work / TRAIN_FILE).stat().st_mtime_ns
    prepare(data, work)
    assert (work / TRAIN_FILE).stat().st_mtime_ns == before
    table = data / "train.csv"
    table.write_text("".join(table.read_text().splitlines(keepends=True)[:-1]))
    with pytest.raises(InputError, match="was made from other images"):
        prepare(data, work)
