"""The compiled specification: deterministic, complete, and kept as a golden file.

`CORONET_RENEW_GOLDEN=1 pytest tests/kubeflow/test_compile.py` renews the file after a
change that is meant.
"""

import json
import os
import re
import sys
from pathlib import Path

import pytest
import yaml
from google.protobuf import json_format
from kfp.pipeline_spec import pipeline_spec_pb2
from typer.testing import CliRunner

from kubeflow import runner
from kubeflow.parameters import INPUT_PREFIX, names_in
from kubeflow.specification import put_marker, task_name
from models.errors import InputError
from models.features import MODEL_NAMES
from pipeline.commands.kubeflow import kubeflow as kubeflow_command
from pipeline.config import Config, load

GOLDEN = Path(__file__).parent / "golden" / "default.json"
REVISION = "golden"
RENEW = "CORONET_RENEW_GOLDEN"


@pytest.fixture(scope="module")
def spec() -> dict:
    return runner.compile_specification(Config(), REVISION)


def test_the_default_configuration_compiles_to_the_golden_specification(
    spec: dict, tmp_path: Path
) -> None:
    out = tmp_path / "default.json"
    runner.write_specification(spec, out)
    if os.environ.get(RENEW):
        GOLDEN.write_text(out.read_text())
    assert json.loads(out.read_text()) == json.loads(GOLDEN.read_text()), (
        f"the compiled specification changed; if that is meant, renew it with {RENEW}=1"
    )


def test_it_is_a_pipeline_spec_that_kfp_reads(spec: dict, tmp_path: Path) -> None:
    message = json_format.ParseDict(spec, pipeline_spec_pb2.PipelineSpec())
    assert message.schema_version == "2.1.0"
    as_yaml = tmp_path / "default.yaml"
    runner.write_specification(spec, as_yaml)
    assert yaml.safe_load(as_yaml.read_text()) == spec


def test_compiling_again_gives_the_same(spec: dict) -> None:
    assert runner.compile_specification(Config(), REVISION) == spec


def test_names_are_argos_and_references_hold(spec: dict) -> None:
    tasks = spec["root"]["dag"]["tasks"]
    executors = spec["deploymentSpec"]["executors"]
    for name, task in tasks.items():
        assert re.fullmatch(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", name)
        assert task["taskInfo"]["name"] == name
        component = spec["components"][task["componentRef"]["name"]]
        assert "container" in executors[component["executorLabel"]], "KFP has no resolvers"
        assert set(task["dependentTasks"]) <= set(tasks)
        for source in task["inputs"].get("artifacts", {}).values():
            output = source["taskOutputArtifact"]
            producer = spec["components"][tasks[output["producerTask"]]["componentRef"]["name"]]
            assert output["outputArtifactKey"] in producer["outputDefinitions"]["artifacts"]
    for model in MODEL_NAMES:
        assert {f"trainer-{model}", f"evaluator-{model}", f"edge-evaluator-{model}"} <= set(tasks)


def test_every_task_has_an_image_resources_retries_and_a_cache(spec: dict) -> None:
    for name, task in spec["root"]["dag"]["tasks"].items():
        assert task["retryPolicy"]["maxRetryCount"] == Config().kubeflow.retries
        # A push that is taken from the cache would leave what another run pushed.
        cached = task["cachingOptions"].get("enableCache", False)
        assert cached == (name != "bundle-pusher"), name
    for executor in spec["deploymentSpec"]["executors"].values():
        container = executor["container"]
        assert container["image"] == Config().kubeflow.image
        assert container["resources"] == {"cpuLimit": 2.0, "memoryLimit": 8.0}
        assert container["command"] == ["python", "-m", "kubeflow.entrypoint"]


def test_only_trainers_get_an_accelerator() -> None:
    config = load(
        overrides=[
            "kubeflow.trainer_gpus=1",
            "kubeflow.cpu_limit=500m",
            "kubeflow.memory_limit=8Gi",
            "kubeflow.retries=0",
            "kubeflow.image=registry/coronet:2",
            "models=[svm]",
        ]
    )
    spec = runner.compile_specification(config, REVISION)
    for label, executor in spec["deploymentSpec"]["executors"].items():
        resources = executor["container"]["resources"]
        assert resources["cpuLimit"] == 0.5
        assert resources["memoryLimit"] == pytest.approx(8 * 1024**3 / 1e9)
        accelerator = {"type": "nvidia.com/gpu", "count": "1"} if "trainer" in label else None
        assert resources.get("accelerator") == accelerator
        assert executor["container"]["image"] == "registry/coronet:2"
    assert all("retryPolicy" not in task for task in spec["root"]["dag"]["tasks"].values())


def test_parameters_have_defaults_and_reach_the_tasks_that_use_them(spec: dict) -> None:
    config = Config()
    declared = spec["root"]["inputDefinitions"]["parameters"]
    assert declared["threshold"]["defaultValue"] == config.gate.accuracy
    assert declared["epochs_coronet"]["defaultValue"] == config.coronet.training.epochs
    assert "defaultValue" not in declared["data_root"]
    assert declared["model"]["defaultValue"] == "best"
    for name, task in spec["root"]["dag"]["tasks"].items():
        bindings = task["inputs"].get("parameters", {})
        used = set()
        for binding in bindings.values():
            constant = binding.get("runtimeValue", {}).get("constant")
            used |= names_in(constant) if isinstance(constant, str) else set()
        given = {key.removeprefix(INPUT_PREFIX) for key in bindings if key.startswith(INPUT_PREFIX)}
        assert given == used, name
    tasks = spec["root"]["dag"]["tasks"]
    expected = {
        "data_root": {"xray-example-gen"},
        "output_root": {"bundle-pusher"},
        "data_digest": {"xray-example-gen", "bundle-pusher", "report-writer"},
        "model": {"bundle-pusher"},
        "epochs_mlp": {"trainer-mlp", "report-writer"},
        "threshold": {"report-writer"}
        | {f"{node}-{model}" for model in MODEL_NAMES for node in ("evaluator", "edge-evaluator")},
    }
    for parameter, users in expected.items():
        receivers = {
            name
            for name, task in tasks.items()
            for binding in task["inputs"].get("parameters", {}).values()
            if binding.get("componentInputParameter") == parameter
        }
        assert receivers == users, parameter


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"model": "cornet"}, "model='cornet': this run trains svm; choose"),
        ({"model": "mlp"}, "this run trains svm"),
        ({"threshold": 80.065}, "threshold=80.065 is not within 0 and 1"),
        ({"threshold": float("nan")}, "threshold=nan is not within"),
        ({"epochs_svm": 0}, "epochs_svm=0: train for at least one epoch"),
    ],
)
def test_values_that_a_node_would_refuse_are_refused_at_once(values: dict, message: str) -> None:
    config = load(overrides=["models=[svm]"])
    runner.check_values(config, {"model": "svm", "threshold": 0.5, "epochs_svm": 1})
    with pytest.raises(InputError, match=message):
        runner.check_values(config, values)


