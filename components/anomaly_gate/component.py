"""The TFX component that stops the run over anomalies."""

from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import BaseChannel, component_spec, standard_artifacts
from tfx.types.channel_utils import as_channel

from components.anomaly_gate.executor import Executor
from components.artifacts import DataVerdict


class AnomalyGateSpec(component_spec.ComponentSpec):
    """See `AnomalyGate`."""

    PARAMETERS: dict[str, component_spec.ExecutionParameter] = {}
    INPUTS = {
        "anomalies": component_spec.ChannelParameter(type=standard_artifacts.ExampleAnomalies),
        "statistics": component_spec.ChannelParameter(
            type=standard_artifacts.ExampleStatistics, optional=True
        ),
        "schema": component_spec.ChannelParameter(type=standard_artifacts.Schema, optional=True),
        "previous_statistics": component_spec.ChannelParameter(
            type=standard_artifacts.ExampleStatistics, optional=True
        ),
    }
    OUTPUTS = {"verdict": component_spec.ChannelParameter(type=DataVerdict)}


class AnomalyGate(base_component.BaseComponent):
    """Fails if ExampleValidator found anomalies, with their text.

    ExampleValidator itself only records them, and everything after it would run on data
    that is known to be wrong. Make whatever must not run depend on this node.

    Outputs:
        verdict: DataVerdict, with the findings that are worth a warning only, and every
            distance that was measured.
    """

    SPEC_CLASS = AnomalyGateSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)

    def __init__(
        self,
        anomalies: BaseChannel,
        statistics: BaseChannel | None = None,
        schema: BaseChannel | None = None,
        previous_statistics: BaseChannel | None = None,
    ) -> None:
        """Declares the node.

        Args:
            anomalies: of the raw examples, from ExampleValidator.
            statistics: of the raw examples; with `schema`, drift from the train split to
                the others is looked for too.
            schema: of the raw examples.
            previous_statistics: of an earlier run; with the other two, drift of the train
                split since then is looked for too.
        """
        spec = AnomalyGateSpec(
            anomalies=anomalies,
            statistics=statistics,
            schema=schema,
            previous_statistics=previous_statistics,
            verdict=as_channel([DataVerdict()]),
        )
        super().__init__(spec=spec)
