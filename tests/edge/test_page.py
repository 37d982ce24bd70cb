"""The page in headless Chromium, with real files: the same answer as Python."""

import base64
import io
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from edge import Classifier, EdgeError, server, web_runtime
from edge.images import read_image

pytestmark = pytest.mark.browser

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
    return document.getElementById("result").hidden;
}"""


def test_a_dropped_file_is_answered(visit, edge_model, sample_folder):
    file = phantoms(sample_folder)[2]
    expected = Classifier(edge_model).predict(file)
    visit.choose(phantoms(sample_folder)[0])
    content = base64.b64encode(file.read_bytes()).decode()
    assert visit.page.evaluate(DROP, [file.name, content]), "the answer to the file before is shown"
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


@pytest.mark.parametrize("width", [1280, 390, 280])
def test_nothing_is_wider_than_the_window_or_its_card(visit, sample_folder, width):
    visit.page.set_viewport_size({"width": width, "height": 800})
    assert visit.choose(phantoms(sample_folder)[0]) == "explained"
    assert visit.page.evaluate("document.documentElement.scrollWidth") <= width
    edge = "(name) => document.querySelector(name).getBoundingClientRect().right"
    for picture in ("#seen", "#saliency"):
        assert visit.page.evaluate(edge, picture) < visit.page.evaluate(edge, "#result")


def test_a_file_given_while_the_model_loads_is_answered(visit, browser, edge_model, sample_folder):
    file = phantoms(sample_folder)[0]
    early = Visit(browser.new_page(), visit.runtime, visit.url, [])
    held: list[Any] = []
    early.page.route("**/edge/edge.json", lambda route: held.append(route))
    with early.page.expect_request("**/edge/edge.json"):
        early.page.goto(visit.url)
    early.page.set_input_files("#file", file)
    early.page.wait_for_selector("body[data-state=busy]")
    held[0].continue_()
    early.page.wait_for_selector("body[data-state=explained]", timeout=60_000)
    expected = Classifier(edge_model).predict(file)
    assert early.probabilities() == pytest.approx(expected.probabilities, abs=TOLERANCE)
    early.page.close()


def test_a_model_that_cannot_be_loaded_is_said(visit, browser, sample_folder):
    broken = Visit(browser.new_page(), visit.runtime, visit.url, [])
    broken.page.route("**/status.json", lambda route: route.abort())
    broken.page.goto(visit.url)
    broken.page.wait_for_selector("body[data-state=failed]")
    assert broken.page.is_visible("#message")
    file = phantoms(sample_folder)[0]
    assert broken.choose(file) == "failed"
    assert file.name in broken.page.inner_text("#message")
    broken.page.close()


def test_each_probability_is_read_out_once(visit, sample_folder):
    visit.choose(phantoms(sample_folder)[0])
    read_out = visit.page.locator("#probabilities").aria_snapshot()
    for label, probability in visit.probabilities().items():
        assert f'row "{label} {100 * probability:.1f} %"' in read_out
    assert "meter" not in read_out


def test_the_same_file_can_be_chosen_again(visit, sample_folder):
    visit.choose(phantoms(sample_folder)[0])
    # A browser tells of a choice only where it differs from what the field holds.
    assert visit.page.input_value("#file") == ""


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


READ = """async ([name, content]) => {
    const { readImage } = await import("/images.js");
    const bytes = Uint8Array.from(atob(content), (letter) => letter.charCodeAt(0));
    try {
        return { pixels: [...(await readImage(new File([bytes], name))).pixels] };
    } catch (error) {
        return { refused: error.message };
    }
}"""


def read_in(visit, data: bytes) -> dict[str, Any]:
    """What the page's own reader makes of a file: its pixels, or why it is refused."""
    return visit.page.evaluate(READ, ["x.dcm", base64.b64encode(data).decode()])


