"""The page in headless Chromium, with real files: the same answer as Python."""

import base64
import shutil
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from edge import Classifier, EdgeError, server, web_runtime

pytestmark = pytest.mark.browser

CHROMIUM_FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
TOLERANCE = 0.02  # of a probability, between the browser and Python


@dataclass
class Visit:
    """A page of a running server, and every request that it made."""

    page: Any
    runtime: str
    url: str
    requests: list[Any]

    def choose(self, file: Path) -> str:
        """Gives the page a file; returns the state in which it ends up."""
        self.page.set_input_files("#file", file)
        self.page.wait_for_selector(
            "body[data-state=explained], body[data-state=failed]", timeout=60_000
        )
        return self.page.get_attribute("body", "data-state")

    def probabilities(self) -> dict[str, float]:
        rows = self.page.query_selector_all("#probabilities tr")
        return {
            row.get_attribute("data-label"): float(row.get_attribute("data-probability"))
            for row in rows
        }


@pytest.fixture(scope="module")
def browser() -> Iterator:
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        pytest.skip("NOT RUN in a browser: install chromium")
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as driver:
        running = driver.chromium.launch(executable_path=chromium, args=CHROMIUM_FLAGS)
        yield running
        running.close()


@pytest.fixture(scope="module", params=["browser", "python"])
def visit(request: pytest.FixtureRequest, browser, edge_model: Path) -> Iterator[Visit]:
    if request.param == "browser" and web_runtime.find() is None:
        try:
            web_runtime.install()
        except EdgeError as error:
            pytest.skip(f"NOT RUN with LiteRT.js: {error}")
    site = server.open_site(edge_model, request.param)
    with server.make_server(site, "127.0.0.1", 0) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{running.server_port}/"
        page = browser.new_page()
        requests: list[Any] = []
        page.on("request", lambda request: requests.append(request))
        page.goto(url)
        page.wait_for_selector("body[data-state=ready]")
        yield Visit(page, request.param, url, requests)
        page.close()
        running.shutdown()


def phantoms(sample_folder: Path) -> list[Path]:
    return sorted((sample_folder / "train").iterdir())[:3]


def test_the_answer_is_pythons(visit, edge_model, sample_folder):
    classifier = Classifier(edge_model)
    for file in phantoms(sample_folder):
        expected = classifier.predict(file)
        assert visit.choose(file) == "explained"
        assert visit.page.inner_text("#label").lower() == expected.label
        assert visit.probabilities() == pytest.approx(expected.probabilities, abs=TOLERANCE)
        assert visit.page.is_hidden("#unfamiliar") == expected.familiar
        assert file.name in visit.page.inner_text("#name")


def test_a_real_x_ray_gets_pythons_answer(visit, edge_model, cxr4):
    file = min((cxr4 / "test").iterdir())
    expected = Classifier(edge_model).predict(file)
    assert visit.choose(file) == "explained"
    assert visit.page.inner_text("#label").lower() == expected.label
    assert visit.probabilities() == pytest.approx(expected.probabilities, abs=TOLERANCE)


DROP = """async ([name, content]) => {
    const bytes = Uint8Array.from(atob(content), (letter) => letter.charCodeAt(0));
    const data = new DataTransfer();
    data.items.add(new File([bytes], name));
    delete document.body.dataset.state;
    document.getElementById("drop").dispatchEvent(
        new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true }));
}"""


def test_a_dropped_file_is_answered(visit, edge_model, sample_folder):
    file = phantoms(sample_folder)[2]
    expected = Classifier(edge_model).predict(file)
    visit.page.evaluate(DROP, [file.name, base64.b64encode(file.read_bytes()).decode()])
    visit.page.wait_for_selector("body[data-state=explained]", timeout=60_000)
    assert visit.page.inner_text("#name") == file.name
    assert visit.probabilities() == pytest.approx(expected.probabilities, abs=TOLERANCE)


def test_an_unfamiliar_image_is_said_to_be_one(visit, tmp_path):
    file = tmp_path / "noise.png"
    noise = np.random.default_rng(0).integers(0, 256, (300, 260), np.uint8)
    Image.fromarray(noise).save(file)
    assert visit.choose(file) == "explained"
    assert visit.page.is_visible("#unfamiliar")
    assert "Do not trust the answer" in visit.page.inner_text("#unfamiliar")
    assert visit.page.get_attribute("#result", "data-familiar") == "false"


