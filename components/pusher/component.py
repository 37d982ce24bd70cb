"""The TFX component that pushes the best model that passed."""

from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import BaseChannel, component_spec, standard_artifacts
from tfx.types.channel_utils import as_channel

from components import candidates
from components.pusher.executor import BEST, Executor


class BundlePusherSpec(component_spec.ComponentSpec):
    """See `BundlePusher`."""

    PARAMETERS = {
        "push_directory": component_spec.ExecutionParameter(type=str),
        "model": component_spec.ExecutionParameter(type=str),
        "context_json": component_spec.ExecutionParameter(type=str),
    }
    INPUTS = {
        "schema": component_spec.ChannelParameter(type=standard_artifacts.Schema),
        "statistics": component_spec.ChannelParameter(type=standard_artifacts.ExampleStatistics),
        **candidates.channel_parameters(),
    }
    OUTPUTS = {
        "pushed_model": component_spec.ChannelParameter(type=standard_artifacts.PushedModel),
    }


class BundlePusher(base_component.BaseComponent):
    """Pushes the classifier with the highest accuracy among those that passed the gate.

    The SavedModel goes into the bundle if the float build was blessed; the edge build goes
    in beside it only if it was blessed too. Where nothing passed, nothing is pushed and an
    earlier push stays.

    Where TFX's Pusher copies one model to a folder per version, this one chooses between
    models and puts both builds, their metadata and the training statistics into one
    bundle that appears as a whole.

    Outputs:
        pushed_model: PushedModel; its payload is the bundle (see `components.pusher.bundle`),
            and its custom property `pushed` is 1, or 0 where nothing passed.
    """

    SPEC_CLASS = BundlePusherSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)

    def __init__(
        self,
        schema: BaseChannel,
        statistics: BaseChannel,
        push_directory: str,
        context_json: str,
        model: str = BEST,
        **model_channels: BaseChannel,
    ) -> None:
        """Declares the node.

        Args:
            schema: of the raw examples.
            statistics: of the raw examples.
            push_directory: where the bundle is deployed to.
            context_json: facts for `bundle.json` that are not in any artifact: the data
                digest, the code revision and the pipeline's name.
            model: the only classifier that may be pushed; `best` lets the accuracy decide.
            **model_channels: `<model>_<role>`, see `components.candidates`.
        """
        spec = BundlePusherSpec(
            schema=schema,
            statistics=statistics,
            push_directory=push_directory,
            model=model,
            context_json=context_json,
            pushed_model=as_channel([standard_artifacts.PushedModel()]),
            **model_channels,
        )
        super().__init__(spec=spec)
