"""Resolves the baseline of the change threshold: the latest blessed model before the candidate."""

from tfx import types
from tfx.components.evaluator import constants
from tfx.dsl.components.common.resolver import ResolverStrategy

CANDIDATE_KEY = "candidate"
MODEL_KEY = "model"
BLESSING_KEY = "model_blessing"


class PrecedingBlessedModelStrategy(ResolverStrategy):
    """The latest blessed model that was trained before the candidate.

    TFX's own `LatestBlessedModelStrategy` takes the latest of all. In a second run with
    nothing changed that is the candidate itself, so the Evaluator would see a new input
    and run again, to compare a model with itself. Looking only at what came before gives
    a cached candidate the baseline that it had the first time.
    """

    def resolve_artifacts(
        self, store: object, input_dict: dict[str, list[types.Artifact]]
    ) -> dict[str, list[types.Artifact]] | None:
        """Returns at most one model and its blessing; None where there is no candidate.

        Args:
            store: the ML Metadata store, which this strategy does not need.
            input_dict: `candidate` (one Model), `model` (every Model of its kind) and
                `model_blessing` (every ModelBlessing of its kind).
        """
        if not input_dict.get(CANDIDATE_KEY):
            return None
        candidate = input_dict[CANDIDATE_KEY][0]
        blessings = {
            blessing.get_int_custom_property(constants.ARTIFACT_PROPERTY_CURRENT_MODEL_ID_KEY): (
                blessing
            )
            for blessing in input_dict.get(BLESSING_KEY, [])
            if blessing.get_int_custom_property(constants.ARTIFACT_PROPERTY_BLESSED_KEY) == 1
        }
        earlier = [
            model
            for model in input_dict.get(MODEL_KEY, [])
            if model.id < candidate.id and model.id in blessings
        ]
        if not earlier:
            return {CANDIDATE_KEY: [candidate], MODEL_KEY: [], BLESSING_KEY: []}
        latest = max(earlier, key=lambda model: model.id)
        return {
            CANDIDATE_KEY: [candidate],
            MODEL_KEY: [latest],
            BLESSING_KEY: [blessings[latest.id]],
        }
