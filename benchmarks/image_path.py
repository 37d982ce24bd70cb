"""Speed and memory of the image path, side by side with OpenCV in one run.

    python benchmarks/image_path.py --data FOLDER [--only clahe|transform|memory]

FOLDER holds images below `train/`. Three comparisons, each on two cores:

- CLAHE of 200 x 200 images: batched in a graph that runs two ops at a time, against `cv2` image
  by image from one Python thread. An op has one thread, as in Transform's workers;
  `--op-threads 2` is what TensorFlow does unasked on two cores.
- Transform's image work (decode, method A, CLAHE, PNG): the graph that TFX runs, in a pool of
  two processes with a thread each, as `beam.runner=multiprocess` runs it, against an OpenCV
  script with such a pool; and the graph in one process with two threads, as the direct runner
  does. The script writes its PNGs twice: at the same level of zlib as the graph, which is the
  same work, and as OpenCV does unasked, which looks for runs only: faster, a little larger,
  and not to be had from TensorFlow.
- Peak memory of the pipeline's Transform under Beam: over the images, and over ten times as
  many.

Rounds alternate, so that other work on the machine hits both alike; the median round counts.
Processor time is printed beside, for machines that are never quiet.
"""

import argparse
import functools
import itertools
import json
import multiprocessing
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path

CORES = 2
SIDE = 200
REPEATS = 10
"""How many times larger the larger set of the memory comparison is."""
EXAMPLES, SPLIT = "examples", "train"
PARTS = ("transform", "clahe", "memory")


def opencv_clahe(images) -> None:
    import cv2

    equaliser = cv2.createCLAHE(2.0, (8, 8))
    for image in images:
        equaliser.apply(image)


def opencv_transform(content: bytes, png: tuple[int, ...] = ()) -> bytes:
    """Method A, CLAHE and PNG as one would write them with OpenCV; `png` as `imencode` takes."""
    import cv2
    import numpy as np

    image = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_GRAYSCALE)
    ratio = SIDE / max(image.shape)
    height, width = (max(round(side * ratio), 1) for side in image.shape)
    kernel = cv2.INTER_AREA if ratio < 1 else cv2.INTER_LINEAR
    framed = np.zeros((SIDE, SIDE), np.uint8)
    top, left = (SIDE - height) // 2, (SIDE - width) // 2
    framed[top : top + height, left : left + width] = cv2.resize(
        image, (width, height), interpolation=kernel
    )
    return cv2.imencode(".png", cv2.createCLAHE(2.0, (8, 8)).apply(framed), png)[1].tobytes()


def opencv_transform_same_png(content: bytes) -> bytes:
    """As `opencv_transform`, with zlib's level of `models.decoding.encode`."""
    import cv2

    return opencv_transform(content, (cv2.IMWRITE_PNG_COMPRESSION, 1))


def one_thread() -> None:
    import cv2

    cv2.setNumThreads(1)


def compare(title: str, images: int, rounds: int, **contenders: Callable[[], object]) -> None:
    """Times contenders in turn and prints the ratio of the first to each of the others."""
    wall: dict[str, list[float]] = {name: [] for name in contenders}
    processor: dict[str, list[float]] = {name: [] for name in contenders}
    for turn in range(rounds + 1):
        for name, work in contenders.items():
            before, started = time.process_time(), time.perf_counter()
            work()
            if turn:  # the first round warms up
                wall[name].append(time.perf_counter() - started)
                processor[name].append(time.process_time() - before)
    print(title)
    for name in contenders:
        print(
            f"  {name:18} {1e3 * statistics.median(wall[name]) / images:7.3f} ms/image, "
            f"{1e3 * statistics.median(processor[name]) / images:7.3f} ms of this process's CPU"
        )
    ours, *others = wall
    for name in others:
        ratios = sorted(their / our for our, their in zip(wall[ours], wall[name], strict=True))
        print(
            f"  {ours} has {statistics.median(ratios):.2f}x the throughput of {name} "
            f"(rounds from {ratios[0]:.2f}x to {ratios[-1]:.2f}x)"
        )


