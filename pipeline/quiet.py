"""Keeps what libraries log off the console."""

import contextlib
import logging
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from models.errors import InputError

_TENSORFLOW = "TF_CPP_MIN_LOG_LEVEL"


@contextlib.contextmanager
def quiet(log: Path) -> Iterator[None]:
    """Sends standard error, Python's and that of C++ libraries alike, to the end of `log`.

    TensorFlow, Beam and TFX log there by the thousand lines; what a person should see goes
    to standard output. An exception passes through and is reported after the restore.

    Raises:
        InputError: `log` cannot be written.
    """
    os.environ.setdefault(_TENSORFLOW, "2")  # its errors are worth a line of the log
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
        opened = log.open("a", encoding="utf-8")
    except OSError as error:
        raise InputError(
            f"cannot write {log}: {error.strerror}; choose another --output"
        ) from error
    with opened as file:
        sys.stderr.flush()
        kept = os.dup(sys.stderr.fileno())
        os.dup2(file.fileno(), sys.stderr.fileno())
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(kept, sys.stderr.fileno())
            os.close(kept)


def hush() -> None:
    """Silences what TensorFlow and Beam say on every import, where no log would take it.

    It is about GPUs that are not there, as errors, about a faster checksum, and about what
    TFMA calls that is deprecated. To be called before the import.
    """
    os.environ.setdefault(_TENSORFLOW, "3")
    logging.getLogger().addFilter(_is_not_about_checksums)
    logging.getLogger("tensorflow").setLevel(logging.ERROR)


def _is_not_about_checksums(record: logging.LogRecord) -> bool:
    return not str(record.msg).startswith("crcmod package not found")