# With inference in Python the page reads none.
reads_images = pytest.mark.parametrize("visit", ["browser"], indirect=True)
RAMP = np.add.outer(np.arange(40), np.arange(50)) * 40
SHOWN_ALIKE: dict[str, tuple[np.ndarray, dict[str, Any]]] = {
    "range of the pixels": (RAMP.astype(np.uint16), {}),
    "window": (RAMP.astype(np.uint16), {"WindowCenter": "1500", "WindowWidth": "900"}),
    "window named linear": (
        RAMP.astype(np.uint16),
        {"WindowCenter": "1500", "WindowWidth": "900", "VOILUTFunction": "LINEAR"},
    ),
    "rescaled": (RAMP.astype(np.uint16), {"RescaleSlope": "-2", "RescaleIntercept": "10"}),
    "padded above": (
        np.where(RAMP < 400, 65535, RAMP).astype(np.uint16),
        {"PixelPaddingValue": 65535, "BitsStored": 16, "HighBit": 15},
    ),
    "padded below": (
        np.where(RAMP > 3000, -2000, RAMP + 500).astype(np.int16),
        {"PixelPaddingValue": -2000, "PixelRepresentation": 1, "BitsStored": 16, "HighBit": 15},
    ),
    "only padding": (np.full((40, 50), 7, np.uint16), {"PixelPaddingValue": 7}),
    "signed 12 of 16 bits": (
        ((RAMP - 2000) & 0xFFF).astype(np.uint16),
        {"PixelRepresentation": 1},
    ),
    "8 bits": (
        (RAMP // 16).astype(np.uint8),
        {"BitsAllocated": 8, "BitsStored": 8, "HighBit": 7},
    ),
    "signed 8 bits": (
        (RAMP // 16 - 100).astype(np.int8),
        {"BitsAllocated": 8, "BitsStored": 8, "HighBit": 7, "PixelRepresentation": 1},
    ),
}


@reads_images
@pytest.mark.parametrize("name", SHOWN_ALIKE)
def test_the_page_shows_dicom_as_python_does(visit, name):
    pixels, elements = SHOWN_ALIKE[name]
    data = saved(dicom(pixels, **elements))
    found = read_in(visit, data)
    assert "refused" not in found, found
    expected = read_image(data).pixels.ravel().astype(int)
    assert np.abs(np.array(found["pixels"]) - expected).max() <= 1  # halves round otherwise


def table_of_greys(**others: str):
    from pydicom.dataset import Dataset

    table = Dataset()
    table.add_new("LUTDescriptor", "US", [4096, 0, 16])
    table.add_new("LUTData", "OW", np.arange(4096, dtype=np.uint16).tobytes())
    for keyword, value in others.items():
        setattr(table, keyword, value)
    return [table]


def refused_dicom(name: str) -> bytes:
    window = {"WindowCenter": "1500", "WindowWidth": "900"}
    ramp = RAMP.astype(np.uint16)
    if name == "curve":
        return saved(dicom(ramp, VOILUTFunction="SIGMOID", **window))
    if name == "VOI table":
        return saved(dicom(ramp, VOILUTSequence=table_of_greys()))
    if name == "modality table":
        return saved(dicom(ramp, ModalityLUTSequence=table_of_greys(ModalityLUTType="US")))
    if name == "32 bits":
        deep = {"BitsAllocated": 32, "BitsStored": 32, "HighBit": 31}
        return saved(dicom(RAMP.astype(np.uint32), **deep))
    if name == "window of no width":
        return saved(dicom(ramp, WindowCenter="1500", WindowWidth="0"))
    whole = saved(dicom(ramp))
    return whole[: {"cut pixels": len(whole) - 100, "cut header": 200}[name]]


@reads_images
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("curve", "curve of grey values: serve with --runtime python"),
        ("VOI table", "table or curve of grey values"),
        ("modality table", "table or curve of grey values"),
        ("32 bits", "32 bits a pixel: serve with --runtime python"),
        ("window of no width", "no width"),
        ("cut pixels", "cut short"),
        ("cut header", "damaged or was cut short"),
    ],
)
def test_dicom_that_the_page_would_show_otherwise_is_refused(visit, name, message):
    assert message in read_in(visit, refused_dicom(name)).get("refused", "it was read")


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
    pixels = np.asarray(Image.open(image)).astype(np.uint16) * 16
    window = {"WindowCenter": "2000", "WindowWidth": "3900"}
    file.write_bytes(saved(dicom(pixels, PhotometricInterpretation=photometric, **window)))


def dicom(pixels: np.ndarray, **elements: Any):
    """A DICOM radiograph of 12 of 16 unsigned bits, unless `elements` say otherwise."""
    import pydicom
    from pydicom.dataset import FileDataset, FileMetaDataset

    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = pydicom.uid.DigitalXRayImageStorageForPresentation
    meta.MediaStorageSOPInstanceUID = pydicom.uid.generate_uid()
    meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    dataset = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.SOPClassUID = meta.MediaStorageSOPClassUID
    dataset.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
    dataset.Rows, dataset.Columns = pixels.shape
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 12, 11
    dataset.PixelRepresentation = 0
    dataset.PixelData = pixels.tobytes()
    dataset["PixelData"].VR = "OW"
    for keyword, value in elements.items():
        setattr(dataset, keyword, value)
    return dataset


def saved(dataset) -> bytes:
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()
