"""The page, from real artifacts: what is on it, what is not, and who can read it."""

import itertools
import json
from collections import Counter
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import apache_beam as beam
import cv2
import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorflow_metadata.proto.v0 import statistics_pb2
from tfx.components.evaluator import constants
from tfx.types import Artifact, artifact_utils, standard_artifacts

from components.anomaly_gate.findings import Distance, Finding
from components.artifacts import DataVerdict, Quarantine, Report
from components.evaluation import results
from components.evaluation.eval_config import build_edge_eval_config
from components.evaluation.executor import write_evaluation
from components.evaluation.settings import GateSettings
from components.ingestion import quarantine
from components.ingestion.refusals import Refusal
from components.report.executor import Executor
from models.features import (
    CLASSES,
    DISCLAIMER,
    FILENAME,
    IMAGE,
    LABEL,
    PROBABILITIES,
    SCORES,
    SIZE_BUCKET,
    SIZE_BUCKETS,
    SOURCE,
    SPLITS,
    TEST_SPLIT,
)
from models.preprocessing import ResolvedPreprocessing
from models.signatures import ServingModel, export

HOSTILE = "<script>alert(1)</script>&\"'.png"
SIDE = 32
IMAGES = 40


def _examples(folder: Path) -> Artifact:
    split = folder / f"Split-{TEST_SPLIT}"
    split.mkdir(parents=True)
    random = np.random.default_rng(5)
    with tf.io.TFRecordWriter(str(split / "data.gz"), tf.io.TFRecordOptions("GZIP")) as writer:
        for index in range(IMAGES):
            image = random.integers(0, 256, (40, 48)).astype(np.uint8)
            example = tf.train.Example()
            features = example.features.feature
            features[IMAGE].bytes_list.value.append(cv2.imencode(".png", image)[1].tobytes())
            features[LABEL].int64_list.value.append(index % len(CLASSES))
            source = b"hospital <b>" if index % 4 == 3 else b"hospital-a"
            features[SOURCE].bytes_list.value.append(source)
            features[SIZE_BUCKET].bytes_list.value.append(SIZE_BUCKETS[0].encode())
            features[FILENAME].bytes_list.value.append(f"{index}{HOSTILE}".encode())
            writer.write(example.SerializeToString())
    artifact = standard_artifacts.Examples()
    artifact.uri = str(folder)
    artifact.split_names = artifact_utils.encode_split_names([TEST_SPLIT])
    return artifact


def _model(folder: Path) -> Artifact:
    """A convolutional classifier that says `viral` to everything, as the Trainer writes it."""
    images = keras.Input((SIDE, SIDE, 1))
    hidden = keras.layers.Conv2D(2, 3, activation="relu")(images)
    dense = keras.layers.Dense(len(CLASSES), bias_initializer="zeros")
    scores = dense(keras.layers.GlobalAveragePooling2D()(hidden))
    dense.set_weights([np.full((2, 4), 1e-3), np.array([0.0, 0.0, 5.0, 0.0])])
    outputs = {PROBABILITIES: keras.layers.Softmax()(scores), SCORES: scores}
    classifier = keras.Model(images, outputs)
    resolved = ResolvedPreprocessing(method="A", height=SIDE, width=SIDE, tile_grid=(4, 4))
    folder.mkdir()
    export(ServingModel(classifier, resolved), str(folder / "Format-Serving"))
    classifier.save(folder / "classifier.keras")
    description = {
        "name": "coronet",
        "classes": list(CLASSES),
        "preprocessing": resolved.to_dict(),
        "flip_at_test": False,
        "parameters": classifier.count_params(),
        "training_images": 123,
        "best_epoch": 2,
        "epochs": 3,
        "images_per_second": 45.6,
    }
    (folder / "model.json").write_text(json.dumps(description))
    artifact = standard_artifacts.Model()
    artifact.uri = str(folder)
    return artifact


