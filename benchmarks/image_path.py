"""Speed and memory of the image path, side by side with OpenCV in one run.

    python benchmarks/image_path.py --data FOLDER [--only clahe|transform|memory]

FOLDER holds images below `train/`. Three comparisons, each on two cores:

- CLAHE of 200 x 200 images: batched in a graph, against `cv2` image by image from one
  Python thread.
- Transform's image work (decode, method A, CLAHE, PNG): the graph that TFX runs, against an
  OpenCV script with a pool of two processes.
- Peak memory of Transform under Beam: over the images, and over ten times as many.

Rounds alternate, so that other work on the machine hits both alike; the median round counts.
Processor time is printed beside, for machines that are never quiet.
"""

import argparse
import json
import multiprocessing
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

CORES = 2
SIDE = 200
REPEATS = 10
"""How many times larger the larger set of the memory comparison is."""


def opencv_clahe(images) -> None:
    import cv2

    equaliser = cv2.createCLAHE(2.0, (8, 8))
    for image in images:
        equaliser.apply(image)


def opencv_transform(content: bytes) -> bytes:
    """Method A, CLAHE and PNG as one would write them with OpenCV."""
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
    return cv2.imencode(".png", cv2.createCLAHE(2.0, (8, 8)).apply(framed))[1].tobytes()


def one_thread() -> None:
    import cv2

    cv2.setNumThreads(1)


def compare(title: str, images: int, rounds: int, **contenders: Callable[[], object]) -> None:
    """Times two contenders in turn and prints the ratio of the first to the second."""
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
            f"  {name:11} {1e3 * statistics.median(wall[name]) / images:7.3f} ms/image, "
            f"{1e3 * statistics.median(processor[name]) / images:7.3f} ms of this process's CPU"
        )
    ours, theirs = wall.values()
    ratios = sorted(their / our for our, their in zip(ours, theirs, strict=True))
    print(
        f"  throughput ratio {statistics.median(ratios):.2f}x "
        f"(rounds from {ratios[0]:.2f}x to {ratios[-1]:.2f}x)"
    )


def read_images(data: Path) -> list[bytes]:
    suffixes = {".jpeg", ".jpg", ".png"}
    paths = sorted(path for path in (data / "train").rglob("*") if path.suffix in suffixes)
    if not paths:
        sys.exit(f"no images below {data / 'train'}")
    return [path.read_bytes() for path in paths]


def limit_threads() -> None:
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(CORES)
    tf.config.threading.set_inter_op_parallelism_threads(CORES)


def benchmark_clahe(contents: list[bytes], rounds: int, batch_size: int) -> None:
    import tensorflow as tf

    from models.image_ops import clahe
    from models.preprocessing import ResolvedPreprocessing, preprocess_encoded

    limit_threads()
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


def benchmark_transform(contents: list[bytes], rounds: int, batch_size: int) -> None:
    # Spawned, for a process with TensorFlow threads cannot be forked safely.
    with multiprocessing.get_context("spawn").Pool(CORES, one_thread) as pool:
        pool.map(opencv_transform, contents[:4])
        import tensorflow as tf

        from models.settings import PreprocessingSettings
        from models.transform import preprocess_to_png

        limit_threads()
        settings = PreprocessingSettings(method="A", size=SIDE)
        graph = tf.function(
            lambda encoded: preprocess_to_png(encoded, settings, (SIDE, SIDE)),
            input_signature=[tf.TensorSpec([None], tf.string)],
        )
        batches = [
            tf.constant(contents[i : i + batch_size]) for i in range(0, len(contents), batch_size)
        ]
        sizes = [len(png) for batch in batches for png in graph(batch).numpy()]
        compare(
            f"Transform's image work, {len(contents)} images, batches of {batch_size}",
            len(contents),
            rounds,
            graph=lambda: [graph(batch) for batch in batches],
            opencv=lambda: pool.map(opencv_transform, contents, chunksize=32),
        )
    print(f"  {statistics.mean(sizes) / SIDE**2:.2f} bytes a pixel as PNG")


