"""Whether two runs of the same pipeline wrote the same, artifact by artifact.

What must be equal to the bit: examples, preprocessed images, schemas, weights, predictions on
the same batch, the verdicts. What sums floating-point numbers in an order that Beam chooses, to
a tolerance: statistics, which sum in float64, and metrics, which sum in float32. What is left out
is named here: measured speed, digests of files that a library writes in another order each
time, and paths.
"""

import json
from collections.abc import Callable, Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
import tensorflow_transform as tft
from google.protobuf import json_format
from google.protobuf.message import Message
from tensorflow_metadata.proto.v0 import anomalies_pb2, statistics_pb2

import edge
import models.classifier  # noqa: F401  registers the layers that a classifier is read with
from components.evaluation import results
from components.pusher import bundle
from edge.metadata import FILE_NAME
from models.features import (
    CLASSIFIER_FILE,
    DESCRIPTION_FILE,
    EXAMPLES_SIGNATURE,
    IMAGE,
    SERVING_SIGNATURE,
)

STATISTICS_TOLERANCE = 1e-6
# TFMA adds a bucket's float32 predictions up in Beam's order: some hundred roundings of 6e-8. On
# a busy machine 7e-6 was seen. A single other label moves a share by 1e-3 or more.
METRICS_TOLERANCE = 3e-5
SERVING = "Format-Serving"  # where TFX's Trainer puts the SavedModel
# Of an artifact's properties, the ones that say what is in it.
PROPERTIES = (
    "blessed",
    "edge",
    "file_format",
    "model",
    "payload_format",
    "pushed",
    "refused",
    "split_names",
    "variant",
)
# Says when or how fast, or is a digest of bytes that differ although their content does not.
STAMPS = ("files", "images_per_second", "model_version", "version")


def records(folder: Path) -> list[bytes]:
    """Returns the tf.Examples below `folder`, each with its features in one order; sorted."""
    files = sorted(str(file) for file in folder.rglob("*.gz"))
    return sorted(
        tf.train.Example.FromString(record).SerializeToString(deterministic=True)
        for record in tf.data.TFRecordDataset(files, "GZIP").as_numpy_iterator()
    )


def assert_close(first: Any, second: Any, where: str, tolerance: float) -> None:
    """Compares nested values: fractions to `tolerance`, relative or absolute, all else exactly."""
    if isinstance(first, dict):
        assert set(first) == set(second), where
        for key, value in first.items():
            assert_close(value, second[key], f"{where}.{key}", tolerance)
    elif isinstance(first, list | tuple):
        assert len(first) == len(second), where
        for index, (one, other) in enumerate(zip(first, second, strict=True)):
            assert_close(one, other, f"{where}[{index}]", tolerance)
    elif isinstance(first, float | np.ndarray):
        np.testing.assert_allclose(first, second, tolerance, tolerance, err_msg=where)
    else:
        assert first == second, where


