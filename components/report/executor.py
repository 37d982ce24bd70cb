"""What `ReportWriter` does."""

import json
import os
from typing import Any

from tfx.dsl.components.base import base_executor
from tfx.dsl.io import fileio
from tfx.types import Artifact, artifact_utils

from components.report import render
from components.report.content import gather
from components.report.examination import examine

PAGE = "index.html"
MODEL_CARD = "model_card.md"


class Executor(base_executor.BaseExecutor):
    """Executor of `ReportWriter`."""

    def Do(
        self,
        input_dict: dict[str, list[Artifact]],
        output_dict: dict[str, list[Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Writes the page and the model card; see `ReportWriter`."""
        self._log_startup(input_dict, output_dict, exec_properties)
        run = gather(input_dict, json.loads(exec_properties["context_json"]))
        examination = examine(run, artifact_utils.get_single_instance(input_dict["examples"]))
        folder = artifact_utils.get_single_uri(output_dict["report"])
        fileio.makedirs(folder)
        _write(folder, PAGE, render.page(run, examination))
        _write(folder, MODEL_CARD, render.model_card_markdown(run, examination))


def _write(folder: str, name: str, text: str) -> None:
    with fileio.open(os.path.join(folder, name), "w") as file:
        file.write(text)
