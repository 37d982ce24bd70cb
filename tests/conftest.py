"""Fixtures that several folders share."""

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from components.beam_runner import use_in_process_runner

ROOT = Path(__file__).resolve().parent.parent
CXR4_VARIABLE = "CORONET_CXR4"
CHROMIUM_FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

# TensorFlow Transform's and some tests' short pipelines name Beam's DirectRunner, which fetches
# another (Prism) from the network. With one that cannot run, it falls back to its own.
_PRISM = ModuleType("prism_runner")
_PRISM.PrismRunner = object  # type: ignore[attr-defined]
sys.modules["apache_beam.runners.portability.prism_runner"] = _PRISM


@pytest.fixture(scope="session", autouse=True)
def beam_runner() -> None:
    """Tests run Beam in this process, whatever Beam could download on this machine."""
    use_in_process_runner()


@pytest.fixture(scope="session")
def cxr4() -> Path:
    """Folder of real X-rays in the paper's proportions; skips the test where there is none."""
    folder = Path(os.environ.get(CXR4_VARIABLE, ROOT.parent / "shared" / "data" / "cxr4"))
    if not (folder / "train.csv").is_file():
        pytest.skip(f"NOT RUN on real X-rays: no cxr4 at {folder}; set {CXR4_VARIABLE}")
    return folder


@pytest.fixture(scope="session")
def sample_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small built-in sample: 80 synthetic phantoms with `train.csv`."""
    from pipeline.sample import write_sample

    folder = tmp_path_factory.mktemp("data") / "sample"
    write_sample(folder, images=80)
    return folder


@pytest.fixture(scope="module")
def browser() -> Iterator:
    """Headless Chromium; skips the test where there is none."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        pytest.skip("NOT RUN in a browser: install chromium")
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as driver:
        running = driver.chromium.launch(executable_path=chromium, args=CHROMIUM_FLAGS)
        yield running
        running.close()
