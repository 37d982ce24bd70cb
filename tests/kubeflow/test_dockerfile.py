"""The image's recipe; no container engine is needed, so none of it is built here."""

import fnmatch
import re
from pathlib import Path

from pipeline.config import KubeflowSettings

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "kubeflow" / "Dockerfile").read_text()
INSTRUCTIONS = [
    tuple(line.split(maxsplit=1))
    for line in re.sub(r"\\\n", " ", re.sub(r"(?m)^#.*\n", "", TEXT)).splitlines()
    if line.strip()
]
FINAL_STAGE = INSTRUCTIONS[max(i for i, (word, _) in enumerate(INSTRUCTIONS) if word == "FROM") :]


def _locked(package: str) -> str:
    lock = (ROOT / "requirements.lock").read_text()
    match = re.search(rf"^{re.escape(package)}==([^\s;]+)", lock, re.M)
    assert match, package
    return match.group(1)


def _reaches_the_builder(path: str) -> bool:
    """Whether .dockerignore lets `path` through: its last pattern that matches decides."""
    included = True
    for line in (ROOT / ".dockerignore").read_text().splitlines():
        pattern = line.strip().removeprefix("!")
        if not pattern or pattern.startswith("#"):
            continue
        if pattern.startswith("**/"):
            candidates = list(Path(path).parts)
        else:
            candidates = [path, *(str(parent) for parent in Path(path).parents)]
        if any(fnmatch.fnmatch(candidate, pattern.removeprefix("**/")) for candidate in candidates):
            included = line.startswith("!")
    return included


def test_it_runs_as_a_numbered_user_other_than_root() -> None:
    users = [value for word, value in FINAL_STAGE if word == "USER"]
    assert users == ["65532:65532"]


def test_what_it_installs_is_locked() -> None:
    assert "--require-hashes -r requirements.lock" in TEXT
    assert f"beam_python3.10_sdk:{_locked('apache-beam')} " in TEXT
    makefile = (ROOT / "Makefile").read_text()
    (version,) = re.findall(r"UV_VERSION := (\S+)", makefile)
    assert f"UV_VERSION={version}" in TEXT
    assert (ROOT / ".python-version").read_text().strip() in "".join(
        value for word, value in INSTRUCTIONS if word == "ARG"
    )


def test_the_name_in_its_comment_is_the_configurations() -> None:
    assert f"-t {KubeflowSettings().image} ." in TEXT


def test_the_builder_gets_the_code_and_nothing_else() -> None:
    for wanted in (
        "requirements.lock",
        "setup.py",
        "pyproject.toml",
        "README.md",
        "models/features.py",
        "components/ingestion/executor.py",
        "edge/__init__.py",
        "kubeflow/entrypoint.py",
        "pipeline/presets/paper.yaml",
    ):
        assert _reaches_the_builder(wanted), wanted
    for unwanted in (
        ".git/config",
        ".venv/bin/python",
        "run/push/bundle.json",
        "sample/train.csv",
        "tests/conftest.py",
        "kubeflow/manifests/base/secrets/object-store.env",
        "edge/node_modules/x/index.js",
        "models/__pycache__/features.pyc",
    ):
        assert not _reaches_the_builder(unwanted), unwanted
