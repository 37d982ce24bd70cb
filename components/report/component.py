"""The TFX component that writes the report.

ReportWriter(
    examples=ingestion.outputs["examples"],
    statistics=statistics.outputs["statistics"],
    schema=schema.outputs["schema"],
    verdict=anomaly_gate.outputs["verdict"],
    quarantine=ingestion.outputs["quarantine"],
    pushed=pusher.outputs["pushed_model"],
    context_json=json.dumps({"config": ..., "data_digest": ..., "revision": ...}),
    **candidates,  # <model>_<role>, see components.candidates
)
"""

from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import BaseChannel, component_spec, standard_artifacts
from tfx.types.channel_utils import as_channel

from components import candidates
from components.artifacts import DataVerdict, Quarantine, Report
from components.report.executor import Executor


class ReportWriterSpec(component_spec.ComponentSpec):
    """See `ReportWriter`."""

    PARAMETERS = {"context_json": component_spec.ExecutionParameter(type=str)}
    INPUTS = {
        "examples": component_spec.ChannelParameter(type=standard_artifacts.Examples),
        "statistics": component_spec.ChannelParameter(type=standard_artifacts.ExampleStatistics),
        "schema": component_spec.ChannelParameter(type=standard_artifacts.Schema),
        "verdict": component_spec.ChannelParameter(type=DataVerdict),
        "quarantine": component_spec.ChannelParameter(type=Quarantine),
        "pushed": component_spec.ChannelParameter(
            type=standard_artifacts.PushedModel, optional=True
        ),
        **candidates.channel_parameters(),
    }
    OUTPUTS = {"report": component_spec.ChannelParameter(type=Report)}


class ReportWriter(base_component.BaseComponent):
    """Writes `index.html`, one page that needs nothing else, and `model_card.md`.

    Every number on the page is read from an artifact, except how long a prediction takes
    on the machine that writes the report, and which test images a model gets most wrong:
    those are found by predicting.

    Outputs:
        report: Report.
    """

    SPEC_CLASS = ReportWriterSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)

    def __init__(
        self,
        examples: BaseChannel,
        statistics: BaseChannel,
        schema: BaseChannel,
        verdict: BaseChannel,
        quarantine: BaseChannel,
        context_json: str,
        pushed: BaseChannel | None = None,
        **model_channels: BaseChannel,
    ) -> None:
        """Declares the node.

        Args:
            examples: raw examples with a test split.
            statistics: of the raw examples.
            schema: of the raw examples.
            verdict: on the data, from AnomalyGate.
            quarantine: what ingestion refused.
            context_json: `config` (the whole configuration), `data_digest` and `revision`.
            pushed: what was pushed, if anything.
            **model_channels: `<model>_<role>`, see `components.candidates`.
        """
        spec = ReportWriterSpec(
            examples=examples,
            statistics=statistics,
            schema=schema,
            verdict=verdict,
            quarantine=quarantine,
            context_json=context_json,
            pushed=pushed,
            report=as_channel([Report()]),
            **model_channels,
        )
        super().__init__(spec=spec)
