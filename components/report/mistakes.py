"""The test images that a classifier gets most wrong, and who took which class's images."""

import json
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import keras
import numpy as np
import tensorflow as tf
from tfx.dsl.io import fileio
from tfx.types import Artifact, artifact_utils
from tfx.utils import io_utils, path_utils

import models.classifier  # noqa: F401  registers the layers that a classifier is read with
from components.report.saliency import GradCam, has_feature_maps
from models.features import (
    CLASSES,
    CLASSIFIER_FILE,
    DESCRIPTION_FILE,
    FILENAME,
    IMAGE,
    LABEL,
    PROBABILITIES,
    SERVING_SIGNATURE,
    SOURCE,
    TEST_SPLIT,
)
from models.preprocessing import ResolvedPreprocessing, preprocess_encoded, to_unit

SEARCHED_IMAGES = 2000
SHOWN_MISTAKES = 8
_BATCH = 32


@dataclass(frozen=True)
class TestImage:
    """One image of the test split; `encoded` is a JPEG or PNG file's content."""

    filename: str
    label: int
    encoded: bytes


@dataclass(frozen=True)
class TestSplit:
    """The test split.

    Attributes:
        images: the first `SEARCHED_IMAGES`.
        sources: number of images by (class name, source), over the whole split.
    """

    images: tuple[TestImage, ...]
    sources: dict[tuple[str, str], int]


@dataclass(frozen=True)
class Mistake:
    """A confidently wrong prediction.

    Attributes:
        truth, predicted: class names.
        probability: that the classifier gave to `predicted`.
        probability_of_truth: that it gave to `truth`.
        model_image: uint8 [h, w], what the classifier saw.
        saliency: float32 [h, w] in [0, 1], Grad-CAM for `predicted`; None for a classifier
            without convolutions.
    """

    filename: str
    truth: str
    predicted: str
    probability: float
    probability_of_truth: float
    model_image: np.ndarray
    saliency: np.ndarray | None


@dataclass(frozen=True)
class Search:
    """Outcome of a search for mistakes among the first `searched` test images."""

    searched: int
    wrong: int
    worst: tuple[Mistake, ...]


def read_test_split(examples: Artifact) -> TestSplit:
    """Reads the raw test examples."""
    images: list[TestImage] = []
    sources: Counter[tuple[str, str]] = Counter()
    for example in _examples(examples):
        features = example.features.feature
        label = features[LABEL].int64_list.value[0]
        sources[CLASSES[label], _text(features[SOURCE])] += 1
        if len(images) < SEARCHED_IMAGES:
            encoded = features[IMAGE].bytes_list.value[0]
            images.append(TestImage(_text(features[FILENAME]), label, encoded))
    return TestSplit(tuple(images), dict(sources))


def find_mistakes(model_folder: str, images: Sequence[TestImage]) -> Search:
    """Predicts `images` with the SavedModel, and returns what it got most wrong.

    Args:
        model_folder: payload of the Trainer's Model artifact.
        images: with their true labels.
    """
    saved = tf.saved_model.load(path_utils.serving_model_path(model_folder))
    serve = saved.signatures[SERVING_SIGNATURE]
    probabilities = np.concatenate(
        [
            serve(tf.constant([image.encoded for image in batch]))[PROBABILITIES].numpy()
            for batch in _batches(images)
        ]
    )
    labels = np.array([image.label for image in images])
    predicted = probabilities.argmax(axis=1)
    wrong = np.flatnonzero(predicted != labels)
    confidence = probabilities[wrong, predicted[wrong]]
    worst = wrong[np.argsort(-confidence, kind="stable")][:SHOWN_MISTAKES]
    return Search(
        searched=len(images),
        wrong=len(wrong),
        worst=tuple(_describe(model_folder, images, probabilities, worst)),
    )


def _describe(
    model_folder: str, images: Sequence[TestImage], probabilities: np.ndarray, chosen: np.ndarray
) -> Iterator[Mistake]:
    if not len(chosen):
        return
    with fileio.open(os.path.join(model_folder, DESCRIPTION_FILE), "r") as file:
        preprocessing = json.loads(file.read())["preprocessing"]
    model_images = preprocess_encoded(
        tf.constant([images[index].encoded for index in chosen]),
        ResolvedPreprocessing.from_dict(preprocessing),
    )
    predicted = probabilities[chosen].argmax(axis=1)
    maps = _saliency(model_folder, to_unit(model_images).numpy(), predicted)
    for index, model_image, saliency in zip(chosen, model_images.numpy(), maps, strict=True):
        image, row = images[index], probabilities[index]
        yield Mistake(
            filename=image.filename,
            truth=CLASSES[image.label],
            predicted=CLASSES[row.argmax()],
            probability=float(row.max()),
            probability_of_truth=float(row[image.label]),
            model_image=model_image[..., 0],
            saliency=saliency,
        )


def _saliency(
    model_folder: str, model_images: np.ndarray, classes: np.ndarray
) -> Sequence[np.ndarray | None]:
    path = io_utils.ensure_local(os.path.join(model_folder, CLASSIFIER_FILE))
    classifier = keras.models.load_model(path, compile=False)
    if not has_feature_maps(classifier):
        return [None] * len(classes)
    return list(GradCam(classifier)(model_images, classes))


def _batches(images: Sequence[TestImage]) -> Iterator[Sequence[TestImage]]:
    rest = iter(images)
    while batch := list(islice(rest, _BATCH)):
        yield batch


def _examples(artifact: Artifact) -> Iterator[tf.train.Example]:
    for uri in artifact_utils.get_split_uris([artifact], TEST_SPLIT):
        files = sorted(fileio.glob(io_utils.all_files_pattern(uri)))
        for record in tf.data.TFRecordDataset(files, compression_type="GZIP"):
            yield tf.train.Example.FromString(record.numpy())


def _text(feature: tf.train.Feature) -> str:
    return feature.bytes_list.value[0].decode("utf-8", errors="replace")
