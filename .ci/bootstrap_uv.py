"""Installs uv into a folder of its own, with nothing but the standard library.

usage: python3 bootstrap_uv.py VERSION FOLDER

Works with any CPython from 3.9. Some distributions ship `venv` without pip: then the
system's own pip fills the folder, and if that is missing too, the error says what to install.
"""

import os
import subprocess
import sys
import venv
from pathlib import Path


def main(version: str, folder: str) -> int:
    """Leaves an executable at FOLDER/bin/uv; returns the exit status."""
    requirement = f"uv=={version}"
    target = Path(folder)
    try:
        venv.create(target, with_pip=True)
        installer = [str(target / "bin" / "pip"), "install"]
    except (subprocess.CalledProcessError, SystemExit, ImportError):
        installer = [sys.executable, "-m", "pip", "install", "--target", str(target)]
    if subprocess.run([*installer, "--quiet", requirement], check=False).returncode != 0:
        print(
            f"cannot install {requirement}: this Python ({sys.executable}) has neither a working "
            "venv nor pip. On Debian or Ubuntu: apt-get install python3-venv",
            file=sys.stderr,
        )
        return 1
    os.utime(target / "bin" / "uv")  # newer than the folder, so that make is satisfied
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
