"""Does a hospital's folder look like the data a bundle was trained on?

Three questions, none of which needs labels: do the images fit the bundle's schema, are
their statistics skewed against those of the training data, and how many look unlike the
training images to the edge build.
"""

import os
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import tensorflow as tf
import tensorflow_data_validation as tfdv
from tensorflow_metadata.proto.v0 import schema_pb2, statistics_pb2

from components.anomaly_gate.findings import Finding, comparisons, findings
from components.beam_runner import use_in_process_runner
from components.ingestion import records
from components.ingestion.archives import LastZip
from components.ingestion.discovery import unlabelled
from components.ingestion.names import printable
from components.ingestion.reading import UNLABELLED, Image, Reading
from components.ingestion.refusals import Reason, Refusal, RefusedError
from components.ingestion.schema import SERVING_ENVIRONMENT
from components.ingestion.settings import DataSettings
from components.pusher import bundle as bundles
from edge.classifier import Classifier, Prediction
from edge.errors import EdgeError
from models import features
from models.errors import InputError

UNSERVED = (features.PATIENT, features.SOURCE)
"""Raw features that a folder without labels has no values for."""


class Predicts(Protocol):
    """What of `edge.Classifier` is used here."""

    def predict(self, image: np.ndarray) -> Prediction: ...


@dataclass(frozen=True)
class Check:
    """What was found.

    Attributes:
        images: how many could be read.
        refused: those that could not, with the reasons.
        findings: schema anomalies and skew.
        predicted: images per predicted class; empty without an edge build.
        unfamiliar: names of images unlike the training images; None without an edge build.
        limits: the shares of refused and of unfamiliar images that are accepted.
    """

    images: int
    refused: tuple[Refusal, ...]
    findings: tuple[Finding, ...]
    predicted: dict[str, int]
    unfamiliar: tuple[str, ...] | None
    limits: tuple[float, float]

    @property
    def refused_share(self) -> float:
        return len(self.refused) / (self.images + len(self.refused))

    @property
    def unfamiliar_share(self) -> float:
        """0 where it was not measured."""
        return len(self.unfamiliar or ()) / self.images

    @property
    def fits(self) -> bool:
        """Whether nothing speaks against using the bundle on images like these."""
        return (
            not self.findings
            and self.refused_share <= self.limits[0]
            and self.unfamiliar_share <= self.limits[1]
        )

    def to_dict(self) -> dict[str, Any]:
        return {
            **asdict(self),
            "refused_share": self.refused_share,
            "unfamiliar_share": self.unfamiliar_share,
            "fits": self.fits,
        }


def check(
    bundle: Path,
    folder: Path,
    max_bad_fraction: float,
    max_unfamiliar: float,
    classifier: Predicts | None = None,
) -> Check:
    """Checks the images below `folder` against `bundle`.

    Args:
        bundle: a run's push/ folder.
        folder: images of any supported format, in any arrangement; labels are ignored.
        max_bad_fraction: acceptable share of unreadable images.
        max_unfamiliar: acceptable share of images unlike the training images.
        classifier: in place of the bundle's own edge build.

    Raises:
        InputError: no such bundle or folder, or nothing in it can be read.
    """
    use_in_process_runner()
    manifest = bundles.read_manifest(str(bundle))
    schema = tfdv.load_schema_text(str(_part(bundle, bundles.SCHEMA)))
    training = tfdv.load_stats_binary(str(_part(bundle, bundles.STATISTICS)))
    if classifier is None and (bundle / bundles.EDGE).is_dir():
        try:
            classifier = Classifier(bundle)
        except EdgeError as error:
            raise InputError(str(error)) from error
    tally = _Tally(classifier, manifest.get("classes", features.CLASSES))
    with tempfile.TemporaryDirectory() as workspace:
        path = os.path.join(workspace, "serving.tfrecord")
        with tf.io.TFRecordWriter(path) as file:
            for image in tally.read(folder, DataSettings()):
                file.write(_serving_example(image).SerializeToString())
        if not tally.images:
            reasons = Counter(refusal.reason for refusal in tally.refused)
            found = ", ".join(f"{count} {reason}" for reason, count in reasons.items())
            raise InputError(
                f"no image in {printable(str(folder))} can be read ({found or 'it is empty'})"
            )
        serving = tfdv.generate_statistics_from_tfrecord(
            path,
            stats_options=tfdv.StatsOptions(schema=schema),
        )
    return Check(
        images=tally.images,
        refused=tuple(sorted(tally.refused, key=lambda refusal: refusal.path)),
        findings=tuple(_findings(serving, training, schema)),
        predicted=dict(tally.predicted),
        unfamiliar=None if classifier is None else tuple(sorted(tally.unfamiliar)),
        limits=(max_bad_fraction, max_unfamiliar),
    )


class _Tally:
    """Counts images on their way from the folder to the statistics."""

    def __init__(self, classifier: Predicts | None, classes: Iterable[str]) -> None:
        self._classifier = classifier
        self.images = 0
        self.refused: list[Refusal] = []
        self.predicted = Counter(dict.fromkeys(classes, 0)) if classifier else Counter()
        self.unfamiliar: list[str] = []

    def read(self, folder: Path, settings: DataSettings) -> Iterator[Image]:
        for found in self._found(folder, settings):
            if isinstance(found, Refusal):
                self.refused.append(found)
                continue
            try:
                self._predict(found)
            except EdgeError as error:  # larger than a device takes
                refused = RefusedError(Reason.UNSUPPORTED_PIXELS, str(error))
                self.refused.append(refused.to_refusal(found.name))
                continue
            self.images += 1
            yield found

    def _found(self, folder: Path, settings: DataSettings) -> Iterator[Image | Refusal]:
        reading = Reading(str(folder), UNLABELLED, settings)
        with LastZip() as zips:
            for item in unlabelled(str(folder)):
                if isinstance(item, Refusal):
                    yield item
                else:
                    yield from reading.read([item], zips)

    def _predict(self, image: Image) -> None:
        if self._classifier is not None:
            prediction = self._classifier.predict(image.radiograph.pixels)
            self.predicted[prediction.label] += 1
            if not prediction.familiar:
                self.unfamiliar.append(image.name)


def _serving_example(image: Image) -> tf.train.Example:
    example = records.to_example(image)
    for key in UNSERVED:
        del example.features.feature[key]
    return example


def _findings(
    serving: statistics_pb2.DatasetFeatureStatisticsList,
    training: statistics_pb2.DatasetFeatureStatisticsList,
    schema: schema_pb2.Schema,
) -> list[Finding]:
    anomalies = tfdv.validate_statistics(serving, schema, environment=SERVING_ENVIRONMENT)
    found = findings(anomalies, "schema")
    # This judges the training data again too; only what compares the two is of interest.
    skew = tfdv.validate_statistics(training, schema, serving_statistics=serving)
    return found + comparisons(skew, "skew")


def _part(bundle: Path, name: str) -> Path:
    path = bundle / name
    if not path.is_file():
        raise InputError(f"{bundle} has no {name}: push it again with this version")
    return path
