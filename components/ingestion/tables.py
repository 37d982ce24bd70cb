"""Label tables: CSV and JSONL files that name images and say what they show."""

import csv
import io
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TextIO

from components.ingestion import storage
from components.ingestion.fields import field_text
from components.ingestion.names import printable
from components.ingestion.refusals import RefusedError
from components.ingestion.settings import DataSettings
from models.errors import InputError

MAX_FIELD = 64 * 1024  # characters; a longer one is an unclosed quote or an attack
SUFFIXES = {"csv": (".csv", ".tsv"), "jsonl": (".jsonl",)}


@dataclass(frozen=True)
class Row:
    """What a table says about one image; `line` counts from 1."""

    filename: str
    label: str
    patient: str
    source: str
    line: int


def has_labels(path: str, root: str, settings: DataSettings) -> bool:
    """Whether the table at `path` has both a file name and a label column."""
    with _open_text(path, root) as file:
        if path.lower().endswith(SUFFIXES["jsonl"]):
            columns = set(next(_json_lines(file, path), (0, {}))[1])
        else:
            columns = set(_reader(file, path).columns)
    return {settings.filename_column.casefold(), settings.label_column.casefold()} <= columns


def rows(path: str, root: str, settings: DataSettings) -> Iterator[Row]:
    """Yields the rows of the table at `path`, one at a time.

    Raises:
        InputError: the table is not UTF-8, has no such columns, a row of another length,
            a huge field, or a line that is not JSON; names the line.
    """
    with _open_text(path, root) as file:
        jsonl = path.lower().endswith(SUFFIXES["jsonl"])
        records = _json_lines(file, path) if jsonl else _csv_lines(file, path)
        for line, record in records:
            yield Row(
                filename=_field(record, settings.filename_column, path, line),
                label=_field(record, settings.label_column, path, line),
                patient=field_text(record.get(settings.patient_column.casefold())),
                source=field_text(record.get(settings.source_column.casefold())),
                line=line,
            )


def _field(record: Mapping[str, Any], column: str, path: str, line: int) -> str:
    if column.casefold() not in record:
        raise InputError(f"{printable(path)}, line {line}: no {column!r}")
    return field_text(record[column.casefold()])


@contextmanager
def _open_text(path: str, root: str) -> Iterator[TextIO]:
    """Opens a table; whatever reads it inside the context may meet bytes that are no text."""
    try:
        binary = storage.open_binary(path, root)
    except RefusedError as error:
        raise InputError(f"{printable(path)}: {error.detail}") from error
    try:
        # A byte order mark, as spreadsheets write it, is not part of the first column's name.
        with io.TextIOWrapper(binary, encoding="utf-8-sig", newline="") as file:
            yield file
    except UnicodeDecodeError as error:
        raise InputError(f"{printable(path)} is not UTF-8: save it as UTF-8") from error


@dataclass(frozen=True)
class _Csv:
    columns: list[str]
    lines: Any  # csv.reader's type has no public name


def _reader(file: TextIO, path: str) -> _Csv:
    csv.field_size_limit(MAX_FIELD)
    header = file.readline(MAX_FIELD)
    # Spreadsheets of many countries separate with semicolons.
    delimiter = max(",;\t", key=header.count)
    try:
        columns = next(csv.reader([header], delimiter=delimiter), [])
    except csv.Error as error:
        raise InputError(f"{printable(path)}, line 1: not a CSV row ({error})") from error
    return _Csv(
        columns=[column.strip().casefold() for column in columns],
        lines=csv.reader(file, delimiter=delimiter, strict=True),
    )


def _csv_lines(file: TextIO, path: str) -> Iterator[tuple[int, dict[str, str]]]:
    table = _reader(file, path)
    doubled = {column for column in table.columns if table.columns.count(column) > 1}
    if doubled:
        raise InputError(f"{printable(path)} has the column {doubled.pop()!r} twice")
    try:
        for fields in table.lines:
            line = table.lines.line_num + 1  # the header was read before
            if not any(field.strip() for field in fields):
                continue  # spreadsheets save the empty rows below a table too
            if len(fields) != len(table.columns):
                raise InputError(
                    f"{printable(path)}, line {line}: {len(fields)} fields, but the header has "
                    f"{len(table.columns)}"
                )
            yield line, dict(zip(table.columns, fields, strict=True))
    except csv.Error as error:
        raise InputError(
            f"{printable(path)}, line {table.lines.line_num + 1}: not a CSV row ({error})"
        ) from error


def _json_lines(file: TextIO, path: str) -> Iterator[tuple[int, dict[str, Any]]]:
    line = 0
    while text := file.readline(16 * MAX_FIELD):
        line += 1
        if not text.strip():
            continue
        try:
            record = json.loads(text)
        except (json.JSONDecodeError, RecursionError) as error:
            raise InputError(f"{printable(path)}, line {line}: not JSON ({error})") from error
        if not isinstance(record, dict):
            raise InputError(f"{printable(path)}, line {line}: not a JSON object")
        yield line, {str(key).casefold(): value for key, value in record.items()}
