"""The runtime against TensorFlow: same pixels, same answer; and models it must refuse."""

import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from components.edge_exporter.build_request import Request
from edge import Classifier, EdgeError, metadata

SIDE = 64


@pytest.fixture(scope="module")
def classifier(edge_model: Path) -> Classifier:
    return Classifier(edge_model)


@pytest.fixture(scope="module")
def phantoms(sample_folder: Path) -> list[Path]:
    return sorted((sample_folder / "train").iterdir())[:24]


def with_variant(edge_model: Path, folder: Path, variant: str) -> Path:
    """A copy of the edge build in which `variant` is the model that runs."""
    shutil.copytree(edge_model, folder)
    shutil.copy(edge_model / f"model_{variant}.tflite", folder / "model.tflite")
    redescribe(folder)
    return folder


def redescribe(folder: Path) -> None:
    """Writes the digests of the files as they are into `edge.json`."""
    content = json.loads((folder / "edge.json").read_text())
    for name in content["files"]:
        content["files"][name] = hashlib.sha256((folder / name).read_bytes()).hexdigest()
    (folder / "edge.json").write_text(json.dumps(content))


def training_pixels(paths: list[Path], side: int) -> np.ndarray:
    import tensorflow as tf

    from models.preprocessing import ResolvedPreprocessing, preprocess_encoded

    resolved = ResolvedPreprocessing(method="A", height=side, width=side)
    encoded = tf.constant([path.read_bytes() for path in paths])
    return preprocess_encoded(encoded, resolved).numpy()


def test_preprocessing_is_the_training_graphs_to_the_pixel(classifier, phantoms):
    expected = training_pixels(phantoms, SIDE)
    for path, image in zip(phantoms, expected, strict=True):
        np.testing.assert_array_equal(classifier.predict(path).model_image, image[..., 0])


def test_preprocessing_of_real_images_is_the_training_graphs_to_the_pixel(classifier, cxr4):
    paths = sorted((cxr4 / "test").iterdir())[::20]
    expected = training_pixels(paths, SIDE)
    for path, image in zip(paths, expected, strict=True):
        np.testing.assert_array_equal(classifier.predict(path).model_image, image[..., 0])


@pytest.mark.parametrize(
    ("variant", "tolerance"), [("float32", 1e-4), ("float16", 0.01), ("int8", 0.15)]
)
def test_each_variant_answers_as_keras_does(
    edge_model, trained: Request, phantoms, tmp_path, variant, tolerance
):
    import keras

    folder = edge_model
    if variant != "int8":
        folder = with_variant(edge_model, tmp_path / "edge", variant)
    images = training_pixels(phantoms, SIDE) / np.float32(255)
    network = keras.models.load_model(Path(trained.model, "classifier.keras"), compile=False)
    both = [network(batch)["probabilities"].numpy() for batch in (images, images[:, :, ::-1])]
    expected = np.mean(both, axis=0)
    lite = Classifier(folder)
    found = np.array([list(lite.predict(path).probabilities.values()) for path in phantoms])
    np.testing.assert_allclose(found, expected, atol=tolerance)
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-5)


def test_a_prediction_is_consistent_in_itself(classifier, phantoms):
    prediction = classifier.predict(phantoms[0])
    assert tuple(prediction.probabilities) == classifier.classes
    assert prediction.label == max(prediction.probabilities, key=prediction.probabilities.get)
    assert prediction.model_image.shape == (SIDE, SIDE)


def test_path_bytes_and_pixels_give_the_same_answer(classifier, phantoms):
    from edge.images import read_image

    path = phantoms[0]
    expected = classifier.predict(path).probabilities
    assert classifier.predict(str(path)).probabilities == expected
    assert classifier.predict(path.read_bytes()).probabilities == expected
    assert classifier.predict(read_image(path).pixels).probabilities == expected


@pytest.mark.parametrize("shape", [(1, 1), (1, 700), (700, 1), (64, 64), (3, 5), (1500, 900)])
def test_any_size_of_image_is_taken(classifier, shape):
    pixels = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    prediction = classifier.predict(pixels)
    assert np.isfinite(list(prediction.probabilities.values())).all()


def test_no_tensorflow_is_imported(edge_model, phantoms):
    code = (
        "import sys, edge; from edge import predicting, saliency, server\n"
        "edge.Classifier(sys.argv[1], threads=2).predict(sys.argv[2])\n"
        "heavy = {'tensorflow', 'keras', 'tfx', 'apache_beam', 'cv2', 'pydicom', 'models',"
        " 'components', 'pipeline'}\n"
        "sys.exit(' '.join(heavy & set(sys.modules)) or 0)"
    )
    subprocess.run(
        [sys.executable, "-c", code, str(edge_model), str(phantoms[0])],
        check=True,
        capture_output=True,
    )


def test_a_bundle_or_its_edge_folder_will_do(edge_model, tmp_path):
    shutil.copytree(edge_model, tmp_path / "push" / "edge")
    assert Classifier(tmp_path / "push").folder == Classifier(tmp_path / "push" / "edge").folder


def test_each_file_describes_itself(edge_model, classifier):
    for name in classifier.metadata.files:
        embedded = metadata.read_embedded(edge_model / name)
        assert embedded["classes"] == list(classifier.classes)
        assert embedded["data_digest"] == classifier.metadata.data_digest
        assert embedded["model_version"] == classifier.metadata.model_version
    assert metadata.read_embedded(edge_model / "model_float16.tflite")["variant"] == "float16"


