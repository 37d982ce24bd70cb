"""Input channels of the components that look at all three classifiers at once.

A TFX component has a fixed set of inputs, and a run trains any of the three classifiers,
so each pair of classifier and role is an optional input named `<model>_<role>`.
"""

from collections.abc import Mapping, Sequence

from tfx.types import Artifact, standard_artifacts
from tfx.types.component_spec import ChannelParameter

from components.artifacts import EdgeModel
from models.features import MODEL_NAMES

ROLES: Mapping[str, type[Artifact]] = {
    "model": standard_artifacts.Model,
    "model_run": standard_artifacts.ModelRun,
    "evaluation": standard_artifacts.ModelEvaluation,
    "blessing": standard_artifacts.ModelBlessing,
    "edge_model": EdgeModel,
    "edge_evaluation": standard_artifacts.ModelEvaluation,
    "edge_blessing": standard_artifacts.ModelBlessing,
}


def input_key(model: str, role: str) -> str:
    """Returns the name of the input that carries `role` of classifier `model`."""
    return f"{model}_{role}"


def channel_parameters() -> dict[str, ChannelParameter]:
    """Returns one optional channel parameter for each classifier and role."""
    return {
        input_key(model, role): ChannelParameter(type=kind, optional=True)
        for model in MODEL_NAMES
        for role, kind in ROLES.items()
    }


def by_model(inputs: Mapping[str, Sequence[Artifact]]) -> dict[str, dict[str, Artifact]]:
    """Groups the artifacts of an executor's input as {model: {role: artifact}}.

    Only classifiers that were trained in this run appear, in the order of `MODEL_NAMES`.
    """
    grouped: dict[str, dict[str, Artifact]] = {}
    for model in MODEL_NAMES:
        found = {
            role: inputs[input_key(model, role)][0]
            for role in ROLES
            if inputs.get(input_key(model, role))
        }
        if found:
            grouped[model] = found
    return grouped
