"""What libraries say: in the log, or where there is none, not at all."""

import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

from models.errors import InputError
from pipeline.quiet import hush, quiet


@pytest.mark.parametrize("log", ["file/run.log", "file/logs/run.log", "folder"])
def test_a_log_that_cannot_be_written_is_named(log: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    with (
        pytest.raises(InputError, match=f"cannot write {tmp_path / log}: .*--output"),
        quiet(tmp_path / log),
    ):
        pass


def test_hushed_imports_say_nothing() -> None:
    code = (
        "from pipeline.quiet import hush; hush()\n"
        "import logging\n"
        "for library in ('apache_beam', 'absl'):\n"
        "    logging.getLogger(library).setLevel(logging.ERROR)\n"
        "from pipeline import checking, preview, submission\n"
        "logging.getLogger('tensorflow').warning('tf_record_iterator is deprecated')\n"
    )
    environment = {key: value for key, value in os.environ.items() if not key.startswith("TF_CPP")}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env=environment,
    )
    assert done.stderr == ""


def test_hushing_leaves_other_warnings_and_what_the_user_has_set(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "0")
    hush()
    assert os.environ["TF_CPP_MIN_LOG_LEVEL"] == "0"
    logging.getLogger().warning("crcmod package not found. This package is required")
    logging.getLogger().warning("the disk is full")
    assert caplog.messages == ["the disk is full"]
