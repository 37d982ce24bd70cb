"""A small real edge build, made once: a CNN trained for seconds on the built-in sample."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from components.edge_exporter.build_request import Request
from components.edge_exporter.process import run_build
from components.edge_exporter.settings import EdgeSettings
from models.features import CLASSES, IMAGE_XF, LABEL, PROBABILITIES, SCORES

SIDE = 64


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory, sample_folder: Path) -> Request:
    """What the exporter takes: a trained classifier and transformed examples, on disk."""
    import keras
    import tensorflow as tf

    from models.preprocessing import ResolvedPreprocessing, preprocess_encoded

    folder = tmp_path_factory.mktemp("trained")
    resolved = ResolvedPreprocessing(method="A", height=SIDE, width=SIDE)
    with (sample_folder / "train.csv").open() as table:
        rows = list(csv.DictReader(table))
    encoded = [(sample_folder / "train" / row["filename"]).read_bytes() for row in rows]
    images = preprocess_encoded(tf.constant(encoded), resolved).numpy()
    labels = np.array([CLASSES.index(row["label"]) for row in rows])

    keras.utils.set_random_seed(1)
    inputs = keras.Input((SIDE, SIDE, 1))
    hidden = inputs
    for filters in (8, 16, 32):
        hidden = keras.layers.Conv2D(filters, 3, strides=2, padding="same")(hidden)
        hidden = keras.layers.BatchNormalization(momentum=0.8)(hidden)
        hidden = keras.layers.LeakyReLU(0.3)(hidden)
    hidden = keras.layers.Flatten()(hidden)
    probabilities = keras.layers.Dense(len(CLASSES), activation="softmax")(hidden)
    network = keras.Model(inputs, probabilities)
    network.compile(optimizer=keras.optimizers.Adam(3e-3), loss="sparse_categorical_crossentropy")
    network.fit(images / np.float32(255), labels, epochs=8, batch_size=16, verbose=0)
    scores = keras.ops.log(keras.ops.maximum(probabilities, 1e-7))
    keras.Model(inputs, {PROBABILITIES: probabilities, SCORES: scores}).save(
        folder / "classifier.keras"
    )
    description = {
        "name": "coronet",
        "classes": list(CLASSES),
        "preprocessing": resolved.to_dict(),
        "flip_at_test": True,
    }
    (folder / "model.json").write_text(json.dumps(description))
    split = len(rows) * 3 // 4
    return Request(
        model=str(folder),
        train_records=[_write_examples(folder / "train.gz", images[:split], labels[:split])],
        eval_records=[_write_examples(folder / "eval.gz", images[split:], labels[split:])],
        settings=EdgeSettings(
            further_variants=("float32", "float16", "dynamic"), calibration_images=40
        ).model_dump_json(),
        output=str(tmp_path_factory.mktemp("edge_model")),
    )


@pytest.fixture(scope="session")
def edge_model(trained: Request, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of an edge build with every variant, int8 first."""
    run_build(trained, tmp_path_factory.mktemp("request"), timeout=300)
    return Path(trained.output)


def _write_examples(path: Path, images: np.ndarray, labels: np.ndarray) -> str:
    import tensorflow as tf

    with tf.io.TFRecordWriter(str(path), options="GZIP") as writer:
        for image, label in zip(images, labels, strict=True):
            encoded = tf.io.encode_png(image).numpy()
            features = {
                IMAGE_XF: tf.train.Feature(bytes_list=tf.train.BytesList(value=[encoded])),
                LABEL: tf.train.Feature(int64_list=tf.train.Int64List(value=[int(label)])),
            }
            example = tf.train.Example(features=tf.train.Features(feature=features))
            writer.write(example.SerializeToString())
    return str(path)
