"""Turns `BeamSettings` into Beam's own pipeline options.

What a runner cannot do without is demanded here, before anything starts; how our code gets
to its workers is in `docs/scaling.md`.
"""

import contextlib
import difflib
import io
from collections.abc import Mapping, Sequence
from typing import Literal

from models.errors import InputError
from pipeline.config import BeamSettings

_RUNNERS = {
    # Not DirectRunner, which is whatever Beam can download: see components.beam_runner.
    "direct": "FnApiRunner",
    "multiprocess": "FnApiRunner",
    "flink": "FlinkRunner",
    "spark": "SparkRunner",
    "dataflow": "DataflowRunner",
}

# Where workers find TFX. Told nothing, TFX packs itself up in every Beam node, some seconds
# each; workers of this machine have the installation that they are started from.
_WORKERS_ARE_HERE = "--sdk_container_image=none"

# Each worker process imports TensorFlow and TFX again for every Beam pipeline of the DAG, so
# few images are done sooner in one process. docs/scaling.md says where the number is from.
IMAGES_FOR_EVERY_CORE = 25_000

# Groups of options that a runner needs one of, each with an example. The environment is
# where the workers find our code: the image of `kubeflow/Dockerfile`, or setup.py.
_PORTABLE_WORKERS = {"environment_type": "EXTERNAL"}
_NEEDED: Mapping[str, Sequence[Mapping[str, str]]] = {
    "direct": (),
    "multiprocess": (),
    "flink": ({"flink_master": "flink-jobmanager:8081"}, _PORTABLE_WORKERS),
    "spark": (
        {"job_endpoint": "spark-job-server:8099", "spark_master_url": "spark://spark-master:7077"},
        _PORTABLE_WORKERS,
    ),
    "dataflow": (
        {"project": "my-project"},
        {"region": "europe-west4"},
        {"temp_location": "gs://my-bucket/temp"},
        {"sdk_container_image": "registry/coronet:0.1.0", "setup_file": "./setup.py"},
    ),
}
_ENVIRONMENTS = {"EXTERNAL": "localhost:50000", "DOCKER": "registry/coronet:0.1.0"}

# Set by `runner`, `workers` and the runner's name: giving them twice hides one of the two.
_OURS = {
    "runner": "runner",
    "direct_running_mode": "runner",
    "direct_num_workers": "workers",
    "parallelism": "workers",
    "num_workers": "workers",
}
DISTRIBUTED = ("flink", "spark", "dataflow")
# Their job servers have options of their own, which only they know.
_OPEN_ENDED = ("flink", "spark")


def arguments(settings: BeamSettings, images: int = 0) -> list[str]:
    """Returns Beam's arguments for the chosen runner, the user's own options last.

    None for the direct runner without options: see `components.beam_runner`.

    Args:
        settings: with the runner.
        images: how many there are to process, for `auto`; 0 where nobody knows.

    Raises:
        InputError: an option is unknown, given twice, badly valued or missing, or puts what
            all workers need on this machine's disk.
    """
    if settings.runner == "auto":
        many = images >= IMAGES_FOR_EVERY_CORE or settings.workers > 1
        runner: Literal["multiprocess", "direct"] = "multiprocess" if many else "direct"
        settings = settings.model_copy(update={"runner": runner})
    own = _parse(settings.options)
    for name in own:
        if name in _OURS:
            raise InputError(f"beam.options: use beam.{_OURS[name]} instead of --{name}")
    if own:
        _check_with_beam(settings)
    _check_needed(settings.runner, own)
    if settings.runner == "direct" and not settings.options:
        return []
    return [f"--runner={_RUNNERS[settings.runner]}", *_parallelism(settings), *settings.options]


def check_reachable(settings: BeamSettings, data: str, artifacts: str) -> None:
    """Refuses a local run whose Beam workers, on other machines, would not find its files.

    Args:
        settings: with the runner.
        data: the data root.
        artifacts: where the nodes write; empty means this machine's output folder.

    Raises:
        InputError: see above.
    """
    if settings.runner not in DISTRIBUTED:
        return
    needed = "gs://" if settings.runner == "dataflow" else "://" if "://" in artifacts else "/"
    for name, place in (("artifacts", artifacts), ("--data", data)):
        if not place or needed not in place:
            raise InputError(
                f"beam.runner={settings.runner}: its workers do not see {name}={place!r} on this "
                "machine; give a place that they all reach, as in --set "
                "artifacts=gs://bucket/artifacts and --data gs://bucket/x-rays"
            )


def _parallelism(settings: BeamSettings) -> list[str]:
    if settings.runner == "direct":
        return ["--direct_running_mode=in_memory", _WORKERS_ARE_HERE]
    if settings.runner == "multiprocess":
        # 0 is Beam's own way to say one worker a core, of the machine that it runs on.
        return [
            "--direct_running_mode=multi_processing",
            f"--direct_num_workers={settings.workers}",
            _WORKERS_ARE_HERE,
        ]
    if not settings.workers:
        return []
    if settings.runner == "spark":
        raise InputError("beam.workers: Spark's own configuration sets the number of executors")
    flag = "num_workers" if settings.runner == "dataflow" else "parallelism"
    return [f"--{flag}={settings.workers}"]


def _parse(options: Sequence[str]) -> dict[str, str]:
    parsed: dict[str, str] = {}
    for option in options:
        name, _, value = option.removeprefix("--").partition("=")
        if name in parsed:
            raise InputError(f"beam.options: --{name} is given twice")
        parsed[name] = value
    return parsed


def _check_needed(runner: str, own: Mapping[str, str]) -> None:
    missing = [
        " or ".join(f"--{name}={example}" for name, example in choices.items())
        for choices in _NEEDED[runner]
        if not any(name in own for name in choices)
    ]
    environment = own.get("environment_type", "").upper()
    if environment in _ENVIRONMENTS and "environment_config" not in own:
        missing.append(f"--environment_config={_ENVIRONMENTS[environment]}")
    if missing:
        raise InputError(f"beam.runner={runner} also needs in beam.options: {', '.join(missing)}")
    if runner == "dataflow":
        for name in ("temp_location", "staging_location"):
            if name in own and not own[name].startswith("gs://"):
                raise InputError(
                    f"beam.options: all workers must reach --{name}: give a gs:// folder, "
                    f"received {own[name]!r}"
                )


def _check_with_beam(settings: BeamSettings) -> None:
    """Has Beam parse the options; left alone it only logs those that it does not know."""
    from apache_beam.options.pipeline_options import PipelineOptions

    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            known = PipelineOptions(list(settings.options)).get_all_options(
                retain_unknown_options=True
            )
            declared = PipelineOptions([]).get_all_options()
    except SystemExit as error:
        reason = said.getvalue().strip().rpartition("error: ")[2]
        raise InputError(f"beam.options: {reason}") from error
    unknown = sorted(set(known) - set(declared))
    if unknown and settings.runner not in _OPEN_ENDED:
        near = difflib.get_close_matches(unknown[0], declared, n=1)
        hint = f": did you mean --{near[0]}?" if near else ""
        raise InputError(f"beam.options: Beam knows no --{unknown[0]}{hint}")