def read_images(data: Path) -> list[bytes]:
    suffixes = {".jpeg", ".jpg", ".png"}
    paths = sorted(path for path in (data / "train").rglob("*") if path.suffix in suffixes)
    if not paths:
        sys.exit(f"no images below {data / 'train'}")
    return [path.read_bytes() for path in paths]


def limit_threads(of_an_op: int, ops: int) -> None:
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(of_an_op)
    tf.config.threading.set_inter_op_parallelism_threads(ops)


def benchmark_clahe(contents: list[bytes], rounds: int, batch_size: int, of_an_op: int) -> None:
    import tensorflow as tf

    from models.image_ops import clahe
    from models.preprocessing import ResolvedPreprocessing, preprocess_encoded

    limit_threads(of_an_op, CORES)
    one_thread()
    images = preprocess_encoded(
        tf.constant(contents), ResolvedPreprocessing("A", SIDE, SIDE, clahe=False)
    )
    batches = [images[i : i + batch_size] for i in range(0, len(contents), batch_size)]
    graph = tf.function(clahe, input_signature=[tf.TensorSpec([None, SIDE, SIDE, 1], tf.uint8)])
    arrays = images.numpy()[..., 0]
    compare(
        f"CLAHE, {len(contents)} images of {SIDE} x {SIDE}, batches of {batch_size}",
        len(contents),
        rounds,
        graph=lambda: [graph(batch) for batch in batches],
        opencv=lambda: opencv_clahe(arrays),
    )


@functools.cache
def transform_graph():
    """What Transform runs on a batch: contents of image files to PNGs."""
    import tensorflow as tf

    from models.settings import PreprocessingSettings
    from models.transform import preprocess_to_png

    settings = PreprocessingSettings(method="A", size=SIDE)
    return tf.function(
        lambda encoded: preprocess_to_png(encoded, settings, (SIDE, SIDE)),
        input_signature=[tf.TensorSpec([None], tf.string)],
    )


def graph_transform(contents: list[bytes]) -> list[bytes]:
    return list(transform_graph()(contents).numpy())


def benchmark_transform(contents: list[bytes], rounds: int, batch_size: int) -> None:
    # Spawned, for a process with TensorFlow threads cannot be forked safely.
    spawning = multiprocessing.get_context("spawn")
    with (
        spawning.Pool(CORES, one_thread) as scripts,
        spawning.Pool(CORES, limit_threads, (1, 1)) as graphs,
    ):
        scripts.map(opencv_transform, contents[:4])
        batches = [contents[i : i + batch_size] for i in range(0, len(contents), batch_size)]
        limit_threads(CORES, CORES)

        def joined(parts: Iterable[list[bytes]]) -> list[bytes]:
            return list(itertools.chain.from_iterable(parts))

        def script(work: Callable[[bytes], bytes]) -> list[bytes]:
            return scripts.map(work, contents, chunksize=batch_size)

        contenders: dict[str, Callable[[], list[bytes]]] = {
            "graph": lambda: joined(graphs.map(graph_transform, batches, chunksize=1)),
            "opencv, same PNG": lambda: script(opencv_transform_same_png),
            "opencv": lambda: script(opencv_transform),
            "graph, one process": lambda: joined(map(graph_transform, batches)),
        }
        sizes = {name: statistics.mean(map(len, work())) for name, work in contenders.items()}
        compare(
            f"Transform's image work, {len(contents)} images, batches of {batch_size}",
            len(contents),
            rounds,
            **contenders,
        )
    for name, length in sizes.items():
        print(f"  {name:18} {length / SIDE**2:.3f} bytes a pixel as PNG")


def benchmark_memory(contents: list[bytes]) -> None:
    """Measures each size in a process of its own, for a peak never goes down."""
    examples = [raw_example(content) for content in contents]
    peaks = {}
    for repeats in (1, REPEATS):
        with tempfile.TemporaryDirectory() as folder:
            write_split(Path(folder) / EXAMPLES, examples * repeats)
            command = [sys.executable, __file__, "--transform-below", folder]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        peaks[repeats] = json.loads(done.stdout.splitlines()[-1])["peak_mib"]
    print(f"Transform's peak memory under Beam, {len(contents)} images and {REPEATS} times as many")
    print(f"  {peaks[1]:.0f} MiB and {peaks[REPEATS]:.0f} MiB: {peaks[REPEATS] / peaks[1]:.3f}x")


