"""Images as the classifiers of an experiment see them, preprocessed once and kept as files."""

import functools
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from models.preprocessing import (
    ResolvedPreprocessing,
    SizeStatistics,
    preprocess_encoded,
    target_size,
)
from models.settings import PreprocessingSettings
from pipeline.atomic import staged
from pipeline.experiments import span
from pipeline.experiments.dataset import LabelledImages
from pipeline.experiments.training_task import Task

_DECODED_AT_A_TIME = 64


def statistics_of(dataset: LabelledImages, chosen: np.ndarray) -> SizeStatistics:
    """Returns the size statistics of the images with the indices `chosen`."""
    heights, widths = dataset.heights[chosen], dataset.widths[chosen]
    return SizeStatistics(
        min_height=int(heights.min()),
        max_height=int(heights.max()),
        mean_height=float(heights.mean()),
        min_width=int(widths.min()),
        max_width=int(widths.max()),
        mean_width=float(widths.mean()),
    )


def target_pixels(
    preprocessing: PreprocessingSettings, statistics: SizeStatistics
) -> tuple[int, int]:
    """Returns (height, width) as Python's integers."""
    height, width = target_size(preprocessing, statistics)
    return int(height), int(width)


def prepare(
    dataset: LabelledImages, tasks: Sequence[Task], progress: Callable[[int, int], None]
) -> None:
    """Writes the images and coordinates that the tasks need and that are not there yet."""
    images = {task.images: task.preprocessing for task in tasks if not task.images.is_file()}
    spans = {task.span: task.images for task in tasks if task.span and not task.span.is_file()}
    count = len(images) + len(spans)
    for done, (file, resolved) in enumerate(images.items()):
        progress(done, count)
        save_array(file, preprocessed(dataset.encoded, resolved))
    for done, (file, source) in enumerate(spans.items(), start=len(images)):
        progress(done, count)
        span.span_of(np.load(source, mmap_mode="r", allow_pickle=False)).save(file)


def preprocessed(encoded: Sequence[bytes], resolved: ResolvedPreprocessing) -> np.ndarray:
    """Returns the images whose files' contents are `encoded`, uint8 [N, height, width, 1]."""
    import tensorflow as tf

    graph = tf.function(
        functools.partial(preprocess_encoded, resolved=resolved),
        input_signature=[tf.TensorSpec([None], tf.string)],
    )
    parts = [
        graph(tf.constant(encoded[start : start + _DECODED_AT_A_TIME])).numpy()
        for start in range(0, len(encoded), _DECODED_AT_A_TIME)
    ]
    return np.concatenate(parts)


def save_array(file: Path, array: np.ndarray) -> None:
    """Writes `array` as `.npy`; the file appears whole or not at all."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with staged(file) as staging:
        np.save(staging, array)
