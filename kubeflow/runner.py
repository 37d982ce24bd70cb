"""Compiles the DAG for Kubeflow Pipelines v2; needs no cluster.

The DAG is `pipeline.pipeline.create_pipeline`, the same as for a local run, but for one
node kind: the open-source backend implements no resolver ("resolver not implemented yet"),
so a run cannot look up the model of an earlier one, and the gate there has its absolute
thresholds only.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from kfp.pipeline_spec import pipeline_spec_pb2
from kubernetes.utils import parse_quantity
from tfx import v1 as tfx
from tfx.dsl.components.base import base_component
from tfx.orchestration.kubeflow.v2 import kubeflow_v2_dag_runner as kubeflow_v2

from components.pusher.executor import BEST
from kubeflow import specification
from kubeflow.parameters import DOUBLE, INTEGER, STRING, RuntimeParameter, marker
from models.errors import InputError
from pipeline import beam_options
from pipeline.config import Config, KubeflowSettings
from pipeline.pipeline import Destination, create_pipeline

COMMAND = ("python", "-m", "kubeflow.entrypoint")

DATA_ROOT = RuntimeParameter(
    "data_root", STRING, None, "Folder of the labelled images, such as gs://bucket/x-rays."
)
OUTPUT_ROOT = RuntimeParameter(
    "output_root", STRING, None, "Folder for everything a run writes; the bundle is in push/."
)
DATA_DIGEST = RuntimeParameter(
    "data_digest",
    STRING,
    "unspecified",
    "Changes when the data does: nodes are reused as long as it stays the same.",
)
MODEL = RuntimeParameter(
    "model", STRING, BEST, "The only classifier that may be pushed; best lets accuracy decide."
)

_ResourceSpec = pipeline_spec_pb2.PipelineDeploymentConfig.PipelineContainerSpec.ResourceSpec


def runtime_parameters(config: Config) -> tuple[RuntimeParameter, ...]:
    """Returns the parameters of the compiled pipeline, `config` giving their defaults."""
    return (
        DATA_ROOT,
        OUTPUT_ROOT,
        DATA_DIGEST,
        MODEL,
        _threshold(config),
        *(_epochs(config, name) for name in config.models),
    )


def check_values(config: Config, values: Mapping[str, str | int | float]) -> None:
    """Refuses, before hours of training, values that a node of the run would refuse.

    Args:
        config: what the pipeline was compiled with.
        values: of its runtime parameters, typed; those that are not given have their defaults.

    Raises:
        InputError: a model that the run does not train, a threshold outside of [0, 1], or no
            epochs.
    """
    model = values.get(MODEL.name, BEST)
    if model not in (BEST, *config.models):
        raise InputError(
            f"{MODEL.name}={model!r}: this run trains {', '.join(config.models)}; "
            f"choose one of them, or {BEST}"
        )
    threshold = _threshold(config)
    if not 0 <= float(values.get(threshold.name, 0)) <= 1:
        raise InputError(f"{threshold.name}={values[threshold.name]} is not within 0 and 1")
    for epochs in (_epochs(config, name).name for name in config.models):
        if int(values.get(epochs, 1)) < 1:
            raise InputError(f"{epochs}={values[epochs]}: train for at least one epoch")


def compile_specification(config: Config, revision: str) -> dict[str, Any]:
    """Returns the pipeline for `config` as a KFP v2 `PipelineSpec` in JSON.

    The same configuration and revision give the same specification.

    Args:
        config: the run's configuration; what `runtime_parameters` lists are its defaults.
        revision: of the code, for the bundle and the report.

    Raises:
        InputError: the resources in `config` are not quantities.
    """
    pipeline = create_pipeline(
        config,
        data_root=marker(DATA_ROOT.name),
        destination=Destination(
            root="",  # KFP gives each run its own
            push=f"{marker(OUTPUT_ROOT.name)}/push",
            model=marker(MODEL.name),
        ),
        context={"data_digest": marker(DATA_DIGEST.name), "revision": revision},
        beam_args=beam_options.arguments(config.beam),
        with_baseline=False,
    )
    _set_resources(pipeline, config.kubeflow)
    runner_config = kubeflow_v2.KubeflowV2DagRunnerConfig(
        default_image=config.kubeflow.image,
        default_commands=list(COMMAND),
        use_pipeline_spec_2_1=True,
    )
    runner = kubeflow_v2.KubeflowV2DagRunner(runner_config)
    job = runner.run(pipeline, write_out=False)
    spec = specification.rename(job["pipelineSpec"])
    _put_markers(spec, config)
    specification.connect(spec, runtime_parameters(config))
    # A push acts on what is outside of the run: from the cache, it would leave another run's there.
    specification.never_cache(spec, "bundle-pusher")
    specification.add_retries(spec, config.kubeflow.retries)
    return spec


def write_specification(spec: dict[str, Any], out: Path) -> None:
    """Writes `spec` as YAML or JSON by the suffix of `out`, whole or not at all.

    Raises:
        InputError: another suffix, or the file cannot be written.
    """
    if out.suffix == ".json":
        text = json.dumps(spec, indent=2, sort_keys=True) + "\n"
    elif out.suffix in (".yaml", ".yml"):
        text = yaml.safe_dump(spec, sort_keys=True)
    else:
        raise InputError(f"--out {out}: end the name in .yaml, .yml or .json")
    staging = out.with_name(f".{out.name}.{os.getpid()}")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        staging.write_text(text, encoding="utf-8")
        staging.replace(out)
    except OSError as error:
        raise InputError(f"cannot write {out}: {error}") from error


def _threshold(config: Config) -> RuntimeParameter:
    return RuntimeParameter(
        "threshold", DOUBLE, config.gate.accuracy, "Least accuracy on the test split to be pushed."
    )


def _epochs(config: Config, model: str) -> RuntimeParameter:
    return RuntimeParameter(
        f"epochs_{model}",
        INTEGER,
        config.classifier(model).training.epochs,
        f"Passes over the training split for {model}.",
    )


def _put_markers(spec: dict[str, Any], config: Config) -> None:
    """Puts the numbers that a run may change into the properties that they are part of."""
    threshold = _threshold(config)

    def in_report(context: dict[str, Any]) -> dict[str, Any]:
        for name in config.models:
            path = ("config", name, "training", "epochs")
            specification.put_marker(context, path, _epochs(config, name))
        return specification.put_marker(context, ("config", "gate", "accuracy"), threshold)

    def in_edge_gate(settings: dict[str, Any]) -> dict[str, Any]:
        return specification.put_marker(settings, ("accuracy",), threshold)

    specification.edit_property(spec, "report-writer", "context_json", in_report)
    for name in config.models:
        epochs = _epochs(config, name)

        def in_trainer(custom: dict[str, Any], epochs: RuntimeParameter = epochs) -> dict[str, Any]:
            settings = json.loads(custom["settings"])
            specification.put_marker(settings, ("training", "epochs"), epochs)
            return {**custom, "settings": json.dumps(settings, sort_keys=True)}

        specification.edit_property(spec, f"trainer-{name}", "custom_config", in_trainer)
        specification.edit_property(
            spec,
            f"evaluator-{name}",
            "eval_config",
            lambda eval_config: _put_overall_bound(eval_config, threshold),
        )
        specification.edit_property(spec, f"edge-evaluator-{name}", "settings_json", in_edge_gate)


def _put_overall_bound(eval_config: dict[str, Any], threshold: RuntimeParameter) -> dict[str, Any]:
    """Puts the threshold into the one bound on all test images together."""
    bounds = [
        gate["threshold"]["value_threshold"]
        for metrics in eval_config["metrics_specs"]
        for metric in metrics["metrics"]
        for gate in metric.get("per_slice_thresholds", [])
        if gate["slicing_specs"] == [{}]
    ]
    (overall,) = bounds
    specification.put_marker(overall, ("lower_bound",), threshold)
    return eval_config


def _set_resources(pipeline: tfx.dsl.Pipeline, settings: KubeflowSettings) -> None:
    cpu = _quantity("kubeflow.cpu_limit", settings.cpu_limit)
    memory = _quantity("kubeflow.memory_limit", settings.memory_limit) / 1e9
    for node in pipeline.components:
        resources = _ResourceSpec(cpu_limit=cpu, memory_limit=memory)
        if isinstance(node, tfx.components.Trainer) and settings.trainer_gpus:
            resources.accelerator.type = settings.gpu_type
            resources.accelerator.count = settings.trainer_gpus
        if isinstance(node, base_component.BaseComponent):
            node.with_platform_config(resources)


def _quantity(name: str, value: str) -> float:
    try:
        quantity = float(parse_quantity(value))
    except ValueError:
        quantity = 0
    if quantity <= 0:
        raise InputError(f"{name}: {value!r} is not a Kubernetes quantity such as 2, 500m or 8Gi")
    return quantity
