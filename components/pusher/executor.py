"""What `BundlePusher` does: choose, assemble, deploy."""

import json
import os
from collections.abc import Mapping
from typing import Any

from absl import logging
from tfx.components.evaluator import constants as evaluator_constants
from tfx.dsl.components.base import base_executor
from tfx.dsl.io import fileio
from tfx.types import Artifact, artifact_utils
from tfx.utils import path_utils

from components import candidates
from components.evaluation.results import overall_metrics
from components.pusher import bundle
from models.errors import InputError
from models.features import CLASSES, DESCRIPTION_FILE, DISCLAIMER, TRAIN_SPLIT

BEST = "best"


def is_blessed(blessing: Artifact | None) -> bool:
    """Whether an Evaluator's verdict is there and favourable."""
    if blessing is None:
        return False
    key = evaluator_constants.ARTIFACT_PROPERTY_BLESSED_KEY
    return blessing.get_int_custom_property(key) == evaluator_constants.BLESSED_VALUE


def choose(models: Mapping[str, Mapping[str, Artifact]], only: str = BEST) -> str | None:
    """Returns the blessed classifier of the highest accuracy; None if none was blessed.

    Among equals the earlier in `MODEL_NAMES`, which is the smaller one, wins.

    Args:
        models: the artifacts of each trained classifier by role.
        only: `best`, or the one classifier to consider.

    Raises:
        InputError: `only` names a classifier that this run did not train.
    """
    if only != BEST:
        if only not in models:
            raise InputError(
                f"cannot push {only!r}: this run trained {', '.join(models)}; "
                f"choose one of them, or {BEST}"
            )
        models = {only: models[only]}
    accuracies = {
        name: overall_metrics(roles["evaluation"].uri)["accuracy"]
        for name, roles in models.items()
        if is_blessed(roles.get("blessing"))
    }
    return max(accuracies, key=lambda name: accuracies[name]) if accuracies else None


class Executor(base_executor.BaseExecutor):
    """Executor of `BundlePusher`."""

    def Do(
        self,
        input_dict: dict[str, list[Artifact]],
        output_dict: dict[str, list[Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Writes the bundle into the output artifact and deploys it; see `BundlePusher`."""
        pushed = artifact_utils.get_single_instance(output_dict["pushed_model"])
        models = candidates.by_model(input_dict)
        name = choose(models, exec_properties["model"])
        pushed.set_int_custom_property("pushed", int(name is not None))
        if name is None:
            logging.info("No model that may be pushed passed its gate: nothing is pushed.")
            return
        roles = models[name]
        edge_passed = is_blessed(roles.get("edge_blessing"))
        model_uri = roles["model"].uri
        bundle.copy_tree(
            path_utils.serving_model_path(model_uri), os.path.join(pushed.uri, bundle.SAVED_MODEL)
        )
        if edge_passed:
            bundle.copy_tree(roles["edge_model"].uri, os.path.join(pushed.uri, bundle.EDGE))
        schema = artifact_utils.get_single_uri(input_dict["schema"])
        fileio.copy(os.path.join(schema, "schema.pbtxt"), os.path.join(pushed.uri, bundle.SCHEMA))
        statistics = artifact_utils.get_split_uri(input_dict["statistics"], TRAIN_SPLIT)
        fileio.copy(
            os.path.join(statistics, "FeatureStats.pb"),
            os.path.join(pushed.uri, bundle.STATISTICS),
        )
        with fileio.open(os.path.join(model_uri, DESCRIPTION_FILE), "r") as file:
            description = json.loads(file.read())
        metrics = {"float": overall_metrics(roles["evaluation"].uri)}
        if "edge_evaluation" in roles:
            metrics["edge"] = overall_metrics(roles["edge_evaluation"].uri)
        bundle.write_manifest(
            pushed.uri,
            {
                "model": description,
                "classes": list(CLASSES),
                "disclaimer": DISCLAIMER,
                "gate_passed": {"float": True, "edge": edge_passed},
                "metrics": metrics,
                **json.loads(exec_properties["context_json"]),
            },
        )
        pushed.set_string_custom_property("model", name)
        pushed.set_int_custom_property("edge", int(edge_passed))
        bundle.deploy(pushed.uri, exec_properties["push_directory"])
