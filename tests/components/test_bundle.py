"""The bundle appears whole or not at all, and says what is in it."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tensorflow as tf
from tfx.dsl.io import fileio

from components.pusher import bundle
from models.errors import InputError


def _make(folder: Path, text: str) -> Path:
    (folder / "saved_model").mkdir(parents=True)
    (folder / "saved_model" / "saved_model.pb").write_text(text)
    bundle.write_manifest(str(folder), {"classes": ["normal"]})
    return folder


def test_manifest_lists_every_file_by_digest(tmp_path: Path) -> None:
    made = _make(tmp_path / "bundle", "weights")
    manifest = bundle.read_manifest(str(made))
    assert manifest["files"] == {
        "saved_model/saved_model.pb": hashlib.sha256(b"weights").hexdigest()
    }
    assert manifest["classes"] == ["normal"]
    other = bundle.read_manifest(str(_make(tmp_path / "other", "else")))
    assert manifest["version"] != other["version"]


def test_deploy_replaces_the_old_bundle_whole(tmp_path: Path) -> None:
    destination = tmp_path / "push"
    first, second = _make(tmp_path / "first", "1"), _make(tmp_path / "second", "2")
    (first / "saved_model" / "only_in_first").write_text("")
    bundle.write_manifest(str(first), {})
    assert bundle.deploy(str(first), str(destination))
    assert not bundle.deploy(str(first), str(destination)), "the same bundle changes nothing"
    assert bundle.deploy(str(second), str(destination))
    assert (destination / "saved_model" / "saved_model.pb").read_text() == "2"
    assert not (destination / "saved_model" / "only_in_first").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["first", "push", "second"]


@pytest.mark.parametrize("part", ["saved_model/saved_model.pb", "bundle.json"])
@pytest.mark.parametrize("damage", ["cut off", "lost"])
def test_deploy_repairs_a_bundle_that_lost_a_part(tmp_path: Path, part: str, damage: str) -> None:
    made, destination = _make(tmp_path / "bundle", "weights"), tmp_path / "push"
    bundle.deploy(str(made), str(destination))
    if damage == "lost":
        (destination / part).unlink()
    else:
        (destination / part).write_bytes((made / part).read_bytes()[:-3] + b"\xff")
    assert bundle.deploy(str(made), str(destination))
    assert (destination / part).read_bytes() == (made / part).read_bytes()
    (destination / "stray").write_text("")
    assert bundle.deploy(str(made), str(destination))
    assert not (destination / "stray").exists()


@pytest.mark.parametrize("step", ["rmtree", "copy"])
def test_on_an_object_store_the_manifest_goes_first_and_comes_last(
    tmp_path: Path, step: str
) -> None:
    # TensorFlow's file system in memory renames a folder's files one by one, as a store does.
    first, second = _make(tmp_path / "first", "1"), _make(tmp_path / "second", "2")
    destination = f"ram://{tmp_path.name}/push"
    assert bundle.deploy(str(first), destination)
    assert not bundle.deploy(str(first), destination)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fileio, step, _evicted_at(step))
        with pytest.raises(InterruptedError):
            bundle.deploy(str(second), destination)
    with pytest.raises(InputError, match="not a bundle"):
        bundle.read_manifest(destination)
    assert bundle.deploy(str(second), destination)
    assert bundle.read_manifest(destination) == bundle.read_manifest(str(second))


def _evicted_at(step: str) -> Callable[..., None]:
    """A step of `fileio` that is not survived; of copies, that of the model."""

    def evicted(path: str, *rest: Any, **options: Any) -> None:
        if step == "rmtree" or path.endswith("saved_model.pb"):
            raise InterruptedError(path)
        tf.io.gfile.copy(path, *rest, **options)

    return evicted


def test_a_copy_that_was_cut_off_is_no_bundle(tmp_path: Path) -> None:
    made, destination = _make(tmp_path / "bundle", "weights"), tmp_path / "push"
    # What a killed deploy leaves behind: a part of the copy, under the staging name.
    staging = tmp_path / "push.incoming"
    (staging / "saved_model").mkdir(parents=True)
    (staging / "saved_model" / "half").write_text("we")
    with pytest.raises(InputError, match="not a bundle"):
        bundle.read_manifest(str(staging))
    assert bundle.deploy(str(made), str(destination))
    assert not staging.exists()
    assert not (destination / "saved_model" / "half").exists()


def test_a_copy_goes_over_the_half_of_one_before(tmp_path: Path) -> None:
    made, half = _make(tmp_path / "bundle", "weights"), tmp_path / "half"
    (half / "saved_model").mkdir(parents=True)
    (half / "saved_model" / "saved_model.pb").write_text("we")
    bundle.copy_tree(str(made), str(half))
    assert (half / "saved_model" / "saved_model.pb").read_text() == "weights"


def test_damaged_and_foreign_manifests_are_refused(tmp_path: Path) -> None:
    made = _make(tmp_path / "bundle", "weights")
    manifest = made / "bundle.json"
    manifest.write_text(json.dumps({"format": 99}))
    with pytest.raises(InputError, match="format 99"):
        bundle.read_manifest(str(made))
    manifest.write_text("{")
    with pytest.raises(InputError, match="damaged"):
        bundle.read_manifest(str(made))
    manifest.write_text("[]")
    with pytest.raises(InputError, match="no JSON object"):
        bundle.read_manifest(str(made))
    manifest.write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match="damaged"):
        bundle.read_manifest(str(made))
    with pytest.raises(InputError, match="give the push/ folder"):
        bundle.read_manifest(str(tmp_path))
