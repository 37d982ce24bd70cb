"""The table of given splits, and what is wrong with others."""

from pathlib import Path

import pytest

from components.ingestion.settings import DataSettings
from components.ingestion.split_table import Assignment, read_split_table
from models.errors import InputError


def test_a_table_is_read(tmp_path: Path) -> None:
    (tmp_path / "splits.csv").write_text("split,key\ntrain,a\ntest,b\ntrain,a\n")
    assert read_split_table(str(tmp_path / "splits.csv")) == {"a": "train", "b": "test"}


def test_a_table_of_a_spreadsheet_is_read(tmp_path: Path) -> None:
    (tmp_path / "splits.csv").write_text("key,split\r\na,test\r\n", encoding="utf-8-sig")
    assert read_split_table(str(tmp_path / "splits.csv")) == {"a": "test"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "columns key,split"),
        ("patient,split\na,train\n", "columns key,split"),
        ("key,split\na,validation\n", "'validation' of a is none of"),
        ("key,split\na,train\na,test\n", "a is both in train and in test"),
    ],
)
def test_a_wrong_table_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "splits.csv").write_text(text)
    with pytest.raises(InputError, match=message):
        read_split_table(str(tmp_path / "splits.csv"))


def test_a_missing_table_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"split_file: .*none\.csv does not exist"):
        read_split_table(str(tmp_path / "none.csv"))


def test_a_table_decides_in_place_of_the_hash(tmp_path: Path) -> None:
    by_hash = Assignment(DataSettings())
    assert {by_hash(str(number)) for number in range(50)} == {"train", "eval", "test"}
    table = tmp_path / "splits.csv"
    table.write_text("key,split\n" + "".join(f"{number},test\n" for number in range(50)))
    given = Assignment(DataSettings(split_file=str(table)))
    assert {given(str(number)) for number in range(50)} == {"test"}
    assert given("somebody else") is None
    assert (by_hash.given, given.given) == (False, True)
