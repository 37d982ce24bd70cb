"""The preview page shows what the pipeline would feed the classifiers."""

import os

import cv2
import numpy as np
import pytest
from matplotlib.axes import Axes
from typer import Typer
from typer.testing import CliRunner

from models.errors import InputError
from pipeline.commands.preview import preview
from pipeline.preview import draw, panels

IMAGE = np.random.default_rng(2).integers(0, 256, (300, 440), dtype=np.uint8)


@pytest.fixture(scope="module")
def columns():
    return panels(IMAGE, size=200, aspect=0.75, clip_limit=2.0)


def test_the_original_and_the_four_methods_in_order(columns):
    assert [panel.title.split(":")[0] for panel in columns] == [
        "original", "method A", "method B", "method C", "method D"
    ]  # fmt: skip
    assert [panel.plain.shape for panel in columns] == [
        (300, 440), (200, 200), (150, 200), (150, 200), (200, 200)
    ]  # fmt: skip


def test_each_method_is_what_its_title_says(columns):
    original, fitted, stretched, rectangle, square = (panel.plain for panel in columns)
    np.testing.assert_array_equal(original, IMAGE)
    black = np.flatnonzero(fitted.max(axis=1) == 0)
    assert len(black) == 200 - 136  # 300 * 200 / 440 = 136.4
    assert {0, 199} <= set(black)
    whole = cv2.resize(IMAGE, (200, 150), interpolation=cv2.INTER_AREA)
    np.testing.assert_array_equal(stretched, whole)
    covering = cv2.resize(IMAGE, (220, 150), interpolation=cv2.INTER_AREA)
    np.testing.assert_allclose(rectangle.astype(int), covering[:, 10:210], atol=1)
    covering = cv2.resize(IMAGE, (293, 200), interpolation=cv2.INTER_AREA)  # 440 * 200 / 300
    np.testing.assert_allclose(square.astype(int), covering[:, 47:247], atol=1)


def test_clahe_is_opencvs(columns):
    equaliser = cv2.createCLAHE(2.0, (8, 8))
    for panel in columns:
        np.testing.assert_array_equal(panel.equalised, equaliser.apply(panel.plain))


def run(*arguments: str):
    app = Typer()
    app.command()(preview)
    return CliRunner().invoke(app, list(arguments))


def test_the_command_writes_one_page(tmp_path):
    source, page = tmp_path / "chest.png", tmp_path / "page.png"
    cv2.imwrite(str(source), IMAGE)
    result = run(str(source), "--out", str(page))
    assert result.exit_code == 0, result.output
    assert cv2.imread(str(page)).shape[1] > 1500
    assert sorted(path.name for path in tmp_path.iterdir()) == ["chest.png", "page.png"]


@pytest.mark.parametrize("content", [b"", b"not an image", None], ids=["empty", "text", "absent"])
def test_a_bad_image_is_named_and_nothing_written(tmp_path, content):
    source, page = tmp_path / "bad.png", tmp_path / "page.png"
    if content is not None:
        source.write_bytes(content)
    result = run(str(source), "--out", str(page))
    assert isinstance(result.exception, InputError)
    assert str(source) in str(result.exception)
    assert not page.exists()


def test_an_output_folder_that_does_not_exist_is_named(tmp_path):
    source = tmp_path / "chest.png"
    cv2.imwrite(str(source), IMAGE)
    result = run(str(source), "--out", str(tmp_path / "nowhere" / "page.png"))
    assert isinstance(result.exception, InputError)
    assert "nowhere" in str(result.exception)


@pytest.mark.parametrize("out", ["folder", "file/page.png", "/"])
def test_an_output_that_cannot_be_written_is_named_and_nothing_is_left(tmp_path, out):
    source = tmp_path / "chest.png"
    cv2.imwrite(str(source), IMAGE)
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("")
    result = run(str(source), "--out", str(tmp_path / out))
    assert isinstance(result.exception, InputError)
    assert f"cannot write {tmp_path / out}" in str(result.exception)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["chest.png", "file", "folder"]


@pytest.mark.parametrize(
    "name",
    [b"a$_$b.png", b"\xff\xfe.png", "\N{CJK UNIFIED IDEOGRAPH-80F8}.png".encode()],
    ids=["mathtext", "not UTF-8", "not in the font"],
)
@pytest.mark.filterwarnings("error")
def test_any_name_can_be_a_title(columns, name):
    assert draw(columns[:1], os.fsdecode(name)).startswith(b"\x89PNG")


def test_no_name_is_longer_than_the_page(columns):
    page = cv2.imdecode(np.frombuffer(draw(columns, 250 * "W"), np.uint8), cv2.IMREAD_GRAYSCALE)
    # Of the title alone: what is drawn above the first panel leaves both edges white.
    assert (page[:60, :8] == 255).all()
    assert (page[:60, -8:] == 255).all()
    assert (page[:60] < 128).any()


def test_sizes_are_said_width_first(columns, monkeypatch):
    said = []
    monkeypatch.setattr(Axes, "set_xlabel", lambda axes, text, **style: said.append(text))
    draw(columns, "chest.png")
    height, width = IMAGE.shape
    assert said[0] == f"{width} x {height} px"
