"""File names from strangers."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.ingestion.names import printable, safe_relative, spreadsheet_safe


@settings(deadline=None)  # time is not what is tested
@given(st.text())
def test_printable_names_have_no_control_characters(text):
    shown = printable(text)
    assert shown.isprintable() or " " in shown or not shown.isascii()
    assert not any(ord(character) < 32 or ord(character) == 127 for character in shown)
    shown.encode("utf-8")  # lone surrogates, from names that are not UTF-8, are gone


def test_escapes_and_right_to_left_overrides_are_shown():
    assert printable("a\x1b[31m\nb\u202egnp.exe\udcff") == "a\\x1b[31m\\nb\\u202egnp.exe\\udcff"


def test_html_is_left_to_whoever_writes_html():
    assert printable("<script>alert(1)</script>.png") == "<script>alert(1)</script>.png"


@pytest.mark.parametrize(
    "name",
    [
        "../outside.png",
        "a/../../outside.png",
        "/etc/passwd",
        "\\\\server\\share\\a.png",
        "..\\outside.png",
        "C:\\a.png",
        "C:a.png",
        "gs://bucket/a.png",
        "file:///etc/passwd",
        "a\0.png",
        "",
        "  ",
        ".",
    ],
)
def test_names_that_leave_their_folder_are_refused(name):
    with pytest.raises(ValueError, match=r"relative|leaves"):
        safe_relative(name)


@settings(deadline=None)  # time is not what is tested
@given(st.text())
def test_a_safe_name_stays_inside(name):
    try:
        safe = safe_relative(name)
    except ValueError:
        return
    assert not safe.startswith("/")
    assert ".." not in safe.split("/")


def test_windows_separators_are_understood():
    assert safe_relative(".\\train\\a.png") == "train/a.png"


@pytest.mark.parametrize("cell", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1"])
def test_formulas_are_defused(cell):
    assert spreadsheet_safe(cell) == "'" + cell


def test_plain_cells_stay():
    assert spreadsheet_safe("train/a-1.png") == "train/a-1.png"
