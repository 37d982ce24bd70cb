"""Cross-validation of the classifiers over the paper's preprocessings (figures 4 to 6).

    coronet crossval --data DIR --output DIR --model svm --methods A,B,C,D

An output folder holds:

    folds/<key>.json         one fold's result; an experiment that is run again, or goes on
                             after it was stopped, trains only what is missing
    images/<key>.npy         preprocessed images, which folds and classifiers share
    spans/<key>.npz          the same in the coordinates of `pipeline.experiments.span`, in
                             which the SVM and the MLP are trained
    runs/<key>/              log and history of each training
    crossval.json, crossval.md
    accuracy_<model>.png     mean accuracy by method and threshold
    confusion_<model>.png    one confusion matrix a method and threshold
"""

import contextlib
import functools
import hashlib
import json
import multiprocessing
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from models.errors import InputError
from models.features import CLASSES
from models.preprocessing import (
    ResolvedPreprocessing,
    SizeStatistics,
    preprocess_encoded,
    resolve,
    target_size,
)
from models.settings import ClassifierSettings, CoronetSettings, PreprocessingSettings
from pipeline.experiments import span
from pipeline.experiments.dataset import LabelledImages
from pipeline.experiments.figures import accuracy_bars, confusion_matrices
from pipeline.experiments.folds import Fold, make_folds
from pipeline.experiments.results import (
    FoldResult,
    Setup,
    Summary,
    confusion_matrix,
    markdown_table,
    size_text,
    summarize,
    write_text,
)

if TYPE_CHECKING:
    import keras

    from models.training import Job

FORMAT = 3
"""Part of every key: raise it when the same settings would give another result."""

_DECODED_AT_A_TIME = 64

HISTORY = ("epoch", "accuracy", "val_accuracy")
"""What a fold's result keeps of the training's history."""


@dataclass(frozen=True)
class Variant:
    """What is cross-validated: a setup, and the settings that it stands for.

    Attributes:
        setup: names it in tables and figures.
        settings: of the classifier, its preprocessing included.
    """

    setup: Setup
    settings: ClassifierSettings


@dataclass(frozen=True)
class Task:
    """One training: everything that a worker process needs, as plain data.

    Attributes:
        setup, fold: name the result.
        settings: JSON of the classifier's settings.
        seed: of the training.
        preprocessing: how the images came about.
        images, labels: `.npy` files, uint8 [N, H, W, 1] and int64 [N].
        span: `.npz` file of the images' coordinates; None trains on pixels.
        threads: of TensorFlow; `_share_out` sets it.
        parts: indices for training, validation and test.
        run_folder: for the training's log.
        result: JSON file to write.
    """

    setup: Setup
    fold: int
    settings: str
    seed: int
    preprocessing: ResolvedPreprocessing
    images: Path
    labels: Path
    span: Path | None
    parts: Fold
    run_folder: Path
    result: Path
    threads: int = 1


@dataclass(frozen=True)
class Preparing:
    """Images are being decoded and preprocessed: `done` of `count` sets are."""

    done: int
    count: int


@dataclass(frozen=True)
class Training:
    """Folds are being trained.

    Attributes:
        result: the latest; None before the first.
        done: how many results are in, those found on disk included.
        count: of how many.
        seconds_left: estimated from the trainings so far; None before the first.
    """

    result: FoldResult | None
    done: int
    count: int
    seconds_left: float | None


Progress = Preparing | Training


def variants(
    models: dict[str, ClassifierSettings], methods: Sequence[str], thresholds: Sequence[str]
) -> list[Variant]:
    """Returns each model under each method and threshold.

    Args:
        models: name to settings, whose own preprocessing gives size and CLAHE.
        methods: of "A" to "D".
        thresholds: of "max", "min" and "preset".
    """
    found = []
    for name, settings in models.items():
        own = settings.preprocessing or PreprocessingSettings()
        for method in methods:
            for threshold in thresholds:
                changed = own.model_dump() | {"method": method, "threshold": threshold}
                preprocessing = PreprocessingSettings.model_validate(changed)
                found.append(
                    Variant(
                        Setup(name, method, threshold),
                        settings.model_copy(update={"preprocessing": preprocessing}),
                    )
                )
    return found


