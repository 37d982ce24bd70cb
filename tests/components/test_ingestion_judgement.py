"""What a run must not go on without, and what it may."""

import io
import zipfile
from pathlib import Path

import pytest

from components.ingestion import storage
from components.ingestion.judgement import judge_inputs, require_whole
from components.ingestion.preflight import preflight
from components.ingestion.refusals import Reason, Refusal
from components.ingestion.settings import DataSettings
from models.errors import InputError

SETTINGS = DataSettings()


@pytest.fixture
def half_lost(class_folders, xray, encode) -> Path:
    """12 loose images, and 20 more in a zip of which the download broke off at 90%."""
    root = class_folders(3)
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as members:
        for seed in range(20):
            members.writestr(f"{seed}.png", encode(xray(7000 + seed)))
    data = archive.getvalue()
    (root / "covid" / "siteB.zip").write_bytes(data[: len(data) * 9 // 10])
    return root


def test_a_lost_archive_is_found_before_anything_is_computed(half_lost):
    with pytest.raises(InputError, match=r"(?s)nobody knows how many .*covid/siteB\.zip.*Repair"):
        preflight(str(half_lost), DataSettings(max_bad_fraction=0.5))
    assert preflight(str(half_lost), DataSettings(max_bad_fraction=1)).images == 13


def test_the_experiments_stop_too(half_lost):
    import tarfile

    from pipeline.experiments.dataset import read_labelled_images

    (half_lost / "covid" / "siteB.zip").unlink()
    path = half_lost / "covid" / "siteB.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        archive.add(half_lost / "normal", "normal")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(InputError, match=r"(?s)whole archives .*siteB\.tar\.gz"):
        read_labelled_images(str(half_lost), DataSettings(max_bad_fraction=0.5))


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("covid/a.zip", Reason.DAMAGED_ARCHIVE),
        ("a.tar.gz", Reason.ARCHIVE_BOMB),
        ("a.tar", Reason.UNREADABLE),
        ("A.ZIP", Reason.SYMLINK_OUTSIDE),
        ("covid", Reason.UNREADABLE_FOLDER),
        ("covid", Reason.SYMLINKED_FOLDER),
    ],
)
def test_one_archive_or_folder_is_one_too_many(path, reason):
    lost = Refusal(path, reason.value, "why")
    with pytest.raises(InputError, match=f"  {path}: {reason.value}"):
        judge_inputs("data", [lost], 10_000, SETTINGS)
    judge_inputs("data", [lost], 0, DataSettings(max_bad_fraction=1))


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("a.zip/normal/1.png", Reason.DAMAGED_ARCHIVE),
        ("a.zip/inner.zip", Reason.NESTED_ARCHIVE),
        ("covid/1.png", Reason.UNREADABLE),
        ("covid/a.zip", Reason.EXACT_COPY),
    ],
)
def test_single_images_and_archives_in_archives_are_counted(path, reason):
    require_whole("data", [Refusal(path, reason.value, "why")], SETTINGS)


def test_bad_inputs_are_held_against_all_inputs():
    bad = [Refusal(f"{index}.png", Reason.UNREADABLE.value, "why") for index in range(2)]
    copies = [Refusal("a.png", Reason.EXACT_COPY.value, "of b.png")] * 3
    settings = DataSettings(max_bad_fraction=0.1)
    judge_inputs("data", bad + copies, 15, settings)
    with pytest.raises(InputError, match=r"(?s)2 of 19 inputs in data are unusable.*  1\.png"):
        judge_inputs("data", bad + copies, 14, settings)


def test_an_unknown_label_stops_whatever_may_be_lost():
    unknown = [Refusal("a.png", Reason.UNKNOWN_LABEL.value, "flu")]
    with pytest.raises(InputError, match="1  flu"):
        judge_inputs("data", unknown, 100, DataSettings(max_bad_fraction=1))


def test_a_folder_that_cannot_be_read_is_told_from_a_file(tmp_path, monkeypatch):
    (tmp_path / "covid").mkdir()
    scandir = storage.os.scandir

    def denied(path):
        if str(path).endswith("covid"):
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(storage.os, "scandir", denied)
    (found,) = storage.walk(str(tmp_path))
    assert (found.name, found.problem.reason) == ("covid", Reason.UNREADABLE_FOLDER)
