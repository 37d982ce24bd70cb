"""Predictions for unlabelled images in the challenge's format: `filename,label`."""

import csv
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from components.ingestion import readers
from components.ingestion.names import printable, safe_relative, spreadsheet_safe
from components.ingestion.refusals import RefusedError
from components.ingestion.settings import DataSettings
from components.pusher import bundle as bundles
from models.errors import InputError
from models.features import IMAGE, PROBABILITIES, SERVING_SIGNATURE
from pipeline.atomic import staged

FILENAME_COLUMN = "filename"
LABEL_COLUMN = "label"
LISTED_REFUSALS = 20
_BATCH = 32
# A challenge wants an answer for whatever can be decoded, however poor it would be to learn from.
_READING = DataSettings(min_side=1, min_grey_levels=1)

Labeller = Callable[[Sequence[bytes]], list[str]]
"""From encoded grey images to class names."""


@dataclass(frozen=True)
class Input:
    """One image to predict: its name in the submission, and where it is."""

    name: str
    path: Path


@dataclass(frozen=True)
class Submission:
    """What was written: rows with a label, and the names of those without."""

    labelled: int
    missing: tuple[str, ...]


def find_inputs(images: Path) -> tuple[Input, ...]:
    """Returns every image that is to be predicted, in the order of the submission.

    Args:
        images: a folder, of which every file is an input, in the order of names; or a CSV
            file with a column `filename`, whose order counts. Its images are in the folder
            beside it that is named like it (`test.csv`, `test/`), or beside it.

    Raises:
        InputError: there is no input, a row leaves its folder, or a name comes twice.
    """
    if images.is_dir():
        found = tuple(
            Input(path.relative_to(images).as_posix(), path)
            for path in sorted(images.rglob("*"))
            if path.is_file() and not path.name.startswith(".")
        )
    elif images.is_file():
        found = tuple(_rows(images))
    else:
        raise InputError(f"{images} does not exist: give a folder of images, or a CSV of names")
    if not found:
        raise InputError(f"{images} names no image: nothing to predict")
    return found


def _rows(table: Path) -> Iterator[Input]:
    named = table.with_suffix("")
    folder = named if named.is_dir() else table.parent
    seen: dict[str, int] = {}
    try:
        with table.open(newline="", encoding="utf-8-sig") as file:
            rows = csv.DictReader(file, strict=True)
            if FILENAME_COLUMN not in (rows.fieldnames or ()):
                raise InputError(
                    f"{table} has no column {FILENAME_COLUMN!r}; its columns are {rows.fieldnames}"
                )
            for row in rows:
                name = row[FILENAME_COLUMN] or ""  # None in a row that is too short
                line = rows.line_num
                if name in seen:
                    raise InputError(
                        f"{table}, line {line}: {printable(name)} is in line {seen[name]} already"
                    )
                seen[name] = line
                try:
                    path = folder / safe_relative(name)
                except ValueError as error:
                    raise InputError(f"{table}, line {line}: {error}") from error
                yield Input(name, path)
    except InputError:
        raise
    except (csv.Error, ValueError, OSError) as error:
        raise InputError(f"cannot use {table}: {error}") from error


def float_build(bundle: Path) -> Labeller:
    """Loads the SavedModel of the bundle at `bundle`.

    Raises:
        InputError: it is not a bundle, or it is damaged.
    """
    classes = np.array(bundles.read_manifest(str(bundle))["classes"])
    import tensorflow as tf

    folder = bundle / bundles.SAVED_MODEL
    try:
        # The function keeps the loaded object, and with it the weights, alive.
        saved = tf.saved_model.load(str(folder))
    except (OSError, ValueError) as error:
        raise InputError(f"cannot load {folder}: {error}; copy the bundle again") from error

    def label(encoded: Sequence[bytes]) -> list[str]:
        outputs = saved.signatures[SERVING_SIGNATURE](**{IMAGE: tf.constant(list(encoded))})
        names: list[str] = classes[outputs[PROBABILITIES].numpy().argmax(axis=1)].tolist()
        return names

    return label


def edge_build(bundle: Path) -> Labeller:
    """Loads the TFLite build of the bundle at `bundle`.

    Raises:
        InputError: it is not a bundle, or has no usable edge build.
    """
    bundles.read_manifest(str(bundle))
    import edge

    try:
        classifier = edge.Classifier(bundle)
    except edge.EdgeError as error:
        raise InputError(str(error)) from error
    return lambda encoded: [classifier.predict(image).label for image in encoded]


def write_submission(
    inputs: Iterable[Input], label: Labeller, out: Path, allow_missing: bool = False
) -> Submission:
    """Writes one row per input, in order, without holding more than a batch of images.

    Images are read as ingestion reads them. The file appears under its name when it is
    complete. A name that a spreadsheet would take for a formula gets an apostrophe; what is
    not UTF-8 in a name is shown with escapes.

    Args:
        inputs: from `find_inputs`.
        label: from `float_build` or `edge_build`.
        out: CSV to write.
        allow_missing: give an image that cannot be read a row with an empty label.

    Raises:
        InputError: images cannot be read (and `allow_missing` is off), or `out` cannot be
            written.
    """
    if not out.name:
        raise InputError(f"cannot write {out}: it is a folder; name a file")
    labelled = 0
    missing: list[str] = []
    reasons: list[str] = []
    rest = iter(inputs)
    try:
        with (
            staged(out) as staging,
            staging.open("w", newline="", encoding="utf-8", errors="backslashreplace") as file,
        ):
            rows = csv.writer(file, lineterminator="\n")
            rows.writerow([FILENAME_COLUMN, LABEL_COLUMN])
            while batch := list(islice(rest, _BATCH)):
                contents = [_read(one) for one in batch]
                for one, content in zip(batch, contents, strict=True):
                    if isinstance(content, str):
                        missing.append(one.name)
                        reasons.append(f"{printable(one.name)}: {content}")
                if missing and not allow_missing:
                    continue  # only to name every unreadable one
                labels = _labels(label, contents)
                labelled += len(batch) - labels.count("")
                for one, name in zip(batch, labels, strict=True):
                    rows.writerow([spreadsheet_safe(one.name), name])
            if missing and not allow_missing:
                listed = "\n".join(f"  {reason}" for reason in reasons[:LISTED_REFUSALS])
                more = len(reasons) - LISTED_REFUSALS
                raise InputError(
                    f"{len(missing)} inputs cannot be read, and every one needs a label:\n{listed}"
                    + (f"\n  and {more} more" if more > 0 else "")
                    + "\nRepair them, or give them empty labels with --allow-missing"
                )
    except OSError as error:
        raise InputError(f"cannot write {out}: {error.strerror}") from error
    return Submission(labelled, tuple(missing))


def _read(one: Input) -> bytes | str:
    """Returns the canonical encoding of an image, or why it has none."""
    try:
        return readers.read(one.path.read_bytes(), _READING).encoded
    except RefusedError as error:
        return f"{error.reason.value}, {printable(error.detail)}"
    except OSError as error:
        return str(error.strerror)


def _labels(label: Labeller, contents: Sequence[bytes | str]) -> list[str]:
    """Labels the images, and gives an empty label to what is none."""
    readable = [content for content in contents if isinstance(content, bytes)]
    found = iter(label(readable) if readable else [])
    return [next(found) if isinstance(content, bytes) else "" for content in contents]
