"""Beam's options: by construction for the engines that a development machine has not."""

import os
import tarfile
from pathlib import Path

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import (
    DirectOptions,
    FlinkRunnerOptions,
    GoogleCloudOptions,
    PipelineOptions,
    PortableOptions,
    SetupOptions,
    StandardOptions,
    WorkerOptions,
)
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.runners.portability.stager import Stager
from tfx.utils import dependency_utils

from components.beam_runner import use_in_process_runner
from models.errors import InputError
from pipeline.beam_options import IMAGES_FOR_EVERY_CORE, arguments, check_reachable
from pipeline.config import BeamSettings

ROOT = Path(__file__).resolve().parents[2]
DATAFLOW = (
    "--project=p",
    "--region=europe-west4",
    "--temp_location=gs://b/temp",
    "--sdk_container_image=registry/coronet:1",
)
EXTERNAL = ("--environment_type=EXTERNAL", "--environment_config=localhost:50000")


def _parsed(runner: str, workers: int = 0, options: tuple[str, ...] = ()) -> PipelineOptions:
    settings = BeamSettings.model_validate(
        {"runner": runner, "workers": workers, "options": options}
    )
    return PipelineOptions(arguments(settings), retain_unknown_options=True)


def test_direct_is_one_process_and_multiprocess_takes_every_core() -> None:
    direct = _parsed("direct", options=("--job_name=coronet",))
    assert direct.view_as(StandardOptions).runner == "FnApiRunner"
    assert direct.view_as(DirectOptions).direct_running_mode == "in_memory"
    every_core = _parsed("multiprocess").view_as(DirectOptions)
    assert every_core.direct_running_mode == "multi_processing"
    assert every_core.direct_num_workers == 0  # Beam's word for all cores
    assert _parsed("multiprocess", 3).view_as(DirectOptions).direct_num_workers == 3


def test_by_default_every_core_works_where_the_data_repays_it() -> None:
    direct, every_core = (
        arguments(BeamSettings.model_validate({"runner": runner}))
        for runner in ("direct", "multiprocess")
    )
    assert arguments(BeamSettings()) == direct
    assert arguments(BeamSettings(), IMAGES_FOR_EVERY_CORE - 1) == direct
    assert arguments(BeamSettings(), IMAGES_FOR_EVERY_CORE) == every_core
    assert "--direct_num_workers=3" in arguments(BeamSettings(workers=3))


