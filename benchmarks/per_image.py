"""What one image costs the processor and the disk, up to the Trainer.

    python -m benchmarks.per_image FOLDER [--images 200]

Milliseconds of CPU (not of clock: other users of the machine do not count) of each step on
the images below FOLDER, with the default settings, one thread; and the bytes that are kept.
`docs/scaling.md` multiplies these.
"""

import argparse
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from statistics import mean
from typing import TypeVar

import tensorflow as tf

from components.ingestion import perceptual_hash, readers
from components.ingestion.settings import DataSettings
from models import image_ops, preprocessing
from models.settings import PreprocessingSettings

SIZE = (200, 200)
Item = TypeVar("Item")
Result = TypeVar("Result")


def main() -> None:
    """Measures and prints one line a step."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--images", type=int, default=200)
    options = parser.parse_args()
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    files = [file for file in sorted(options.folder.rglob("*")) if file.suffix[:4] == ".jpe"]
    contents = [file.read_bytes() for file in files[: options.images]]
    settings = DataSettings()
    radiographs = _timed("read", lambda data: readers.read(data, settings), contents)
    _timed("hash", lambda one: perceptual_hash.perceptual_hash(one.pixels), radiographs)
    resolved = preprocessing.resolve(PreprocessingSettings(), SIZE)
    transform = tf.function(
        lambda encoded: preprocessing.preprocess_encoded(encoded[None], resolved)[0],
        input_signature=[tf.TensorSpec([], tf.string)],
    )
    transform(contents[0])  # traces
    transformed = _timed("preprocess", transform, contents)
    encoded = _timed("encode", image_ops.encode, transformed)
    print(f"{'found':<12} {mean(map(len, contents)) / 1024:8.1f} KiB")
    print(f"{'transformed':<12} {mean(len(one.numpy()) for one in encoded) / 1024:8.1f} KiB")


def _timed(name: str, step: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
    start = time.process_time()
    results = [step(item) for item in items]
    milliseconds = 1000 * (time.process_time() - start) / len(results)
    print(f"{name:<12} {milliseconds:8.2f} ms of CPU an image ({len(results)} images)", flush=True)
    return results


if __name__ == "__main__":
    main()
