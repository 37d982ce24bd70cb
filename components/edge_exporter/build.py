"""Makes an edge build: the program that the component runs in a process of its own.

    python -m components.edge_exporter.build REQUEST.json

The TFLite converter aborts its process on some graphs, which no `except` can catch; here
that is an exit status and a message.
"""

import hashlib
import json
import os
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

os.environ["KERAS_BACKEND"] = "tensorflow"  # whichever backend trained, TensorFlow exports

import keras
import numpy as np
import tensorflow as tf

from components.edge_exporter import familiarity, graphs, head
from components.edge_exporter.build_request import Request
from components.edge_exporter.conversion import convert, embed
from components.edge_exporter.settings import EdgeSettings, Variant
from edge.metadata import (
    FILE_NAME,
    IMAGE_INPUT,
    MODEL_FILE,
    PREPROCESS_FILE,
    PROBABILITIES_OUTPUT,
    SCORES_OUTPUT,
    Metadata,
)
from models.data import load_split
from models.features import CLASSES, DISCLAIMER, EVAL_SPLIT, TRAIN_SPLIT

_MOST_IMAGES = 2048  # per split: enough for ranges, a Gaussian and a quantile


def build(request: Request) -> Metadata:
    """Writes the TFLite files and, last, `edge.json` into `request.output`."""
    settings = EdgeSettings.model_validate_json(request.settings)
    trained = graphs.load(Path(request.model))
    train = load_split(request.train_records, TRAIN_SPLIT)
    # A split's order is that of its digests: the first are a fair draw, whoever wrote the
    # records and in whatever order. A tar archive's come class by class.
    calibration = np.asarray(train.images[: settings.calibration_images])
    held_out = load_split(request.eval_records, EVAL_SPLIT).images[:_MOST_IMAGES]
    known = familiarity.fit(train.images[:_MOST_IMAGES])
    distances = np.concatenate(
        [known.distance(tf.constant(part)).numpy() for part in _parts(held_out)]
    )
    metadata = Metadata(
        classes=CLASSES,
        model=trained.name,
        model_version=_file_digest(Path(request.model) / "classifier.keras"),
        data_digest=train.digest(),
        variant=settings.variant,
        height=trained.preprocessing.height,
        width=trained.preprocessing.width,
        normalisation="grey / 255",
        preprocessing=trained.preprocessing.to_dict(),
        flip_at_test=trained.flip_at_test,
        files={},
        distance_limit=float(np.quantile(distances, settings.familiar_share)),
        familiar_share=settings.familiar_share,
        agreement={},
        disclaimer=DISCLAIMER,
    )
    output = Path(request.output)
    files: dict[str, bytes] = {}
    agreement: dict[str, float] = {}
    with TemporaryDirectory() as scratch:
        preprocessing, classifier, integers = (
            Path(scratch, name) for name in ("preprocessing", "classifier", "integers")
        )
        graphs.save_preprocessing(trained.preprocessing, known, preprocessing)
        files[PREPROCESS_FILE] = convert(preprocessing, "float32", calibration)
        graphs.save_classifier(trained, classifier)
        expected = _labels(_saved_model(classifier, PROBABILITIES_OUTPUT), held_out)
        variants = (settings.variant, *settings.further_variants)
        if "int8" in variants:
            correction = _correction(trained, classifier, Path(scratch, "uncorrected"), calibration)
            graphs.save_classifier(trained, integers, integers=True, correction=correction)
        for variant in variants:
            source = integers if variant == "int8" else classifier
            converted = convert(source, variant, calibration)
            found = _labels(_lite_model(converted, PROBABILITIES_OUTPUT), held_out)
            agreement[variant] = float(np.mean(expected == found))
            described = replace(metadata, variant=variant)
            files[_file_name(variant, settings)] = embed(converted, described.embedded_json)
    files[PREPROCESS_FILE] = embed(files[PREPROCESS_FILE], metadata.embedded_json)
    for name, content in files.items():
        (output / name).write_bytes(content)
    metadata = replace(
        metadata,
        agreement=agreement,
        files={name: hashlib.sha256(content).hexdigest() for name, content in files.items()},
    )
    (output / FILE_NAME).write_text(metadata.to_json(), encoding="utf-8")
    return metadata


def _file_name(variant: Variant, settings: EdgeSettings) -> str:
    return MODEL_FILE if variant == settings.variant else f"model_{variant}.tflite"


def _parts(images: np.ndarray) -> list[np.ndarray]:
    return np.array_split(images, range(64, len(images), 64))


def _file_digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


def _correction(
    trained: graphs.Trained, classifier: Path, uncorrected: Path, calibration: np.ndarray
) -> head.Correction | None:
    """Compares a first integer build with the float `classifier` on the calibration images."""
    if not head.has_softmax(trained.network):
        return None
    graphs.save_classifier(trained, uncorrected, integers=True)
    first = convert(uncorrected, "int8", calibration)
    found, expected = (
        _outputs(answer, calibration)
        for answer in (_lite_model(first, SCORES_OUTPUT), _saved_model(classifier, SCORES_OUTPUT))
    )
    return head.fit_correction(found, expected)


def _labels(probabilities: Callable[[np.ndarray], np.ndarray], images: np.ndarray) -> np.ndarray:
    """The most probable class of each image, int64 [N]."""
    return _outputs(probabilities, images).argmax(axis=1)


def _outputs(answer: Callable[[np.ndarray], np.ndarray], images: np.ndarray) -> np.ndarray:
    """Returns [N, classes]; the graphs take one image at a time."""
    return np.concatenate([answer(image[np.newaxis]) for image in images])


def _saved_model(folder: Path, output: str) -> Callable[[np.ndarray], np.ndarray]:
    signature = tf.saved_model.load(str(folder)).signatures["serving_default"]
    return lambda image: signature(tf.constant(image))[output].numpy()


def _lite_model(content: bytes, output: str) -> Callable[[np.ndarray], np.ndarray]:
    # The runtime that devices have, not the one inside TensorFlow.
    from ai_edge_litert.interpreter import Interpreter

    signature = Interpreter(model_content=content).get_signature_runner()
    return lambda image: signature(**{IMAGE_INPUT: image})[output]


def main() -> None:
    """Entry point of the process."""
    keras.utils.disable_interactive_logging()
    request = Request(**json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
    metadata = build(request)
    print(json.dumps({"files": sorted(metadata.files), "agreement": metadata.agreement}))


if __name__ == "__main__":
    main()