def _evaluation(folder: Path, examples: Artifact, without: str = "") -> Artifact:
    """Predictions that are right for 3 images of 4, evaluated by TFMA; none is of `without`."""
    rows = []
    path = Path(examples.uri) / f"Split-{TEST_SPLIT}" / "data.gz"
    for index, record in enumerate(tf.data.TFRecordDataset(str(path), compression_type="GZIP")):
        example = tf.train.Example.FromString(record.numpy())
        features = example.features.feature
        label = features[LABEL].int64_list.value[0]
        if CLASSES[label] == without:
            continue
        predicted = label if index < 30 else (label + 1) % 4
        features[PROBABILITIES].float_list.value.extend(
            0.7 if index == predicted else 0.1 for index in range(4)
        )
        del features[IMAGE]
        rows.append(example.SerializeToString())
    with beam.Pipeline() as pipeline:
        write_evaluation(
            pipeline | beam.Create(rows), build_edge_eval_config(GateSettings(), 0.0), str(folder)
        )
    artifact = standard_artifacts.ModelEvaluation()
    artifact.uri = str(folder)
    return artifact


def _blessing(blessed: bool) -> Artifact:
    artifact = standard_artifacts.ModelBlessing()
    artifact.set_int_custom_property(constants.ARTIFACT_PROPERTY_BLESSED_KEY, int(blessed))
    return artifact


def _statistics(folder: Path) -> Artifact:
    dataset = statistics_pb2.DatasetFeatureStatistics(name="train", num_examples=160)
    height = dataset.features.add(type=statistics_pb2.FeatureNameStatistics.INT)
    height.path.step.append("height")
    height.num_stats.mean, height.num_stats.min, height.num_stats.max = 333.5, 150, 640
    source = dataset.features.add(type=statistics_pb2.FeatureNameStatistics.STRING)
    source.path.step.append("source")
    source.string_stats.unique = 2
    source.string_stats.common_stats.num_missing = 7
    statistics = statistics_pb2.DatasetFeatureStatisticsList(datasets=[dataset])
    for split in SPLITS:
        (folder / f"Split-{split}").mkdir(parents=True)
        (folder / f"Split-{split}" / "FeatureStats.pb").write_bytes(statistics.SerializeToString())
    artifact = standard_artifacts.ExampleStatistics()
    artifact.uri = str(folder)
    artifact.split_names = artifact_utils.encode_split_names(list(SPLITS))
    return artifact


def _verdict(folder: Path) -> Artifact:
    finding = Finding(
        "train", "source", "WARNING", "Unexpected string values", "hospital <b> (20%)"
    )
    since = "train against the run before"
    distances = [
        Distance(since, "label", "largest difference", 0.2345, 0.15),
        Distance(since, "height", "jensen shannon divergence", 0.0625, 0.5),
    ]
    content = {
        "warnings": [finding.to_dict()],
        "distances": [distance.to_dict() for distance in distances],
        "previous": True,
    }
    folder.mkdir()
    (folder / "verdict.json").write_text(json.dumps(content))
    artifact = DataVerdict()
    artifact.uri = str(folder)
    return artifact


def _quarantine(folder: Path, resolved: bool = True) -> Artifact:
    refusals = [Refusal(f"bad/{HOSTILE}", "not_an_image", "unknown format", "")]
    splits = {split: dict.fromkeys(CLASSES, 10) for split in SPLITS}
    quarantine.write(
        str(folder),
        refusals,
        {"splits": splits, "duplicates": {"exact_groups": 3, "resolved": resolved, "examples": []}},
    )
    artifact = Quarantine()
    artifact.uri = str(folder)
    return artifact


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Artifact]:
    """What every run has."""
    folder = tmp_path_factory.mktemp("artifacts")
    return {
        "examples": _examples(folder / "examples"),
        "statistics": _statistics(folder / "statistics"),
        "verdict": _verdict(folder / "verdict"),
        "quarantine": _quarantine(folder / "quarantine"),
    }


