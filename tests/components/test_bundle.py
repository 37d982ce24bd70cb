"""The bundle appears whole or not at all, and says what is in it."""

import hashlib
import json
from pathlib import Path

import pytest

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


def test_damaged_and_foreign_manifests_are_refused(tmp_path: Path) -> None:
    made = _make(tmp_path / "bundle", "weights")
    manifest = made / "bundle.json"
    manifest.write_text(json.dumps({"format": 99}))
    with pytest.raises(InputError, match="format 99"):
        bundle.read_manifest(str(made))
    manifest.write_text("{")
    with pytest.raises(InputError, match="damaged"):
        bundle.read_manifest(str(made))
    with pytest.raises(InputError, match="give the push/ folder"):
        bundle.read_manifest(str(tmp_path))
