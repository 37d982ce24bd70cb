"""The paper's tables and figures, computed again, on one page with the paper's values.

An output folder holds `index.html` and `experiments/`, where every trained fold is kept:
run again, or after it was stopped, only what is missing is trained.
"""

from collections.abc import Collection, Sequence
from pathlib import Path

from models.errors import InputError
from pipeline.config import Config
from pipeline.experiments.bench import FULL, Bench, Scale, Show
from pipeline.experiments.dataset import LabelledImages
from pipeline.experiments.folds import make_folds
from pipeline.experiments.page import Section, render
from pipeline.experiments.results import write_text
from pipeline.experiments.sections import HOLD_OUT_FOLDS, SECTIONS


def reproduce(
    dataset: LabelledImages,
    config: Config,
    output: Path,
    workers: int,
    scale: Scale = FULL,
    progress: Show = lambda section, progress: None,
    sections: Sequence[str] | None = None,
) -> Path:
    """Runs every experiment and writes the page; returns its path.

    The page is written anew after each section, so that a long run can be read on the way.

    Args:
        dataset: labelled images.
        config: of the `paper` preset, or changed from it.
        output: folder to write.
        workers: processes that train at a time.
        scale: `FULL` is the paper's; takes hours to days on a CPU.
        progress: told as trainings end.
        sections: of `SECTIONS`; None makes all of them.

    Raises:
        InputError: too few patients for the folds, or settings that cannot be trained.
    """
    _require_folds(dataset, scale, config.seed, SECTIONS if sections is None else sections)
    bench = Bench(dataset, config, scale, output, workers, progress)
    page = output / "index.html"
    made: list[Section] = []
    for name, make in SECTIONS.items():
        if sections is None or name in sections:
            made.append(make(bench))
            write_text(page, render(made, bench))
    return page


def _require_folds(
    dataset: LabelledImages, scale: Scale, seed: int, sections: Collection[str]
) -> None:
    """Refuses too few patients before the first training, which may take hours."""
    if {"svm-grid", "svm", "mlp", "mlp-learning"} & set(sections):
        make_folds(dataset.labels, dataset.groups, scale.folds, seed)
    if "coronet" in sections:
        try:
            make_folds(dataset.labels, dataset.groups, HOLD_OUT_FOLDS, seed)
        except InputError as error:
            raise InputError(f"section coronet holds out one fold of five: {error}") from error
