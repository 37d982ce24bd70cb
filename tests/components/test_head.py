"""The correction of the integer build's logits."""

import numpy as np
import pytest

CLASSES = 4


def centred(scores):
    return scores - scores.mean(axis=1, keepdims=True)


def damaged(scores, rng):
    """Scores as rounding leaves them: mixed a little, shifted, and noisy."""
    mixing = np.eye(CLASSES) + rng.normal(0, 0.1, (CLASSES, CLASSES))
    return scores @ mixing + rng.normal(0, 0.4, CLASSES) + rng.normal(0, 0.05, scores.shape)


def test_what_all_images_have_in_common_is_taken_back():
    from components.edge_exporter.head import fit_correction

    rng = np.random.default_rng(0)
    expected = centred(rng.normal(0, 2, (300, CLASSES)))
    found = damaged(expected, rng)
    correction = fit_correction(found[:200], expected[:200])
    # Judged on images that it was not fitted to; a constant an image is no difference.
    left = correction.of(found[200:] + 7) + correction.offset
    before = np.sqrt(np.mean((centred(found[200:]) - centred(expected[200:])) ** 2))
    after = np.sqrt(np.mean((centred(left) - centred(expected[200:])) ** 2))
    assert after < 0.1
    assert before > 3 * after


def test_scikit_learns_ridge_finds_the_same_on_many_images():
    from sklearn.linear_model import Ridge

    from components.edge_exporter.head import fit_correction

    rng = np.random.default_rng(1)
    expected = rng.normal(0, 2, (500, CLASSES))
    found = damaged(expected, rng)
    # Ridge draws towards 0: its target is what is to be added.
    x, added = centred(found), centred(expected) - centred(found)
    ridge = Ridge(alpha=1.0).fit(x, added)
    correction = fit_correction(found, expected)
    # scikit-learn centres the features for a free intercept; so does ours, by its free offset.
    ours = correction.of(found) + correction.offset
    np.testing.assert_allclose(centred(ours), x + ridge.predict(x), atol=1e-3)


def test_nothing_is_corrected_where_nothing_is_wrong():
    from components.edge_exporter.head import fit_correction

    scores = np.random.default_rng(2).normal(0, 2, (3, CLASSES))
    correction = fit_correction(scores, scores + 5)
    np.testing.assert_allclose(
        correction.of(scores) + correction.offset, centred(scores), atol=1e-5
    )


@pytest.mark.parametrize("name", ["coronet", "mlp"])
def test_the_corrected_network_has_the_corrected_logits(name):
    from components.edge_exporter import head
    from components.edge_exporter.graphs import for_integers
    from models.classifier import as_classifier, build_network
    from models.features import SCORES
    from models.settings import CoronetSettings, MlpSettings

    settings = {"coronet": CoronetSettings(dense_units=16), "mlp": MlpSettings(hidden=(8, 8))}[name]
    network = as_classifier(build_network(settings, (32, 32)))
    assert head.has_softmax(network)
    rng = np.random.default_rng(3)
    matrix = np.eye(CLASSES) + rng.normal(0, 0.2, (CLASSES, CLASSES))
    correction = head.Correction(
        matrix.astype(np.float32), rng.normal(0, 1, CLASSES).astype(np.float32)
    )
    images = rng.random((5, 32, 32, 1), np.float32)
    expected = correction.of(network(images)[SCORES].numpy()) + correction.offset
    found = for_integers(network, correction)(images)[SCORES].numpy()
    np.testing.assert_allclose(centred(found), centred(expected), rtol=1e-3, atol=1e-4)


def test_a_network_of_raw_scores_has_no_head_to_correct():
    from components.edge_exporter.head import has_softmax
    from models.classifier import as_classifier, build_network
    from models.settings import SvmSettings

    assert not has_softmax(as_classifier(build_network(SvmSettings(), (32, 32)), 0.7))
