"""The image's recipe, step by step, as far as that goes without a container engine."""

import fnmatch
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

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


def test_beams_runners_start_a_worker_with_arguments_alone() -> None:
    starts = [value for word, value in FINAL_STAGE if word in ("ENTRYPOINT", "CMD")]
    assert starts == ['["/opt/apache/beam/boot"]']


def test_beams_workers_run_in_the_environment_that_is_installed() -> None:
    (variables,) = (value.split() for word, value in FINAL_STAGE if word == "ENV")
    assert "RUN_PYTHON_SDK_IN_DEFAULT_ENVIRONMENT=1" in variables
    assert "PATH=/opt/coronet/bin:$PATH" in variables


def test_kubeflows_nodes_do_not_rely_on_the_entry_point() -> None:
    compiled = json.loads((ROOT / "tests/kubeflow/golden/default.json").read_text())
    executors = compiled["deploymentSpec"]["executors"].values()
    containers = [executor["container"] for executor in executors if "container" in executor]
    assert containers
    assert all(container["command"] for container in containers)


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


PACKAGES = ("components", "edge", "kubeflow", "models", "pipeline")
# What is in the packages' folders and is no part of them.
NOT_INSTALLED = (
    "edge/LICENSE",
    "edge/pyproject.toml",
    "kubeflow/Dockerfile",
    "kubeflow/manifests/",
)


def _tracked() -> list[str]:
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return listed.stdout.rstrip("\0").split("\0")


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the builder installs: a wheel of what .dockerignore lets through, unpacked."""
    build = tmp_path_factory.mktemp("build")
    for name in _tracked():
        if _reaches_the_builder(name):
            (build / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, build / name)
    secret = build / "kubeflow/manifests/base/secrets/dockerconfig.json"
    secret.parent.mkdir(parents=True)
    secret.write_text("{}")  # must not be packed, even where there is no .dockerignore
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-index"]
    done = subprocess.run(
        [*pip, "--no-build-isolation", f"--wheel-dir={build / 'wheels'}", str(build)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (wheel,) = (build / "wheels").glob("coronet-*.whl")
    folder = tmp_path_factory.mktemp("site-packages")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


def test_the_wheel_holds_every_file_of_the_packages_and_no_secret(installed: Path) -> None:
    expected = {
        name
        for name in _tracked()
        if name.split("/")[0] in PACKAGES and not name.startswith(NOT_INSTALLED)
    }
    found = {
        str(file.relative_to(installed))
        for package in PACKAGES
        for file in (installed / package).rglob("*")
        if file.is_file()
    }
    assert found == expected


def test_what_is_installed_runs_outside_of_the_repository(installed: Path, tmp_path: Path) -> None:
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "PYTHONPATH": str(installed)}

    def coronet(*arguments: str) -> str:
        code = "import pipeline.cli as cli, sys; print(cli.__file__); cli.main()"
        done = subprocess.run(
            [sys.executable, "-c", code, *arguments],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-2000:]
        assert done.stdout.startswith(str(installed))
        return done.stdout

    assert "kubeflow" in coronet("--help")
    options = ["--out", "pipeline.yaml", "--preset", "best"]
    assert "data_root" in coronet("kubeflow", "compile", *options)
    assert (tmp_path / "pipeline.yaml").is_file()


def test_what_it_uninstalls_is_locked_and_not_imported_by_the_packages() -> None:
    commands = " ".join(value for word, value in INSTRUCTIONS if word == "RUN")
    (removed,) = re.findall(r"uninstall --python /opt/coronet ([^&]+)&&", commands)
    sources = "\n".join(
        (ROOT / name).read_text()
        for name in _tracked()
        if name.split("/")[0] in PACKAGES and name.endswith(".py")
    )
    for package in removed.split():
        assert _locked(package)
        module = package.replace("-", "_")
        assert not re.search(rf"^\s*(import|from) {module}\b", sources, re.M), package
