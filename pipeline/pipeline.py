"""The DAG, written once: the local runner and Kubeflow both run what is built here."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import tensorflow as tf
from tfx import v1 as tfx
from tfx.dsl.components.base.base_node import BaseNode
from tfx.dsl.io import fileio
from tfx.orchestration.metadata import ConnectionConfigType
from tfx.types import BaseChannel

from components.anomaly_gate.component import AnomalyGate
from components.artifacts import DataVerdict
from components.candidates import input_key
from components.edge_exporter.component import EdgeExporter
from components.evaluation.component import EdgeEvaluator
from components.evaluation.eval_config import build_eval_config
from components.ingestion.component import XrayExampleGen
from components.pusher.component import BundlePusher
from components.pusher.executor import BEST
from components.report.component import ReportWriter
from components.resolver.strategy import PrecedingBlessedModelStrategy, PrecedingStatisticsStrategy
from components.schema_gen.component import XraySchemaGen
from components.transform.component import Transform
from models.errors import InputError
from models.features import EVAL_SPLIT, TEST_SPLIT, TRAIN_SPLIT
from models.settings import CORONET_MIN_SIZE, CoronetSettings, PreprocessingSettings
from pipeline.config import Config


@dataclass(frozen=True)
class Destination:
    """Where a run writes: artifacts below `root`, the bundle to `push`.

    Attributes:
        model: which classifier may be pushed: `best`, or one by its name.
    """

    root: str
    push: str
    model: str = BEST


def create_pipeline(
    config: Config,
    data_root: str,
    destination: Destination,
    context: Mapping[str, Any],
    metadata: ConnectionConfigType | None = None,
    beam_args: list[str] | None = None,
    with_baseline: bool = True,
) -> tfx.dsl.Pipeline:
    """Builds the DAG for `config`.

    Ingestion, statistics and validation are shared; each distinct preprocessing has one
    Transform; each classifier has its own Trainer, Evaluator and edge build. The pusher
    and the report look at all of them.

    Args:
        config: the run's configuration.
        data_root: folder of the labelled images.
        destination: where the run writes.
        context: `data_digest` (from `components.ingestion.fingerprint`) and `revision` (of
            the code); they are part of the cache key where they matter.
        metadata: the ML Metadata store; None where the orchestrator brings its own.
        beam_args: Beam pipeline options.
        with_baseline: whether a model must also not fall behind the one blessed before it,
            and the data is compared with that of the run before; False where the
            orchestrator cannot resolve artifacts of earlier runs.
    """
    ingestion = XrayExampleGen(
        data_root=data_root,
        settings_json=config.data.model_dump_json(),
        data_fingerprint=context["data_digest"] + _content(config.data.split_file),
    )
    examples = ingestion.outputs["examples"]
    schema = XraySchemaGen()
    # With the schema, statistics know that a label is a class and not a quantity.
    statistics = tfx.components.StatisticsGen(examples=examples, schema=schema.outputs["schema"])
    validator = tfx.components.ExampleValidator(
        statistics=statistics.outputs["statistics"], schema=schema.outputs["schema"]
    )
    previous = _previous_statistics(statistics) if with_baseline else None
    anomaly_gate = AnomalyGate(
        anomalies=validator.outputs["anomalies"],
        statistics=statistics.outputs["statistics"],
        schema=schema.outputs["schema"],
        previous_statistics=previous.outputs["statistics"] if previous else None,
    )
    nodes: list[BaseNode] = [ingestion, schema, statistics, validator]
    nodes += [previous, anomaly_gate] if previous else [anomaly_gate]

    transforms: dict[PreprocessingSettings, Transform] = {}
    candidates: dict[str, BaseChannel] = {}
    for name in config.models:
        preprocessing = config.classifier(name).preprocessing
        assert preprocessing is not None  # `classifier` fills it in
        if preprocessing not in transforms:
            transforms[preprocessing] = _transform(
                preprocessing, examples, schema.outputs["schema"], number=len(transforms)
            )
            transforms[preprocessing].add_upstream_node(anomaly_gate)
            nodes.append(transforms[preprocessing])
        model_nodes, outputs = _classifier(
            name,
            config,
            examples,
            schema.outputs["schema"],
            transforms[preprocessing],
            with_baseline,
        )
        nodes += model_nodes
        candidates |= {input_key(name, role): channel for role, channel in outputs.items()}

    pusher = BundlePusher(
        schema=schema.outputs["schema"],
        statistics=statistics.outputs["statistics"],
        push_directory=destination.push,
        model=destination.model,
        context_json=json.dumps({"pipeline": config.name, **context}, sort_keys=True),
        **candidates,
    )
    report = ReportWriter(
        examples=examples,
        statistics=statistics.outputs["statistics"],
        schema=schema.outputs["schema"],
        verdict=anomaly_gate.outputs["verdict"],
        quarantine=ingestion.outputs["quarantine"],
        pushed=pusher.outputs["pushed_model"],
        context_json=json.dumps(
            {**context, "config": config.model_dump(mode="json")}, sort_keys=True
        ),
        **candidates,
    )
    return tfx.dsl.Pipeline(
        pipeline_name=config.name,
        pipeline_root=destination.root,
        components=[*nodes, pusher, report],
        enable_cache=True,
        metadata_connection_config=metadata,
        beam_pipeline_args=beam_args,
    )


def _previous_statistics(statistics: tfx.components.StatisticsGen) -> tfx.dsl.Resolver:
    """Returns the node that finds the statistics of the accepted data before this."""
    return tfx.dsl.Resolver(
        strategy_class=PrecedingStatisticsStrategy,
        candidate=statistics.outputs["statistics"],
        statistics=tfx.dsl.Channel(
            type=tfx.types.standard_artifacts.ExampleStatistics,
            producer_component_id=statistics.id,
        ),
        verdict=tfx.dsl.Channel(type=DataVerdict, producer_component_id=AnomalyGate.__name__),
    ).with_id("Resolver.statistics")


def _transform(
    preprocessing: PreprocessingSettings, examples: BaseChannel, schema: BaseChannel, number: int
) -> Transform:
    transform = Transform(
        examples=examples,
        schema=schema,
        preprocessing_fn="models.transform.preprocessing_fn",
        # The sizes that serving uses are those of the training images.
        splits_config=tfx.proto.SplitsConfig(
            analyze=[TRAIN_SPLIT], transform=[TRAIN_SPLIT, EVAL_SPLIT]
        ),
        custom_config={"preprocessing": preprocessing.model_dump_json()},
        # StatisticsGen has counted the raw features; counting images again, as they come and
        # as PNG, would take longer than the work itself.
        disable_statistics=True,
    )
    return transform if number == 0 else transform.with_id(f"Transform.{number + 1}")


def _classifier(
    name: str,
    config: Config,
    examples: BaseChannel,
    schema: BaseChannel,
    transform: tfx.components.Transform,
    with_baseline: bool,
) -> tuple[list[BaseNode], dict[str, BaseChannel]]:
    """Returns the nodes of classifier `name`, and its outputs by role."""
    transformed = transform.outputs["transformed_examples"]
    settings = config.classifier(name)
    training = {
        "examples": transformed,
        "transform_graph": transform.outputs["transform_graph"],
        "schema": schema,
        "train_args": tfx.proto.TrainArgs(splits=[TRAIN_SPLIT]),
        "eval_args": tfx.proto.EvalArgs(splits=[EVAL_SPLIT]),
        "custom_config": {
            "model": name,
            "settings": settings.model_dump_json(),
            "seed": config.seed,
        },
    }
    if isinstance(settings, CoronetSettings):
        _check_coronet(settings, tuned=name in config.tune)
        if settings.pretrained:
            # Of the cache's key: the path may stay where the file does not.
            training["custom_config"]["pretrained_digest"] = _content(settings.pretrained)
    tuner = None
    if name in config.tune:
        tuner = tfx.components.Tuner(tuner_fn="models.tuner.tuner_fn", **training).with_id(
            f"Tuner.{name}"
        )
    trainer = tfx.components.Trainer(
        run_fn="models.trainer.run_fn",
        hyperparameters=tuner.outputs["best_hyperparameters"] if tuner is not None else None,
        **training,
    ).with_id(f"Trainer.{name}")
    baseline = _baseline(name, trainer) if with_baseline else None
    evaluator = tfx.components.Evaluator(
        examples=examples,
        example_splits=[TEST_SPLIT],
        model=trainer.outputs["model"],
        baseline_model=baseline.outputs["model"] if baseline else None,
        eval_config=build_eval_config(config.gate),
    ).with_id(f"Evaluator.{name}")
    exporter = EdgeExporter(
        model=trainer.outputs["model"],
        examples=transformed,
        settings_json=config.edge.model_dump_json(),
    ).with_id(f"EdgeExporter.{name}")
    edge_evaluator = EdgeEvaluator(
        examples=examples,
        edge_model=exporter.outputs["edge_model"],
        float_evaluation=evaluator.outputs["evaluation"],
        settings_json=config.gate.model_dump_json(),
    ).with_id(f"EdgeEvaluator.{name}")
    outputs = {
        "model": trainer.outputs["model"],
        "model_run": trainer.outputs["model_run"],
        "evaluation": evaluator.outputs["evaluation"],
        "blessing": evaluator.outputs["blessing"],
        "edge_model": exporter.outputs["edge_model"],
        "edge_evaluation": edge_evaluator.outputs["evaluation"],
        "edge_blessing": edge_evaluator.outputs["blessing"],
    }
    resolvers = [baseline] if baseline else []
    tuners = [tuner] if tuner is not None else []
    return [*tuners, trainer, *resolvers, evaluator, exporter, edge_evaluator], outputs


def _check_coronet(settings: CoronetSettings, tuned: bool) -> None:
    """Refuses now what the Trainer would refuse in the end.

    Raises:
        InputError: the settings cannot be trained, whatever the data.
    """
    preprocessing = settings.preprocessing
    assert preprocessing is not None  # `Config.classifier` has filled it in
    if preprocessing.threshold == "preset" and preprocessing.size < CORONET_MIN_SIZE:
        raise InputError(
            f"CORONet needs images of {CORONET_MIN_SIZE} x {CORONET_MIN_SIZE} pixels or more; "
            f"preprocessing.size is {preprocessing.size}: raise it, or choose another model"
        )
    if tuned and settings.pretrained:
        raise InputError(
            "coronet.pretrained names a network that is trained: leave coronet out of tune"
        )


def _content(path: str) -> str:
    """Returns a digest of a file that a setting names, or nothing for no file.

    Raises:
        InputError: it cannot be read.
    """
    if not path:
        return ""
    digest = hashlib.sha256()
    try:
        with fileio.open(path, "rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    except (OSError, tf.errors.OpError) as error:  # the second is what TFX's filesystems raise
        raise InputError(f"cannot read {path}: {error}") from error
    return digest.hexdigest()


def _baseline(name: str, trainer: tfx.components.Trainer) -> tfx.dsl.Resolver:
    """Returns the node that finds the model which classifier `name` must not fall behind."""
    return tfx.dsl.Resolver(
        strategy_class=PrecedingBlessedModelStrategy,
        candidate=trainer.outputs["model"],
        model=tfx.dsl.Channel(
            type=tfx.types.standard_artifacts.Model, producer_component_id=trainer.id
        ),
        model_blessing=tfx.dsl.Channel(
            type=tfx.types.standard_artifacts.ModelBlessing,
            producer_component_id=f"Evaluator.{name}",
        ),
    ).with_id(f"Resolver.{name}")
