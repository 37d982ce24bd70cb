"""The TFX component that turns a trained classifier into TFLite files."""

from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import BaseChannel, component_spec, standard_artifacts
from tfx.types.channel_utils import as_channel

from components.artifacts import EdgeModel
from components.edge_exporter.executor import Executor


class EdgeExporterSpec(component_spec.ComponentSpec):
    """See `EdgeExporter`."""

    PARAMETERS = {"settings_json": component_spec.ExecutionParameter(type=str)}
    INPUTS = {
        "model": component_spec.ChannelParameter(type=standard_artifacts.Model),
        "examples": component_spec.ChannelParameter(type=standard_artifacts.Examples),
    }
    OUTPUTS = {"edge_model": component_spec.ChannelParameter(type=EdgeModel)}


class EdgeExporter(base_component.BaseComponent):
    """Converts a classifier and its preprocessing to TFLite, quantized as configured.

    Where TFX's `tflite_rewriter` runs inside the Trainer and quantizes weights alone, this
    one quantizes the activations too, calibrated on transformed training examples. A crash
    of the converter, which takes its process with it, is an error with its last words; the run
    ends there, and what it had finished is taken from the cache next time.

    Outputs:
        edge_model: EdgeModel; `preprocess.tflite` takes grey pixels of any size and makes
            the classifier's image, `model.tflite` classifies it, `edge.json` describes both
            (see `edge.metadata`). `edge.Classifier` runs the folder.
    """

    SPEC_CLASS = EdgeExporterSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)

    def __init__(self, model: BaseChannel, examples: BaseChannel, settings_json: str) -> None:
        """Declares the node.

        Args:
            model: the Trainer's output, with `classifier.keras` and `model.json`.
            examples: transformed examples with the splits train and eval.
            settings_json: `EdgeSettings` as JSON.
        """
        spec = EdgeExporterSpec(
            model=model,
            examples=examples,
            settings_json=settings_json,
            edge_model=as_channel([EdgeModel()]),
        )
        super().__init__(spec=spec)
