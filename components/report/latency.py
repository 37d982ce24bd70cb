"""How long the edge build takes on the machine that writes the report."""

import os
import platform
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass

import edge
from components.pusher.bundle import copy_tree

WARM_UP = 2


@dataclass(frozen=True)
class Latency:
    """Milliseconds of one prediction from encoded bytes, on one thread.

    Attributes:
        median, slowest: over `images` predictions, after warming up.
        machine: the processor's architecture and number of cores.
    """

    median: float
    slowest: float
    images: int
    machine: str


def measure(folder: str, images: Sequence[bytes]) -> Latency:
    """Predicts each of `images` (encoded, at least one) with the edge build in `folder`."""
    with tempfile.TemporaryDirectory() as local:
        copy_tree(folder, local)
        classifier = edge.Classifier(local)
    for image in images[:WARM_UP]:
        classifier.predict(image)
    times = []
    for image in images:
        start = time.perf_counter()
        classifier.predict(image)
        times.append((time.perf_counter() - start) * 1000)
    return Latency(
        median=statistics.median(times),
        slowest=max(times),
        images=len(times),
        machine=f"{platform.machine()}, {os.cpu_count()} cores",
    )