class Comparison:
    """Compares the artifacts of one run with another's.

    Args:
        test_examples: folder of the raw test split, which neither Transform nor the Trainer
            has seen; models predict on it.
    """

    def __init__(self, test_examples: Path) -> None:
        self._raw = records(test_examples)
        self._images = [
            tf.train.Example.FromString(record).features.feature[IMAGE].bytes_list.value[0]
            for record in self._raw
        ]
        assert self._images, "nothing to predict on"
        self.by_key: dict[str, Callable[[Path, Path], None]] = {
            "anomalies": self._protos(anomalies_pb2.Anomalies),
            "blessing": self._files,
            "edge_model": self._edge_models,
            "evaluation": self._evaluations,
            "examples": self._files,
            "model": self._models,
            "model_run": self._histories,
            "pushed_model": self.bundles,
            "quarantine": self._files,
            "report": self._model_cards,
            "schema": self._files,
            "statistics": self._protos(statistics_pb2.DatasetFeatureStatisticsList),
            "transform_graph": self._transform_graphs,
            "transformed_examples": self._transformed,
            "updated_analyzer_cache": _same_number,  # named after the examples' path
            "verdict": self._files,
        }

    def _files(self, first: Path, second: Path) -> None:
        assert _contents(first) == _contents(second)

    def _protos(self, kind: type[Message]) -> Callable[[Path, Path], None]:
        def compare(first: Path, second: Path) -> None:
            parsed = [
                {
                    name: json_format.MessageToDict(kind.FromString(content))
                    for name, content in _contents(folder).items()
                }
                for folder in (first, second)
            ]
            assert_close(*parsed, where=first.name, tolerance=STATISTICS_TOLERANCE)

        return compare

    def _transformed(self, first: Path, second: Path) -> None:
        assert set(_contents(first)) == set(_contents(second))
        for split in sorted(path.name for path in first.iterdir()):
            assert records(first / split), split
            assert records(first / split) == records(second / split), split

    def _transform_graphs(self, first: Path, second: Path) -> None:
        transformed = []
        for folder in (first, second):
            output = tft.TFTransformOutput(str(folder))
            raw = tf.io.parse_example(self._raw, output.raw_feature_spec())
            transformed.append(output.transform_features_layer()(raw))
        _equal_tensors(*transformed)
        for name in ("metadata/schema.pbtxt", "transformed_metadata/schema.pbtxt"):
            assert (first / name).read_text() == (second / name).read_text()

    def _models(self, first: Path, second: Path) -> None:
        classifiers = [
            keras.models.load_model(folder / CLASSIFIER_FILE, compile=False)
            for folder in (first, second)
        ]
        _equal_arrays(*(classifier.get_weights() for classifier in classifiers))
        self._saved_models(first / SERVING, second / SERVING)
        _equal_json(first / DESCRIPTION_FILE, second / DESCRIPTION_FILE)

    def _saved_models(self, first: Path, second: Path) -> None:
        inputs = {SERVING_SIGNATURE: self._images, EXAMPLES_SIGNATURE: self._raw}
        answers = []
        for folder in (first, second):
            signatures = tf.saved_model.load(str(folder)).signatures
            assert set(signatures) == set(inputs)
            answers.append(
                {
                    f"{name}.{key}": value
                    for name, batch in inputs.items()
                    for key, value in signatures[name](tf.constant(batch)).items()
                }
            )
        _equal_tensors(*answers)

    def _edge_models(self, first: Path, second: Path) -> None:
        assert set(_contents(first)) == set(_contents(second))
        _equal_json(first / FILE_NAME, second / FILE_NAME)
        classifiers = [edge.Classifier(folder) for folder in (first, second)]
        for image in self._images:
            predictions = [one.predict(image).probabilities for one in classifiers]
            assert predictions[0] == predictions[1]

    def _evaluations(self, first: Path, second: Path) -> None:
        measured = [asdict(results.load(str(folder))) for folder in (first, second)]
        assert_close(*measured, where="evaluation", tolerance=METRICS_TOLERANCE)

    def _histories(self, first: Path, second: Path) -> None:
        _equal_json(first / "history.json", second / "history.json")

    def _model_cards(self, first: Path, second: Path) -> None:
        # The page itself holds measured latencies, and identifiers that matplotlib draws.
        cards = [
            [
                line
                for line in (folder / "model_card.md").read_text().splitlines()
                if "images a second" not in line
            ]
            for folder in (first, second)
        ]
        assert cards[0] == cards[1]
        assert (first / "index.html").is_file()
        assert (second / "index.html").is_file()

    def bundles(self, first: Path, second: Path) -> None:
        """Compares two bundles: their manifests, both builds, schema and statistics."""
        manifests = [bundle.read_manifest(str(folder)) for folder in (first, second)]
        assert set(manifests[0]["files"]) == set(manifests[1]["files"])
        assert_close(
            *map(_without_stamps, manifests), where=bundle.MANIFEST, tolerance=METRICS_TOLERANCE
        )
        self._saved_models(first / bundle.SAVED_MODEL, second / bundle.SAVED_MODEL)
        self._edge_models(first / bundle.EDGE, second / bundle.EDGE)
        assert (first / bundle.SCHEMA).read_text() == (second / bundle.SCHEMA).read_text()
        statistics = [
            json_format.MessageToDict(
                statistics_pb2.DatasetFeatureStatisticsList.FromString(
                    (folder / bundle.STATISTICS).read_bytes()
                )
            )
            for folder in (first, second)
        ]
        assert_close(*statistics, where=bundle.STATISTICS, tolerance=STATISTICS_TOLERANCE)


def _same_number(first: Path, second: Path) -> None:
    assert len(_contents(first)) == len(_contents(second)) > 0


def _contents(folder: Path) -> dict[str, bytes]:
    return {
        str(file.relative_to(folder)): file.read_bytes()
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }


def _equal_json(first: Path, second: Path) -> None:
    documents = [_without_stamps(json.loads(file.read_text())) for file in (first, second)]
    assert documents[0] == documents[1], first.name


def _without_stamps(node: Any) -> Any:
    if isinstance(node, dict):
        return {key: _without_stamps(value) for key, value in node.items() if key not in STAMPS}
    return node


def _equal_tensors(first: dict[str, tf.Tensor], second: dict[str, tf.Tensor]) -> None:
    assert set(first) == set(second)
    _equal_arrays(*([named[key].numpy() for key in sorted(named)] for named in (first, second)))


def _equal_arrays(first: Iterable[np.ndarray], second: Iterable[np.ndarray]) -> None:
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one, other)
