"""Temperature scaling: finds the temperature that made the labels, keeps the order."""

import keras
import numpy as np
import pytest
from scipy.special import softmax

from models.calibration import fit_temperature, negative_log_likelihood
from models.classifier import as_classifier
from models.features import PROBABILITIES, SCORES
from models.svm import build_svm


@pytest.mark.parametrize("temperature", [0.2, 1.0, 7.0])
def test_finds_the_temperature_that_made_the_labels(temperature: float) -> None:
    rng = np.random.default_rng(0)
    scores = rng.normal(0, 2 * temperature, (6000, 4))
    probabilities = softmax(scores / temperature, axis=1)
    labels = np.array([rng.choice(4, p=row) for row in probabilities])
    assert fit_temperature(scores, labels) == pytest.approx(temperature, rel=0.08)


def test_no_other_temperature_explains_better() -> None:
    rng = np.random.default_rng(1)
    scores, labels = rng.normal(0, 3, (200, 4)), rng.integers(0, 4, 200)
    best = fit_temperature(scores, labels)
    least = negative_log_likelihood(scores / best, labels)
    for other in np.geomspace(1e-3, 1e3, 60):
        assert negative_log_likelihood(scores / other, labels) >= least - 1e-6


def test_separated_scores_stay_finite() -> None:
    labels = np.arange(40) % 4
    temperature = fit_temperature(np.eye(4)[labels] * 2 - 1.0, labels)
    assert 0 < temperature < 0.2


def test_raw_scores_stay_beside_the_probabilities() -> None:
    network = build_svm((3, 3))
    network.set_weights([np.random.default_rng(2).normal(0, 1, (9, 4)), np.zeros(4)])
    images = np.random.default_rng(3).random((50, 3, 3, 1), np.float32)
    margins = keras.ops.convert_to_numpy(network(images))
    outputs = {
        key: keras.ops.convert_to_numpy(value)
        for key, value in as_classifier(network, temperature=0.5)(images).items()
    }
    np.testing.assert_array_equal(outputs[SCORES], margins)
    np.testing.assert_allclose(outputs[PROBABILITIES], softmax(margins / 0.5, axis=1), rtol=1e-5)
    np.testing.assert_array_equal(
        outputs[PROBABILITIES].argmax(axis=1), outputs[SCORES].argmax(axis=1)
    )
