"""What `EdgeExporter` does: fetch, convert in a process of its own, store."""

import os
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tfx.dsl.components.base import base_executor
from tfx.dsl.io import fileio
from tfx.types import Artifact, artifact_utils
from tfx.utils import io_utils

from components.edge_exporter.build_request import Request
from components.edge_exporter.process import run_build
from components.edge_exporter.settings import EdgeSettings
from edge.metadata import FILE_NAME
from models.features import CLASSIFIER_FILE, DESCRIPTION_FILE, EVAL_SPLIT, TRAIN_SPLIT


class Executor(base_executor.BaseExecutor):
    """Executor of `EdgeExporter`."""

    def Do(
        self,
        input_dict: dict[str, list[Artifact]],
        output_dict: dict[str, list[Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Writes the TFLite files and `edge.json`; see `EdgeExporter`.

        Raises:
            RuntimeError: the conversion failed; the message has the converter's last words.
        """
        settings = EdgeSettings.model_validate_json(exec_properties["settings_json"])
        model = artifact_utils.get_single_uri(input_dict["model"])
        examples = input_dict["examples"]
        edge_model = artifact_utils.get_single_instance(output_dict["edge_model"])
        with TemporaryDirectory() as scratch:
            trained, built = Path(scratch, "trained"), Path(scratch, "built")
            for folder in (trained, built):
                folder.mkdir()
            for name in (CLASSIFIER_FILE, DESCRIPTION_FILE):
                fileio.copy(os.path.join(model, name), str(trained / name))
            request = Request(
                model=str(trained),
                train_records=_records(examples, TRAIN_SPLIT),
                eval_records=_records(examples, EVAL_SPLIT),
                settings=settings.model_dump_json(),
                output=str(built),
            )
            run_build(request, Path(scratch), settings.timeout_seconds)
            fileio.makedirs(edge_model.uri)
            # The metadata goes last: without it, a folder is no edge build.
            for path in sorted(built.iterdir(), key=lambda file: file.name == FILE_NAME):
                fileio.copy(str(path), os.path.join(edge_model.uri, path.name), overwrite=True)
        edge_model.set_string_custom_property("variant", settings.variant)


def _records(examples: list[Artifact], split: str) -> list[str]:
    uris = artifact_utils.get_split_uris(examples, split)
    return [path for uri in uris for path in fileio.glob(io_utils.all_files_pattern(uri))]
