"""The TFX component that brings the curated schema into the pipeline."""

import os
from pathlib import Path
from typing import Any

from tfx.components.schema_gen.executor import DEFAULT_FILE_NAME
from tfx.dsl.components.base import base_component, base_executor, executor_spec
from tfx.dsl.io import fileio
from tfx.types import Artifact, artifact_utils, component_spec, standard_artifacts
from tfx.types.channel_utils import as_channel

from components.ingestion.schema import SCHEMA_FILE


class Executor(base_executor.BaseExecutor):
    """Executor of `XraySchemaGen`."""

    def Do(
        self,
        input_dict: dict[str, list[Artifact]],
        output_dict: dict[str, list[Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Writes the schema's text; see `XraySchemaGen`."""
        folder = artifact_utils.get_single_uri(output_dict["schema"])
        with fileio.open(os.path.join(folder, DEFAULT_FILE_NAME), "w") as file:
            file.write(exec_properties["schema_text"])


class XraySchemaGenSpec(component_spec.ComponentSpec):
    """See `XraySchemaGen`."""

    PARAMETERS = {"schema_text": component_spec.ExecutionParameter(type=str)}
    INPUTS: dict[str, component_spec.ChannelParameter] = {}
    OUTPUTS = {"schema": component_spec.ChannelParameter(type=standard_artifacts.Schema)}


class XraySchemaGen(base_component.BaseComponent):
    """Emits the curated schema: a schema inferred from bad data finds bad data good.

    TFX's ImportSchemaGen takes a path, which differs from machine to container and hides a
    changed file from the cache. Here the text itself is the parameter.

    Outputs:
        schema: Schema of the raw examples.
    """

    SPEC_CLASS = XraySchemaGenSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)

    def __init__(self, schema_file: str = SCHEMA_FILE) -> None:
        """Declares the node; `schema_file` is a text-format tfmd Schema on this machine."""
        spec = XraySchemaGenSpec(
            schema_text=Path(schema_file).read_text(encoding="utf-8"),
            schema=as_channel([standard_artifacts.Schema()]),
        )
        super().__init__(spec=spec)