@pytest.mark.parametrize("width", [1280, 390])
def test_nothing_is_wider_than_the_window(visit, sample_folder, width):
    visit.page.set_viewport_size({"width": width, "height": 800})
    assert visit.choose(phantoms(sample_folder)[0]) == "explained"
    assert visit.page.evaluate("document.documentElement.scrollWidth") <= width


def test_colour_and_turned_files_get_pythons_answer(visit, edge_model, sample_folder, tmp_path):
    grey = Image.open(phantoms(sample_folder)[0])
    exif = Image.Exif()
    exif[0x0112] = 6
    grey.save(tmp_path / "turned.jpeg", exif=exif)
    Image.merge("RGB", [grey, grey.point(lambda v: v // 2), grey]).save(tmp_path / "colour.png")
    classifier = Classifier(edge_model)
    for file in (tmp_path / "turned.jpeg", tmp_path / "colour.png"):
        expected = classifier.predict(file)
        assert visit.choose(file) == "explained"
        assert visit.probabilities() == pytest.approx(expected.probabilities, abs=TOLERANCE)
        assert visit.page.is_hidden("#unfamiliar") == expected.familiar


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_dicom_gets_pythons_answer(visit, edge_model, sample_folder, tmp_path, photometric):
    file = tmp_path / "x.dcm"
    write_dicom(file, phantoms(sample_folder)[0], photometric)
    expected = Classifier(edge_model).predict(file)
    assert visit.choose(file) == "explained"
    assert visit.probabilities() == pytest.approx(expected.probabilities, abs=TOLERANCE)


def test_the_image_goes_where_the_page_says(visit, sample_folder):
    visit.requests.clear()
    visit.choose(phantoms(sample_folder)[0])
    posted = [request.url for request in visit.requests if request.method == "POST"]
    said = visit.page.inner_text("#runtime")
    if visit.runtime == "browser":
        assert posted == []
        assert "never leaves this device" in said
    else:
        assert posted == [visit.url + "predict"]
        assert "Python process" in said
    assert "Not a medical device" in visit.page.inner_text("#disclaimer")


def test_the_browser_needs_no_network_once_the_page_is_there(
    visit, browser, sample_folder, tmp_path
):
    if visit.runtime != "browser":
        pytest.skip("inference in Python needs its process")
    write_dicom(tmp_path / "x.dcm", phantoms(sample_folder)[0], "MONOCHROME2")
    fresh = Visit(browser.new_page(), visit.runtime, visit.url, [])
    fresh.page.goto(visit.url)
    fresh.page.wait_for_selector("body[data-state=ready]")
    fresh.page.context.set_offline(True)
    for file in (phantoms(sample_folder)[1], tmp_path / "x.dcm"):
        assert fresh.choose(file) == "explained", fresh.page.inner_text("#message")
    fresh.page.close()


def test_the_policy_keeps_the_page_from_other_hosts(visit):
    blocked = visit.page.evaluate(
        "fetch('http://127.0.0.1:9/').then(() => 'sent', (error) => error.message)"
    )
    assert blocked != "sent"
    events = visit.page.evaluate(
        """new Promise((resolve) => {
            document.addEventListener('securitypolicyviolation', (event) =>
                resolve(event.violatedDirective), { once: true });
            fetch('http://127.0.0.1:9/').catch(() => {});
        })"""
    )
    assert events == "connect-src"


def test_a_bad_file_is_a_message_and_its_name_is_text(visit, tmp_path):
    bad = tmp_path / "<img src=x onerror=alert(1)>.png"
    bad.write_bytes(b"not an image")
    assert visit.choose(bad) == "failed"
    message = visit.page.inner_text("#message")
    assert bad.name in message
    assert "cannot be decoded" in message
    assert visit.page.query_selector("#message img") is None
    assert visit.page.is_hidden("#result")


def write_dicom(file: Path, image: Path, photometric: str) -> None:
    import pydicom
    from pydicom.dataset import FileDataset, FileMetaDataset

    pixels = np.asarray(Image.open(image)).astype(np.uint16) * 16
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = pydicom.uid.DigitalXRayImageStorageForPresentation
    meta.MediaStorageSOPInstanceUID = pydicom.uid.generate_uid()
    meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    dataset = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.SOPClassUID = meta.MediaStorageSOPClassUID
    dataset.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
    dataset.Rows, dataset.Columns = pixels.shape
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = photometric
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 12, 11
    dataset.PixelRepresentation = 0
    dataset.WindowCenter, dataset.WindowWidth = "2000", "3900"
    dataset.PixelData = pixels.tobytes()
    dataset.save_as(file, enforce_file_format=True)
