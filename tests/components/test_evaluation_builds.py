"""Both Evaluators on real models: TFX's own with our EvalConfig, and ours with LiteRT.

The models tell classes by mean brightness. `shift` moves their borders, which makes them
wrong for images near a border, by an amount that is counted here without them.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest
import tensorflow as tf
from tfx.components.evaluator import constants
from tfx.components.evaluator import executor as tfx_evaluator
from tfx.dsl.components.base import base_beam_executor
from tfx.types import Artifact, artifact_utils, standard_artifacts
from tfx.utils import json_utils, proto_utils

from components.artifacts import EdgeModel
from components.edge_exporter.conversion import embed
from components.evaluation import results
from components.evaluation.eval_config import build_eval_config
from components.evaluation.executor import Executor
from components.evaluation.settings import GateSettings
from edge.metadata import FILE_NAME, MODEL_FILE, PREPROCESS_FILE, Metadata
from models.features import (
    CLASSES,
    DISCLAIMER,
    EXAMPLES_SIGNATURE,
    IMAGE,
    LABEL,
    PROBABILITIES,
    SCORES,
    SIZE_BUCKET,
    SIZE_BUCKETS,
    SOURCE,
    TEST_SPLIT,
)

SIDE = 8
BAND = 256 // len(CLASSES)  # grey levels of one class
IMAGES = 80
LEVELS = [
    (label, label * BAND + 10 + (7 * index) % 44)
    for index in range(IMAGES // len(CLASSES))
    for label in range(len(CLASSES))
]


def _accuracy(shift: int) -> float:
    right = sum(min(max((level - shift) // BAND, 0), 3) == label for label, level in LEVELS)
    return right / len(LEVELS)


def _log_probabilities(brightness: tf.Tensor, shift: int) -> tf.Tensor:
    """[B] in grey levels -> float32 [B, classes]."""
    centres = tf.constant([[BAND * (index + 0.5) + shift for index in range(len(CLASSES))]])
    return tf.nn.log_softmax(-tf.square((tf.reshape(brightness, [-1, 1]) - centres) / BAND) * 20)


class _FloatModel(tf.Module):
    def __init__(self, shift: int) -> None:
        super().__init__()
        self._shift = shift

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
    def serve(self, examples: tf.Tensor) -> dict[str, tf.Tensor]:
        encoded = tf.io.parse_example(examples, {IMAGE: tf.io.FixedLenFeature([], tf.string)})
        images = tf.map_fn(
            lambda image: tf.reshape(tf.io.decode_png(image, channels=1), [SIDE, SIDE]),
            encoded[IMAGE],
            fn_output_signature=tf.uint8,
        )
        scores = _log_probabilities(
            tf.reduce_mean(tf.cast(images, tf.float32), [1, 2]), self._shift
        )
        return {PROBABILITIES: tf.exp(scores), SCORES: scores}


def _model(folder: Path, shift: int, identifier: int) -> Artifact:
    module = _FloatModel(shift)
    path = folder / f"float-{shift}-{identifier}"
    tf.saved_model.save(
        module, str(path / "Format-Serving"), signatures={EXAMPLES_SIGNATURE: module.serve}
    )
    model = standard_artifacts.Model()
    model.uri, model.id = str(path), identifier
    return model


def _edge_model(folder: Path, shift: int) -> Artifact:
    """A real EdgeModel payload, converted from TensorFlow functions."""

    @tf.function(input_signature=[tf.TensorSpec([1, None, None, 1], tf.uint8, name="image")])
    def preprocess(image: tf.Tensor) -> dict[str, tf.Tensor]:
        resized = tf.image.resize(tf.cast(image, tf.float32), [SIDE, SIDE])
        return {"model_image": tf.cast(resized, tf.uint8), "distance": tf.zeros([1])}

    @tf.function(input_signature=[tf.TensorSpec([1, SIDE, SIDE, 1], tf.uint8, name="image")])
    def classify(image: tf.Tensor) -> dict[str, tf.Tensor]:
        scores = _log_probabilities(tf.reduce_mean(tf.cast(image, tf.float32), [1, 2, 3]), shift)
        return {PROBABILITIES: tf.exp(scores), SCORES: scores}

    converted = {}
    for name, function in ((PREPROCESS_FILE, preprocess), (MODEL_FILE, classify)):
        module = tf.Module()
        module.serve = function
        source = str(folder / f"source-{shift}-{name}")
        tf.saved_model.save(module, source, signatures={"serving_default": function})
        converted[name] = tf.lite.TFLiteConverter.from_saved_model(source).convert()
    metadata = Metadata(
        classes=CLASSES,
        model="svm",
        model_version="brightness",
        data_digest="",
        variant="float32",
        height=SIDE,
        width=SIDE,
        normalisation="none",
        preprocessing={},
        flip_at_test=False,
        files={},
        distance_limit=1.0,
        familiar_share=0.99,
        agreement={},
        disclaimer=DISCLAIMER,
    )
    path = folder / f"edge-{shift}"
    path.mkdir()
    for name, content in converted.items():
        described = embed(content, metadata.embedded_json)
        (path / name).write_bytes(described)
        metadata.files[name] = hashlib.sha256(described).hexdigest()
    (path / FILE_NAME).write_text(metadata.to_json())
    model = EdgeModel()
    model.uri, model.id = str(path), 70 + shift
    return model


@pytest.fixture(scope="module")
def examples(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    folder = tmp_path_factory.mktemp("examples")
    split = folder / f"Split-{TEST_SPLIT}"
    split.mkdir()
    options = tf.io.TFRecordOptions(compression_type="GZIP")
    with tf.io.TFRecordWriter(str(split / "data-00000-of-00001.gz"), options) as writer:
        for label, level in LEVELS:
            _, encoded = cv2.imencode(".png", np.full((SIDE, SIDE), level, np.uint8))
            example = tf.train.Example()
            features = example.features.feature
            features[IMAGE].bytes_list.value.append(encoded.tobytes())
            features[LABEL].int64_list.value.append(label)
            features[SOURCE].bytes_list.value.append(b"phantom")
            features[SIZE_BUCKET].bytes_list.value.append(SIZE_BUCKETS[0].encode())
            writer.write(example.SerializeToString())
    artifact = standard_artifacts.Examples()
    artifact.uri = str(folder)
    artifact.split_names = artifact_utils.encode_split_names([TEST_SPLIT])
    return artifact


@dataclass(frozen=True)
class Verdict:
    """What an Evaluator wrote."""

    evaluation: Artifact
    blessing: Artifact

    @property
    def blessed(self) -> bool:
        key = constants.ARTIFACT_PROPERTY_BLESSED_KEY
        value = self.blessing.get_int_custom_property(key)
        name = constants.BLESSED_FILE_NAME if value else constants.NOT_BLESSED_FILE_NAME
        assert [path.name for path in Path(self.blessing.uri).iterdir()] == [name]
        return value == constants.BLESSED_VALUE


def _outputs(folder: Path) -> dict[str, list[Artifact]]:
    evaluation, blessing = standard_artifacts.ModelEvaluation(), standard_artifacts.ModelBlessing()
    evaluation.uri, blessing.uri = str(folder / "evaluation"), str(folder / "blessing")
    return {"evaluation": [evaluation], "blessing": [blessing]}


def _context(folder: Path) -> base_beam_executor.BaseBeamExecutor.Context:
    return base_beam_executor.BaseBeamExecutor.Context(
        beam_pipeline_args=[], tmp_dir=str(folder / "tmp"), unique_id="1"
    )


def _evaluate(
    folder: Path,
    examples: Artifact,
    gate: GateSettings,
    model: Artifact,
    baseline: Artifact | None = None,
) -> Verdict:
    outputs = _outputs(folder)
    inputs = {"examples": [examples], "model": [model]}
    if baseline is not None:
        inputs["baseline_model"] = [baseline]
    tfx_evaluator.Executor(_context(folder)).Do(
        inputs,
        outputs,
        {
            "eval_config": proto_utils.proto_to_json(build_eval_config(gate)),
            "example_splits": json_utils.dumps([TEST_SPLIT]),
        },
    )
    return Verdict(outputs["evaluation"][0], outputs["blessing"][0])


def _evaluate_edge(
    folder: Path, examples: Artifact, gate: GateSettings, model: Artifact, float_build: Verdict
) -> Verdict:
    outputs = _outputs(folder)
    inputs = {
        "examples": [examples],
        "edge_model": [model],
        "float_evaluation": [float_build.evaluation],
    }
    Executor(_context(folder)).Do(inputs, outputs, {"settings_json": gate.model_dump_json()})
    return Verdict(outputs["evaluation"][0], outputs["blessing"][0])


GATE = GateSettings(accuracy=0.9)


@pytest.fixture(scope="module")
def float_build(examples: Artifact, tmp_path_factory: pytest.TempPathFactory) -> Verdict:
    folder = tmp_path_factory.mktemp("float")
    return _evaluate(folder, examples, GATE, _model(folder, shift=0, identifier=1))


def test_the_float_build_passes(float_build: Verdict) -> None:
    assert float_build.blessed
    loaded = results.load(float_build.evaluation.uri)
    assert loaded.overall.accuracy == _accuracy(0) == 1
    assert loaded.overall.images == IMAGES
    assert loaded.overall.baseline_accuracy is None


def test_a_model_worse_than_the_blessed_one_is_refused(examples: Artifact, tmp_path: Path) -> None:
    worse, good = _model(tmp_path, 12, identifier=3), _model(tmp_path, 0, identifier=2)
    assert 0.9 < _accuracy(12) < 1
    refused = _evaluate(tmp_path, examples, GATE, worse, baseline=good)
    assert not refused.blessed
    loaded = results.load(refused.evaluation.uri)
    assert loaded.overall.accuracy == pytest.approx(_accuracy(12))
    assert loaded.overall.baseline_accuracy == 1
    drop = 1 - _accuracy(12)
    assert loaded.failures == (
        f"all images: accuracy is {drop:.5f} below the latest blessed model's, at most 0.00000 "
        "is allowed",
    )


def test_edge_build_is_measured_through_litert_and_blessed(
    examples: Artifact, float_build: Verdict, tmp_path: Path
) -> None:
    edge_model = _edge_model(tmp_path, shift=0)
    passed = _evaluate_edge(tmp_path, examples, GATE, edge_model, float_build)
    assert passed.blessed
    assert results.load(passed.evaluation.uri).overall.images == IMAGES
    blessing = passed.blessing
    assert (
        blessing.get_string_custom_property(constants.ARTIFACT_PROPERTY_CURRENT_MODEL_URI_KEY)
        == edge_model.uri
    )
    assert (
        blessing.get_int_custom_property(constants.ARTIFACT_PROPERTY_CURRENT_MODEL_ID_KEY)
        == edge_model.id
    )


def test_float_passes_and_edge_falls_too_far_behind(
    examples: Artifact, float_build: Verdict, tmp_path: Path
) -> None:
    # Above the bound of 0.9 by itself, but more than 0.01 below the float build.
    assert 0.9 < _accuracy(12) < 0.99
    refused = _evaluate_edge(tmp_path, examples, GATE, _edge_model(tmp_path, 12), float_build)
    assert float_build.blessed
    assert not refused.blessed
    loaded = results.load(refused.evaluation.uri)
    assert loaded.overall.accuracy == pytest.approx(_accuracy(12))
    assert loaded.failures == (
        f"all images: accuracy {_accuracy(12):.5f}, at least 0.99000 is required",
    )


def test_an_evaluation_of_other_examples_is_an_error(
    examples: Artifact, float_build: Verdict, tmp_path: Path
) -> None:
    twice = standard_artifacts.Examples()
    twice.uri, twice.split_names = str(tmp_path / "twice"), examples.split_names
    split = tmp_path / "twice" / f"Split-{TEST_SPLIT}"
    split.mkdir(parents=True)
    content = (Path(examples.uri) / f"Split-{TEST_SPLIT}" / "data-00000-of-00001.gz").read_bytes()
    for name in ("data-00000-of-00002.gz", "data-00001-of-00002.gz"):
        (split / name).write_bytes(content)
    with pytest.raises(RuntimeError, match="evaluated on 160 images, the float build on 80"):
        _evaluate_edge(tmp_path, twice, GATE, _edge_model(tmp_path, 0), float_build)
