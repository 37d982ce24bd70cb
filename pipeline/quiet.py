"""Keeps what libraries log off the console."""

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def quiet(log: Path) -> Iterator[None]:
    """Sends standard error, Python's and that of C++ libraries alike, to the end of `log`.

    TensorFlow, Beam and TFX log there by the thousand lines; what a person should see goes
    to standard output. An exception passes through and is reported after the restore.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("a", encoding="utf-8") as file:
        sys.stderr.flush()
        kept = os.dup(sys.stderr.fileno())
        os.dup2(file.fileno(), sys.stderr.fileno())
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(kept, sys.stderr.fileno())
            os.close(kept)
