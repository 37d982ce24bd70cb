"""The command lines that people copy: from `make help`, the README and the presets."""

import os
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SAYS_RUN = sorted([ROOT / "README.md", *ROOT.glob("pipeline/presets/*.yaml")])


def _make(*arguments: str) -> subprocess.CompletedProcess[str]:
    # Not as a part of the `make test` that may have started us.
    outside = {name: value for name, value in os.environ.items() if "MAKE" not in name}
    return subprocess.run(
        ["make", *arguments], cwd=ROOT, env=outside, capture_output=True, text=True, check=False
    )


def test_help_shows_every_target() -> None:
    targets = re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert targets is not None
    assert [line.split()[0] for line in _make("help").stdout.splitlines()] == targets[1].split()


def test_a_model_of_no_data_is_refused_before_anything_is_fetched() -> None:
    done = _make("-n", "model", "DATA=")
    assert done.returncode == 2
    assert "usage: make model DATA=" in done.stderr
    assert done.stdout == ""
    assert '--data "x-rays"' in _make("-n", "model", "DATA=x-rays").stdout
    assert _make("-n", "help", "DATA=").returncode == 0


@pytest.mark.parametrize("file", SAYS_RUN, ids=lambda file: file.name)
def test_every_run_names_its_data_and_its_output(file: Path) -> None:
    lines = re.findall(r"coronet run --[^`\n]*", file.read_text(encoding="utf-8"))
    assert lines
    for line in lines:
        assert "--data " in line
        assert "--output " in line
