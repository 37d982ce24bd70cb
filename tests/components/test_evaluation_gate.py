"""The metrics against scikit-learn, and what the gate lets through, on hand-made predictions."""

import itertools
import math
from collections.abc import Sequence
from pathlib import Path

import apache_beam as beam
import numpy as np
import pytest
import tensorflow as tf
from pydantic import ValidationError
from sklearn import metrics as oracle

from components.evaluation import results
from components.evaluation.eval_config import build_edge_eval_config
from components.evaluation.executor import write_evaluation
from components.evaluation.intervals import wilson
from components.evaluation.settings import GateSettings
from models.features import CLASSES, LABEL, PROBABILITIES, SIZE_BUCKET, SIZE_BUCKETS, SOURCE

COVID = CLASSES.index("covid")


def _serialize(label: int, probabilities: Sequence[float], source: str) -> bytes:
    example = tf.train.Example()
    features = example.features.feature
    features[LABEL].int64_list.value.append(label)
    features[PROBABILITIES].float_list.value.extend(probabilities)
    features[SOURCE].bytes_list.value.append(source.encode())
    features[SIZE_BUCKET].bytes_list.value.append(SIZE_BUCKETS[0].encode())
    return example.SerializeToString()


def _evaluate(
    folder: Path, examples: list[bytes], gate: GateSettings, float_accuracy: float
) -> results.Evaluation:
    with beam.Pipeline() as pipeline:
        write_evaluation(
            pipeline | beam.Create(examples),
            build_edge_eval_config(gate, float_accuracy),
            str(folder),
        )
    return results.load(str(folder))


def _certain(predicted: int) -> list[float]:
    return [0.9 if index == predicted else 0.1 / 3 for index in range(len(CLASSES))]


def _one_weak_slice() -> list[bytes]:
    """100 images, 90 right; covid, which is all of hospital-b, is right in 2 of 10."""
    rows = [(index % 3, index % 3, "hospital-a") for index in range(88)]
    rows += [(0, 1, "hospital-a")] * 2
    rows += [(COVID, COVID, "hospital-b")] * 2 + [(COVID, 2, "hospital-b")] * 8
    return [_serialize(label, _certain(predicted), source) for label, predicted, source in rows]


def test_metrics_equal_those_of_scikit_learn(tmp_path: Path) -> None:
    random = np.random.default_rng(7)
    labels = random.integers(0, len(CLASSES), 200)
    probabilities = random.dirichlet(np.ones(len(CLASSES)), 200)
    probabilities[np.arange(200), labels] += 0.4
    probabilities = (probabilities / probabilities.sum(1, keepdims=True)).astype(np.float32)
    examples = [
        _serialize(int(label), row.tolist(), "hospital-a")
        for label, row in zip(labels, probabilities, strict=True)
    ]
    evaluation = _evaluate(tmp_path, examples, GateSettings(), 0.8)

    overall, predicted = evaluation.overall, probabilities.argmax(1)
    one_hot = np.eye(len(CLASSES))[labels]
    assert overall.images == 200
    assert overall.accuracy == pytest.approx(oracle.accuracy_score(labels, predicted))
    np.testing.assert_array_equal(overall.confusion, oracle.confusion_matrix(labels, predicted))
    precision, recall, f1, counts = oracle.precision_recall_fscore_support(labels, predicted)
    for index, result in enumerate(overall.classes):
        assert result.name == CLASSES[index]
        assert result.images == counts[index]
        assert result.precision == pytest.approx(precision[index])
        assert result.recall == pytest.approx(recall[index])
        assert result.f1 == pytest.approx(f1[index])
        auc = oracle.roc_auc_score(one_hot[:, index], probabilities[:, index])
        # Two of 7,500 pairs fall into one interval.
        assert result.auc == pytest.approx(auc, abs=2e-4)
    brier = ((probabilities - one_hot) ** 2).sum(1).mean()
    assert overall.brier == pytest.approx(brier, abs=1e-6)
    assert overall.calibration_error == pytest.approx(_calibration_error(labels, probabilities))
    assert overall.reliability.counts.sum() == 200

    by_class = [result for result in evaluation.slices if result.feature == LABEL]
    assert {result.value for result in by_class} == set(CLASSES)
    for result in by_class:
        assert result.accuracy == pytest.approx(recall[CLASSES.index(result.value)])
    assert {result.feature for result in evaluation.slices} == {LABEL, SOURCE, SIZE_BUCKET}
    flat = results.overall_metrics(str(tmp_path))
    assert flat["recall_covid"] == pytest.approx(recall[COVID])
    assert flat["accuracy_low"] < flat["accuracy"] < flat["accuracy_high"]


def _calibration_error(labels: np.ndarray, probabilities: np.ndarray) -> float:
    confidence = probabilities.max(1)
    correct = probabilities.argmax(1) == labels
    edges = np.linspace(0, 1, 11)
    error = 0.0
    for low, high in itertools.pairwise(edges):
        chosen = (confidence >= low) & (confidence < high)
        if chosen.any():
            error += chosen.mean() * abs(correct[chosen].mean() - confidence[chosen].mean())
    return float(error)


