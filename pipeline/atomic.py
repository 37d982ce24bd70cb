"""Writing so that a reader finds the old content or the new, never a part of it."""

import contextlib
import os
from pathlib import Path


def write_text(path: Path, text: str) -> None:
    """Writes `text` beside `path`, then renames it into its place.

    Raises:
        OSError: it cannot be written; `path` is as it was, with nothing left beside it.
    """
    staging = path.with_name(f".{path.name}.{os.getpid()}.incoming")  # each process its own
    try:
        staging.write_text(text, encoding="utf-8")
        staging.replace(path)
    finally:
        with contextlib.suppress(OSError):  # it is not there, as a rule
            staging.unlink()
