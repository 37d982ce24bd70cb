"""TFX's run function behind the real Transform, on real X-rays: no skew, and what it writes."""

import csv
import importlib.util
import json
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_transform.beam as tft_beam
from tensorflow_transform.tf_metadata import dataset_metadata, schema_utils

from models import features
from models.classifier import build_network
from models.data import load_split
from models.features import CLASSES, LABELS, PROBABILITIES, SCORES
from models.preprocessing import to_unit
from models.settings import (
    AugmentationSettings,
    ClassifierSettings,
    CoronetSettings,
    MlpSettings,
    PreprocessingSettings,
    SvmSettings,
    TrainingSettings,
)
from models.trainer import run_fn
from models.transform import preprocessing_fn

IMAGES = 100
STRINGS = (features.IMAGE, features.SOURCE, features.SIZE_BUCKET)
INTEGERS = (features.LABEL, features.HEIGHT, features.WIDTH)
PREPROCESSING = PreprocessingSettings(method="C", size=48)  # a size that Transform works out


def _coronet(backend: str) -> CoronetSettings:
    return CoronetSettings(
        preprocessing=PREPROCESSING,
        dense_units=16,
        training=TrainingSettings(
            epochs=3,
            learning_rate=0.001,
            optimizer="adamw",
            schedule="cosine",
            batch_norm_momentum=0.5,
            recalibrate_batch_norm=True,
            backend=backend,
        ),
        augmentation=AugmentationSettings(rotation_degrees=5, shift=0.05, shear=0, zoom=0.05),
    )


SETTINGS: dict[str, ClassifierSettings] = {
    "svm": SvmSettings(
        preprocessing=PREPROCESSING, epsilon=0.01, training=TrainingSettings(epochs=3)
    ),
    "mlp": MlpSettings(
        preprocessing=PREPROCESSING,
        hidden=(16,),
        training=TrainingSettings(
            epochs=3, learning_rate=0.01, optimizer="adam", flip_at_test=True
        ),
        activations=("sigmoid",),
    ),
    # Trained there to the end, and exported through TensorFlow.
    "coronet on torch": _coronet("torch"),
    "coronet on jax": _coronet("jax"),
}


TUNED = {"svm": {"epsilon": 0.02, "tuner/bracket": 0}}
"""What a Tuner found, by classifier."""


def _raw(folder: Path) -> list[dict]:
    """100 real X-rays, every class among them, as ingestion describes them."""
    with (folder / "train.csv").open() as file:
        rows = list(csv.DictReader(file))
    raw = []
    for row in [row for name in CLASSES for row in rows if row["label"] == name][
        :: len(rows) // IMAGES
    ][:IMAGES]:
        content = (folder / "train" / row["filename"]).read_bytes()
        height, width = tf.io.extract_jpeg_shape(content).numpy()[:2]
        raw.append(
            {
                features.IMAGE: [content],
                features.SOURCE: [row["source"].encode()],
                features.SIZE_BUCKET: [features.size_bucket(height, width).encode()],
                features.LABEL: [CLASSES.index(row["label"])],
                features.HEIGHT: [int(height)],
                features.WIDTH: [int(width)],
            }
        )
    return raw


def _serialized(example: dict) -> bytes:
    described = {}
    for key, values in example.items():
        if key in INTEGERS:
            value = tf.train.Feature(int64_list=tf.train.Int64List(value=values))
        else:
            value = tf.train.Feature(bytes_list=tf.train.BytesList(value=values))
        described[key] = value
    return tf.train.Example(features=tf.train.Features(feature=described)).SerializeToString()


def _write(path: Path, examples: list[dict]) -> str:
    with tf.io.TFRecordWriter(str(path), tf.io.TFRecordOptions(compression_type="GZIP")) as file:
        for example in examples:
            file.write(_serialized(example))
    return str(path)


@pytest.fixture(scope="module")
def transformed(
    cxr4: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[list[dict], list[dict]]:
    """Raw examples, and what TensorFlow Transform made of each."""
    raw = _raw(cxr4)
    spec = {
        **{key: tf.io.FixedLenFeature([1], tf.string) for key in STRINGS},
        **{key: tf.io.FixedLenFeature([1], tf.int64) for key in INTEGERS},
    }
    metadata = dataset_metadata.DatasetMetadata(schema_utils.schema_from_feature_spec(spec))
    function = partial(
        preprocessing_fn, custom_config={"preprocessing": PREPROCESSING.model_dump_json()}
    )
    with tft_beam.Context(temp_dir=str(tmp_path_factory.mktemp("beam"))):
        (examples, _), _ = (raw, metadata) | tft_beam.AnalyzeAndTransformDataset(function)
    return raw, [
        {key: np.ravel(value).tolist() for key, value in each.items()} for each in examples
    ]


@pytest.fixture(scope="module", params=list(SETTINGS))
def trained(
    request: pytest.FixtureRequest,
    transformed: tuple[list[dict], list[dict]],
    tmp_path_factory: pytest.TempPathFactory,
) -> SimpleNamespace:
    """The arguments of one finished `run_fn`."""
    backend = SETTINGS[request.param].training.backend
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"NOT RUN: {backend} is not installed (it is optional)")
    _, examples = transformed
    folder = tmp_path_factory.mktemp(request.param.replace(" ", "-"))
    arguments = SimpleNamespace(
        train_files=[_write(folder / "train.gz", examples[::2])],
        eval_files=[_write(folder / "eval.gz", examples[1::2])],
        serving_model_dir=str(folder / "model" / "7" / "Format-Serving"),
        model_run_dir=str(folder / "model_run" / "7"),
        custom_config={
            "model": request.param.split()[0],
            "settings": SETTINGS[request.param].model_dump_json(),
            "seed": 1,
        },
        hyperparameters={"values": TUNED[request.param]} if request.param in TUNED else None,
    )
    run_fn(arguments)
    arguments.settings = SETTINGS[request.param]
    return arguments


