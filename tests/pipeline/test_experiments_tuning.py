"""The Tuner's place in the DAG, and the table of its trials."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from models.errors import InputError
from pipeline.config import load
from pipeline.experiments import tuning


def test_the_tuners_best_values_flow_into_the_trainer(tmp_path: Path) -> None:
    from pipeline.pipeline import Destination, create_pipeline

    pipeline = create_pipeline(
        load("sample", overrides=["models=[svm,mlp]", "tune=[svm]"]),
        data_root=str(tmp_path),
        destination=Destination(root=str(tmp_path / "root"), push=str(tmp_path / "push")),
        context={"data_digest": "d", "revision": "r"},
    )
    nodes = {node.id: node for node in pipeline.components}
    assert "Tuner.mlp" not in nodes
    tuner, trainer = nodes["Tuner.svm"], nodes["Trainer.svm"]
    assert trainer.inputs["hyperparameters"] is tuner.outputs["best_hyperparameters"]
    assert "hyperparameters" not in nodes["Trainer.mlp"].inputs
    order = [node.id for node in pipeline.components]
    assert order.index("Tuner.svm") < order.index("Trainer.svm")


def test_trials_are_listed_best_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    records = [
        {"trial_id": "0", "score": 0.5, "dropout": 0.3, "tuner/epochs": 2, "tuner/bracket": 1},
        {
            "trial_id": "1",
            "score": 0.75,
            "dropout": 0.123456,
            "tuner/epochs": 6,
            "tuner/bracket": 0,
        },
    ]
    (tmp_path / tuning.RESULTS_FILE).write_text(json.dumps(records))
    run = SimpleNamespace(
        output=lambda node, key: {
            ("Tuner.coronet", "tuner_results"): SimpleNamespace(uri=str(tmp_path))
        }.get((node, key))
    )
    monkeypatch.setattr(tuning, "open_run", lambda folder: run)
    trials = tuning.read_trials(tmp_path, "coronet")
    assert [trial.accuracy for trial in trials] == [0.75, 0.5]
    assert trials[0] == tuning.Trial({"dropout": 0.123456}, 0.75, 6)
    assert tuning.trial_table(trials).splitlines()[2:] == [
        "| 0.123 | 6 | 0.750 |",
        "| 0.3 | 2 | 0.500 |",
    ]
    with pytest.raises(LookupError, match="did not tune svm"):
        tuning.read_trials(tmp_path, "svm")


def test_a_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no run"):
        tuning.read_trials(tmp_path, "svm")


def test_a_changed_file_of_weights_or_splits_is_not_taken_from_the_cache(tmp_path: Path) -> None:
    from pipeline.pipeline import Destination, create_pipeline

    weights, splits = tmp_path / "coronet.keras", tmp_path / "splits.csv"
    seen = set()
    for content in ("one", "other"):
        weights.write_text(content)
        splits.write_text(content)
        pipeline = create_pipeline(
            load(
                overrides=[
                    "models=[coronet]",
                    f"coronet.pretrained={weights}",
                    f"data.split_file={splits}",
                ]
            ),
            data_root=str(tmp_path),
            destination=Destination(root=str(tmp_path / "root"), push=str(tmp_path / "push")),
            context={"data_digest": "d", "revision": "r"},
        )
        nodes = {node.id: node for node in pipeline.components}
        seen |= {
            nodes["Trainer.coronet"].exec_properties["custom_config"],
            nodes["XrayExampleGen"].exec_properties["data_fingerprint"],
        }
    assert len(seen) == 4
