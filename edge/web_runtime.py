"""The JavaScript that lets the page run the model itself: found, or installed with npm.

Nothing of it is in the source tree; `web/package-lock.json` says, with hashes, what it is.
"""

import hashlib
import os
import shutil
import subprocess
from pathlib import Path
from typing import Final

from edge.errors import EdgeError

WEB: Final = Path(__file__).with_name("web")
MODULES: Final = {
    "litert": Path("@litertjs/core/dist"),
    "wasm": Path("@litertjs/core/wasm"),
    "wasm-utils": Path("@litertjs/wasm-utils/dist"),
    "dicom-parser": Path("dicom-parser/dist"),
}
"""Folders below node_modules that the page loads, by the name under which they are served."""

_INSTALL_SECONDS = 300


def find() -> Path | None:
    """Returns the `node_modules` folder with all of `MODULES`, or None if there is none yet."""
    for folder in (WEB / "node_modules", _cache() / "node_modules"):
        if all(os.path.isdir(folder / module) for module in MODULES.values()):
            return folder
    return None


def install() -> Path:
    """Installs what the lock file names with npm, once, and returns its `node_modules`.

    Packages' own install scripts do not run. The folder is in the user's cache and appears
    whole or not at all.

    Raises:
        EdgeError: npm is missing or failed, or the cache cannot be written.
    """
    npm = shutil.which("npm")
    if npm is None:
        raise EdgeError("npm was not found: install Node.js 18 or later")
    folder = _cache()
    staging = folder.with_name(f"{folder.name}.{os.getpid()}")
    shutil.rmtree(staging, ignore_errors=True)
    try:
        staging.mkdir(parents=True)
        for name in ("package.json", "package-lock.json"):
            shutil.copy(WEB / name, staging / name)
        done = subprocess.run(
            [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"],
            cwd=staging,
            capture_output=True,
            text=True,
            timeout=_INSTALL_SECONDS,
            check=False,
        )
        if done.returncode:
            reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
            raise EdgeError(f"npm could not install the page's runtime: {reason}")
        shutil.rmtree(folder, ignore_errors=True)
        staging.rename(folder)
    except subprocess.TimeoutExpired as error:
        raise EdgeError(f"npm took over {_INSTALL_SECONDS} s") from error
    except OSError as error:
        raise EdgeError(
            f"the page's runtime cannot be installed in {folder}: {error.strerror or error}; "
            "set XDG_CACHE_HOME to a folder that can be written"
        ) from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return folder / "node_modules"


def _cache() -> Path:
    """A folder of its own for each version of the lock file."""
    lock = hashlib.sha256((WEB / "package-lock.json").read_bytes()).hexdigest()[:12]
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return home / "coronet" / f"web-{lock}"
