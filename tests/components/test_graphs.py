"""Rewritten for integers, before any of it is rounded, a classifier computes what it did."""

import numpy as np
import pytest

SIDE = 32


@pytest.fixture(params=["coronet", "mlp", "svm"])
def network(request):
    from models.classifier import as_classifier, build_network
    from models.settings import CoronetSettings, MlpSettings, SvmSettings

    settings = {
        "coronet": CoronetSettings(dense_units=16),
        "mlp": MlpSettings(hidden=(8, 8), activations=("sigmoid", "linear")),
        "svm": SvmSettings(),
    }[request.param]
    temperature = 0.7 if request.param == "svm" else None
    classifier = as_classifier(build_network(settings, (SIDE, SIDE)), temperature)
    rng = np.random.default_rng(0)
    for layer in classifier.layers:
        for variable in layer.weights:
            if variable.name in ("gamma", "moving_variance"):
                variable.assign(np.exp(rng.normal(0, 0.3, variable.shape)))
            elif variable.name in ("beta", "moving_mean", "bias"):
                variable.assign(rng.normal(0, 0.3, variable.shape))
    return classifier


def test_the_function_stays(network):
    from components.edge_exporter.graphs import for_integers

    images = np.random.default_rng(1).random((6, SIDE, SIDE, 1), np.float32)
    expected, found = network(images), for_integers(network)(images)
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, rtol=1e-3, atol=1e-4)
        assert np.ptp(values) > 1e-3


# The SVM's scores are its output: it has no units below.
@pytest.mark.parametrize("network", ["coronet", "mlp"], indirect=True)
def test_the_units_below_the_softmax_get_weights_that_reach_equally_far(network):
    from components.edge_exporter.graphs import for_integers

    name = {"coronet": "dense_3", "mlp": "hidden_2"}[network.name]
    before = network.get_layer(name).get_weights()[0]
    after = for_integers(network).get_layer(name).get_weights()[0]
    np.testing.assert_allclose(np.abs(after).max(axis=0), 1, rtol=1e-5)
    np.testing.assert_array_equal(np.sign(after), np.sign(before))
    assert np.ptp(np.abs(before).max(axis=0)) > 0