@pytest.mark.parametrize("runner", ["direct", "multiprocess"])
def test_nothing_is_fetched_or_packed_up_for_a_local_run(
    runner: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a local run needs no package and no other server")

    monkeypatch.setattr(dependency_utils, "build_ephemeral_package", refuse)
    given = arguments(BeamSettings.model_validate({"runner": runner}))
    if given:  # as TFX does
        assert dependency_utils.make_beam_dependency_flags(given) == given
    use_in_process_runner()
    assert isinstance(beam.Pipeline(argv=given).runner, FnApiRunner)


def test_dataflow() -> None:
    options = _parsed("dataflow", 40, DATAFLOW)
    assert options.view_as(StandardOptions).runner == "DataflowRunner"
    assert options.view_as(WorkerOptions).num_workers == 40
    assert options.view_as(WorkerOptions).sdk_container_image == "registry/coronet:1"
    cloud = options.view_as(GoogleCloudOptions)
    assert (cloud.project, cloud.region, cloud.temp_location) == (
        "p",
        "europe-west4",
        "gs://b/temp",
    )


def test_flink_and_spark_run_our_image_beside_each_worker() -> None:
    flink = _parsed("flink", 8, ("--flink_master=jobmanager:8081", *EXTERNAL))
    assert flink.view_as(StandardOptions).runner == "FlinkRunner"
    assert flink.view_as(FlinkRunnerOptions).flink_master == "jobmanager:8081"
    assert flink.get_all_options(retain_unknown_options=True)["parallelism"] == 8
    spark = _parsed("spark", 0, ("--job_endpoint=spark:8099", *EXTERNAL))
    assert spark.view_as(StandardOptions).runner == "SparkRunner"
    portable = spark.view_as(PortableOptions)
    assert (portable.job_endpoint, portable.environment_type, portable.environment_config) == (
        "spark:8099",
        "EXTERNAL",
        "localhost:50000",
    )


@pytest.mark.parametrize(
    ("runner", "workers", "options", "message"),
    [
        ("dataflow", 0, DATAFLOW[1:], "--project=my-project"),
        ("dataflow", 0, DATAFLOW[:3], "--sdk_container_image=.* or --setup_file="),
        ("dataflow", 0, (*DATAFLOW, "--staging_location=/tmp/x"), "--staging_location"),
        ("dataflow", 0, (*DATAFLOW, "--disk_size=9"), "did you mean --disk_size_gb"),
        ("dataflow", 0, (*DATAFLOW, "--max_num_workers=many"), "max_num_workers.*invalid int"),
        ("flink", 0, EXTERNAL, "--flink_master="),
        ("flink", 0, ("--flink_master=a:1",), "--environment_type=EXTERNAL"),
        ("spark", 0, ("--job_endpoint=a:1", EXTERNAL[0]), "--environment_config="),
        ("spark", 4, ("--job_endpoint=a:1", *EXTERNAL), "number of executors"),
        ("direct", 0, ("--runner=FlinkRunner",), "use beam.runner"),
        ("multiprocess", 0, ("--direct_num_workers=2",), "use beam.workers"),
        ("direct", 0, ("--no_such_option=1",), "Beam knows no --no_such_option"),
        ("direct", 0, ("--job_name=a", "--job_name=b"), "given twice"),
    ],
)
def test_a_mistake_is_named(
    runner: str, workers: int, options: tuple[str, ...], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        _parsed(runner, workers, options)


@pytest.mark.parametrize(
    ("runner", "data", "artifacts", "reachable"),
    [
        ("multiprocess", "/here/x-rays", "", True),
        ("dataflow", "gs://b/x-rays", "gs://b/nodes", True),
        ("dataflow", "gs://b/x-rays", "", False),
        ("dataflow", "gs://b/x-rays", "/shared/nodes", False),
        ("dataflow", "/here/x-rays", "gs://b/nodes", False),
        ("flink", "/shared/x-rays", "/shared/nodes", True),
        ("flink", "/shared/x-rays", "", False),
        ("spark", "s3://b/x-rays", "s3://b/nodes", True),
        ("spark", "/here/x-rays", "s3://b/nodes", False),
    ],
)
def test_what_workers_elsewhere_cannot_reach_is_refused(
    runner: str, data: str, artifacts: str, reachable: bool
) -> None:
    settings = BeamSettings.model_validate({"runner": runner})
    if reachable:
        check_reachable(settings, data, artifacts)
        return
    with pytest.raises(InputError, match=f"beam.runner={runner}: its workers do not see"):
        check_reachable(settings, data, artifacts)


def test_setup_file_packs_all_that_workers_import(tmp_path: Path) -> None:
    """Beam's own stager builds what it would send to its workers."""
    options = PipelineOptions([f"--setup_file={ROOT / 'setup.py'}", "--sdk_location=container"])
    assert options.view_as(SetupOptions).setup_file
    here = os.getcwd()
    try:
        Stager.create_job_resources(options, str(tmp_path))
    finally:
        os.chdir(here)
    (package,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(package) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    for module in (
        "components/ingestion/executor.py",
        "models/transform.py",
        "kubeflow/entrypoint.py",
        "pipeline/pipeline.py",
        "edge/__init__.py",
        "components/ingestion/schema.pbtxt",
        "components/report/templates/report.html.j2",
        "pipeline/presets/paper.yaml",
        "pyproject.toml",
    ):
        assert module in names