@pytest.fixture(scope="module")
def candidate(
    shared: dict[str, Artifact], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Artifact]:
    """What a run has of a classifier that failed its gate."""
    folder = tmp_path_factory.mktemp("coronet")
    model_run = standard_artifacts.ModelRun()
    model_run.uri = str(folder)
    accuracy = {"accuracy": [0.3, 0.5, 0.61], "val_accuracy": [0.2, 0.4, 0.52]}
    history = {**accuracy, "loss": [3, 2, 1.5], "val_loss": [4, 3, 2.5]}
    (folder / "history.json").write_text(json.dumps(history))
    return {
        "coronet_model": _model(folder / "model"),
        "coronet_model_run": model_run,
        "coronet_evaluation": _evaluation(folder / "evaluation", shared["examples"]),
        "coronet_blessing": _blessing(blessed=False),
    }


def _write(folder: Path, artifacts: dict[str, Artifact]) -> tuple[str, str]:
    report = Report()
    report.uri = str(folder)
    context = {
        "config": {"gate": GateSettings(class_recall={"covid": 0.9}).model_dump(mode="json")},
        "data_digest": "d1ge57" * 11,  # as long as a SHA-256
        "revision": "0.1.0+abc",
    }
    Executor().Do(
        {key: [artifact] for key, artifact in artifacts.items()},
        {"report": [report]},
        {"context_json": json.dumps(context)},
    )
    return (folder / "index.html").read_text(), (folder / "model_card.md").read_text()


