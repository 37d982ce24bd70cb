"""`coronet predict` and `coronet-edge predict`: lines, exit codes, and files that are no images."""

import io
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

import edge
from edge import Classifier, cli, predicting

DISCLAIMER = "Not a medical device"


@pytest.fixture
def images(sample_folder: Path) -> list[Path]:
    return sorted((sample_folder / "train").iterdir())[:3]


def run(*arguments: object) -> int:
    return cli.main(["predict", *map(str, arguments)])


def test_the_table_has_a_line_for_each_image(edge_model, images, capsys):
    assert run(edge_model, *images) == predicting.DONE
    heading, *rows, disclaimer = capsys.readouterr().out.splitlines()
    assert all(name in heading for name in ("normal", "bacterial", "viral", "covid"))
    for row, path in zip(rows, images, strict=True):
        assert str(path) in row
    assert DISCLAIMER in disclaimer


def test_json_lines_are_what_the_classifier_says(edge_model, images, capsys):
    assert run(edge_model, "--json", *images) == predicting.DONE
    captured = capsys.readouterr()
    classifier = Classifier(edge_model)
    for line, path in zip(captured.out.splitlines(), images, strict=True):
        found, expected = json.loads(line), classifier.predict(path)
        assert found["path"] == str(path)
        assert found["label"] == expected.label
        assert found["probabilities"] == pytest.approx(expected.probabilities)
        assert found["familiar"] == expected.familiar
    assert DISCLAIMER in captured.err


def test_one_bad_file_does_not_stop_the_rest(edge_model, images, tmp_path, capsys):
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"not an image")
    missing = tmp_path / "missing.png"
    status = run(edge_model, "--json", images[0], bad, missing, images[1])
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert status == predicting.SOME_FAILED
    assert ["label" in line for line in lines] == [True, False, False, True]
    assert str(bad) in lines[1]["error"]
    assert str(missing) in lines[2]["error"]


def test_answers_come_one_by_one(edge_model, images, tmp_path):
    bad = tmp_path / "bad.png"
    answers = predicting.outcomes(Classifier(edge_model), [images[0], bad])
    assert next(answers).prediction is not None  # before `bad` is even written
    bad.write_bytes(images[1].read_bytes())
    assert next(answers).prediction is not None


def test_folders_stand_for_the_images_inside(edge_model, sample_folder, capsys):
    assert run(edge_model, "--json", sample_folder / "train") == predicting.DONE
    count = len(list((sample_folder / "train").iterdir()))
    assert len(capsys.readouterr().out.splitlines()) == count


def test_no_image_at_all_is_a_mistake(edge_model, tmp_path, capsys):
    assert run(edge_model, tmp_path) == predicting.NOTHING_TO_DO
    assert "no image" in capsys.readouterr().err


def test_a_bundle_that_is_none_is_named(tmp_path, images, capsys):
    assert run(tmp_path, *images) == predicting.NOTHING_TO_DO
    assert str(tmp_path) in capsys.readouterr().err


def test_overlays_are_written_and_do_not_overwrite_each_other(edge_model, images, tmp_path, capsys):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "x.jpeg").write_bytes(images[0].read_bytes())
    explained = tmp_path / "explained"
    assert run(edge_model, "--json", "--explain", explained, tmp_path / "a", tmp_path / "b") == 0
    named = [json.loads(line)["overlay"] for line in capsys.readouterr().out.splitlines()]
    assert sorted(named) == sorted(str(path) for path in explained.iterdir())
    for name in named:
        with Image.open(name) as picture:
            assert picture.mode == "RGB"


def test_a_file_name_cannot_control_the_terminal(edge_model, images, tmp_path, capsys):
    nasty = tmp_path / "x\x1b[2J\n.jpeg"
    nasty.write_bytes(images[0].read_bytes())
    run(edge_model, nasty)
    broken = tmp_path / "y\x1b[2J.jpeg"
    broken.write_bytes(b"")
    run(edge_model, broken)
    captured = capsys.readouterr()
    assert "\x1b" not in captured.out + captured.err


