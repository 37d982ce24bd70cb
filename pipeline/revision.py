"""Which code is running: the Git commit of a checkout, else the installed version."""

import shutil
import subprocess
from importlib.metadata import version
from pathlib import Path


def current() -> str:
    """Returns `<version>+<short commit>`, with `.dirty` if tracked files were changed."""
    release = version("coronet")
    root = Path(__file__).resolve().parent.parent
    if not (root / ".git").exists() or shutil.which("git") is None:
        return release
    described = subprocess.run(
        ["git", "-C", str(root), "describe", "--always", "--dirty=.dirty", "--abbrev=12"],
        capture_output=True,
        text=True,
        check=False,
    )
    return f"{release}+{described.stdout.strip()}" if described.returncode == 0 else release
