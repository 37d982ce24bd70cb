"""The command line: quick to answer, and clear about mistakes."""

import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from models.features import DISCLAIMER
from pipeline.cli import COMMANDS
from pipeline.commands.options import check_output

HEAVY = ("tensorflow", "tfx", "apache_beam", "keras", "cv2", "numpy", "pandas", "matplotlib")


def _coronet(*arguments: str) -> subprocess.CompletedProcess[str]:
    code = "from pipeline.cli import main; main()"
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False
    )


def test_help_lists_every_command_and_imports_nothing_heavy() -> None:
    code = (
        "import sys; from pipeline.cli import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        f"print('heavy:', [name for name in {HEAVY!r} if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "--help"], capture_output=True, text=True, check=True
    )
    assert "heavy: []" in done.stdout
    for command in COMMANDS:
        assert command in done.stdout
    assert DISCLAIMER in " ".join(done.stdout.split())  # the help is wrapped


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command: str) -> None:
    done = _coronet(command, "--help")
    assert done.returncode == 0, done.stderr
    assert command in done.stdout


def test_it_says_its_version_also_where_there_is_no_git() -> None:
    release = version("coronet")
    assert _coronet("--version").stdout.startswith(f"coronet {release}")
    without = subprocess.run(
        [sys.executable, "-c", "from pipeline.revision import current; print(current())"],
        env={**os.environ, "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert without.stdout == f"{release}\n", without.stderr


def test_help_is_wrapped_as_a_whole() -> None:
    done = _coronet("check", "--help")
    assert "skew against the training       \n statistics and images unlike" in done.stdout


def test_bad_configuration_exits_2_before_anything_runs(tmp_path: Path) -> None:
    data, output = tmp_path / "data", tmp_path / "out"
    done = _coronet("run", "--data", str(data), "--output", str(output), "--set", "coronet.epoch=3")
    assert done.returncode == 2
    assert "unknown key 'coronet.epoch'" in done.stderr
    assert "Traceback" not in done.stderr
    assert not output.exists()


WRITERS = {"run": (), "tune": ("--model", "svm"), "crossval": ("--model", "svm"), "reproduce": ()}


@pytest.mark.parametrize("command", WRITERS)
@pytest.mark.parametrize(
    ("output", "message"),
    [
        ("gs://bucket/run", "--set artifacts=gs://"),
        ("data/run", "lies inside --data data"),
        ("data", "lies inside --data data"),
        ("link/run", "lies inside --data data"),
        ("run[1]", "Beam takes [ ] * ? for patterns"),
    ],
)
def test_an_output_that_cannot_be_one_exits_2_before_anything_is_written(
    command: str, output: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("data").mkdir()
    Path("link").symlink_to("data")
    done = _coronet(command, "--data", "data", "--output", output, *WRITERS[command])
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["data", "link"]


def test_an_output_beside_the_data_or_beside_a_bucket_is_one() -> None:
    check_output(Path("data-run"), "data")
    check_output(Path("run"), "gs://bucket/x-rays")


def test_an_output_that_cannot_be_written_exits_2_and_is_named(
    sample_folder: Path, tmp_path: Path
) -> None:
    file = tmp_path / "file"
    file.write_text("mine")
    for output in (file, file / "below"):
        done = _coronet("run", "--data", str(sample_folder), "--output", str(output))
        assert done.returncode == 2
        assert f"cannot write {output}/logs/run.log" in done.stderr
        assert "Traceback" not in done.stderr
    assert file.read_text() == "mine"


def test_missing_data_exits_2_and_names_it(tmp_path: Path) -> None:
    missing = tmp_path / "nowhere"
    done = _coronet("run", "--data", str(missing), "--output", str(tmp_path / "out"))
    assert done.returncode == 2
    assert str(missing) in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("arguments", [["predict", "run/push", "image.png"], ["serve", "run/push"]])
def test_without_a_bundle_it_says_how_to_get_one(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = _coronet(*arguments)
    assert done.returncode == 2
    for way in ("make run", "coronet run --data", "make model DATA="):
        assert way in done.stderr
    assert "Traceback" not in done.stderr
