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

from models.errors import InputError
from models.preprocessing import resolve
from models.settings import ClassifierSettings, CoronetSettings, PreprocessingSettings
from pipeline.experiments import span
from pipeline.experiments.dataset import LabelledImages
from pipeline.experiments.folds import Fold, make_folds
from pipeline.experiments.prepared_images import prepare, save_array, statistics_of, target_pixels
from pipeline.experiments.results import FoldResult, Setup
from pipeline.experiments.training_task import Task, run_task

FORMAT = 3
"""Part of every key: raise it when the same settings would give another result."""


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
    save_array(labels, dataset.labels)
    tasks = [
        _task(variant, number, fold, dataset, labels, folds, seed, output)
        for variant in chosen
        for number, fold in enumerate(parts[:only])
    ]
    waiting = _share_out([task for task in tasks if not task.result.is_file()], workers)
    results = {task.result: FoldResult.load(task.result) for task in tasks if task.result.is_file()}
    found = len(results)
    prepare(dataset, waiting, lambda done, count: progress(Preparing(done, count)))
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


def _digest(identity: dict) -> str:
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:24]
