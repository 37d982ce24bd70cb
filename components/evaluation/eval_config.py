"""The `tfma.EvalConfig` of both Evaluators: the same metrics and slices, each with its gate.

The DAG gives TFX's own Evaluator the float build, on raw examples:

    tfx.components.Evaluator(
        examples=examples,
        example_splits=[TEST_SPLIT],
        model=trainer.outputs["model"],
        baseline_model=baseline.outputs["model"],
        eval_config=build_eval_config(config.gate),
    )

Where there is no baseline yet, that Evaluator drops the change threshold by itself.
"""

import json
from typing import Any

import tensorflow_model_analysis as tfma

from components.evaluation import calibration_error, ranking
from components.evaluation.settings import GateSettings
from models.features import (
    CLASSES,
    EXAMPLES_SIGNATURE,
    LABEL,
    PROBABILITIES,
    SIZE_BUCKET,
    SOURCE,
)

ACCURACY = "accuracy"
SQUARED_ERROR = "squared_error"
CONFUSION_MATRIX = "confusion_matrix"
EXAMPLE_COUNT = "example_count"

SLICE_FEATURES = (LABEL, SOURCE, SIZE_BUCKET)
CALIBRATION_BINS = 10

# TFMA's accuracy is a float32, so 7 of 10 is a little below 0.7. A bound is lowered by less
# than one image in a hundred thousand weighs, which lets a model pass that is exactly at it.
ROUNDING = 1e-6


def build_eval_config(gate: GateSettings) -> tfma.EvalConfig:
    """Returns the evaluation of a SavedModel that reads serialized raw examples.

    TFMA would hold a threshold given as `MetricConfig.threshold` against every slice. Here
    each threshold names its slices, and the empty `SlicingSpec` means all images together.
    """
    accuracy = _at_least(gate.accuracy)
    if gate.compare_with_baseline:
        accuracy.change_threshold.CopyFrom(
            tfma.GenericChangeThreshold(
                direction=tfma.MetricDirection.HIGHER_IS_BETTER,
                absolute={"value": -gate.max_baseline_drop - ROUNDING},
            )
        )
    return tfma.EvalConfig(
        model_specs=[
            tfma.ModelSpec(
                signature_name=EXAMPLES_SIGNATURE,
                label_key=LABEL,
                prediction_key=PROBABILITIES,
            )
        ],
        slicing_specs=_slicing_specs(),
        metrics_specs=_metrics_specs(gate, [accuracy]),
    )


def build_edge_eval_config(gate: GateSettings, float_accuracy: float) -> tfma.EvalConfig:
    """Returns the evaluation of predictions that are a feature of each example.

    Args:
        gate: the same as for the float build.
        float_accuracy: the float build's accuracy on the same examples.
    """
    overall = [_at_least(gate.accuracy), _at_least(float_accuracy - gate.max_edge_drop)]
    return tfma.EvalConfig(
        model_specs=[tfma.ModelSpec(label_key=LABEL, prediction_key=PROBABILITIES)],
        slicing_specs=_slicing_specs(),
        metrics_specs=_metrics_specs(gate, overall),
    )


def _slicing_specs() -> list[tfma.SlicingSpec]:
    return [
        tfma.SlicingSpec(),
        *(tfma.SlicingSpec(feature_keys=[feature]) for feature in SLICE_FEATURES),
    ]


def _metrics_specs(
    gate: GateSettings, overall_accuracy: list[tfma.MetricThreshold]
) -> list[tfma.MetricsSpec]:
    accuracy_gates = [_on_slice(tfma.SlicingSpec(), bound) for bound in overall_accuracy]
    # Accuracy among the images of one class is that class's recall. TFMA cannot put a
    # threshold on `Recall` here: it looks for the metric without its class and top_k.
    recalls = {str(CLASSES.index(name)): bound for name, bound in gate.class_recall.items()}
    bounds: list[tuple[str, dict[str, float]]] = [(LABEL, recalls), *gate.slice_accuracy.items()]
    for feature, slices in bounds:
        accuracy_gates += [
            _on_slice(tfma.SlicingSpec(feature_values={feature: value}), _at_least(bound))
            for value, bound in slices.items()
        ]
    metrics = [
        _metric("ExampleCount", EXAMPLE_COUNT),
        _metric("SparseCategoricalAccuracy", ACCURACY, gates=accuracy_gates),
        # Predictions at or below the threshold would count as none. Precision, recall and F1
        # are read off this matrix: TFMA's own, with `top_k` of 1, take the last of two equal
        # probabilities, where accuracy and the edge build take the first.
        _metric("MultiClassConfusionMatrixAtThresholds", CONFUSION_MATRIX, thresholds=[0.0]),
        tfma.MetricConfig(
            class_name=calibration_error.ExpectedCalibrationError.__name__,
            module=calibration_error.__name__,
            config=json.dumps({"bins": CALIBRATION_BINS, "name": calibration_error.NAME}),
        ),
        tfma.MetricConfig(
            class_name=ranking.AreaUnderCurve.__name__,
            module=ranking.__name__,
            config=json.dumps({"name": ranking.NAME}),
        ),
    ]
    one_against_all = tfma.MetricsSpec(
        binarize=tfma.BinarizationOptions(class_ids={"values": range(len(CLASSES))}),
        # Summed over the classes, the squared errors are the Brier score.
        metrics=[_metric("MeanSquaredError", SQUARED_ERROR)],
    )
    return [tfma.MetricsSpec(metrics=metrics), one_against_all]


def _metric(
    class_name: str,
    name: str,
    gates: list[tfma.PerSliceMetricThreshold] | None = None,
    **arguments: Any,
) -> tfma.MetricConfig:
    return tfma.MetricConfig(
        class_name=class_name,
        config=json.dumps({"name": name, **arguments}),
        per_slice_thresholds=gates,
    )


def _on_slice(
    spec: tfma.SlicingSpec, threshold: tfma.MetricThreshold
) -> tfma.PerSliceMetricThreshold:
    return tfma.PerSliceMetricThreshold(slicing_specs=[spec], threshold=threshold)


def _at_least(bound: float) -> tfma.MetricThreshold:
    return tfma.MetricThreshold(
        value_threshold=tfma.GenericValueThreshold(lower_bound={"value": bound - ROUNDING})
    )