def cross_validate(
    dataset: LabelledImages,
    chosen: Sequence[Variant],
    folds: int,
    seed: int,
    output: Path,
    workers: int,
    progress: Callable[[Progress], None] = lambda progress: None,
    only: int | None = None,
) -> list[FoldResult]:
    """Trains and tests each variant on each fold; results on disk are taken as they are.

    Args:
        dataset: the images.
        chosen: what to train.
        folds: k.
        seed: of folds and trainings.
        output: folder of the experiment.
        workers: processes at a time.
        progress: told how far it is, before the first training and after each.
        only: run this many of the folds; 1 is the paper's single hold-out. None runs all.

    Raises:
        InputError: too few patients for so many folds, or settings that cannot be trained.
    """
    for variant in chosen:
        if isinstance(variant.settings, CoronetSettings) and variant.settings.pretrained:
            raise InputError(
                "coronet.pretrained: a cross-validation trains its networks; leave it empty"
            )
    parts = make_folds(dataset.labels, dataset.groups, folds, seed)
    labels = output / "images" / f"{dataset.digest[:16]}-labels.npy"
    _save_array(labels, dataset.labels)
    tasks = [
        _task(variant, number, fold, dataset, labels, folds, seed, output)
        for variant in chosen
        for number, fold in enumerate(parts[:only])
    ]
    waiting = _share_out([task for task in tasks if not task.result.is_file()], workers)
    results = {task.result: FoldResult.load(task.result) for task in tasks if task.result.is_file()}
    found = len(results)
    _prepare(dataset, waiting, lambda done, count: progress(Preparing(done, count)))
    started = time.monotonic()
    progress(Training(None, found, len(tasks), None))
    for result, file in _run(waiting, workers):
        results[file] = result
        each = (time.monotonic() - started) / (len(results) - found)
        left = each * (len(tasks) - len(results))
        progress(Training(result, len(results), len(tasks), left))
    return [results[task.result] for task in tasks]


