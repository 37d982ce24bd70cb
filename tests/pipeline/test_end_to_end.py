"""The real DAG on the built-in sample: pushed, cached, refused, killed and picked up."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from models.features import CLASSES, MODEL_NAMES
from pipeline.sample import write_sample

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1200)]

# Small enough for a test; the gate is low, since what is tested is the machinery.
SETTINGS = {
    "preprocessing.size": 32,
    "preprocessing.tile_grid": "[4, 4]",
    "svm.training.epochs": 5,
    "mlp.training.epochs": 2,
    "mlp.hidden": "[16]",
    "mlp.activations": "[sigmoid]",
    "coronet.training.epochs": 2,
    "coronet.dense_units": 32,
    "gate.accuracy": 0.2,
    "gate.max_edge_drop": 1.0,
}


CORONET = (sys.executable, "-c", "from pipeline.cli import main; main()")
TABLE = (sys.executable, "-m", "pipeline.experiments.classifiers_table")


@dataclass(frozen=True)
class Finished:
    """What a `coronet run` left: exit status, output, and `run.json` by node."""

    status: int
    stdout: str
    stderr: str
    nodes: dict[str, bool]  # node: whether it was cached


def _command(data: Path, output: Path, model: str, **changes: object) -> list[str]:
    settings = SETTINGS | {key.replace("__", "."): value for key, value in changes.items()}
    command = [*CORONET, "run"]
    command += ["--data", str(data), "--output", str(output), "--model", model]
    command += ["--preset", "sample"]
    for key, value in settings.items():
        command += ["--set", f"{key}={value}"]
    return command


def _run(data: Path, output: Path, model: str, **changes: object) -> Finished:
    done = subprocess.run(
        _command(data, output, model, **changes), capture_output=True, text=True, check=False
    )
    summary = output / "run.json"
    nodes = json.loads(summary.read_text())["nodes"] if summary.is_file() else []
    return Finished(
        done.returncode,
        done.stdout,
        done.stderr,
        {node["node"]: node["cached"] for node in nodes},
    )


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("phantoms") / "sample"
    write_sample(folder, images=200)  # of fewer, no covid may come into the test split
    return folder


@pytest.fixture(scope="module")
def pushed(data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Finished]:
    """All three models from ingestion to push."""
    output = tmp_path_factory.mktemp("all") / "run"
    finished = _run(data, output, "all")
    log = output / "logs" / "run.log"
    tail = log.read_text()[-3000:] if log.is_file() else ""
    assert finished.status == 0, finished.stderr[-3000:] + tail
    return output, finished


def test_everything_is_written_and_named(pushed: tuple[Path, Finished]) -> None:
    output, finished = pushed
    for name in MODEL_NAMES:
        assert f"Trainer.{name}" in finished.nodes
        assert f"Evaluator.{name}" in finished.nodes
        assert f"EdgeEvaluator.{name}" in finished.nodes
    assert not any(finished.nodes.values()), "nothing can be cached in a first run"
    assert (output / "report" / "index.html").is_file()
    assert (output / "push" / "saved_model" / "saved_model.pb").is_file()
    assert (output / "push" / "edge" / "model.tflite").is_file()
    manifest = json.loads((output / "push" / "bundle.json").read_text())
    assert manifest["classes"] == list(CLASSES)
    for said in (str(output / "report" / "index.html"), str(output / "push"), "verdict"):
        assert said in finished.stdout
    assert "Not a medical device" in finished.stdout
    warnings = [line for line in finished.stderr.splitlines() if "Warning" in line]
    assert not warnings, warnings[:5]


def test_the_table_of_the_classifiers_is_that_of_training_and_evaluation(
    pushed: tuple[Path, Finished], tmp_path: Path
) -> None:
    output, _ = pushed
    done = subprocess.run(
        [*TABLE, str(output), "--figures", str(tmp_path)],
        check=True,
        capture_output=True,
        text=True,
    )
    header, _, *rows = (
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in done.stdout.splitlines()
        if line.startswith("|")
    )
    assert [row[0] for row in rows] == list(MODEL_NAMES)
    compared = subprocess.run(
        [*CORONET, "compare", str(output)],
        check=True,
        capture_output=True,
        text=True,
        env=os.environ | {"COLUMNS": "200"},
    ).stdout
    for row in rows:
        cells = dict(zip(header, row, strict=True))
        assert cells["test accuracy"] in compared
        (history,) = output.glob(f"artifacts/Trainer.{row[0]}/model_run/*/history.json")
        kept = int(cells["epoch kept"].split()[0]) - 1
        trained = json.loads(history.read_text())
        assert cells["validation loss"] == f"{trained['val_loss'][kept]:.3f}"
        assert (tmp_path / f"training_{row[0]}.png").stat().st_size > 5_000


def test_the_pushed_builds_predict(pushed: tuple[Path, Finished], data: Path) -> None:
    import edge

    output, _ = pushed
    image = next((data / "train").glob("*.jpeg"))
    prediction = edge.Classifier(output / "push").predict(image)
    assert set(prediction.probabilities) == set(CLASSES)
    assert sum(prediction.probabilities.values()) == pytest.approx(1, abs=1e-3)


def test_nothing_changed_nothing_runs(pushed: tuple[Path, Finished], data: Path) -> None:
    output, first = pushed
    again = _run(data, output, "all")
    assert again.status == 0, again.stderr[-3000:]
    ran = [node for node, cached in again.nodes.items() if not cached and "Resolver" not in node]
    assert ran == []
    assert set(again.nodes) == set(first.nodes)


def test_a_training_knob_reruns_from_the_trainer_on(
    pushed: tuple[Path, Finished], data: Path
) -> None:
    output, _ = pushed
    changed = _run(data, output, "all", svm__training__epochs=6)
    assert changed.status == 0, changed.stderr[-3000:]
    ran = {node for node, cached in changed.nodes.items() if not cached}
    ran -= {node for node in ran if "Resolver" in node}
    assert ran == {
        "Trainer.svm",
        "Evaluator.svm",
        "EdgeExporter.svm",
        "EdgeEvaluator.svm",
        "BundlePusher",
        "ReportWriter",
    }


def test_nothing_passes_a_gate_that_is_too_high(data: Path, tmp_path: Path) -> None:
    output = tmp_path / "run"
    refused = _run(data, output, "svm", gate__accuracy=0.9999)
    assert refused.status == 3, refused.stderr[-3000:]
    assert "no model passed the gate" in refused.stdout
    assert (output / "report" / "index.html").is_file()
    assert not (output / "push").exists()


def test_a_killed_run_is_picked_up(data: Path, tmp_path: Path) -> None:
    output = tmp_path / "run"
    process = subprocess.Popen(
        _command(data, output, "svm"),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    for line in process.stdout:
        if "StatisticsGen" in line:  # printed when it has finished
            break
    else:
        pytest.fail("the run ended before it could be killed")
    time.sleep(2)  # into the middle of a later node
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert not (output / "push").exists()
    picked_up = _run(data, output, "svm")
    assert picked_up.status == 0, picked_up.stderr[-3000:]
    assert picked_up.nodes["XrayExampleGen"]
    assert picked_up.nodes["StatisticsGen"]
    assert not picked_up.nodes["Trainer.svm"]
