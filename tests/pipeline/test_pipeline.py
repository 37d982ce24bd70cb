"""Building the DAG reads the files that settings name."""

from pathlib import Path

import pytest

from models.errors import InputError
from pipeline.config import load
from pipeline.pipeline import Destination, create_pipeline


@pytest.mark.parametrize("setting", ["data.split_file", "coronet.pretrained"])
def test_a_file_that_is_not_there_is_named(setting: str, tmp_path: Path) -> None:
    missing = tmp_path / "mistyped"
    config = load(overrides=[f"{setting}={missing}"])
    with pytest.raises(InputError, match=f"cannot read {missing}"):
        create_pipeline(
            config,
            data_root=str(tmp_path),
            destination=Destination(root=str(tmp_path / "root"), push=str(tmp_path / "push")),
            context={"data_digest": "any", "revision": "any"},
        )
