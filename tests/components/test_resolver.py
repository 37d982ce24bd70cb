"""What a run is compared with: accepted, of the same kind, and older."""

import pytest
from tfx.components.evaluator import constants
from tfx.types import Artifact, standard_artifacts

from components.anomaly_gate.executor import STATISTICS_ID
from components.artifacts import DataVerdict
from components.resolver.strategy import PrecedingBlessedModelStrategy, PrecedingStatisticsStrategy


def _model(identifier: int) -> Artifact:
    model = standard_artifacts.Model()
    model.id = identifier
    return model


def _blessing(model: Artifact, blessed: int) -> Artifact:
    blessing = standard_artifacts.ModelBlessing()
    blessing.set_int_custom_property(constants.ARTIFACT_PROPERTY_BLESSED_KEY, blessed)
    blessing.set_int_custom_property(constants.ARTIFACT_PROPERTY_CURRENT_MODEL_ID_KEY, model.id)
    return blessing


@pytest.mark.parametrize(
    ("candidate", "blessed", "expected"),
    [
        (1, {1: 1}, None),  # a cached candidate is not its own baseline
        (3, {1: 1, 2: 1, 3: 1}, 2),
        (3, {1: 1, 2: 0}, 1),
        (3, {1: 0, 2: 0}, None),
        (2, {1: 1, 2: 1, 3: 1}, 1),  # what came later does not count
        (3, {}, None),
    ],
)
def test_latest_blessed_before_the_candidate(
    candidate: int, blessed: dict[int, int], expected: int | None
) -> None:
    models = {identifier: _model(identifier) for identifier in (1, 2, 3)}
    resolved = PrecedingBlessedModelStrategy().resolve_artifacts(
        None,
        {
            "candidate": [models[candidate]],
            "model": list(models.values()),
            "model_blessing": [_blessing(models[key], value) for key, value in blessed.items()],
        },
    )
    assert resolved is not None
    assert [model.id for model in resolved["model"]] == ([expected] if expected else [])
    assert len(resolved["model_blessing"]) == len(resolved["model"])


def test_no_candidate_no_baseline() -> None:
    assert PrecedingBlessedModelStrategy().resolve_artifacts(None, {"candidate": []}) is None


@pytest.mark.parametrize(
    ("candidate", "accepted", "expected"),
    [
        (1, {1}, None),  # a cached run is not compared with itself
        (3, {1, 2, 3}, 2),
        (3, {1}, 1),  # what its gate stopped is nothing to compare with
        (2, {1, 3}, 1),  # what came later does not count
        (3, set(), None),
    ],
)
def test_latest_accepted_statistics_before_the_candidate(
    candidate: int, accepted: set[int], expected: int | None
) -> None:
    statistics, verdicts = [], []
    for identifier in (1, 2, 3):
        statistics.append(standard_artifacts.ExampleStatistics())
        statistics[-1].id = identifier
    for identifier in accepted:
        verdicts.append(DataVerdict())
        verdicts[-1].set_int_custom_property(STATISTICS_ID, identifier)
    resolved = PrecedingStatisticsStrategy().resolve_artifacts(
        None,
        {
            "candidate": [statistics[candidate - 1]],
            "statistics": statistics,
            "verdict": verdicts,
        },
    )
    assert resolved is not None
    assert [one.id for one in resolved["statistics"]] == ([expected] if expected else [])


def test_no_statistics_nothing_to_compare() -> None:
    assert PrecedingStatisticsStrategy().resolve_artifacts(None, {"candidate": []}) is None
