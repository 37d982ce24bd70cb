"""The SavedModel's signatures, on a classifier with random weights."""

from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from models.classifier import as_classifier
from models.data import EVALUATION_BATCH
from models.features import (
    CLASSES,
    EXAMPLES_SIGNATURE,
    IMAGE,
    LABELS,
    PROBABILITIES,
    SCORES,
    SERVING_SIGNATURE,
)
from models.image_ops import encode
from models.mlp import build_mlp
from models.preprocessing import ResolvedPreprocessing, preprocess_encoded, to_unit
from models.signatures import EXAMPLES, ServingModel, export
from models.svm import build_svm

PREPROCESSING = ResolvedPreprocessing(method="A", height=24, width=24, tile_grid=(3, 3))


@pytest.fixture(scope="module")
def encoded() -> tf.Tensor:
    rng = np.random.default_rng(0)
    sizes = [(30, 41), (64, 20), (25, 25)]
    return tf.stack([encode(rng.integers(0, 256, (*size, 1)).astype(np.uint8)) for size in sizes])


@pytest.fixture(scope="module")
def classifier() -> keras.Model:
    keras.utils.set_random_seed(0)
    return as_classifier(build_mlp((24, 24), hidden=(6,), activations=("tanh",)))


def _loaded(classifier: keras.Model, folder: Path, **knobs: bool):
    export(ServingModel(classifier, PREPROCESSING, **knobs), str(folder))
    return tf.saved_model.load(str(folder)).signatures


def _example(content: bytes) -> bytes:
    feature = {
        IMAGE: tf.train.Feature(bytes_list=tf.train.BytesList(value=[content])),
        "label": tf.train.Feature(int64_list=tf.train.Int64List(value=[2])),
    }
    return tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString()


def test_both_signatures_agree_with_the_keras_model(
    classifier: keras.Model, encoded: tf.Tensor, tmp_path: Path
) -> None:
    signatures = _loaded(classifier, tmp_path)
    expected = classifier(to_unit(preprocess_encoded(encoded, PREPROCESSING)))
    examples = tf.constant([_example(content) for content in encoded.numpy()])
    for found in (
        signatures[SERVING_SIGNATURE](**{IMAGE: encoded}),
        signatures[EXAMPLES_SIGNATURE](**{EXAMPLES: examples}),
    ):
        assert set(found) == {PROBABILITIES, SCORES, LABELS}
        for key in (PROBABILITIES, SCORES):
            np.testing.assert_allclose(found[key], expected[key], atol=1e-6)
        names = [CLASSES[best] for best in expected[PROBABILITIES].numpy().argmax(axis=1)]
        assert [name.decode() for name in found[LABELS].numpy()] == names
    np.testing.assert_allclose(expected[SCORES], np.log(expected[PROBABILITIES].numpy()), atol=1e-6)


class _Bounded(keras.layers.Layer):
    """Fails where a batch is larger than the evaluation's."""

    def call(self, images: tf.Tensor) -> tf.Tensor:
        tf.debugging.assert_less_equal(tf.shape(images)[0], EVALUATION_BATCH)
        return tf.identity(images)


@pytest.mark.parametrize("count", [0, 1, 2 * EVALUATION_BATCH, 2 * EVALUATION_BATCH + 3])
def test_many_examples_go_through_the_network_in_batches(count: int, tmp_path: Path) -> None:
    inputs = keras.Input((24, 24, 1))
    classifier = as_classifier(
        keras.Model(inputs, build_mlp((24, 24), hidden=(), activations=())(_Bounded()(inputs)))
    )
    signatures = _loaded(classifier, tmp_path)
    levels = np.linspace(0, 255, count).astype(np.uint8)
    images = [encode(np.full((24, 24, 1), level, np.uint8)).numpy() for level in levels]
    found = signatures[EXAMPLES_SIGNATURE](
        **{EXAMPLES: tf.constant([_example(image) for image in images], tf.string)}
    )
    assert found[PROBABILITIES].shape == found[SCORES].shape == (count, len(CLASSES))
    assert found[LABELS].shape == (count,)
    for number in range(0, count, 50):
        one = signatures[SERVING_SIGNATURE](**{IMAGE: tf.constant(images[number : number + 1])})
        for key in (PROBABILITIES, SCORES):
            np.testing.assert_allclose(found[key][number], one[key][0], atol=1e-6)


def test_each_weight_is_saved_once(classifier: keras.Model, tmp_path: Path) -> None:
    export(ServingModel(classifier, PREPROCESSING), str(tmp_path))
    saved = tf.train.list_variables(str(tmp_path / "variables" / "variables"))
    shapes = [tuple(shape) for name, shape in saved if name != "_CHECKPOINTABLE_OBJECT_GRAPH"]
    assert sorted(shapes) == sorted(tuple(weight.shape) for weight in classifier.weights)


def test_flip_at_test_averages_both_views(
    classifier: keras.Model, encoded: tf.Tensor, tmp_path: Path
) -> None:
    signature = _loaded(classifier, tmp_path, flip_at_test=True)[SERVING_SIGNATURE]
    images = to_unit(preprocess_encoded(encoded, PREPROCESSING)).numpy()
    straight, mirrored = classifier(images), classifier(images[:, :, ::-1])
    found = signature(**{IMAGE: encoded})
    for key in (PROBABILITIES, SCORES):
        expected = (straight[key].numpy() + mirrored[key].numpy()) / 2
        np.testing.assert_allclose(found[key], expected, atol=1e-6)


@pytest.mark.parametrize("temperature", [None, 0.3])
def test_the_keras_file_loads_in_safe_mode(temperature: float | None, tmp_path: Path) -> None:
    network = build_svm((5, 4)) if temperature else build_mlp((5, 4), hidden=(), activations=())
    classifier = as_classifier(network, temperature)
    classifier.save(tmp_path / "classifier.keras")
    loaded = keras.saving.load_model(tmp_path / "classifier.keras", compile=False, safe_mode=True)
    images = np.random.default_rng(0).random((3, 5, 4, 1), np.float32)
    for key, value in classifier(images).items():
        np.testing.assert_allclose(loaded(images)[key], value, atol=1e-7)


def test_log_probabilities_stay_finite() -> None:
    network = build_mlp((1, 1), hidden=(), activations=())
    network.set_weights([np.array([[500.0, 0, 0, 0]]), np.zeros(4)])
    scores = as_classifier(network)(np.ones((1, 1, 1, 1), np.float32))[SCORES].numpy()
    assert np.isfinite(scores).all()
    assert scores[0, 0] == 0
    assert (scores[0, 1:] < -80).all()
