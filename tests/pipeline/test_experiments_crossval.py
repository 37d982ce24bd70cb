"""Folds, results and the cross-validation itself, on the built-in sample."""

import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix as sklearn_confusion_matrix
from sklearn.metrics import recall_score

from components.ingestion.settings import DataSettings
from models.errors import InputError
from models.features import CLASSES
from models.settings import (
    AugmentationSettings,
    CoronetSettings,
    PreprocessingSettings,
    SvmSettings,
    TrainingSettings,
)
from pipeline.experiments import crossval, crossval_report, training_task
from pipeline.experiments.choices import choose
from pipeline.experiments.dataset import LabelledImages, read_labelled_images
from pipeline.experiments.folds import make_folds
from pipeline.experiments.results import (
    FoldResult,
    Setup,
    confusion_matrix,
    markdown_table,
    summarize,
)

SEED = 7


@pytest.fixture(scope="module")
def dataset(sample_folder: Path) -> LabelledImages:
    return read_labelled_images(str(sample_folder), DataSettings())


def random_patients(images: int) -> tuple[np.ndarray, list[str]]:
    random = np.random.default_rng(3)
    patients = random.integers(0, images // 2, images)
    return patients % len(CLASSES), [f"patient {number}" for number in patients]


def test_each_image_is_tested_once_and_no_patient_is_torn_apart() -> None:
    labels, groups = random_patients(400)
    folds = make_folds(labels, groups, 5, SEED)
    assert sorted(np.concatenate([fold.test for fold in folds])) == list(range(400))
    for fold, following in zip(folds, [*folds[1:], folds[0]], strict=True):
        np.testing.assert_array_equal(fold.validation, following.test)
        parts = [
            {groups[index] for index in part} for part in (fold.train, fold.validation, fold.test)
        ]
        assert not parts[0] & parts[1]
        assert not parts[0] & parts[2]
        assert not parts[1] & parts[2]
        assert len(fold.train) + len(fold.validation) + len(fold.test) == 400


def test_folds_keep_the_proportions_of_the_classes() -> None:
    labels, groups = random_patients(400)
    overall = np.bincount(labels) / 400
    for fold in make_folds(labels, groups, 5, SEED):
        np.testing.assert_allclose(
            np.bincount(labels[fold.test]) / len(fold.test), overall, atol=0.06
        )


def test_folds_do_not_depend_on_the_names_of_patients() -> None:
    labels, groups = random_patients(200)
    renamed = [f"{hash(group)}" for group in groups]
    for ours, theirs in zip(
        make_folds(labels, groups, 4, SEED), make_folds(labels, renamed, 4, SEED), strict=True
    ):
        np.testing.assert_array_equal(ours.test, theirs.test)


@pytest.mark.parametrize("count", [2, 30])
def test_an_impossible_number_of_folds_is_refused(count: int) -> None:
    labels, groups = random_patients(100)
    with pytest.raises(InputError, match="folds"):
        make_folds(labels, groups, count, SEED)


def test_confusion_and_recall_agree_with_sklearn() -> None:
    random = np.random.default_rng(0)
    labels, predictions = random.integers(0, 4, 90), random.integers(0, 4, 90)
    counts = confusion_matrix(labels, predictions)
    np.testing.assert_array_equal(counts, sklearn_confusion_matrix(labels, predictions))
    (summary,) = summarize([FoldResult(Setup("svm", "A", "min"), 0, (8, 8), counts, 1.0)])
    np.testing.assert_allclose(summary.recall, recall_score(labels, predictions, average=None))
    assert summary.mean == pytest.approx((labels == predictions).mean())
    assert summary.low < summary.mean < summary.high


def test_a_class_without_images_has_no_recall() -> None:
    counts = ((3, 1, 0, 0), (0, 0, 0, 0), (0, 0, 2, 0), (0, 0, 0, 1))
    (summary,) = summarize([FoldResult(Setup("svm", "A", "min"), 0, (8, 8), counts, 1.0)])
    assert summary.recall == (0.75, None, 1.0, 1.0)


def test_summary_is_over_the_folds() -> None:
    setup = Setup("mlp", "D", "preset")
    right = ((5, 0, 0, 0), (0, 5, 0, 0), (0, 0, 5, 0), (0, 0, 0, 5))
    half = ((5, 0, 0, 0), (0, 5, 0, 0), (0, 5, 0, 0), (5, 0, 0, 0))
    other = Setup("svm", "D", "preset")
    summary, single = summarize(
        [
            FoldResult(setup, 0, (8, 8), right, 1.0),
            FoldResult(other, 0, (8, 8), half, 4.0),
            FoldResult(setup, 1, (8, 8), half, 2.0),
        ]
    )
    assert (summary.setup, summary.folds, summary.mean, summary.seconds) == (setup, 2, 0.75, 3.0)
    assert summary.deviation == pytest.approx(np.std([1.0, 0.5], ddof=1))
    assert (single.setup, single.folds, single.mean, single.seconds) == (other, 1, 0.5, 4.0)
    assert single.deviation == 0


def test_a_result_survives_the_disk(tmp_path: Path) -> None:
    setup, history = Setup("svm", "B", "max"), {"accuracy": [0.5, 0.75]}
    result = FoldResult(setup, 3, (10, 12), ((1, 2, 3, 4),) * 4, 1.5, history)
    file = tmp_path / "run" / "folds" / "one.json"
    result.save(file)
    assert FoldResult.load(file) == result
    assert list(file.parent.iterdir()) == [file]


def test_choices() -> None:
    assert choose("--methods", "D, A", "ABCD") == ("A", "D")
    assert choose("--methods", "all", "ABCD") == tuple("ABCD")
    for wrong in ("E", "", "A;B"):
        with pytest.raises(InputError, match="--methods takes"):
            choose("--methods", wrong, "ABCD")


def test_markdown_table() -> None:
    assert markdown_table(["a", "b"], [["1", "2"]]) == "| a | b |\n| --- | --- |\n| 1 | 2 |\n"


def test_the_dataset_is_read_as_ingestion_reads_it(
    sample_folder: Path, dataset: LabelledImages
) -> None:
    rows = (sample_folder / "train.csv").read_text().splitlines()[1:]
    assert len(dataset) == len(rows)
    assert set(np.unique(dataset.labels)) == set(range(len(CLASSES)))
    assert list(dataset.names) == sorted(dataset.names)


def test_too_many_damaged_images_are_refused(tmp_path: Path) -> None:
    from pipeline.sample import write_sample

    write_sample(tmp_path / "data", images=40)
    for file in sorted((tmp_path / "data").rglob("*.jpeg"))[:10]:
        file.write_bytes(b"not an image")
    with pytest.raises(InputError, match="max_bad_fraction"):
        read_labelled_images(str(tmp_path / "data"), DataSettings())


def svm_variants(epochs: int = 2) -> list[crossval.Variant]:
    settings = SvmSettings(
        preprocessing=PreprocessingSettings(size=16),
        training=TrainingSettings(epochs=epochs, schedule="constant"),
        augmentation=AugmentationSettings(enabled=False),
    )
    return crossval.variants({"svm": settings}, ["A", "B"], ["preset"])


def test_variants_cover_the_grid_and_keep_what_is_not_varied() -> None:
    found = crossval.variants({"svm": SvmSettings()}, ["A", "D"], ["min", "max"])
    assert [one.setup for one in found] == [
        Setup("svm", method, threshold) for method in "AD" for threshold in ("min", "max")
    ]
    preprocessing = found[3].settings.preprocessing
    assert preprocessing is not None
    assert (preprocessing.method, preprocessing.threshold) == ("D", "max")
    assert preprocessing.clip_limit == PreprocessingSettings().clip_limit


def test_cross_validation_goes_on_where_it_stopped(tmp_path: Path, dataset: LabelledImages) -> None:
    chosen = svm_variants()
    first = crossval.cross_validate(dataset, chosen, 3, SEED, tmp_path, workers=2)
    assert [(result.setup.method, result.fold) for result in first] == [
        (method, fold) for method in "AB" for fold in range(3)
    ]
    for setup in ("A", "B"):
        tested = sum(np.sum(one.confusion) for one in first if one.setup.method == setup)
        assert tested == len(dataset)

    files = sorted((tmp_path / "folds").iterdir())
    missing, *kept = files
    before = {file: file.stat().st_mtime_ns for file in kept}
    missing.unlink()
    again = crossval.cross_validate(dataset, chosen, 3, SEED, tmp_path, workers=1)
    assert {file: file.stat().st_mtime_ns for file in kept} == before
    assert [one.confusion for one in again] == [one.confusion for one in first]

    summaries = crossval_report.write_report(again, 3, tmp_path)
    stored = json.loads((tmp_path / "crossval.json").read_text())
    assert [one["mean"] for one in stored["summaries"]] == [one.mean for one in summaries]
    assert (tmp_path / "accuracy_svm.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "confusion_svm.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "crossval.md").read_text().count("\n") == 4


def test_other_settings_are_other_results(tmp_path: Path, dataset: LabelledImages) -> None:
    (tmp_path / "one").mkdir()
    fold = make_folds(dataset.labels, dataset.groups, 3, SEED)[0]
    keys = {
        crossval._task(
            variant, 0, fold, dataset, tmp_path / "labels.npy", 3, seed, tmp_path
        ).result.name
        for seed in (1, 2)
        for epochs in (1, 2)
        for variant in svm_variants(epochs)
    }
    assert len(keys) == 8


def test_few_trainings_get_several_cores_each(
    dataset: LabelledImages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(crossval.os, "cpu_count", lambda: 16)
    fold = make_folds(dataset.labels, dataset.groups, 3, SEED)[0]
    task = crossval._task(
        svm_variants()[0], 0, fold, dataset, tmp_path / "labels.npy", 3, SEED, tmp_path
    )
    for tasks, workers, threads in ((1, 16, 16), (3, 16, 5), (40, 16, 1), (40, 2, 8)):
        shared = crossval._share_out([task] * tasks, workers)
        assert {one.threads for one in shared} == {threads}
    assert crossval._share_out([], 2) == []


def test_the_mirror_image_counts_where_the_exported_model_looks_at_it() -> None:
    class FirstColumn:
        def predict(self, images: np.ndarray, **kwargs: object) -> np.ndarray:
            return images[:, 0, 0]

    images = np.array([[[[0], [255]]], [[[51], [51]]]], np.uint8)
    for flipped, expected in ((False, [[0], [0.2]]), (True, [[0.5], [0.2]])):
        training = TrainingSettings(flip_at_test=flipped)
        scores = training_task.predict(FirstColumn(), images, CoronetSettings(training=training))
        np.testing.assert_allclose(scores, expected)


def test_given_weights_are_not_cross_validated(tmp_path: Path, dataset: LabelledImages) -> None:
    settings = CoronetSettings(pretrained="x.keras")
    chosen = crossval.variants({"coronet": settings}, ["A"], ["preset"])
    with pytest.raises(InputError, match=r"coronet\.pretrained"):
        crossval.cross_validate(dataset, chosen, 3, SEED, tmp_path, workers=1)


@pytest.mark.slow
def test_a_killed_run_leaves_no_process_and_is_picked_up(
    tmp_path: Path, sample_folder: Path
) -> None:
    command = [
        sys.executable,
        *("-c", "from pipeline.cli import main; main()"),
        *("crossval", "--data", str(sample_folder), "--output", str(tmp_path)),
        *("--model", "svm", "--methods", "A", "--folds", "3", "--workers", "1"),
        *("--set", "preprocessing.size=16", "--set", "svm.training.epochs=3"),
    ]
    folds = tmp_path / "folds"
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as run:
        deadline = time.monotonic() + 300
        while not list(folds.glob("*.json")):
            assert run.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.1)
        run.kill()
        # The pipe ends when the last process that holds it has ended: the worker too.
        assert run.stdout is not None
        run.stdout.read()
    kept = {file: file.stat().st_mtime_ns for file in folds.glob("*.json")}
    again = subprocess.run(command, check=True, capture_output=True, text=True)
    assert "| svm | A | preset | 16 x 16 | 3 of 3 |" in again.stdout
    for file, modified in kept.items():
        assert file.stat().st_mtime_ns == modified
    assert len(list(folds.glob("*.json"))) == 3


def test_the_first_folds_are_a_part_of_all(tmp_path: Path, dataset: LabelledImages) -> None:
    chosen = svm_variants()[:1]
    seen: list[crossval.Progress] = []
    first = crossval.cross_validate(dataset, chosen, 3, SEED, tmp_path, 1, seen.append, only=1)
    trained = [now for now in seen if isinstance(now, crossval.Training)]
    assert [(now.done, now.count) for now in trained] == [(0, 1), (1, 1)]
    everything = crossval.cross_validate(dataset, chosen, 3, SEED, tmp_path, 1, seen.append)
    assert everything[0] == first[0]
    later = [now for now in seen if isinstance(now, crossval.Training)][2:]
    assert [(now.done, now.count) for now in later] == [(1, 3), (2, 3), (3, 3)]
    assert later[-1].seconds_left == 0
