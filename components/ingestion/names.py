"""File names from strangers: made safe to open, to print and to put into a spreadsheet."""

import re
import unicodedata
from pathlib import PurePosixPath

_FORMULA_START = ("=", "+", "-", "@", "\t", "\r", "\n")
_DRIVE = re.compile(r"^[A-Za-z]:")


def printable(text: str) -> str:
    r"""Returns `text` with control, format and undecodable characters as `\x..` escapes.

    Terminal escapes, line breaks and right-to-left overrides in a file name would
    otherwise reach logs and reports. HTML is left alone: whoever writes HTML escapes it.
    """
    return "".join(
        character.encode("unicode_escape", "surrogatepass").decode("ascii")
        if unicodedata.category(character) in ("Cc", "Cf", "Cs", "Co", "Zl", "Zp")
        else character
        for character in text
    )


def safe_relative(name: str) -> str:
    """Returns `name` as a normalised relative path with forward slashes.

    Raises:
        ValueError: the path is empty, absolute, has a drive, a scheme, `..` or a NUL.
    """
    path = name.replace("\\", "/").strip()
    if not path or path.startswith("/") or "\0" in path or "://" in path or _DRIVE.match(path):
        raise ValueError(f"not a relative path: {printable(name)!r}")
    parts = [part for part in PurePosixPath(path).parts if part != "."]
    if not parts or ".." in parts:
        raise ValueError(f"leaves its folder: {printable(name)!r}")
    return "/".join(parts)


def spreadsheet_safe(cell: str) -> str:
    """Returns `cell` so that no spreadsheet takes it for a formula (CSV injection)."""
    return f"'{cell}" if cell.startswith(_FORMULA_START) else cell