@pytest.fixture(scope="module")
def written(
    shared: dict[str, Artifact],
    candidate: dict[str, Artifact],
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    folder = tmp_path_factory.mktemp("report")
    _write(folder, {**shared, **candidate})
    return folder


@pytest.fixture(scope="module")
def page(written: Path) -> str:
    return (written / "index.html").read_text()


class _Elements(HTMLParser):
    """Every start tag with its attributes, and the text outside style."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))

    def handle_data(self, data: str) -> None:
        self.text += data

    def named(self, *names: str) -> list[dict[str, str]]:
        return [attributes for tag, attributes in self.tags if tag in names]


def test_numbers_come_from_the_artifacts(page: str, candidate: dict[str, Artifact]) -> None:
    text = " ".join(_Elements(page).text.split())
    evaluation = results.load(candidate["coronet_evaluation"].uri)
    overall = evaluation.overall
    assert overall.accuracy == pytest.approx(0.75)
    interval = overall.accuracy_interval
    assert f"0.750 {interval.low:.3f} to {interval.high:.3f}" in text
    assert f"{overall.calibration_error:.3f}" in text
    for result in overall.classes:
        assert f"{result.recall:.3f}" in text
        assert f"{result.auc:.3f}" in text
    assert evaluation.failures[0] in text
    for said in (
        "Nothing was pushed",
        DISCLAIMER,
        "recall of 0.9 for covid",
        "123 images at 45.6 images a second; best epoch 2 of 3",
        "0.87908",  # the paper's
        "d1ge57",
        "0.1.0+abc",
        "333.5",
        "Unexpected string values",
        "train against the run before label largest difference 0.234 0.15 drifted",
        "train against the run before height jensen shannon divergence 0.062 0.5 alike",
        "1 not an image",
        "groups of exact copies: 3",
        # the model says viral to all 40, of which 10 are
        "30 of 40 test images are classified wrongly",
        "Grad-CAM",
    ):
        assert said in text, said


def test_what_has_no_artifact_has_no_section(
    page: str, shared: dict[str, Artifact], candidate: dict[str, Artifact], tmp_path: Path
) -> None:
    assert "Edge build" not in page
    assert "Edge files" not in page
    bare = {key: value for key, value in candidate.items() if key != "coronet_model_run"}
    without_history, _ = _write(tmp_path, {**shared, **bare})
    assert "Accuracy per epoch" in page
    assert "Accuracy per epoch" not in without_history


def test_a_class_without_test_images_is_said_to_be_unknown(
    shared: dict[str, Artifact], candidate: dict[str, Artifact], tmp_path: Path
) -> None:
    evaluation = _evaluation(tmp_path / "evaluation", shared["examples"], without="normal")
    html, card = _write(
        tmp_path / "report", {**shared, **candidate, "coronet_evaluation": evaluation}
    )
    assert "No test image is normal: how well that is found is not known." in card
    assert "normal: recall n/a" in card
    for text in (card, html):
        assert ">nan" not in text
        assert " nan" not in text
        assert "finds least often is normal" not in text


def test_a_model_that_passed_and_may_not_be_pushed_is_not_said_to_have_failed(
    shared: dict[str, Artifact], candidate: dict[str, Artifact], tmp_path: Path
) -> None:
    html, _ = _write(tmp_path, {**shared, **candidate, "coronet_blessing": _blessing(True)})
    assert "Nothing was pushed: the one model that may be pushed did not pass the gate" in html
    assert "no model passed the gate" not in html


def test_the_verdict_is_that_of_the_pusher(
    shared: dict[str, Artifact], candidate: dict[str, Artifact], tmp_path: Path
) -> None:
    pushed = standard_artifacts.PushedModel()
    pushed.set_string_custom_property("model", "coronet")
    pushed.set_int_custom_property("edge", 0)
    artifacts = {**shared, **candidate, "pushed": pushed, "coronet_blessing": _blessing(True)}
    html, card = _write(tmp_path, artifacts)
    assert "coronet passed the gate and was pushed" in html
    assert "The TFLite build did not pass its own gate" in html
    assert "Released by this run (SavedModel only)" in card


@pytest.mark.parametrize(
    ("resolved", "said"), [(True, "Further exact copies were left out"), (False, "flatter")]
)
def test_it_says_what_was_done_about_copies(
    shared: dict[str, Artifact],
    candidate: dict[str, Artifact],
    tmp_path: Path,
    resolved: bool,
    said: str,
) -> None:
    refused = _quarantine(tmp_path / "quarantine", resolved)
    html, _ = _write(tmp_path / "report", {**shared, **candidate, "quarantine": refused})
    assert said in html


def test_names_from_outside_are_escaped(page: str, written: Path) -> None:
    assert "<script" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "hospital <b>" not in page
    assert "hospital &lt;b&gt;" in page
    assert "hospital <b>" not in (written / "model_card.md").read_text()


def test_one_file_holds_everything(page: str) -> None:
    elements = _Elements(page)
    for attributes in elements.named("img", "a", "link", "script", "iframe", "source"):
        for reference in (attributes.get("src"), attributes.get("href")):
            assert reference is None or reference.startswith(("data:", "#")), reference
    assert not elements.named("script", "link", "iframe")
    assert "url(http" not in page
    assert "@import" not in page
    (policy,) = (a for a in elements.named("meta") if "http-equiv" in a)
    assert policy["content"].startswith("default-src 'none'")


def test_it_can_be_read_without_eyes_or_mouse(page: str) -> None:
    elements = _Elements(page)
    assert elements.named("html")[0]["lang"] == "en"
    for landmark in ("header", "nav", "main", "footer"):
        assert len(elements.named(landmark)) == 1
    assert all(attributes.get("alt") for attributes in elements.named("img"))
    assert all("scope" in attributes for attributes in elements.named("th"))
    for attributes in elements.named("figure"):
        assert attributes["role"] == "img"
        assert attributes["aria-label"]
    headings = [int(tag[1]) for tag, _ in elements.tags if tag in ("h1", "h2", "h3", "h4")]
    assert headings[0] == 1
    assert headings.count(1) == 1
    steps = itertools.pairwise(headings)
    assert all(after - before <= 1 for before, after in steps), "a heading level is skipped"
    identifiers = Counter(a["id"] for _, a in elements.tags if "id" in a)
    assert max(identifiers.values()) == 1
    for attributes in elements.named("a"):
        assert attributes["href"].removeprefix("#") in identifiers


@pytest.fixture
def shown(browser: Any, written: Path) -> Iterator[Any]:
    """The page in Chromium."""
    opened = browser.new_page()
    opened.goto((written / "index.html").as_uri())
    yield opened
    opened.close()


@pytest.mark.browser
def test_paper_holds_what_the_screen_scrolls_to_or_folds(shown: Any) -> None:
    shown.set_viewport_size({"width": 700, "height": 1000})  # A4 between its margins
    shown.emulate_media(media="print")
    assert shown.evaluate("document.documentElement.scrollWidth") <= 700
    for box in shown.locator(".scroll").all():
        assert box.evaluate("box => getComputedStyle(box).overflowX") == "visible"
    for folded in shown.locator("details > :not(summary)").all():
        assert folded.evaluate("part => part.checkVisibility({ contentVisibilityAuto: true })")
    assert shown.evaluate("getComputedStyle(document.body).printColorAdjust") == "exact"


LINES = """() => [...document.querySelectorAll(".bars th[scope=row]")].map((head) => {
    const text = document.createRange();
    text.selectNodeContents(head);
    return [head.innerText, text.getClientRects().length];
})"""


@pytest.mark.browser
def test_no_class_is_broken_on_a_phone(shown: Any) -> None:
    shown.set_viewport_size({"width": 390, "height": 800})
    assert shown.evaluate("document.documentElement.scrollWidth") <= 390
    lines = dict(shown.evaluate(LINES))
    assert {name: lines[name] for name in CLASSES} == dict.fromkeys(CLASSES, 1)


def test_the_card_has_the_toolkits_sections(written: Path) -> None:
    card = (written / "model_card.md").read_text()
    sections = [line.removeprefix("## ") for line in card.splitlines() if line.startswith("## ")]
    assert sections == [
        "Model details",
        "Model parameters",
        "Quantitative analysis",
        "Considerations",
    ]
    for said in (
        DISCLAIMER,
        "Limitations",
        "Every test image from hospital \\<b\\> is of class covid",
        "accuracy 0.750",
        "image size up to 256 px: accuracy",
    ):
        assert said in card, said


@pytest.mark.browser
@pytest.mark.parametrize("width", [390, 1280])
def test_no_screen_scrolls_sideways(browser, written: Path, width: int) -> None:
    tab = browser.new_page(viewport={"width": width, "height": 800}, offline=True)
    errors: list[str] = []
    tab.on("console", lambda message: errors.append(message.text))
    tab.goto((written / "index.html").as_uri())
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    broken = "[...document.images].filter(image => !image.naturalWidth).length"
    assert tab.evaluate(broken) == 0
    assert errors == []


@pytest.mark.browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_what_is_behind_it(browser, written: Path, scheme: str) -> None:
    tab = browser.new_page(color_scheme=scheme)
    tab.goto((written / "index.html").as_uri())
    contrasts = tab.evaluate(_CONTRASTS)
    low = {name: ratio for name, ratio in contrasts.items() if ratio < 4.5}  # WCAG 2.2, AA
    assert not low
    assert len(contrasts) >= 8


# The contrast of every text colour with every background that it may stand on.
_CONTRASTS = """() => {
  const probe = document.body.appendChild(document.createElement("i"));
  const luminance = name => {
    probe.style.color = `var(${name})`;
    const channels = getComputedStyle(probe).color.match(/[0-9.]+/g).slice(0, 3).map(value => {
      const share = value / 255;
      return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * channels[0] + 0.7152 * channels[1] + 0.0722 * channels[2];
  };
  const pairs = [["--text", "--page"], ["--text", "--panel"], ["--quiet", "--page"],
    ["--quiet", "--panel"], ["--link", "--page"], ["--good", "--page"], ["--bad", "--page"],
    ["--good", "--good-panel"], ["--bad", "--bad-panel"], ["--text", "--good-panel"],
    ["--text", "--bad-panel"]];
  return Object.fromEntries(pairs.map(([front, back]) => {
    const [high, low] = [luminance(front), luminance(back)].sort((a, b) => b - a);
    return [`${front} on ${back}`, (high + 0.05) / (low + 0.05)];
  }));
}"""
