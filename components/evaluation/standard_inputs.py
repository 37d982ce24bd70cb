"""What TFMA hands to our metrics, as plain values."""

import numpy as np
from tensorflow_model_analysis.metrics import metric_types, metric_util
from tensorflow_model_analysis.proto import config_pb2


def unpack(
    element: metric_types.StandardMetricInputs,
    key: metric_types.MetricKey,
    eval_config: config_pb2.EvalConfig | None,
) -> tuple[int, np.ndarray, float]:
    """Returns an image's label, its probabilities [classes] and its weight.

    Args:
        element: of one image.
        key: of the metric; names the model and its output.
        eval_config: of the evaluation.
    """
    label, probabilities, weight = next(
        metric_util.to_label_prediction_example_weight(
            element,
            eval_config=eval_config,
            model_name=key.model_name,
            output_name=key.output_name,
            example_weighted=key.example_weighted,
            flatten=False,
            require_single_example_weight=True,
        )
    )
    return int(label.item()), probabilities, float(weight.item())