def _share_out(tasks: Sequence[Task], workers: int) -> list[Task]:
    """Gives each task its part of the cores: few tasks get several each."""
    at_a_time = max(min(workers, len(tasks)), 1)
    threads = max((os.cpu_count() or 1) // at_a_time, 1)
    return [replace(task, threads=threads) for task in tasks]


def _run(tasks: Sequence[Task], workers: int) -> Iterator[tuple[FoldResult, Path]]:
    """Runs the tasks in processes of their own, which TensorFlow needs to share a machine."""
    if not tasks:
        return
    context = multiprocessing.get_context("spawn")
    count = min(workers, len(tasks))
    with ProcessPoolExecutor(count, mp_context=context, initializer=_end_with_parent) as pool:
        futures = {pool.submit(run_task, task): task for task in tasks}
        try:
            for future in as_completed(futures):
                yield future.result(), futures[future].result
        finally:
            # After an error nobody wants the rest, and each of them may take hours.
            pool.shutdown(wait=False, cancel_futures=True)


def _end_with_parent() -> None:
    """Ends this worker when its parent is gone: after SIGKILL, nobody else would."""
    parent = multiprocessing.parent_process()
    assert parent is not None  # it was spawned

    def wait() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def _task(
    variant: Variant,
    number: int,
    fold: Fold,
    dataset: LabelledImages,
    labels: Path,
    folds: int,
    seed: int,
    output: Path,
) -> Task:
    preprocessing = variant.settings.preprocessing
    assert preprocessing is not None  # `variants` sets it
    # The sizes of a fold come from its own training images, as in a run of the pipeline.
    size = target_pixels(preprocessing, statistics_of(dataset, fold.train))
    resolved = resolve(preprocessing, size)
    settings = variant.settings.model_dump_json()
    identity = {
        "format": FORMAT,
        "data": dataset.digest,
        "setup": asdict(variant.setup),
        "settings": json.loads(settings),
        "preprocessing": resolved.to_dict(),
        "folds": folds,
        "fold": number,
        "seed": seed,
    }
    key = _digest(identity)
    images = _digest(
        {"format": FORMAT, "data": dataset.digest, "preprocessing": resolved.to_dict()}
    )
    pixels = resolved.height * resolved.width
    in_span = span.holds_for(variant.settings) and span.is_shorter(len(dataset), pixels)
    return Task(
        setup=variant.setup,
        fold=number,
        settings=settings,
        seed=seed,
        preprocessing=resolved,
        images=output / "images" / f"{images}.npy",
        labels=labels,
        span=output / "spans" / f"{images}.npz" if in_span else None,
        parts=fold,
        run_folder=output / "runs" / key,
        result=output / "folds" / f"{key}.json",
    )


def run_task(task: Task) -> FoldResult:
    """Trains on one fold and writes its result: what a worker process does."""
    import keras
    import tensorflow as tf

    from models.backends import SETTINGS, train
    from models.data import Split
    from models.devices import share_gpus
    from models.training import Job

    share_gpus()
    # Refused once TensorFlow has started, as in a process that already did a task.
    with contextlib.suppress(RuntimeError):
        tf.config.threading.set_intra_op_parallelism_threads(task.threads)
        tf.config.threading.set_inter_op_parallelism_threads(task.threads)
    # A process trains one network after another: being retraced is no cause for warnings.
    tf.get_logger().setLevel("ERROR")
    keras.utils.clear_session()
    started = time.monotonic()
    images = np.load(task.images, mmap_mode="r", allow_pickle=False)
    labels = np.load(task.labels, allow_pickle=False)
    name = task.setup.model
    settings = SETTINGS[name].model_validate_json(task.settings)
    job = Job(name, settings, task.seed, run_folder=str(task.run_folder))
    initial_weights = None
    vectors = images
    if task.span is not None:
        known = span.Span.load(task.span)
        initial_weights = _projected_start(job, known, images)
        vectors = known.coordinates
    training, validation, test = (
        Split(np.asarray(vectors[part]), labels[part])
        for part in (task.parts.train, task.parts.validation, task.parts.test)
    )
    with _log_to(task.run_folder / "training.log"):
        network, fitted = train(job, training, validation, initial_weights)
    outputs = _predict(network, test.images, settings)
    result = FoldResult(
        setup=task.setup,
        fold=task.fold,
        size=(task.preprocessing.height, task.preprocessing.width),
        confusion=confusion_matrix(test.labels, outputs.argmax(-1)),
        seconds=time.monotonic() - started,
        history={key: fitted.history[key] for key in HISTORY},
    )
    result.save(task.result)
    return result


def _predict(
    network: "keras.Model", images: np.ndarray, settings: ClassifierSettings
) -> np.ndarray:
    """Returns scores [N, classes], as the exported model gives them."""
    unit = images / np.float32(255)
    views = [unit, unit[:, :, ::-1]] if settings.training.flip_at_test else [unit]
    scores = [network.predict(view, batch_size=64, verbose=0) for view in views]
    return np.mean(scores, axis=0)


def _projected_start(job: "Job", known: span.Span, images: np.ndarray) -> list[np.ndarray]:
    """Returns the weights that training on the pixels would begin with, in the coordinates."""
    import keras

    from models.classifier import build_network

    height, width = images.shape[1:3]
    keras.utils.set_random_seed(job.seed)
    first, *others = build_network(job.settings, (height, width)).get_weights()
    return [known.project(images, first), *others]


@contextlib.contextmanager
def _log_to(file: Path) -> Iterator[None]:
    """Sends the lines of a training to `file`: several at once would mix on the console."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w", encoding="utf-8") as log, contextlib.redirect_stdout(log):
        yield


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


def _prepare(
    dataset: LabelledImages, tasks: Sequence[Task], progress: Callable[[int, int], None]
) -> None:
    """Writes the images and coordinates that the tasks need and that are not there yet."""
    images = {task.images: task.preprocessing for task in tasks if not task.images.is_file()}
    spans = {task.span: task.images for task in tasks if task.span and not task.span.is_file()}
    count = len(images) + len(spans)
    for done, (file, resolved) in enumerate(images.items()):
        progress(done, count)
        _save_array(file, preprocessed(dataset.encoded, resolved))
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


def _save_array(file: Path, array: np.ndarray) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    staging = file.with_name(f".{file.name}.{os.getpid()}.npy")
    np.save(staging, array)
    staging.replace(file)


def _digest(identity: dict) -> str:
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:24]


def write_report(results: Sequence[FoldResult], folds: int, output: Path) -> list[Summary]:
    """Writes tables and figures of `results`, and returns their summaries.

    Args:
        results: of some or all of the folds.
        folds: k.
        output: folder to write.
    """
    summaries = summarize(results)
    write_text(
        output / "crossval.json",
        json.dumps(
            {
                "summaries": [asdict(summary) for summary in summaries],
                "folds": [asdict(result) for result in results],
            },
            indent=2,
        )
        + "\n",
    )
    write_text(output / "crossval.md", summary_table(summaries, folds))
    for model in dict.fromkeys(summary.setup.model for summary in summaries):
        own = [summary for summary in summaries if summary.setup.model == model]
        accuracy_bars(
            own, f"{model}, {own[0].folds} of {folds} folds", output / f"accuracy_{model}.png"
        )
        confusion_matrices(
            {f"{one.setup.method}, {one.setup.threshold}": np.array(one.confusion) for one in own},
            output / f"confusion_{model}.png",
            columns=len({one.setup.threshold for one in own}) if len(own) > 4 else len(own),
        )
    return summaries


def summary_table(summaries: Sequence[Summary], folds: int) -> str:
    """Returns the summaries as a Markdown table, one line a setup."""
    header = [
        "model",
        "method",
        "threshold",
        "pixels",
        "folds",
        "accuracy",
        "± over folds",
        "95% interval",
    ]
    rows = [
        [
            f"{summary.setup.model} {summary.setup.variant}".strip(),
            summary.setup.method,
            summary.setup.threshold,
            size_text(summary.sizes),
            f"{summary.folds} of {folds}",
            f"{summary.mean:.3f}",
            f"{summary.deviation:.3f}" if summary.folds > 1 else "-",
            f"{summary.low:.3f} to {summary.high:.3f}",
            *("-" if recall is None else f"{recall:.3f}" for recall in summary.recall),
            f"{summary.seconds:.0f}",
        ]
        for summary in summaries
    ]
    return markdown_table([*header, *(f"recall {name}" for name in CLASSES), "seconds"], rows)
