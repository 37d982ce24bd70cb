"""Writing so that a reader finds the old content or the new, never a part of it."""

import shutil
from pathlib import Path


def write_text(path: Path, text: str) -> None:
    """Writes `text` beside `path`, then renames it into its place."""
    staging = path.with_name(f".{path.name}.incoming")
    staging.write_text(text, encoding="utf-8")
    staging.replace(path)


def replace_folder(source: Path, destination: Path) -> None:
    """Copies `source` beside `destination`, then renames the copy into its place."""
    staging = destination.with_name(f".{destination.name}.incoming")
    shutil.rmtree(staging, ignore_errors=True)
    shutil.copytree(source, staging)
    shutil.rmtree(destination, ignore_errors=True)
    staging.rename(destination)
