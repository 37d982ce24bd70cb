"""Beam's options: by construction for the engines that a development machine has not."""

import os
import tarfile
from pathlib import Path

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
from apache_beam.runners.portability.stager import Stager

from models.errors import InputError
from pipeline.beam_options import arguments
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
    # Any argument would have TFX build a wheel for workers that are not there.
    assert arguments(BeamSettings()) == []
    direct = _parsed("direct", options=("--job_name=coronet",))
    assert direct.view_as(StandardOptions).runner == "FnApiRunner"
    assert direct.view_as(DirectOptions).direct_running_mode == "in_memory"
    every_core = _parsed("multiprocess").view_as(DirectOptions)
    assert every_core.direct_running_mode == "multi_processing"
    assert every_core.direct_num_workers == 0  # Beam's word for all cores
    assert _parsed("multiprocess", 3).view_as(DirectOptions).direct_num_workers == 3


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
        "pyproject.toml",
    ):
        assert module in names
