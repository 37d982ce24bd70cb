"""Ingestion: what bad files cost, and whether many files need much memory.

    python -m benchmarks.ingestion speed             # clean against 5% bad, alternating
    python -m benchmarks.ingestion memory 2000 20000 # peak memory and images/s of each number

Both run the component's executor on Beam's direct runner, in this process or in a child.
"""

import argparse
import contextlib
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np
import psutil

from models.features import CLASSES

BAD_SHARE = 0.05


def write_images(root: Path, count: int, side: int) -> None:
    """Writes `count` different JPEG files of `side` pixels into class folders."""
    rng = np.random.default_rng(0)
    for name in CLASSES:
        (root / name).mkdir(parents=True)
    for index in range(count):
        coarse = rng.uniform(0, 255, (8, 8)).astype(np.float32)
        image = cv2.resize(coarse, (side, side), interpolation=cv2.INTER_CUBIC)
        path = root / CLASSES[index % len(CLASSES)] / f"{index:06d}.jpeg"
        cv2.imwrite(str(path), np.clip(image, 0, 255).astype(np.uint8))


def spoil(root: Path, share: float) -> None:
    """Damages every n-th file, each in another way."""
    paths = sorted(root.rglob("*.jpeg"))
    for number, path in enumerate(paths[:: round(1 / share)]):
        data = path.read_bytes()
        path.write_bytes(
            [data[: len(data) // 2], b"", b"<html>", data[:3] + bytes(500)][number % 4]
        )


def ingest(root: Path) -> None:
    """Runs the executor on `root`."""
    from tfx.dsl.components.base.base_beam_executor import BaseBeamExecutor
    from tfx.types import standard_artifacts

    from components.artifacts import Quarantine
    from components.beam_runner import use_in_process_runner
    from components.ingestion.executor import Executor
    from components.ingestion.settings import DataSettings

    use_in_process_runner()
    with tempfile.TemporaryDirectory() as folder:
        examples, quarantine = standard_artifacts.Examples(), Quarantine()
        examples.uri, quarantine.uri = f"{folder}/examples", f"{folder}/quarantine"
        context = BaseBeamExecutor.Context(tmp_dir=f"{folder}/tmp", unique_id="1")
        Executor(context).Do(
            {},
            {"examples": [examples], "quarantine": [quarantine]},
            {
                "data_root": str(root),
                "settings_json": DataSettings(max_bad_fraction=1).model_dump_json(),
            },
        )


def speed(count: int, rounds: int) -> None:
    """Prints the time for the same number of inputs, 5% of them bad, as a ratio."""
    with tempfile.TemporaryDirectory() as folder:
        clean, dirty = Path(folder, "clean"), Path(folder, "dirty")
        for root in (clean, dirty):
            write_images(root, count, side=400)
        spoil(dirty, BAD_SHARE)
        ingest(clean)  # imports and warm-up
        seconds: dict[Path, list[float]] = {clean: [], dirty: []}
        for _ in range(rounds):
            for root, times in seconds.items():
                start = time.process_time()
                ingest(root)
                times.append(time.process_time() - start)
    medians = [statistics.median(times) for times in seconds.values()]
    ratios = [bad / good for good, bad in zip(*seconds.values(), strict=True)]
    print(
        f"{count} inputs: clean {medians[0]:.2f} s, {BAD_SHARE:.0%} bad {medians[1]:.2f} s of CPU; "
        f"ratio {statistics.median(ratios):.3f} (per round: "
        f"{', '.join(f'{ratio:.3f}' for ratio in ratios)})"
    )


def memory(counts: list[int]) -> None:
    """Prints the peak memory of a process that ingests that many tiny files, with its children."""
    for count in counts:
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder, "data")
            write_images(root, count, side=40)
            size = sum(path.stat().st_size for path in root.rglob("*.jpeg"))
            command = [sys.executable, "-m", "benchmarks.ingestion", "child", str(root)]
            child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
            peak = _peak(child)
            assert child.stdout is not None
            imports, seconds = (float(word) for word in child.stdout.read().split())
            if child.wait():
                raise subprocess.CalledProcessError(child.returncode, command)
            print(
                f"{count:7d} files, {size / 1e6:6.1f} MB: peak {peak:.0f} MiB "
                f"({imports:.0f} after imports), {seconds:.0f} s, {count / seconds:.0f} files/s",
                flush=True,
            )


def _peak(child: subprocess.Popen[str]) -> float:
    """Waits for `child`; returns the most memory it had at once, in MiB, with its children."""
    peak = 0.0
    process = psutil.Process(child.pid)
    while child.poll() is None:
        used = 0
        with contextlib.suppress(psutil.Error):  # gone in between
            for one in (process, *process.children(recursive=True)):
                used += one.memory_info().rss
        peak = max(peak, used / 2**20)
        time.sleep(0.25)
    return peak


def child(root: Path) -> None:
    """Ingests `root`; prints the MiB after imports and the seconds that it took."""
    import components.ingestion.executor  # noqa: F401

    imports = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    start = time.monotonic()
    ingest(root)
    print(imports, time.monotonic() - start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    speed_parser = commands.add_parser("speed")
    speed_parser.add_argument("--count", type=int, default=1000)
    speed_parser.add_argument("--rounds", type=int, default=5)
    memory_parser = commands.add_parser("memory")
    memory_parser.add_argument("counts", type=int, nargs="+")
    child_parser = commands.add_parser("child")
    child_parser.add_argument("root", type=Path)
    arguments = parser.parse_args()
    if arguments.command == "speed":
        speed(arguments.count, arguments.rounds)
    elif arguments.command == "memory":
        memory(arguments.counts)
    else:
        child(arguments.root)


if __name__ == "__main__":
    main()
