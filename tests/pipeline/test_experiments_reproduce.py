"""The page of the paper's experiments: what is on it is what the trainings gave."""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from components.ingestion.settings import DataSettings
from models.errors import InputError
from models.features import DISCLAIMER
from pipeline.config import load
from pipeline.experiments import bench, paper
from pipeline.experiments.bench import FULL, QUICK, Bench, Scale
from pipeline.experiments.crossval import Progress, Variant
from pipeline.experiments.dataset import LabelledImages, read_labelled_images
from pipeline.experiments.folds import make_folds
from pipeline.experiments.reproduce import reproduce
from pipeline.experiments.results import FoldResult, confusion_matrix, summarize
from pipeline.sample import write_sample


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> LabelledImages:
    folder = tmp_path_factory.mktemp("sample")
    write_sample(folder, images=140)  # enough patients of every class for five folds
    return read_labelled_images(str(folder), DataSettings())


Trainings = dict[str, list[FoldResult]]


@pytest.fixture
def trainings(monkeypatch: pytest.MonkeyPatch) -> Trainings:
    """Puts classifiers that guess at random in the place of trained ones; keeps their results."""
    done: Trainings = {}
    random = np.random.default_rng(5)

    def guess(
        dataset: LabelledImages,
        chosen: list[Variant],
        folds: int,
        seed: int,
        output: Path,
        workers: int,
        progress: Callable[[Progress], None],
        only: int | None,
    ) -> list[FoldResult]:
        results = []
        for variant in chosen:
            for number, fold in enumerate(make_folds(dataset.labels, dataset.groups, folds, seed)):
                labels = dataset.labels[fold.test]
                counts = confusion_matrix(labels, random.integers(0, 4, len(labels)))
                history = {"epoch": [1.0, 2.0], "accuracy": [0.2, 0.3], "val_accuracy": [0.1, 0.2]}
                results.append(FoldResult(variant.setup, number, (8, 8), counts, 1.0, history))
                if only == number + 1:
                    break
        done[chosen[0].setup.model + chosen[0].setup.variant] = results
        return results

    monkeypatch.setattr(bench, "cross_validate", guess)
    return done


def test_the_page_shows_paper_and_ours_side_by_side(
    tmp_path: Path, dataset: LabelledImages, trainings: Trainings
) -> None:
    page = reproduce(dataset, load("paper"), tmp_path, workers=1, scale=QUICK).read_text()
    assert DISCLAIMER in page
    assert "A quick run" in page
    for printed in (*paper.GRID.values(), "0.81372", "0.84640", "0.87908", f"{paper.HOLD_OUT:.4f}"):
        assert printed in page
    assert f"ours {paper.PARAMETERS:,} (equal)" in page

    # The SVM's grid, its methods, the MLP's methods at two rates, and CORONet's stages.
    assert [len(results) for results in trainings.values()] == [27, 12, 12, 12, 3]
    for results in trainings.values():
        for summary in summarize(results):
            cells = f"<td>{summary.mean:.3f}</td><td>{summary.low:.3f} to {summary.high:.3f}</td>"
            assert cells in page

    # Figures 2 (the original and four methods), 4, 5 and 6, 10 to 13: all in the page itself.
    assert len(re.findall(r'<img src="data:image/png;base64,', page)) == 5 + 2 + 2 + 2 + 4
    assert "://" not in page  # nothing is fetched


def test_too_few_patients_are_refused_before_the_first_training(
    tmp_path: Path, sample_folder: Path, trainings: Trainings
) -> None:
    few = read_labelled_images(str(sample_folder), DataSettings())
    with pytest.raises(InputError, match="section coronet holds out one fold of five: class covid"):
        reproduce(few, load("paper"), tmp_path, 1, QUICK)
    assert not trainings
    # What needs no folds is made all the same.
    page = reproduce(few, load("paper"), tmp_path, 1, QUICK, sections=["architecture"])
    assert page.is_file()


def test_a_quick_run_is_smaller_in_every_way(tmp_path: Path, dataset: LabelledImages) -> None:
    def scaled(scale: Scale) -> Bench:
        return Bench(dataset, load("paper"), scale, tmp_path, 1, lambda *_: None)

    quick = scaled(QUICK).classifier("coronet", QUICK.coronet_epochs)
    full = scaled(FULL).classifier("coronet", FULL.coronet_epochs)
    assert full == load("paper").classifier("coronet")
    assert quick.preprocessing is not None
    assert full.preprocessing is not None
    assert quick.preprocessing.size < full.preprocessing.size
    assert quick.training.epochs < full.training.epochs


def test_only_the_sections_asked_for_are_made(
    tmp_path: Path, dataset: LabelledImages, trainings: Trainings
) -> None:
    page = reproduce(dataset, load("paper"), tmp_path, 1, QUICK, sections=["svm-grid"]).read_text()
    assert page.count("<section") == 1
    assert len(trainings) == 1