def _classifier(trained: SimpleNamespace) -> keras.Model:
    path = Path(trained.serving_model_dir).parent / "classifier.keras"
    return keras.saving.load_model(path, compile=False, safe_mode=True)


def test_serving_predicts_what_the_training_graph_predicts(
    trained: SimpleNamespace, transformed: tuple[list[dict], list[dict]]
) -> None:
    raw, examples = transformed
    images = np.stack(
        [tf.io.decode_png(example[features.IMAGE_XF][0], channels=1) for example in examples]
    )
    classifier, unit = _classifier(trained), to_unit(images)
    expected = {key: value.numpy() for key, value in classifier(unit).items()}
    if trained.settings.training.flip_at_test:
        mirrored = classifier(unit[:, :, ::-1])
        expected = {key: (value + mirrored[key].numpy()) / 2 for key, value in expected.items()}

    signatures = tf.saved_model.load(trained.serving_model_dir).signatures
    contents = tf.constant([example[features.IMAGE][0] for example in raw])
    serialized = tf.constant([_serialized(example) for example in raw])
    for found in (
        signatures["serving_default"](image=contents),
        signatures["serving_examples"](examples=serialized),
    ):
        assert found[PROBABILITIES].shape == (IMAGES, len(CLASSES))
        for key in (PROBABILITIES, SCORES):
            np.testing.assert_allclose(found[key], expected[key], atol=1e-5, rtol=1e-5)
        # Averaged over two views, the likeliest class need not have the largest mean score.
        flipped = trained.settings.training.flip_at_test
        best = expected[PROBABILITIES if flipped else SCORES].argmax(axis=1)
        assert [CLASSES[index] for index in best] == [
            label.decode() for label in found[LABELS].numpy()
        ]


def test_the_description_says_what_was_trained(trained: SimpleNamespace) -> None:
    folder = Path(trained.serving_model_dir).parent
    description = json.loads((folder / "model.json").read_text())
    split = load_split(trained.train_files, "train")
    assert description["name"] == trained.custom_config["model"]
    assert description["backend"] == trained.settings.training.backend
    assert description["classes"] == list(CLASSES)
    preprocessing = description["preprocessing"]
    assert (preprocessing["height"], preprocessing["width"]) == split.size
    assert 48 in split.size
    assert split.size != (48, 48)
    assert description["training_images"] == sum(description["training_images_per_class"].values())
    assert description["training_images"] + description["evaluation_images"] == IMAGES
    assert description["parameters"] == _classifier(trained).count_params()
    assert description["tuned"] == TUNED.get(description["name"], {})
    assert 1 <= description["best_epoch"] <= description["epochs"] == 3


def test_the_run_is_recorded_and_its_checkpoints_are_gone(trained: SimpleNamespace) -> None:
    run = Path(trained.model_run_dir)
    history = json.loads((run / "history.json").read_text())
    assert history["epoch"] == [1, 2, 3]
    if trained.custom_config["model"] in TUNED:
        # The SVM's rate in epoch t is epsilon / t: the tuned epsilon reached the training.
        np.testing.assert_allclose(history["learning_rate"], [0.02, 0.01, 0.02 / 3], rtol=1e-5)
    assert list(run.glob("events.out.tfevents.*"))
    assert not list(run.parent.parent.glob("checkpoint*"))


def test_a_network_trained_elsewhere_is_served_as_it_is(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (8, 48, 48, 1)).astype(np.uint8)
    examples = [
        {features.IMAGE_XF: [tf.io.encode_png(image).numpy()], features.LABEL: [number % 4]}
        for number, image in enumerate(pixels)
    ]
    files = [_write(tmp_path / "split.gz", examples)]
    network = build_network(CoronetSettings(dense_units=8), (48, 48))
    network.save(tmp_path / "given.keras")
    settings = CoronetSettings(
        preprocessing=PreprocessingSettings(size=48),
        dense_units=8,
        pretrained=str(tmp_path / "given.keras"),
    )
    arguments = SimpleNamespace(
        train_files=files,
        eval_files=files,
        serving_model_dir=str(tmp_path / "model" / "7" / "Format-Serving"),
        model_run_dir=str(tmp_path / "model_run" / "7"),
        custom_config={
            "model": "coronet",
            "settings": settings.model_dump_json(),
            "seed": 1,
            "pretrained_digest": "abc",
        },
        hyperparameters=None,
    )
    run_fn(arguments)
    unit = to_unit(load_split(files, "train").images)
    np.testing.assert_allclose(
        _classifier(arguments)(unit)[PROBABILITIES], network(unit), atol=1e-6
    )
    description = json.loads((tmp_path / "model" / "7" / "model.json").read_text())
    assert (description["pretrained"], description["epochs"]) == ("abc", 0)
    assert json.loads((tmp_path / "model_run" / "7" / "history.json").read_text()) == {}
