"""Writing so that a reader finds the old content or the new, never a part of it."""

from pathlib import Path


def write_text(path: Path, text: str) -> None:
    """Writes `text` beside `path`, then renames it into its place."""
    staging = path.with_name(f".{path.name}.incoming")
    staging.write_text(text, encoding="utf-8")
    staging.replace(path)
