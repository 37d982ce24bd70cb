"""Reads a ModelEvaluation back: the metrics of every slice, and why a model was refused."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow_model_analysis as tfma

from components.evaluation import calibration_error, ranking
from components.evaluation.eval_config import (
    ACCURACY,
    CONFUSION_MATRIX,
    EXAMPLE_COUNT,
    ROUNDING,
    SQUARED_ERROR,
)
from components.evaluation.intervals import Interval, wilson
from models.features import CLASSES, LABEL


@dataclass(frozen=True)
class ClassResult:
    """How well one class is told from the others.

    Attributes:
        images: how many images are of this class.
        precision, recall, f1: of the most probable class, in [0, 1]; NaN where undefined.
        auc: area under the receiver operating characteristic, this class against the rest;
            NaN if the slice has only images of the class, or none.
        precision_interval, recall_interval: 95 % confidence intervals.
    """

    name: str
    images: int
    precision: float
    recall: float
    f1: float
    auc: float
    precision_interval: Interval
    recall_interval: Interval


@dataclass(frozen=True)
class Reliability:
    """A reliability diagram, each array float64 [bins] over equal intervals of confidence."""

    counts: np.ndarray
    confidences: np.ndarray
    accuracies: np.ndarray


@dataclass(frozen=True)
class SliceResult:
    """The metrics of one slice of the test split.

    Attributes:
        feature: what the slice is by: `label`, `source`, `size_bucket`; empty for all images.
        value: which one; the class name for `label`.
        images: how many images are in the slice.
        accuracy: share of images whose most probable class is the true one.
        accuracy_interval: its 95 % confidence interval.
        confusion: int64 [classes, classes], rows are true and columns predicted classes.
        calibration_error: expected calibration error, in [0, 1].
        brier: Brier score over the classes, in [0, 2]; lower is better.
        classes: one entry for each of `CLASSES`.
        baseline_accuracy: of the latest blessed model, if there was one.
    """

    feature: str
    value: str
    images: int
    accuracy: float
    accuracy_interval: Interval
    confusion: np.ndarray
    calibration_error: float
    brier: float
    classes: tuple[ClassResult, ...]
    reliability: Reliability
    baseline_accuracy: float | None


@dataclass(frozen=True)
class Evaluation:
    """One build's evaluation.

    Attributes:
        overall: all images of the test split.
        slices: every slice, ordered by feature and value.
        passed: whether the gate let it through.
        failures: why not, one sentence each; empty if it passed.
    """

    overall: SliceResult
    slices: tuple[SliceResult, ...]
    passed: bool
    failures: tuple[str, ...]


def load(uri: str) -> Evaluation:
    """Reads the ModelEvaluation artifact at `uri`.

    Raises:
        ValueError: it holds no metrics over all images, so nothing was evaluated.
    """
    results = [_slice_result(metrics) for metrics in tfma.load_metrics(uri)]
    overall = [result for result in results if not result.feature]
    if len(overall) != 1:
        raise ValueError(f"{uri} holds no metrics over all images: was the test split empty?")
    validation = tfma.load_validation_result(uri)
    return Evaluation(
        overall=overall[0],
        slices=tuple(
            sorted(
                (result for result in results if result.feature),
                key=lambda result: (result.feature, result.value),
            )
        ),
        passed=validation.validation_ok,
        failures=tuple(_failures(validation)),
    )


def overall_metrics(uri: str) -> dict[str, float]:
    """Returns the metrics over all images as flat, JSON-compatible numbers.

    Keys: `images`, `accuracy`, `accuracy_low`, `accuracy_high`, `calibration_error`, `brier`,
    and `<metric>_<class>` for precision, recall, f1 and auc. Undefined ones are left out.
    """
    overall = load(uri).overall
    metrics: dict[str, float] = {
        "images": overall.images,
        "accuracy": overall.accuracy,
        "accuracy_low": overall.accuracy_interval.low,
        "accuracy_high": overall.accuracy_interval.high,
        "calibration_error": overall.calibration_error,
        "brier": overall.brier,
    }
    for result in overall.classes:
        for metric in ("precision", "recall", "f1", "auc"):
            metrics[f"{metric}_{result.name}"] = getattr(result, metric)
    return {name: value for name, value in metrics.items() if math.isfinite(value)}


class _Values:
    """The metrics of one model in one slice, by name and class."""

    def __init__(self, metrics: Any, model_names: tuple[str, ...]) -> None:
        self._values = {
            (entry.key.name, self._class_id(entry.key)): entry.value
            for entry in metrics.metric_keys_and_values
            if entry.key.model_name in model_names and not entry.key.is_diff
        }

    @staticmethod
    def _class_id(key: Any) -> int | None:
        return key.sub_key.class_id.value if key.sub_key.HasField("class_id") else None

    def __contains__(self, name: str) -> bool:
        return (name, None) in self._values

    def number(self, name: str, class_id: int | None = None) -> float:
        return float(self._values[name, class_id].double_value.value)

    def array(self, name: str) -> np.ndarray:
        return np.asarray(self._values[name, None].array_value.float64_values)

    def confusion(self) -> np.ndarray:
        matrix = np.zeros((len(CLASSES), len(CLASSES)), np.int64)
        value = self._values[CONFUSION_MATRIX, None].multi_class_confusion_matrix_at_thresholds
        for entry in value.matrices[0].entries:
            if entry.predicted_class_id != tfma.metrics.NO_PREDICTED_CLASS_ID:
                matrix[entry.actual_class_id, entry.predicted_class_id] = round(
                    entry.num_weighted_examples
                )
        return matrix


def _slice_result(metrics: Any) -> SliceResult:
    values = _Values(metrics, ("", tfma.CANDIDATE_KEY))
    baseline = _Values(metrics, (tfma.BASELINE_KEY,))
    feature, value = _slice_name(metrics.slice_key)
    confusion = values.confusion()
    images = round(values.number(EXAMPLE_COUNT))
    return SliceResult(
        feature=feature,
        value=value,
        images=images,
        accuracy=values.number(ACCURACY),
        accuracy_interval=wilson(int(confusion.trace()), images),
        confusion=confusion,
        calibration_error=values.number(calibration_error.NAME),
        brier=sum(values.number(SQUARED_ERROR, index) for index in range(len(CLASSES))),
        classes=tuple(
            _class_result(confusion, index, values.number(ranking.NAME, index))
            for index in range(len(CLASSES))
        ),
        reliability=Reliability(
            counts=values.array(calibration_error.BIN_COUNTS),
            confidences=values.array(calibration_error.BIN_CONFIDENCES),
            accuracies=values.array(calibration_error.BIN_ACCURACIES),
        ),
        baseline_accuracy=baseline.number(ACCURACY) if ACCURACY in baseline else None,
    )


def _class_result(confusion: np.ndarray, index: int, auc: float) -> ClassResult:
    right = int(confusion[index, index])
    images, predicted = int(confusion[index].sum()), int(confusion[:, index].sum())
    return ClassResult(
        name=CLASSES[index],
        images=images,
        precision=_share(right, predicted),
        recall=_share(right, images),
        f1=_share(2 * right, images + predicted),
        auc=auc,
        precision_interval=wilson(right, predicted),
        recall_interval=wilson(right, images),
    )


def _share(part: int, whole: int) -> float:
    return part / whole if whole else math.nan


def _slice_name(key: Any) -> tuple[str, str]:
    if not key.single_slice_keys:
        return "", ""
    single = key.single_slice_keys[0]
    if single.column == LABEL:
        return LABEL, CLASSES[single.int64_value]
    return single.column, single.bytes_value.decode("utf-8", errors="replace")


def _failures(validation: Any) -> Iterable[str]:
    for entry in validation.metric_validations_per_slice:
        feature, value = _slice_name(entry.slice_key)
        where = f"{feature} {value}" if feature else "all images"
        for failure in entry.failures:
            measured = failure.metric_value.double_value.value
            threshold = failure.metric_threshold
            if threshold.HasField("change_threshold"):
                allowed = -threshold.change_threshold.absolute.value - ROUNDING
                yield (
                    f"{where}: accuracy is {-measured:.5f} below the latest blessed model's, "
                    f"at most {abs(allowed):.5f} is allowed"
                )
            else:
                bound = threshold.value_threshold.lower_bound.value + ROUNDING
                yield f"{where}: accuracy {measured:.5f}, at least {bound:.5f} is required"
    for missing in validation.missing_slices:
        for feature, value in missing.feature_values.items():
            name = CLASSES[int(value)] if feature == LABEL else value
            yield f"{feature} {name}: has a gate, and no image in the test split"
