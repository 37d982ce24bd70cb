"""Building the DAG refuses what a run would refuse at its end."""

from pathlib import Path

import pytest

from models.errors import InputError
from pipeline.config import load
from pipeline.pipeline import Destination, create_pipeline


def _build(folder: Path, *overrides: str) -> None:
    create_pipeline(
        load(overrides=overrides),
        data_root=str(folder),
        destination=Destination(root=str(folder / "root"), push=str(folder / "push")),
        context={"data_digest": "any", "revision": "any"},
    )


@pytest.mark.parametrize("setting", ["data.split_file", "coronet.pretrained"])
def test_a_file_that_is_not_there_is_named(setting: str, tmp_path: Path) -> None:
    missing = tmp_path / "mistyped"
    with pytest.raises(InputError, match=f"cannot read {missing}"):
        _build(tmp_path, f"{setting}={missing}")


@pytest.mark.parametrize("setting", ["preprocessing.size", "coronet.preprocessing.size"])
def test_images_too_small_for_coronet_stop_no_run_at_its_end(setting: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"32 x 32 pixels or more; preprocessing\.size is 31"):
        _build(tmp_path, f"{setting}=31")
    _build(tmp_path, f"{setting}=32")
    _build(tmp_path, f"{setting}=31", "models=[svm, mlp]")


def test_what_is_trained_already_is_not_tuned(tmp_path: Path) -> None:
    given = tmp_path / "given.keras"
    given.write_bytes(b"any")
    with pytest.raises(InputError, match="leave coronet out of tune"):
        _build(tmp_path, f"coronet.pretrained={given}", "tune=[coronet]")
    _build(tmp_path, f"coronet.pretrained={given}", "tune=[svm]")
