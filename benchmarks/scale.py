"""Does the time of ingestion and Transform grow no faster than the data?

    python -m benchmarks.scale [--images 250] [--factors 1,4,16] [--workers 1,2]

Runs the DAG's own nodes up to Transform on phantoms, at each multiple of the data and
with each number of Beam workers, all in one run. Prints seconds of wall clock and of CPU a
node, and from one size to the next the growth of the CPU seconds against that of the data
(CPU, because a machine that others use too spoils the clock). Exit status 1: some node grew
faster than the data, beyond what start-up and measurement explain.

`--out` keeps the figures as JSON; docs/scaling.md is computed from them.
"""

import argparse
import itertools
import json
import resource
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from tfx import v1 as tfx

from components.ingestion.fingerprint import fingerprint
from pipeline import beam_options
from pipeline.config import Config, load
from pipeline.dag_runner import NodeResult, ProgressDagRunner
from pipeline.metadata_connection import connection_config
from pipeline.pipeline import Destination, create_pipeline
from pipeline.sample import write_sample

LAST_NODE = "Transform"
MEASURED = ("XrayExampleGen", "StatisticsGen", "Transform")
# Growth of the time over that of the data which still counts as equal.
TOLERANCE = 1.15


@dataclass(frozen=True)
class Measurement:
    """One node on so many images with so many workers.

    Attributes:
        seconds, cpu_seconds: wall clock; processor time of this process and its children.
        stored_bytes: what the node wrote.
    """

    node: str
    images: int
    workers: int
    seconds: float
    cpu_seconds: float
    stored_bytes: int


def main() -> int:
    """Measures, prints, and returns the exit status."""
    options = _parse_arguments()
    measurements: list[Measurement] = []
    with tempfile.TemporaryDirectory() as scratch:
        # What TensorFlow and Beam do once in a process is none of the data's cost.
        _measure(Path(scratch) / "warm-up", 40, 1)
        for factor in options.factors:
            for workers in options.workers:
                images = options.images * factor
                folder = Path(scratch) / f"{images}-{workers}"
                found = _measure(folder, images, workers)
                measurements += found
                for one in found:
                    print(_line(one), flush=True)
    if options.out:
        options.out.write_text(json.dumps([asdict(one) for one in measurements], indent=2) + "\n")
    return _judge(measurements)


def _measure(folder: Path, images: int, workers: int) -> list[Measurement]:
    """Draws `images` phantoms, and runs the DAG's first nodes on them."""
    data = folder / "data"
    write_sample(data, images=images)
    config = load(
        "sample",
        overrides=[
            "models=[svm]",
            f"beam.workers={workers if workers > 1 else 0}",
            f"beam.runner={'multiprocess' if workers > 1 else 'direct'}",
        ],
    )
    cpu = [_cpu_seconds()]
    found: list[Measurement] = []

    def finished(result: NodeResult) -> None:
        cpu.append(_cpu_seconds())
        if result.node in MEASURED:
            stored = _bytes_below(folder / "artifacts" / result.node)
            found.append(
                Measurement(result.node, images, workers, result.seconds, cpu[-1] - cpu[-2], stored)
            )

    runner = ProgressDagRunner(str(time.time_ns()), lambda *_: None, finished)
    runner.run(_first_nodes(config, data, folder))
    return found


def _first_nodes(config: Config, data: Path, folder: Path) -> tfx.dsl.Pipeline:
    """Returns the DAG for `config`, without what comes after Transform."""
    pipeline = create_pipeline(
        config,
        data_root=str(data),
        destination=Destination(root=str(folder / "artifacts"), push=str(folder / "push")),
        context={"data_digest": fingerprint(str(data)), "revision": "benchmark"},
        metadata=connection_config(config.metadata, folder / "metadata.db"),
        beam_args=beam_options.arguments(config.beam),
        with_baseline=False,
    )
    ids = [node.id for node in pipeline.components]
    kept = [node for node in pipeline.components if ids.index(node.id) <= ids.index(LAST_NODE)]
    return tfx.dsl.Pipeline(
        pipeline_name=config.name,
        pipeline_root=str(folder / "artifacts"),
        components=kept,
        metadata_connection_config=connection_config(config.metadata, folder / "metadata.db"),
        beam_pipeline_args=beam_options.arguments(config.beam),
    )


def _judge(measurements: list[Measurement]) -> int:
    """Prints the growth from each size to the next; returns 1 if one outgrew the data."""
    status = 0
    ordered = sorted(measurements, key=lambda one: (one.node, one.workers, one.images))
    for small, large in itertools.pairwise(ordered):
        if (small.node, small.workers) != (large.node, large.workers):
            continue
        data = large.images / small.images
        growth = large.cpu_seconds / small.cpu_seconds
        verdict = "ok" if growth <= data * TOLERANCE else "FASTER THAN THE DATA"
        status |= verdict != "ok"
        marginal = (large.cpu_seconds - small.cpu_seconds) / (large.images - small.images)
        print(
            f"{small.node:<16} workers {small.workers}  images x{data:g} ({small.images} -> "
            f"{large.images})  CPU x{growth:.2f}  {1000 * marginal:.2f} ms CPU a further image  "
            f"{verdict}"
        )
    return status


def _line(one: Measurement) -> str:
    return (
        f"{one.node:<16} workers {one.workers}  images {one.images:<6} "
        f"{one.seconds:7.1f} s  {one.cpu_seconds:7.1f} s CPU  "
        f"{one.stored_bytes / one.images / 1024:6.1f} KiB an image"
    )


def _cpu_seconds() -> float:
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def _bytes_below(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def _parse_arguments() -> argparse.Namespace:
    def numbers(text: str) -> list[int]:
        return sorted(int(part) for part in text.split(","))

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--images", type=int, default=250, help="the data, once")
    parser.add_argument("--factors", type=numbers, default=[1, 4, 16])
    parser.add_argument("--workers", type=numbers, default=[1, 2])
    parser.add_argument("--out", type=Path)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
