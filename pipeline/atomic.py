"""Writing so that a reader finds the old content or the new, never a part of it."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def staged(path: Path) -> Iterator[Path]:
    """Gives a file to write beside `path`, with its suffix, that takes its place at the end.

    After an error inside, `path` is as it was, with nothing left beside it.

    Raises:
        OSError: it cannot take the place.
    """
    # Each process its own.
    staging = path.with_name(f".{path.stem}.{os.getpid()}.incoming{path.suffix}")
    try:
        yield staging
        staging.replace(path)
    finally:
        with contextlib.suppress(OSError):  # it is not there, as a rule
            staging.unlink()


def write_text(path: Path, text: str) -> None:
    """Writes `text` as `staged` does.

    Raises:
        OSError: it cannot be written.
    """
    with staged(path) as file:
        file.write_text(text, encoding="utf-8")