def test_nothing_of_this_machine_is_in_it(spec: dict) -> None:
    text = json.dumps(spec)
    assert str(Path(__file__).resolve().parents[2]) not in text
    assert sys.prefix not in text


def test_task_names() -> None:
    assert task_name("XrayExampleGen") == "xray-example-gen"
    assert task_name("Trainer.svm") == "trainer-svm"
    assert task_name("Transform.2") == "transform-2"
    assert task_name("EdgeEvaluator.coronet") == "edge-evaluator-coronet"


def test_a_marker_keeps_the_distance_from_the_default() -> None:
    parameter = runner.runtime_parameters(Config())[4]
    assert parameter.name == "threshold"
    document = put_marker({"a": {"b": parameter.default - 1e-6}}, ("a", "b"), parameter)
    assert document == {"a": {"b": "@{threshold-1e-06}"}}


@pytest.mark.parametrize("field", ["cpu_limit", "memory_limit"])
@pytest.mark.parametrize("value", ["many", "-1", "8 GB", "0"])
def test_a_bad_quantity_is_named(field: str, value: str) -> None:
    config = load(overrides=[f"kubeflow.{field}='{value}'"])
    with pytest.raises(InputError, match=f"kubeflow.{field}.*not a Kubernetes quantity"):
        runner.compile_specification(config, REVISION)


def test_the_command_writes_the_file_and_names_the_parameters(tmp_path: Path) -> None:
    out = tmp_path / "folder" / "pipeline.yaml"
    options = ["--out", str(out), "--preset", "sample", "--model", "svm"]
    done = CliRunner().invoke(kubeflow_command, ["compile", *options], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert "epochs_svm" in done.output
    compiled = yaml.safe_load(out.read_text())
    assert "trainer-svm" in compiled["root"]["dag"]["tasks"]
    assert "trainer-mlp" not in compiled["root"]["dag"]["tasks"]


def test_an_unknown_suffix_is_refused(spec: dict, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"\.yaml, \.yml or \.json"):
        runner.write_specification(spec, tmp_path / "pipeline.txt")
