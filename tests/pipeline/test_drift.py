"""Drift since the run before, through ML Metadata: what is compared, and what is cached."""

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from pipeline.sample import write_sample

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

UNTIL = "AnomalyGate"


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory):
    """A function (data folder) that runs the DAG up to the verdict on the data.

    Returns the verdict and which of the nodes were cached.
    """
    from ml_metadata import MetadataStore
    from tfx import v1 as tfx

    from components.ingestion.fingerprint import fingerprint
    from pipeline.config import load
    from pipeline.dag_runner import NodeResult, ProgressDagRunner
    from pipeline.pipeline import Destination, create_pipeline
    from pipeline.run_store import Run

    class RunnerUntil(ProgressDagRunner):
        """Leaves out what comes after the verdict."""

        def run_with_ir(self, pipeline: Any, run_options: Any = None) -> None:
            names = [node.pipeline_node.node_info.id for node in pipeline.nodes]
            kept = names[: names.index(UNTIL) + 1]
            del pipeline.nodes[len(kept) :]
            for node in pipeline.nodes:
                downstream = [name for name in node.pipeline_node.downstream_nodes if name in kept]
                node.pipeline_node.downstream_nodes[:] = downstream
            super().run_with_ir(pipeline, run_options)

    output = tmp_path_factory.mktemp("runs")
    connection = tfx.orchestration.metadata.sqlite_metadata_connection_config(
        str(output / "metadata.db")
    )
    numbers = iter(range(100))

    def run(data: Path) -> tuple[dict[str, Any], dict[str, bool]]:
        pipeline = create_pipeline(
            load("sample"),
            data_root=str(data),
            destination=Destination(root=str(output / "artifacts"), push=str(output / "push")),
            context={"data_digest": fingerprint(str(data)), "revision": "test"},
            metadata=connection,
        )
        results: list[NodeResult] = []
        run_id = f"run-{next(numbers)}"
        RunnerUntil(run_id, lambda *_: None, results.append).run(pipeline)
        verdict = Run(MetadataStore(connection), run_id).output(UNTIL, "verdict")
        assert verdict is not None
        content = json.loads(Path(verdict.uri, "verdict.json").read_text())
        return content, {result.node: result.cached for result in results}

    return run


def since(verdict: dict[str, Any]) -> dict[str, float]:
    """The distances from the run before, by feature."""
    return {
        distance["feature"]: distance["value"]
        for distance in verdict["distances"]
        if distance["sets"] == "train against the run before"
    }


def test_drift_since_the_run_before(tmp_path: Path, runs) -> None:
    first = tmp_path / "first"
    write_sample(first, images=200)
    second = tmp_path / "second"
    shutil.copytree(first, second)
    with (second / "train.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    labels = [row[1] for row in rows]
    # In the second set every third image stays of the first three classes.
    kept = [
        row
        for number, row in enumerate(rows)
        if number == 0 or labels[number] == labels[-1] or number % 3 == 0
    ]
    with (second / "train.csv").open("w", newline="") as file:
        csv.writer(file).writerows(kept)

    verdict, cached = runs(first)
    assert not any(cached.values())
    assert not verdict["previous"]
    assert since(verdict) == {}

    verdict, cached = runs(first)
    assert all(how for node, how in cached.items() if not node.startswith("Resolver."))
    assert not verdict["previous"], "the same data is not compared with itself"

    verdict, cached = runs(second)
    assert not cached["AnomalyGate"]
    assert verdict["previous"]
    assert since(verdict)["label"] > 0.15
    assert ("train against the run before", "label") in {
        (warning["split"], warning["feature"]) for warning in verdict["warnings"]
    }

    _, cached = runs(second)
    assert cached["AnomalyGate"], "the same comparison comes from the cache"
    verdict, cached = runs(first)
    assert cached["AnomalyGate"]
    assert not verdict["previous"], "what came later is nothing to be compared with"
