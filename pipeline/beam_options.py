"""Turns `BeamSettings` into Beam's own pipeline options."""

import os

from pipeline.config import BeamSettings

_RUNNERS = {
    "direct": "DirectRunner",
    "multiprocess": "DirectRunner",
    "flink": "FlinkRunner",
    "spark": "SparkRunner",
    "dataflow": "DataflowRunner",
}


def arguments(settings: BeamSettings) -> list[str]:
    """Returns Beam's arguments for the chosen runner, the user's own options last."""
    options = [f"--runner={_RUNNERS[settings.runner]}"]
    if settings.runner == "direct":
        options.append("--direct_running_mode=in_memory")
    elif settings.runner == "multiprocess":
        workers = settings.workers or os.cpu_count() or 1
        options += ["--direct_running_mode=multi_processing", f"--direct_num_workers={workers}"]
    elif settings.workers:
        flag = "parallelism" if settings.runner == "flink" else "num_workers"
        options.append(f"--{flag}={settings.workers}")
    return [*options, *settings.options]
