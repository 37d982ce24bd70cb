"""Does the time of ingestion and Transform grow no faster than the data?

    python -m benchmarks.scale [--data FOLDER] [--images 250] [--factors 1,4,16] [--workers 1,2]

Runs the DAG's own nodes up to Transform, at each multiple of the data and with each number
of Beam workers, all in one run. The images are those of FOLDER, again and again, each time
cropped and mirrored in another way (no two are copies); or phantoms. Prints seconds of wall
clock and of CPU a node, and from one size to the next the growth of the CPU seconds against
that of the data (CPU, because a machine that others use too spoils the clock). Exit status 1:
some node grew faster than the data, beyond what start-up and measurement explain.

`--out` keeps the figures as JSON; docs/scaling.md is computed from them.
"""

import argparse
import contextlib
import itertools
import json
import resource
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np

from components.ingestion.discovery import discover, make_plan
from components.ingestion.fingerprint import fingerprint
from components.ingestion.reading import Image, Reading
from components.ingestion.references import Reference
from components.ingestion.settings import DataSettings
from models.features import CLASSES
from pipeline import beam_options
from pipeline.config import load
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
        warm_up = _draw(Path(scratch) / "warm-up" / "data", options.data, 40)
        _measure(warm_up, Path(scratch) / "warm-up" / "run", 40, 1)
        for factor in options.factors:
            images = options.images * factor
            data = _draw(Path(scratch) / f"{images}", options.data, images)
            for workers in options.workers:
                found = _measure(data, Path(scratch) / f"{images}-{workers}", images, workers)
                measurements += found
                for one in found:
                    print(_line(one), flush=True)
    if options.out:
        options.out.write_text(json.dumps([asdict(one) for one in measurements], indent=2) + "\n")
    return _judge(measurements)


def _draw(folder: Path, source: Path | None, images: int) -> Path:
    """Fills `folder` with `images` labelled images, and returns it."""
    if source is None:
        write_sample(folder, images=images)
        return folder
    settings = DataSettings()
    plan = make_plan(str(source), settings)
    references = [
        item for item in discover(str(source), plan, settings) if isinstance(item, Reference)
    ]
    found = [
        item
        for item in Reading(str(source), plan.kind, settings).read(references)
        if isinstance(item, Image)
    ]
    random = np.random.default_rng(2020)
    for name in CLASSES:
        (folder / name).mkdir(parents=True)
    for number in range(images):
        image = found[number % len(found)]
        pixels = image.radiograph.pixels
        if number >= len(found):
            pixels = _another(pixels, random)
        assert image.label is not None  # plans are labelled
        path = folder / CLASSES[image.label] / f"{number:06d}.jpeg"
        cv2.imwrite(str(path), pixels, [cv2.IMWRITE_JPEG_QUALITY, 90])
    return folder


def _another(pixels: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Returns a part of `pixels` (uint8 [H, W]) at their size, mirrored one time in two."""
    height, width = pixels.shape
    rows, columns = (round(side * random.uniform(0.7, 0.95)) for side in (height, width))
    top, left = random.integers(height - rows + 1), random.integers(width - columns + 1)
    part = cv2.resize(pixels[top : top + rows, left : left + columns], (width, height))
    return part[:, ::-1] if random.random() < 0.5 else part


def _measure(data: Path, folder: Path, images: int, workers: int) -> list[Measurement]:
    """Runs the DAG's first nodes on the images in `data`, writing to `folder`."""
    folder.mkdir(parents=True)
    config = load(
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

        if result.node == LAST_NODE:
            raise _Enough

    pipeline = create_pipeline(
        config,
        data_root=str(data),
        destination=Destination(root=str(folder / "artifacts"), push=str(folder / "push")),
        context={"data_digest": fingerprint(str(data)), "revision": "benchmark"},
        metadata=connection_config(config.metadata, folder / "metadata.db"),
        beam_args=beam_options.arguments(config.beam),
        with_baseline=False,
    )
    runner = ProgressDagRunner(str(time.time_ns()), lambda *_: None, finished)
    # TFX compiles no part of a DAG whose other nodes are known.
    with contextlib.suppress(_Enough):
        runner.run(pipeline)
    return found


class _Enough(Exception):  # noqa: N818  nothing went wrong
    """The last measured node has finished."""


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
    parser.add_argument("--data", type=Path, help="labelled X-rays; phantoms by default")
    parser.add_argument("--images", type=int, default=250, help="the data, once")
    parser.add_argument("--factors", type=numbers, default=[1, 4, 16])
    parser.add_argument("--workers", type=numbers, default=[1, 2])
    parser.add_argument("--out", type=Path)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
