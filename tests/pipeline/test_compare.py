"""Runs side by side, and a report written again, from a real ML Metadata store."""

import io
import json
from pathlib import Path

import apache_beam as beam
import pytest
import tensorflow as tf
from ml_metadata import MetadataStore
from ml_metadata.proto import metadata_store_pb2 as mlmd
from rich.console import Console

from components.evaluation.eval_config import build_edge_eval_config
from components.evaluation.executor import write_evaluation
from components.evaluation.settings import GateSettings
from models.errors import InputError
from models.features import CLASSES, LABEL, PROBABILITIES, SIZE_BUCKET, SOURCE
from pipeline.comparison import Candidate, candidates_of, table, warnings
from pipeline.reporting import rebuild_report
from pipeline.run_store import METADATA_FILE, NODE_CONTEXT, RUN_CONTEXT

INPUT_TYPES = {
    "coronet_model": "Model",
    "coronet_evaluation": "ModelEvaluation",
    "coronet_blessing": "ModelBlessing",
    "coronet_edge_evaluation": "ModelEvaluation",
    "coronet_edge_blessing": "ModelBlessing",
}


@pytest.fixture(scope="module")
def evaluation(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """40 images, 36 of them right."""
    folder = tmp_path_factory.mktemp("evaluation")
    rows = []
    for index in range(40):
        label = index % len(CLASSES)
        predicted = label if index < 36 else (label + 1) % len(CLASSES)
        example = tf.train.Example()
        features = example.features.feature
        features[LABEL].int64_list.value.append(label)
        features[SOURCE].bytes_list.value.append(b"phantom")
        features[SIZE_BUCKET].bytes_list.value.append(b"up to 256 px")
        features[PROBABILITIES].float_list.value.extend(
            0.7 if other == predicted else 0.1 for other in range(len(CLASSES))
        )
        rows.append(example.SerializeToString())
    with beam.Pipeline() as pipeline:
        write_evaluation(
            pipeline | beam.Create(rows), build_edge_eval_config(GateSettings(), 0.9), str(folder)
        )
    return folder


def _store(output: Path) -> MetadataStore:
    output.mkdir()
    connection = mlmd.ConnectionConfig()
    connection.sqlite.filename_uri = str(output / METADATA_FILE)
    connection.sqlite.connection_mode = mlmd.SqliteMetadataSourceConfig.READWRITE_OPENCREATE
    return MetadataStore(connection)


def _contexts(store: MetadataStore) -> list[mlmd.Context]:
    contexts = []
    for kind, name in ((RUN_CONTEXT, "run-1"), (NODE_CONTEXT, "coronet.ReportWriter")):
        kind_id = store.put_context_type(mlmd.ContextType(name=kind))
        contexts.append(mlmd.Context(type_id=kind_id, name=name, type=kind))
    return contexts


def _run(output: Path, evaluation: Path, digest: str, **blessed: bool) -> Path:
    """A finished run, as far as the commands look at it; `blessed` has the verdict of each build.

    Without one there is only the float build, which passed.
    """
    store = _store(output)
    model = output / "model"
    model.mkdir()
    description = {
        "preprocessing": {"method": "A", "height": 66, "width": 88},
        "best_epoch": 7,
        "epochs": 9,
    }
    (model / "model.json").write_text(json.dumps(description))
    places = {"model": model, "evaluation": evaluation, "blessing": output}
    execution_type = store.put_execution_type(mlmd.ExecutionType(name="ReportWriter"))
    execution = mlmd.Execution(type_id=execution_type)
    context_json = json.dumps({"data_digest": digest, "revision": "0.1.0", "config": {}})
    execution.custom_properties["context_json"].string_value = context_json
    pairs = []
    for key, kind in INPUT_TYPES.items():
        if "edge" in key and not blessed:
            continue
        kind_id = store.put_artifact_type(mlmd.ArtifactType(name=kind))
        artifact = mlmd.Artifact(type_id=kind_id, uri=str(places[key.split("_")[-1]]))
        if kind == "ModelBlessing":
            artifact.custom_properties["blessed"].int_value = blessed.get(key, True)
        event = mlmd.Event(type=mlmd.Event.INPUT)
        event.path.steps.add(key=key)
        event.path.steps.add(index=0)
        pairs.append((artifact, event))
    store.put_execution(execution, pairs, _contexts(store))
    return output


def _shown(candidates: list[Candidate]) -> dict[str, list[str]]:
    """What the table shows, by measure."""
    printed = io.StringIO()
    Console(width=1000, file=printed).print(table(candidates))
    rows = [line.split("│")[1:-1] for line in printed.getvalue().splitlines() if "│" in line]
    return {measure.strip(): [value.strip() for value in values] for measure, *values in rows}


def test_rows_come_from_the_artifacts(evaluation: Path, tmp_path: Path) -> None:
    runs = [_run(tmp_path / name, evaluation, "digest-1") for name in ("first", "second")]
    found = [candidate for run in runs for candidate in candidates_of(run)]
    assert [(one.run.name, one.model) for one in found] == [
        ("first", "coronet"),
        ("second", "coronet"),
    ]
    assert found[0].evaluation.overall.accuracy == pytest.approx(0.9)
    assert found[0].blessed
    assert found[0].edge_evaluation is None
    interval = found[0].evaluation.overall.accuracy_interval
    assert _shown(found) == {
        "run": [str(run) for run in runs],
        "model": ["coronet"] * 2,
        "float": [f"0.900 ({interval.low:.3f} to {interval.high:.3f})"] * 2,
        "gate of float": ["passed"] * 2,
        "edge": ["n/a"] * 2,
        "gate of edge": ["n/a"] * 2,
        **{f"recall {name}": ["0.900"] * 2 for name in CLASSES},
        "calibration error": ["0.200"] * 2,
        "Brier": ["0.240"] * 2,
        "images": ["40"] * 2,
        "best epoch": ["7 of 9"] * 2,
        "preprocessing": ["A 88 x 66"] * 2,
        "data": ["digest-1"] * 2,
        "revision": ["0.1.0"] * 2,
    }
    assert warnings(found) == []
    narrow = io.StringIO()
    Console(width=40, file=narrow).print(table(found))
    assert "…" not in narrow.getvalue()


def test_each_build_has_its_own_verdict(evaluation: Path, tmp_path: Path) -> None:
    verdicts = {"coronet_blessing": True, "coronet_edge_blessing": False}
    (passed,) = candidates_of(_run(tmp_path / "one", evaluation, "digest-1", **verdicts))
    assert (passed.blessed, passed.edge_blessed) == (True, False)
    verdicts = {"coronet_blessing": False, "coronet_edge_blessing": True}
    (failed,) = candidates_of(_run(tmp_path / "two", evaluation, "digest-1", **verdicts))
    assert (failed.blessed, failed.edge_blessed) == (False, True)
    shown = _shown([passed, failed])
    assert shown["gate of float"] == ["passed", "failed"]
    assert shown["gate of edge"] == ["failed", "passed"]
    assert shown["edge"] == shown["float"]


def test_other_data_is_pointed_out(evaluation: Path, tmp_path: Path) -> None:
    first = _run(tmp_path / "first", evaluation, "digest-1")
    second = _run(tmp_path / "second", evaluation, "digest-2")
    (warning,) = warnings(candidates_of(first) + candidates_of(second))
    assert "different data" in warning


def test_a_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    for command in (candidates_of, rebuild_report):
        with pytest.raises(InputError, match="holds no run"):
            command(tmp_path)


def test_a_run_that_did_not_finish_is_refused(tmp_path: Path) -> None:
    store = _store(tmp_path / "killed")
    with pytest.raises(InputError, match="holds no run yet"):
        candidates_of(tmp_path / "killed")
    store.put_contexts(_contexts(store)[:1])
    for command in (candidates_of, rebuild_report):
        with pytest.raises(InputError, match="did not get as far as its report"):
            command(tmp_path / "killed")


def test_artifacts_that_are_gone_are_named(evaluation: Path, tmp_path: Path) -> None:
    run = _run(tmp_path / "run", evaluation, "digest-1")
    (run / "model" / "model.json").unlink()
    (run / "model").rmdir()
    for command in (candidates_of, rebuild_report):
        with pytest.raises(InputError, match=r"/model.* is gone"):
            command(run)
    assert not (run / "report").exists()