def raw_example(content: bytes) -> bytes:
    """An image as ingestion writes it, as far as Transform reads it."""
    import cv2
    import numpy as np
    import tensorflow as tf

    from models import features

    height, width = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_GRAYSCALE).shape
    texts = {
        features.IMAGE: content,
        features.SOURCE: b"benchmark",
        features.SIZE_BUCKET: features.size_bucket(height, width).encode(),
        features.PATIENT: b"",
        features.FILENAME: b"",
        features.DIGEST: b"",
    }
    numbers = {features.LABEL: 0, features.HEIGHT: height, features.WIDTH: width}
    example = tf.train.Example()
    for key, text in texts.items():
        example.features.feature[key].bytes_list.value.append(text)
    for key, number in numbers.items():
        example.features.feature[key].int64_list.value.append(number)
    return example.SerializeToString()


def write_split(folder: Path, examples: list[bytes]) -> None:
    import tensorflow as tf

    split = folder / f"Split-{SPLIT}"
    split.mkdir(parents=True)
    with tf.io.TFRecordWriter(str(split / "data.gz"), "GZIP") as writer:
        for example in examples:
            writer.write(example)


def transform_below(folder: Path) -> None:
    """Runs the pipeline's Transform on the examples in `folder`; prints its peak memory."""
    from tfx.dsl.components.base import base_beam_executor
    from tfx.proto import transform_pb2
    from tfx.types import artifact_utils, standard_artifacts
    from tfx.utils import proto_utils

    from components.ingestion.schema import SCHEMA_FILE
    from components.transform.executor import Executor
    from models.settings import PreprocessingSettings

    def artifact(kind, name: str):
        result = kind()
        result.uri = str(folder / name)
        return [result]

    examples = artifact(standard_artifacts.Examples, EXAMPLES)
    examples[0].split_names = artifact_utils.encode_split_names([SPLIT])
    schema = artifact(standard_artifacts.Schema, "schema")
    (folder / "schema").mkdir()
    shutil.copy(SCHEMA_FILE, folder / "schema")
    context = base_beam_executor.BaseBeamExecutor.Context(
        beam_pipeline_args=[], tmp_dir=str(folder / "tmp"), unique_id="1"
    )
    Executor(context).Do(
        {"examples": examples, "schema": schema},
        {
            "transform_graph": artifact(standard_artifacts.TransformGraph, "graph"),
            "transformed_examples": artifact(standard_artifacts.Examples, "transformed"),
        },
        {
            "preprocessing_fn": "models.transform.preprocessing_fn",
            "custom_config": json.dumps(
                {"preprocessing": PreprocessingSettings().model_dump_json()}
            ),
            "splits_config": proto_utils.proto_to_json(
                transform_pb2.SplitsConfig(analyze=[SPLIT], transform=[SPLIT])
            ),
            "disable_statistics": 1,
        },
    )
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"peak_mib": peak}))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--data", type=Path)
    parser.add_argument("--only", choices=PARTS)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument(
        "--op-threads", type=int, default=1, help="threads of one op, for CLAHE (default 1)"
    )
    parser.add_argument("--transform-below", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.transform_below:
        transform_below(arguments.transform_below)
        return
    if arguments.data is None:
        parser.error("--data is needed")
    if arguments.only is None:
        # A process each: TensorFlow's threads are given once.
        for part in PARTS:
            command = [sys.executable, __file__, *sys.argv[1:], "--only", part]
            subprocess.run(command, check=True)
        return
    contents = read_images(arguments.data)
    if arguments.only == "transform":
        benchmark_transform(contents, arguments.rounds, arguments.batch_size)
    elif arguments.only == "clahe":
        benchmark_clahe(contents, arguments.rounds, arguments.batch_size, arguments.op_threads)
    else:
        benchmark_memory(contents)


if __name__ == "__main__":
    main()
