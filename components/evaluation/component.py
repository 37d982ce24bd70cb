"""The TFX component that evaluates and gates the edge build.

EdgeEvaluator(
    examples=ingestion.outputs["examples"],
    edge_model=exporter.outputs["edge_model"],
    float_evaluation=evaluator.outputs["evaluation"],
    settings_json=config.gate.model_dump_json(),
)
"""

from tfx.dsl.components.base import base_beam_component, executor_spec
from tfx.types import BaseChannel, component_spec, standard_artifacts
from tfx.types.channel_utils import as_channel

from components.artifacts import EdgeModel
from components.evaluation.executor import Executor


class EdgeEvaluatorSpec(component_spec.ComponentSpec):
    """See `EdgeEvaluator`."""

    PARAMETERS = {"settings_json": component_spec.ExecutionParameter(type=str)}
    INPUTS = {
        "examples": component_spec.ChannelParameter(type=standard_artifacts.Examples),
        "edge_model": component_spec.ChannelParameter(type=EdgeModel),
        "float_evaluation": component_spec.ChannelParameter(
            type=standard_artifacts.ModelEvaluation
        ),
    }
    OUTPUTS = {
        "evaluation": component_spec.ChannelParameter(type=standard_artifacts.ModelEvaluation),
        "blessing": component_spec.ChannelParameter(type=standard_artifacts.ModelBlessing),
    }


class EdgeEvaluator(base_beam_component.BaseBeamComponent):
    """Measures the TFLite build on the raw test images, by the float build's metrics.

    The images go through `edge.Classifier`, as on a device, so its preprocessing and the
    quantization are both part of what is measured. TFMA's own TFLite extractor feeds
    tensors by feature name, and fills in -1 for what it does not find.

    The build is blessed if it meets the gate of `GateSettings` by itself and its accuracy
    is at most `max_edge_drop` below the float build's.

    Outputs:
        evaluation: ModelEvaluation, as TFX's Evaluator writes it.
        blessing: ModelBlessing with the properties that TFX's Evaluator sets.
    """

    SPEC_CLASS = EdgeEvaluatorSpec
    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(Executor)

    def __init__(
        self,
        examples: BaseChannel,
        edge_model: BaseChannel,
        float_evaluation: BaseChannel,
        settings_json: str,
    ) -> None:
        """Declares the node.

        Args:
            examples: raw examples with a test split.
            edge_model: the build to evaluate.
            float_evaluation: ModelEvaluation of the float build on the same split.
            settings_json: `GateSettings` as JSON.
        """
        spec = EdgeEvaluatorSpec(
            examples=examples,
            edge_model=edge_model,
            float_evaluation=float_evaluation,
            settings_json=settings_json,
            evaluation=as_channel([standard_artifacts.ModelEvaluation()]),
            blessing=as_channel([standard_artifacts.ModelBlessing()]),
        )
        super().__init__(spec=spec)
