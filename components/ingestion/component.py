"""The TFX component that reads X-rays."""

from tfx.dsl.components.base import base_beam_component, executor_spec
from tfx.types import component_spec, standard_artifacts
from tfx.types.channel_utils import as_channel

from components.artifacts import Quarantine
from components.ingestion.executor import Executor


class XrayExampleGenSpec(component_spec.ComponentSpec):
    """See `XrayExampleGen`."""

    PARAMETERS = {
        "data_root": component_spec.ExecutionParameter(type=str),
        "settings_json": component_spec.ExecutionParameter(type=str),
        "data_fingerprint": component_spec.ExecutionParameter(type=str),
    }
    INPUTS: dict[str, component_spec.ChannelParameter] = {}
    OUTPUTS = {
        "examples": component_spec.ChannelParameter(type=standard_artifacts.Examples),
        "quarantine": component_spec.ChannelParameter(type=Quarantine),
    }


class XrayExampleGen(base_beam_component.BaseBeamComponent):
    """Reads labelled X-rays of any usual format and kind of label into tf.Examples.

    TFX's own ExampleGens read records, not images; and their split hashes the record,
    which puts one patient on both sides.

    Outputs:
        examples: Examples with the splits train, eval and test; features as in
            `models.features`.
        quarantine: Quarantine, what was refused, and what was found about copies.
    """

    SPEC_CLASS = XrayExampleGenSpec
    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(Executor)

    def __init__(self, data_root: str, settings_json: str, data_fingerprint: str) -> None:
        """Declares the node.

        Args:
            data_root: folder of the images, on any filesystem that Beam knows.
            settings_json: a `DataSettings`.
            data_fingerprint: from `components.ingestion.fingerprint`: TFX reuses an earlier
                output as long as it stays the same.
        """
        spec = XrayExampleGenSpec(
            data_root=data_root,
            settings_json=settings_json,
            data_fingerprint=data_fingerprint,
            examples=as_channel([standard_artifacts.Examples()]),
            quarantine=as_channel([Quarantine()]),
        )
        super().__init__(spec=spec)
