"""The table of given splits, and what is wrong with others."""

from pathlib import Path

import pytest

from components.ingestion.split_table import read_split_table
from models.errors import InputError


def test_a_table_is_read(tmp_path: Path) -> None:
    (tmp_path / "splits.csv").write_text("split,key\ntrain,a\ntest,b\ntrain,a\n")
    assert read_split_table(str(tmp_path / "splits.csv")) == {"a": "train", "b": "test"}


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