def benchmark_memory(contents: list[bytes]) -> None:
    """Measures each size in a process of its own, for a peak never goes down."""
    import cv2
    import numpy as np
    import tensorflow as tf

    from models import features

    def feature(value: bytes | int) -> tf.train.Feature:
        if isinstance(value, bytes):
            return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))
        return tf.train.Feature(int64_list=tf.train.Int64List(value=[value]))

    examples = []
    for content in contents:
        image = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_GRAYSCALE)
        height, width = image.shape
        values = {
            features.IMAGE: content,
            features.LABEL: 0,
            features.SOURCE: b"benchmark",
            features.SIZE_BUCKET: features.size_bucket(height, width).encode(),
            features.HEIGHT: height,
            features.WIDTH: width,
        }
        feature_map = {key: feature(value) for key, value in values.items()}
        example = tf.train.Example(features=tf.train.Features(feature=feature_map))
        examples.append(example.SerializeToString())
    peaks = {}
    for repeats in (1, REPEATS):
        with tempfile.TemporaryDirectory() as folder:
            records = os.path.join(folder, "raw.gz")
            with tf.io.TFRecordWriter(records, "GZIP") as writer:
                for example in examples * repeats:
                    writer.write(example)
            command = [sys.executable, __file__, "--records", records]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        peaks[repeats] = json.loads(done.stdout.splitlines()[-1])["peak_mib"]
    print(f"Transform's peak memory under Beam, {len(contents)} images and {REPEATS} times as many")
    print(f"  {peaks[1]:.0f} MiB and {peaks[REPEATS]:.0f} MiB: {peaks[REPEATS] / peaks[1]:.3f}x")


def transform_records(records: str) -> None:
    """Analyses and transforms `records` as the TFX component does."""
    import functools

    import apache_beam as beam
    import tensorflow as tf
    import tensorflow_transform.beam as tft_beam
    from tensorflow_transform.tf_metadata import schema_utils
    from tfx_bsl.public import tfxio

    from models import features
    from models.settings import PreprocessingSettings
    from models.transform import preprocessing_fn

    strings = (features.IMAGE, features.SOURCE, features.SIZE_BUCKET)
    numbers = (features.LABEL, features.HEIGHT, features.WIDTH)
    schema = schema_utils.schema_from_feature_spec(
        {key: tf.io.FixedLenFeature([1], tf.string) for key in strings}
        | {key: tf.io.FixedLenFeature([1], tf.int64) for key in numbers}
    )
    source = tfxio.TFExampleRecord([records], schema=schema)
    function = functools.partial(
        preprocessing_fn,
        custom_config={"preprocessing": PreprocessingSettings().model_dump_json()},
    )
    with (
        tempfile.TemporaryDirectory() as folder,
        beam.Pipeline() as pipeline,
        tft_beam.Context(temp_dir=os.path.join(folder, "work"), use_deep_copy_optimization=True),
    ):
        analysed = pipeline | "Read to analyse" >> source.BeamSource()
        transform_fn = (analysed, source.TensorAdapterConfig()) | tft_beam.AnalyzeDataset(function)
        raw = pipeline | "Read to transform" >> source.BeamSource()
        transformed, _ = (
            (raw, source.TensorAdapterConfig()),
            transform_fn,
        ) | tft_beam.TransformDataset(output_record_batches=True)
        _ = (
            transformed
            | beam.FlatMapTuple(lambda batch, _: batch.column(0).to_pylist())
            | beam.io.WriteToText(os.path.join(folder, "transformed"))
        )
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"peak_mib": peak}))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--data", type=Path)
    parser.add_argument("--only", choices=["clahe", "transform", "memory"])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--records", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.records:
        transform_records(arguments.records)
        return
    if arguments.data is None:
        parser.error("--data is needed")
    contents = read_images(arguments.data)
    if arguments.only in (None, "transform"):
        benchmark_transform(contents, arguments.rounds, arguments.batch_size)
    if arguments.only in (None, "clahe"):
        benchmark_clahe(contents, arguments.rounds, arguments.batch_size)
    if arguments.only in (None, "memory"):
        benchmark_memory(contents)


if __name__ == "__main__":
    main()
