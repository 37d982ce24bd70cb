"""Submissions: every input once, in order, safe to open, whole or not there."""

import csv
import os
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
import tensorflow as tf

from components.pusher import bundle as bundles
from models.errors import InputError
from models.features import CLASSES, PROBABILITIES
from pipeline import submission


def _write_image(path: Path, level: int) -> None:
    """A radiograph-like picture whose mean brightness is about `level`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(level).integers(-10, 11, (64, 64))
    cv2.imwrite(str(path), np.clip(level + noise, 0, 255).astype(np.uint8))


def _label(encoded: Sequence[bytes]) -> list[str]:
    """The class by brightness."""
    images = [cv2.imdecode(np.frombuffer(one, np.uint8), 0) for one in encoded]
    return [CLASSES[min(int(image.mean()) // 64, 3)] for image in images]


def _rows(path: Path) -> list[list[str]]:
    with path.open(newline="") as file:
        return list(csv.reader(file))


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """70 images: more than two batches."""
    folder = tmp_path / "test"
    for index in range(70):
        _write_image(folder / f"img-{index:02d}.png", 32 + 64 * (index % 4))
    return folder


def test_a_folder_gives_one_row_each_by_name(images: Path, tmp_path: Path) -> None:
    _write_image(images / "more" / "img.png", 32)
    (images / ".DS_Store").write_bytes(b"no image")
    out = tmp_path / "submission.csv"
    written = submission.write_submission(submission.find_inputs(images), _label, out)
    rows = _rows(out)
    assert rows[0] == ["filename", "label"]
    assert [row[0] for row in rows[1:]] == [f"img-{index:02d}.png" for index in range(70)] + [
        "more/img.png"
    ]
    assert [row[1] for row in rows[1:71]] == [CLASSES[index % 4] for index in range(70)]
    assert (written.labelled, written.missing) == (71, ())


def test_a_table_sets_the_order(images: Path, tmp_path: Path) -> None:
    names = [f"img-{index:02d}.png" for index in (40, 3, 69, 0)]
    (tmp_path / "test.csv").write_text("﻿filename\n" + "\n".join(names) + "\n")
    out = tmp_path / "submission.csv"
    submission.write_submission(submission.find_inputs(tmp_path / "test.csv"), _label, out)
    assert [row[0] for row in _rows(out)[1:]] == names


def test_a_table_finds_its_images_beside_it_too(images: Path) -> None:
    (images / "list.csv").write_text("filename\nimg-40.png\n")
    (found,) = submission.find_inputs(images / "list.csv")
    assert found == submission.Input("img-40.png", images / "img-40.png")


def test_the_real_challenge_table_is_found(cxr4: Path) -> None:
    inputs = submission.find_inputs(cxr4 / "test.csv")
    assert len(inputs) == 484
    assert [one.name for one in inputs] == [row[0] for row in _rows(cxr4 / "test.csv")[1:]]
    assert all(one.path.is_file() for one in inputs)


def test_every_unreadable_input_is_named_and_nothing_is_written(
    images: Path, tmp_path: Path
) -> None:
    (images / "img-05.png").write_bytes(b"no image")
    (images / "img-66.png").write_bytes((images / "img-64.png").read_bytes()[:200])
    out = tmp_path / "submission.csv"
    with pytest.raises(InputError, match="2 inputs cannot be read") as caught:
        submission.write_submission(submission.find_inputs(images), _label, out)
    assert "img-05.png" in str(caught.value)
    assert "img-66.png" in str(caught.value)
    assert "--allow-missing" in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["test"]


def test_of_many_unreadable_inputs_the_first_are_listed(images: Path, tmp_path: Path) -> None:
    inputs = submission.find_inputs(images)
    for one in inputs[-22:]:
        one.path.unlink()
    with pytest.raises(InputError, match="22 inputs cannot be read") as caught:
        submission.write_submission(inputs, _label, tmp_path / "submission.csv")
    lines = str(caught.value).splitlines()
    assert [line.split(":")[0] for line in lines[1:-1]] == [
        *(f"  img-{number}.png" for number in range(48, 68)),
        "  and 2 more",
    ]


def test_allow_missing_keeps_the_row(images: Path, tmp_path: Path) -> None:
    (images / "img-05.png").write_bytes(b"no image")
    (tmp_path / "test.csv").write_text("filename\nimg-04.png\nimg-05.png\ngone.png\nimg-06.png\n")
    out = tmp_path / "submission.csv"
    written = submission.write_submission(
        submission.find_inputs(tmp_path / "test.csv"), _label, out, allow_missing=True
    )
    assert _rows(out)[1:] == [
        ["img-04.png", CLASSES[0]],
        ["img-05.png", ""],
        ["gone.png", ""],
        ["img-06.png", CLASSES[2]],
    ]
    assert (written.labelled, written.missing) == (2, ("img-05.png", "gone.png"))


def test_an_old_submission_survives_a_failure(images: Path, tmp_path: Path) -> None:
    out = tmp_path / "submission.csv"
    out.write_text("old")

    def fails(encoded: Sequence[bytes]) -> list[str]:
        raise RuntimeError("interrupted")

    with pytest.raises(RuntimeError, match="interrupted"):
        submission.write_submission(submission.find_inputs(images), fails, out)
    assert out.read_text() == "old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["submission.csv", "test"]


@pytest.mark.parametrize("out", ["folder", "file/submission.csv", "/"])
def test_a_place_that_cannot_be_written_is_named(images: Path, tmp_path: Path, out: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=f"cannot write {tmp_path / out}"):
        submission.write_submission(submission.find_inputs(images), _label, tmp_path / out)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder", "test"]


def test_names_that_look_like_formulas_are_made_safe(tmp_path: Path) -> None:
    for name in ("=cmd|' calc'!A0.png", "+1.png", "-1.png", "@a.png", 'a"b,c.png'):
        _write_image(tmp_path / "test" / name, 32)
    out = tmp_path / "submission.csv"
    submission.write_submission(submission.find_inputs(tmp_path / "test"), _label, out)
    assert sorted(row[0] for row in _rows(out)[1:]) == sorted(
        ["'=cmd|' calc'!A0.png", "'+1.png", "'-1.png", "'@a.png", 'a"b,c.png']
    )


def test_a_name_that_is_not_utf8_loses_no_row(tmp_path: Path) -> None:
    image = tmp_path / "test" / "a.png"
    _write_image(image, 32)
    image.with_name(os.fsdecode(b"\xff.png")).write_bytes(image.read_bytes())
    out = tmp_path / "submission.csv"
    written = submission.write_submission(submission.find_inputs(image.parent), _label, out)
    assert written.labelled == 2
    assert [row[0] for row in _rows(out)[1:]] == ["a.png", r"\udcff.png"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("name\na.png\n", "no column 'filename'"),
        ("filename\na.png\nb.png\na.png\n", "line 4: a.png is in line 2 already"),
        ("filename\n../secret.png\n", r"test\.csv, line 2: leaves its folder"),
        ("filename\na.png\n/etc/passwd\n", r"test\.csv, line 3: not a relative path"),
        ("source,filename\nx,a.png\nx\n", r"test\.csv, line 3: not a relative path: ''"),
        ("filename\n", "names no image"),
        ("", "no column 'filename'"),
        ('filename\n"a.png\n', "cannot use"),
    ],
)
def test_bad_tables_are_refused(tmp_path: Path, content: str, message: str) -> None:
    table = tmp_path / "test.csv"
    table.write_text(content)
    with pytest.raises(InputError, match=message):
        submission.find_inputs(table)


def test_missing_and_empty_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        submission.find_inputs(tmp_path / "nowhere")
    with pytest.raises(InputError, match="names no image"):
        submission.find_inputs(tmp_path)


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """A bundle whose SavedModel answers by brightness; it has no edge build."""

    class Model(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="image")])
        def serve(self, image: tf.Tensor) -> dict[str, tf.Tensor]:
            means = tf.map_fn(
                lambda one: tf.reduce_mean(
                    tf.cast(tf.io.decode_image(one, channels=1), tf.float32)
                ),
                image,
                fn_output_signature=tf.float32,
            )
            classes = tf.minimum(tf.cast(means, tf.int32) // 64, 3)
            return {PROBABILITIES: tf.one_hot(classes, len(CLASSES))}

    folder = tmp_path / "push"
    model = Model()
    tf.saved_model.save(
        model, str(folder / bundles.SAVED_MODEL), signatures={"serving_default": model.serve}
    )
    bundles.write_manifest(str(folder), {"classes": list(CLASSES)})
    return folder


def test_the_float_build_of_a_bundle_labels(images: Path, bundle: Path, tmp_path: Path) -> None:
    out = tmp_path / "submission.csv"
    submission.write_submission(submission.find_inputs(images), submission.float_build(bundle), out)
    assert [row[1] for row in _rows(out)[1:]] == [CLASSES[index % 4] for index in range(70)]


def test_bundles_that_cannot_be_used_are_refused(bundle: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not a bundle"):
        submission.float_build(tmp_path)
    with pytest.raises(InputError, match="no edge build"):
        submission.edge_build(bundle)
    (bundle / bundles.SAVED_MODEL / "saved_model.pb").write_bytes(b"cut short")
    with pytest.raises(InputError, match="cannot load"):
        submission.float_build(bundle)
