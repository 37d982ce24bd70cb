"""The runtime as a package of its own: what `pip install ./edge` puts on a device."""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
OF_THE_SOURCE_ALONE = {"edge/LICENSE", "edge/README.md", "edge/pyproject.toml"}


def test_the_wheel_holds_the_runtime_and_its_licence(tmp_path: Path) -> None:
    listed = subprocess.run(
        ["git", "ls-files", "edge"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    tracked = set(listed.stdout.split())
    for name in tracked:  # a build writes beside its source
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-index"]
    done = subprocess.run(
        [*pip, "--no-build-isolation", f"--wheel-dir={tmp_path}", str(tmp_path / "edge")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (wheel,) = tmp_path.glob("coronet_edge-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if ".dist-info/" not in name}
        (licence,) = (name for name in archive.namelist() if name.endswith("/LICENSE"))
        text = archive.read(licence)
    assert held == tracked - OF_THE_SOURCE_ALONE
    assert text == (ROOT / "LICENSE").read_bytes()
