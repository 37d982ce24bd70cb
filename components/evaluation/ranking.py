"""Area under the ROC curve of each class as a TFMA metric, for classifiers that are sure.

TFMA's own `AUC` sorts by 10,000 intervals of equal width. A network that is sure of itself
gives most classes less than one of them; it then says 0.88 where the area is 0.91.
"""

from collections import Counter
from collections.abc import Iterable

import apache_beam as beam
import numpy as np
from tensorflow_model_analysis.metrics import metric_types, metric_util
from tensorflow_model_analysis.proto import config_pb2

from components.evaluation.standard_inputs import unpack
from models.features import CLASSES

NAME = "auc"

# Intervals of log-odds are as narrow at both ends as in the middle: this many to each unit.
_INTERVALS = 1000
_FURTHEST = 120.0  # float32 goes down to log-odds of -103, and a probability of 0 below that

_Counts = Counter[tuple[int, bool, int]]
"""Images by class, whether they are of it, and the interval of its log-odds."""


class AreaUnderCurve(metric_types.Metric):
    """How often an image of a class is given more of it than one of another (Hanley, 1982).

    Equal probabilities count half. One float in [0, 1] for each of `CLASSES`, by `class_id`;
    NaN if all images are of the class, or none.
    """

    def __init__(self, name: str = NAME) -> None:
        super().__init__(metric_util.merge_per_key_computations(_computations), name=name)


metric_types.register_metric(AreaUnderCurve)


def _computations(
    name: str,
    eval_config: config_pb2.EvalConfig | None = None,
    model_name: str = "",
    output_name: str = "",
    example_weighted: bool = False,
) -> metric_types.MetricComputations:
    keys = [
        metric_types.MetricKey(
            name=name,
            model_name=model_name,
            output_name=output_name,
            sub_key=metric_types.SubKey(class_id=class_id),
            example_weighted=example_weighted,
        )
        for class_id in range(len(CLASSES))
    ]
    return [
        metric_types.MetricComputation(
            keys=keys, preprocessors=None, combiner=_Combiner(keys, eval_config)
        )
    ]


class _Combiner(beam.CombineFn):
    """Counts images by interval; as many entries as images at first, then no more."""

    def __init__(
        self, keys: list[metric_types.MetricKey], eval_config: config_pb2.EvalConfig | None
    ) -> None:
        self._keys = keys
        self._eval_config = eval_config

    def create_accumulator(self) -> _Counts:
        return Counter()

    def add_input(
        self, accumulator: _Counts, element: metric_types.StandardMetricInputs
    ) -> _Counts:
        label, probabilities, _ = unpack(element, self._keys[0], self._eval_config)
        for class_id, interval in enumerate(_intervals(probabilities)):
            accumulator[class_id, class_id == label, interval] += 1
        return accumulator

    def merge_accumulators(self, accumulators: Iterable[_Counts]) -> _Counts:
        merged: _Counts = Counter()
        for accumulator in accumulators:
            merged.update(accumulator)
        return merged

    def extract_output(self, accumulator: _Counts) -> dict[metric_types.MetricKey, float]:
        return {key: _area(accumulator, class_id) for class_id, key in enumerate(self._keys)}


def _intervals(probabilities: np.ndarray) -> list[int]:
    shares = np.clip(probabilities.astype(np.float64), 0, 1)
    with np.errstate(divide="ignore"):
        odds = np.log(shares) - np.log1p(-shares)
    return np.floor(np.clip(odds, -_FURTHEST, _FURTHEST) * _INTERVALS).astype(int).tolist()


def _area(counts: _Counts, class_id: int) -> float:
    intervals = sorted({interval for one, _, interval in counts if one == class_id})
    others, own = (
        np.array([counts[class_id, of_class, interval] for interval in intervals])
        for of_class in (False, True)
    )
    pairs = own.sum() * others.sum()
    below = np.cumsum(others) - others
    return float((own * (below + others / 2)).sum() / pairs) if pairs else np.nan
