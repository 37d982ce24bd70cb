"""Resolves what a run is compared with: what an earlier run of the pipeline left."""

from collections.abc import Collection, Sequence

from absl import logging
from tfx import types
from tfx.components.evaluator import constants
from tfx.dsl.components.common.resolver import ResolverStrategy
from tfx.dsl.io import fileio

from components.anomaly_gate.executor import STATISTICS_ID

CANDIDATE_KEY = "candidate"
MODEL_KEY = "model"
BLESSING_KEY = "model_blessing"
STATISTICS_KEY = "statistics"
VERDICT_KEY = "verdict"

Artifacts = dict[str, list[types.Artifact]]


class PrecedingBlessedModelStrategy(ResolverStrategy):
    """The latest blessed model that was trained before the candidate.

    TFX's own `LatestBlessedModelStrategy` takes the latest of all. In a second run with
    nothing changed that is the candidate itself, so the Evaluator would see a new input
    and run again, to compare a model with itself. Looking only at what came before gives
    a cached candidate the baseline that it had the first time.
    """

    def resolve_artifacts(self, store: object, input_dict: Artifacts) -> Artifacts | None:
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
        latest = _latest_before(candidate, input_dict.get(MODEL_KEY, []), blessings)
        return {
            CANDIDATE_KEY: [candidate],
            MODEL_KEY: latest,
            BLESSING_KEY: [blessings[model.id] for model in latest],
        }


class PrecedingStatisticsStrategy(ResolverStrategy):
    """The latest statistics before the candidate of data that passed its `AnomalyGate`.

    Before, for the same reason as above: in a second run on the same data, the statistics
    are compared with those that they were compared with the first time.
    """

    def resolve_artifacts(self, store: object, input_dict: Artifacts) -> Artifacts | None:
        """Returns at most one of the statistics; None where there is no candidate.

        Args:
            store: the ML Metadata store, which this strategy does not need.
            input_dict: `candidate` (one ExampleStatistics), `statistics` (all of them) and
                `verdict` (every DataVerdict).
        """
        if not input_dict.get(CANDIDATE_KEY):
            return None
        candidate = input_dict[CANDIDATE_KEY][0]
        verdicts = {
            verdict.get_int_custom_property(STATISTICS_ID): verdict
            for verdict in input_dict.get(VERDICT_KEY, [])
        }
        latest = _latest_before(candidate, input_dict.get(STATISTICS_KEY, []), verdicts)
        return {
            CANDIDATE_KEY: [candidate],
            STATISTICS_KEY: latest,
            VERDICT_KEY: [verdicts[statistics.id] for statistics in latest],
        }


def _latest_before(
    candidate: types.Artifact, artifacts: Sequence[types.Artifact], accepted: Collection[int]
) -> list[types.Artifact]:
    """Returns the accepted artifact that is next before the candidate, if there is one.

    One whose files somebody has removed is passed over: the run could not be finished with it.
    """
    earlier = [one for one in artifacts if one.id < candidate.id and one.id in accepted]
    for one in sorted(earlier, key=lambda one: one.id, reverse=True):
        if fileio.exists(one.uri):
            return [one]
        logging.warning("%s is gone: looking for an earlier one to compare with", one.uri)
    return []
