"""What a run is compared with: accepted, of the same kind, older, and still there."""

from pathlib import Path

import pytest
from tfx.components.evaluator import constants
from tfx.types import Artifact, standard_artifacts

from components.anomaly_gate.executor import STATISTICS_ID
from components.artifacts import DataVerdict
from components.resolver.strategy import PrecedingBlessedModelStrategy, PrecedingStatisticsStrategy


def _artifact(kind: type[Artifact], identifier: int, folder: Path) -> Artifact:
    artifact = kind()
    artifact.id, artifact.uri = identifier, str(folder / str(identifier))
    Path(artifact.uri).mkdir()
    return artifact


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
    tmp_path: Path, candidate: int, blessed: dict[int, int], expected: int | None
) -> None:
    models = {
        identifier: _artifact(standard_artifacts.Model, identifier, tmp_path)
        for identifier in (1, 2, 3)
    }
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


def test_a_model_whose_files_are_gone_is_passed_over(tmp_path: Path) -> None:
    models = [_artifact(standard_artifacts.Model, number, tmp_path) for number in (1, 2, 3)]
    inputs = {
        "candidate": models[2:],
        "model": models,
        "model_blessing": [_blessing(model, 1) for model in models],
    }
    for expected in (2, 1):
        resolved = PrecedingBlessedModelStrategy().resolve_artifacts(None, inputs)
        assert resolved is not None
        assert [model.id for model in resolved["model"]] == [expected]
        Path(resolved["model"][0].uri).rmdir()
    resolved = PrecedingBlessedModelStrategy().resolve_artifacts(None, inputs)
    assert resolved is not None
    assert resolved["model"] == []


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
    tmp_path: Path, candidate: int, accepted: set[int], expected: int | None
) -> None:
    verdicts = []
    statistics = [
        _artifact(standard_artifacts.ExampleStatistics, identifier, tmp_path)
        for identifier in (1, 2, 3)
    ]
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
