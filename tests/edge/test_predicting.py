"""`coronet predict` and `coronet-edge predict`: lines, exit codes, and files that are no images."""

import json
from pathlib import Path

import pytest
from PIL import Image

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
