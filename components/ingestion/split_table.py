"""Which split a key belongs to: a table decides in place of the hash where one is given."""

import csv
import io

from tfx.dsl.io import fileio

from components.ingestion.settings import DataSettings
from components.ingestion.splits import assign
from models.errors import InputError
from models.features import SPLITS

KEY, SPLIT = "key", "split"


class Assignment:
    """From a key (`components.ingestion.splits.split_key`) to its split.

    Attributes:
        table: the file that decides; empty if the hash does.
        given: whether a table decides.

    Raises:
        InputError: what `read_split_table` refuses.
    """

    def __init__(self, settings: DataSettings) -> None:
        self._shares, self._salt = settings.splits, settings.split_salt
        self.table = settings.split_file
        self._given = read_split_table(self.table) if self.table else None

    @property
    def given(self) -> bool:
        return bool(self.table)

    def __call__(self, key: str) -> str | None:
        """Returns the split of `key`; None if a table is given and does not name it."""
        if self._given is not None:
            return self._given.get(key)
        return assign(key, self._shares, self._salt)


def read_split_table(path: str) -> dict[str, str]:
    """Returns the split of each key, from a CSV with the columns `key,split`.

    A key is what `components.ingestion.splits.split_key` returns: the pseudonym that the
    feature `patient_id` holds, or the digest of the pixels where no patient is known.

    Raises:
        InputError: no such file, other columns, an unknown split, or a key in two of them.
    """
    if not fileio.exists(path):
        raise InputError(f"data.split_file: {path} does not exist")
    with fileio.open(path, "r") as file:
        text = file.read().removeprefix("\ufeff")  # as spreadsheets mark UTF-8
    rows = list(csv.DictReader(io.StringIO(text)))
    if not rows or not {KEY, SPLIT} <= rows[0].keys():
        raise InputError(f"{path} must be a CSV with the columns {KEY},{SPLIT}, and not empty")
    table: dict[str, str] = {}
    for row in rows:
        key, split = row[KEY], row[SPLIT]
        if split not in SPLITS:
            raise InputError(f"{path}: {split!r} of {key} is none of {', '.join(SPLITS)}")
        if table.setdefault(key, split) != split:
            raise InputError(f"{path}: {key} is both in {table[key]} and in {split}")
    return table
