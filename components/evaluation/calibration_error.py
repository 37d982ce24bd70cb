"""Expected calibration error as a TFMA metric; TFMA 0.47 has none for several classes."""

from collections.abc import Iterable
from typing import Any

import apache_beam as beam
import numpy as np
from tensorflow_model_analysis.metrics import metric_types, metric_util
from tensorflow_model_analysis.proto import config_pb2

from components.evaluation.standard_inputs import unpack

NAME = "expected_calibration_error"
BIN_COUNTS = "calibration_counts"
BIN_CONFIDENCES = "calibration_confidences"
BIN_ACCURACIES = "calibration_accuracies"


class ExpectedCalibrationError(metric_types.Metric):
    """Mean gap between confidence and accuracy of the predicted class (Guo et al., 2017).

    Predictions are put into `bins` intervals of equal width by the probability of the most
    probable class; ECE = sum over bins of (images in bin / images) * |accuracy - confidence|.

    Besides `expected_calibration_error` (a float in [0, 1]) it gives what a reliability
    diagram shows, each float64 [bins]: `calibration_counts`, `calibration_confidences` and
    `calibration_accuracies` (mean per bin; 0 where the bin is empty).
    """

    def __init__(self, bins: int = 10, name: str = NAME) -> None:
        super().__init__(
            metric_util.merge_per_key_computations(_computations), bins=bins, name=name
        )


metric_types.register_metric(ExpectedCalibrationError)


def _computations(
    bins: int,
    name: str,
    eval_config: config_pb2.EvalConfig | None = None,
    model_name: str = "",
    output_name: str = "",
    example_weighted: bool = False,
) -> metric_types.MetricComputations:
    def key(metric: str) -> metric_types.MetricKey:
        return metric_types.MetricKey(
            name=metric,
            model_name=model_name,
            output_name=output_name,
            example_weighted=example_weighted,
        )

    keys = [key(metric) for metric in (name, BIN_COUNTS, BIN_CONFIDENCES, BIN_ACCURACIES)]
    return [
        metric_types.MetricComputation(
            keys=keys, preprocessors=None, combiner=_Combiner(keys, bins, eval_config)
        )
    ]


class _Combiner(beam.CombineFn):
    """Sums [images, confidences, correct predictions] per bin: float64 [3, bins]."""

    def __init__(
        self,
        keys: list[metric_types.MetricKey],
        bins: int,
        eval_config: config_pb2.EvalConfig | None,
    ) -> None:
        self._keys = keys
        self._bins = bins
        self._eval_config = eval_config

    def create_accumulator(self) -> np.ndarray:
        return np.zeros((3, self._bins))

    def add_input(
        self, accumulator: np.ndarray, element: metric_types.StandardMetricInputs
    ) -> np.ndarray:
        label, probabilities, weight = unpack(element, self._keys[0], self._eval_config)
        predicted = int(np.argmax(probabilities))
        confidence = float(probabilities[predicted])
        # The last bin holds a confidence of exactly 1 too.
        index = min(int(confidence * self._bins), self._bins - 1)
        correct = predicted == label
        accumulator[:, index] += weight * np.array([1.0, confidence, correct])
        return accumulator

    def merge_accumulators(self, accumulators: Iterable[np.ndarray]) -> np.ndarray:
        return np.sum(list(accumulators), axis=0)

    def extract_output(self, accumulator: np.ndarray) -> dict[metric_types.MetricKey, Any]:
        counts, confidences, correct = accumulator
        error = np.abs(correct - confidences).sum() / max(counts.sum(), 1)
        divisor = np.maximum(counts, 1)
        values = (float(error), counts, confidences / divisor, correct / divisor)
        return dict(zip(self._keys, values, strict=True))