def test_the_classes_are_ranked_by_a_classifier_that_is_sure(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    labels = random.integers(0, len(CLASSES), 400)
    logits = random.normal(0, 12, (400, len(CLASSES)))
    logits[np.arange(400), labels] += 18
    shares = np.exp(logits - logits.max(1, keepdims=True))
    probabilities = (shares / shares.sum(1, keepdims=True)).astype(np.float32)
    assert (np.sort(probabilities)[:, :-1] < 1e-4).mean() > 0.7
    assert probabilities.max() == 1
    assert probabilities.min() < 1e-20
    examples = [
        _serialize(int(label), row.tolist(), "hospital-a")
        for label, row in zip(labels, probabilities, strict=True)
    ]
    evaluation = _evaluate(tmp_path, examples, GateSettings(), 0.8)
    for index, result in enumerate(evaluation.overall.classes):
        auc = oracle.roc_auc_score(labels == index, probabilities[:, index])
        assert result.auc == pytest.approx(auc, abs=1e-4)


def test_of_equal_probabilities_the_first_counts_everywhere(tmp_path: Path) -> None:
    # As `argmax` takes it, and so the edge build. Integer scores are equal now and then.
    rows = [0] * 5 + [1] * 10 + [2] * 5
    examples = [_serialize(label, [0.1, 0.4, 0.4, 0.1], "a") for label in rows]
    evaluation = _evaluate(tmp_path, examples, GateSettings(), 0.8)
    assert evaluation.overall.accuracy == 0.5
    assert evaluation.overall.confusion.sum(0).tolist() == [0, 20, 0, 0]
    assert [result.recall for result in evaluation.overall.classes[:3]] == [0, 1, 0]
    assert evaluation.overall.classes[1].precision == 0.5
    assert {result.value: result.accuracy for result in evaluation.slices} == {
        "normal": 0,
        "bacterial": 1,
        "viral": 0,
        "a": 0.5,
        SIZE_BUCKETS[0]: 0.5,
    }
    assert [result.auc for result in evaluation.overall.classes[:3]] == [0.5] * 3


def test_a_class_that_is_never_predicted_has_no_recall(tmp_path: Path) -> None:
    rows = [(0, 0)] * 6 + [(1, 1)] * 3 + [(2, 1)] + [(COVID, 0)] * 2
    examples = [_serialize(label, _certain(predicted), "a") for label, predicted in rows]
    overall = _evaluate(tmp_path, examples, GateSettings(), 0.8).overall
    assert [result.recall for result in overall.classes] == [1, 1, 0, 0]
    assert overall.classes[0].precision == pytest.approx(6 / 8)
    assert math.isnan(overall.classes[COVID].precision)


def test_a_class_without_images_has_no_figures(tmp_path: Path) -> None:
    rows = [(0, 0)] * 6 + [(1, 1)] * 3 + [(2, 1)]
    examples = [_serialize(label, _certain(predicted), "a") for label, predicted in rows]
    evaluation = _evaluate(tmp_path, examples, GateSettings(), 0.8)
    absent = evaluation.overall.classes[COVID]
    assert absent.images == 0
    assert math.isnan(absent.recall)
    assert math.isnan(absent.auc)
    assert not {"recall_covid", "auc_covid"} & set(results.overall_metrics(str(tmp_path)))
    (normal,) = (part for part in evaluation.slices if part.value == "normal")
    assert math.isnan(normal.classes[0].auc), "there is nothing to rank it against"


def test_one_weak_slice_does_not_block(tmp_path: Path) -> None:
    evaluation = _evaluate(
        tmp_path, _one_weak_slice(), GateSettings(accuracy=0.9, max_edge_drop=0.01), 0.91
    )
    # At both bounds exactly: 0.9 of images, 0.01 below the float build.
    assert evaluation.overall.accuracy == pytest.approx(0.9)
    assert evaluation.overall.classes[COVID].recall == pytest.approx(0.2)
    assert evaluation.passed
    assert evaluation.failures == ()


def test_gates_on_classes_and_slices_block_and_say_so(tmp_path: Path) -> None:
    gate = GateSettings(
        accuracy=0.8,
        class_recall={"covid": 0.9, "normal": 0.9},
        slice_accuracy={"source": {"hospital-a": 0.9, "hospital-b": 0.5, "hospital-c": 0.1}},
    )
    evaluation = _evaluate(tmp_path, _one_weak_slice(), gate, 0.9)
    assert not evaluation.passed
    assert sorted(evaluation.failures) == [
        "label covid: accuracy 0.20000, at least 0.90000 is required",
        "source hospital-b: accuracy 0.20000, at least 0.50000 is required",
        "source hospital-c: has a gate, and no image in the test split",
    ]


def test_both_bounds_on_all_images_block(tmp_path: Path) -> None:
    evaluation = _evaluate(tmp_path, _one_weak_slice(), GateSettings(accuracy=0.95), 0.92)
    assert not evaluation.passed
    assert sorted(evaluation.failures) == [
        "all images: accuracy 0.90000, at least 0.91000 is required",
        "all images: accuracy 0.90000, at least 0.95000 is required",
    ]


def test_an_empty_test_split_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="was the test split empty"):
        _evaluate(tmp_path, [], GateSettings(), 0.9)


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    # Newcombe (1998), Statistics in Medicine 17, table I, method 3.
    [
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_equals_newcombes_table(
    successes: int, trials: int, low: float, high: float
) -> None:
    interval = wilson(successes, trials)
    assert (interval.low, interval.high) == (
        pytest.approx(low, abs=5e-5),
        pytest.approx(high, abs=5e-5),
    )


def test_no_trials_say_nothing() -> None:
    interval = wilson(0, 0)
    assert (interval.low, interval.high) == (0.0, 1.0)


@pytest.mark.parametrize(
    "settings",
    [
        {"accuracy": 1.5},
        {"max_edge_drop": -0.1},
        {"class_recall": {"flu": 0.9}},
        {"class_recall": {"covid": 90}},
        {"slice_accuracy": {"hospital": {"a": 0.5}}},
    ],
)
def test_settings_refuse_what_cannot_be_meant(settings: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        GateSettings.model_validate(settings)