# What must be refused.


@pytest.fixture
def copy(edge_model: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(edge_model, tmp_path / "edge"))


@pytest.mark.parametrize("name", ["model.tflite", "preprocess.tflite"])
def test_a_file_that_was_cut_short_is_refused(copy, name):
    content = (copy / name).read_bytes()
    (copy / name).write_bytes(content[: len(content) // 2])
    with pytest.raises(EdgeError, match=rf"{name}.*cut short"):
        Classifier(copy)


def test_a_file_of_another_format_is_refused(copy):
    (copy / "model.tflite").write_text("a page that says 404")
    with pytest.raises(EdgeError, match="not a TFLite file"):
        Classifier(copy)


def test_the_tflite_file_of_another_model_is_refused(copy):
    shutil.copy(copy / "preprocess.tflite", copy / "model.tflite")
    with pytest.raises(EdgeError, match="another"):
        Classifier(copy)


def test_a_foreign_tflite_file_is_refused_even_if_it_is_described(copy):
    shutil.copy(copy / "preprocess.tflite", copy / "model.tflite")
    redescribe(copy)
    with pytest.raises(EdgeError, match=r"edge.json says \(1, 64, 64, 1\)"):
        Classifier(copy)


def test_a_missing_file_is_named(copy):
    (copy / "preprocess.tflite").unlink()
    with pytest.raises(EdgeError, match=r"preprocess.tflite"):
        Classifier(copy)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format_version": 2}, "format version 2"),
        ({"format_version": None}, "format version None"),
        ({"classes": []}, "no classes"),
        ({"height": "64"}, "height"),
        ({"classes": [1, 2, 3, 4]}, "classes"),
        ({"distance_limit": 0}, "distance_limit"),
        ({"distance_limit": -1.0}, "distance_limit"),
        ({"distance_limit": float("inf")}, "distance_limit"),
        ({"distance_limit": float("nan")}, "distance_limit"),
    ],
)
def test_metadata_that_does_not_fit_is_refused(copy, change, message):
    content = json.loads((copy / "edge.json").read_text()) | change
    (copy / "edge.json").write_text(json.dumps(content))
    with pytest.raises(EdgeError, match=message):
        Classifier(copy)


@pytest.mark.parametrize(
    "change",
    [
        {"classes": ["covid", "viral", "bacterial", "normal"]},
        {"classes": ["normal", "bacterial", "viral"]},
        {"classes": ["normal", "bacterial", "viral", "covid", "other"]},
        {"distance_limit": 1e9},
        {"disclaimer": "A medical device."},
    ],
)
def test_metadata_that_the_files_contradict_is_refused(copy, change):
    content = json.loads((copy / "edge.json").read_text()) | change
    (copy / "edge.json").write_text(json.dumps(content))
    with pytest.raises(EdgeError, match=rf"says of itself \({next(iter(change))} is"):
        Classifier(copy)


@pytest.mark.parametrize("name", ["model.tflite", "preprocess.tflite"])
def test_a_file_of_the_same_kind_of_another_model_is_refused(copy, name):
    content = (copy / name).read_bytes()
    digest = json.loads((copy / "edge.json").read_text())["data_digest"].encode()
    assert content.count(digest) == 1
    (copy / name).write_bytes(content.replace(digest, digest[::-1]))
    redescribe(copy)
    with pytest.raises(EdgeError, match=rf"not what {name} says of itself \(data_digest"):
        Classifier(copy)


def test_a_file_that_says_nothing_of_itself_is_refused(copy):
    content = (copy / "model.tflite").read_bytes()
    assert content.count(b"\x07\0\0\0coronet\0") == 1  # the entry's name
    (copy / "model.tflite").write_bytes(content.replace(b"coronet\0", b"others!\0"))
    redescribe(copy)
    with pytest.raises(EdgeError, match=r"model.tflite does not say what it is.*export"):
        Classifier(copy)


def test_a_damaged_file_is_refused_even_if_it_is_described(copy):
    (copy / "model.tflite").write_bytes(b"\xff\xff\xff\0TFL3" + b"\xff" * 64)
    redescribe(copy)
    with pytest.raises(EdgeError, match=r"model.tflite is damaged"):
        Classifier(copy)


@pytest.mark.parametrize(
    "text", ["", "[]", "{", "null", '{"format_version": 1}', pytest.param("[" * 100_000, id="deep")]
)
def test_metadata_that_is_damaged_is_refused(copy, text):
    (copy / "edge.json").write_text(text)
    with pytest.raises(EdgeError, match=r"edge.json"):
        Classifier(copy)


def test_a_folder_without_a_model_is_refused(tmp_path):
    with pytest.raises(EdgeError, match="does not exist"):
        Classifier(tmp_path / "nothing")
    with pytest.raises(EdgeError, match=r"holds no edge.json"):
        Classifier(tmp_path)
    (tmp_path / "bundle.json").write_text("{}")
    with pytest.raises(EdgeError, match="did not pass its gate"):
        Classifier(tmp_path)


@pytest.mark.parametrize("threads", [0, 100_000])
def test_threads_that_litert_cannot_take_are_refused(edge_model, threads):
    with pytest.raises(EdgeError, match="from 1 to 1024"):
        Classifier(edge_model, threads=threads)