def test_a_folder_named_like_an_image_is_not_one(edge_model, images, tmp_path, capsys):
    (tmp_path / "series.png").mkdir()
    (tmp_path / "series.png" / "a.jpeg").write_bytes(images[0].read_bytes())
    (tmp_path / "gone.png").symlink_to(tmp_path / "nowhere.png")
    assert run(edge_model, "--json", tmp_path) == predicting.SOME_FAILED
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    found = {str(Path(line["path"]).relative_to(tmp_path)): "label" in line for line in lines}
    assert found == {"series.png/a.jpeg": True, "gone.png": False}  # a dead link is not passed over


def test_a_path_that_is_too_long_is_an_error_of_its_own(edge_model, images, capsys):
    assert run(edge_model, "--json", "x" * 300, images[0]) == predicting.SOME_FAILED
    first, second = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert "too long" in first["error"]
    assert "label" in second


@pytest.mark.parametrize("as_json", [True, False])
def test_an_overlay_that_cannot_be_written_stops_nothing(
    edge_model, images, tmp_path, capsys, as_json
):
    long = tmp_path / f"{'x' * 245}.jpeg"  # the overlay's name is longer
    blocked = tmp_path / "blocked.jpeg"
    for file in (long, blocked):
        file.write_bytes(images[0].read_bytes())
    explained = tmp_path / "explained"
    (explained / "blocked.saliency.png").mkdir(parents=True)
    options = ["--json"] * as_json
    status = run(edge_model, *options, "--explain", explained, long, blocked, images[1])
    assert status == predicting.SOME_FAILED
    captured = capsys.readouterr()
    if as_json:
        lines = [json.loads(line) for line in captured.out.splitlines()]
        assert all("label" in line for line in lines)
        assert ["overlay" in line for line in lines] == [False, False, True]
        errors = [line.get("error", "") for line in lines[:2]]
    else:
        _, *rows, _ = captured.out.splitlines()
        assert len(rows) == 3
        errors = captured.err.splitlines()
    for error, file in zip(errors, (long, blocked), strict=True):
        assert str(file) in error
        assert "cannot write" in error


def test_names_that_the_terminal_cannot_write_stop_nothing(
    edge_model, images, tmp_path, monkeypatch
):
    named = tmp_path / "снимок-é.jpeg"
    named.write_bytes(images[0].read_bytes())
    written = io.TextIOWrapper(io.BytesIO(), "cp1252")
    monkeypatch.setattr(sys, "stdout", written)
    assert run(edge_model, named) == predicting.DONE
    written.seek(0)
    assert "??????-é.jpeg" in written.read()


@pytest.mark.parametrize("option", [[], ["--json"]])
def test_a_reader_that_has_enough_is_no_error(edge_model, images, option):
    command = [sys.executable, "-m", "edge.cli", "predict", str(edge_model), *option]
    with subprocess.Popen(
        [*command, *map(str, images * 3)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=Path(edge.__file__).parents[1],
    ) as running:
        assert running.stdout.readline()
        running.stdout.close()
        said = running.stderr.read()
    assert running.returncode == predicting.DONE
    assert "Traceback" not in said
    assert "BrokenPipe" not in said


def test_the_whole_projects_command_does_the_same(edge_model, images, tmp_path, capsys):
    import typer

    from models.errors import InputError
    from pipeline.commands.predict import predict

    with pytest.raises(typer.Exit) as done:
        predict(edge_model, images, json=True)
    assert done.value.exit_code == predicting.DONE
    assert len(capsys.readouterr().out.splitlines()) == len(images)
    with pytest.raises(InputError, match="holds no"):
        predict(tmp_path, images)


def test_a_submission_by_the_edge_build_is_what_the_classifier_says(edge_model, images, tmp_path):
    from components.pusher.bundle import write_manifest
    from pipeline.submission import edge_build

    shutil.copytree(edge_model, tmp_path / "push" / "edge")
    write_manifest(str(tmp_path / "push"), {})
    classifier = Classifier(edge_model)
    expected = [classifier.predict(path).label for path in images]
    assert edge_build(tmp_path / "push")([path.read_bytes() for path in images]) == expected
