"""In the project's environment: preprocess the images once, and assign the folds."""

import argparse
import csv
from pathlib import Path

import numpy as np
import tensorflow as tf

from components.ingestion.settings import DataSettings
from models.preprocessing import preprocess_encoded, resolve
from models.settings import PreprocessingSettings
from pipeline.experiments.best_model.data import TEST_FILE, TRAIN_FILE, save
from pipeline.experiments.dataset import read_labelled_images
from pipeline.experiments.folds import make_folds

FOLDS = 5
SEED = 2020
SETTINGS = PreprocessingSettings(method="A", threshold="preset", size=200)
STRETCHED = PreprocessingSettings(method="B", threshold="preset", size=320, clahe=False)


def main() -> None:
    """Writes the training images with labels and folds, and apart from them the test images."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of cxr4")
    parser.add_argument("--work", type=Path, required=True, help="folder to write")
    arguments = parser.parse_args()
    arguments.work.mkdir(parents=True, exist_ok=True)

    dataset = read_labelled_images(str(arguments.data), DataSettings())
    folds = np.empty(len(dataset), np.int64)
    for number, fold in enumerate(make_folds(dataset.labels, dataset.groups, FOLDS, SEED)):
        folds[fold.test] = number
    save(
        arguments.work / TRAIN_FILE,
        images=_preprocess(list(dataset.encoded), SETTINGS),
        stretched=_preprocess(list(dataset.encoded), STRETCHED),
        labels=dataset.labels,
        folds=folds,
    )

    with (arguments.data / "test.csv").open(newline="", encoding="utf-8") as table:
        names = [row["filename"] for row in csv.DictReader(table)]
    contents = [(arguments.data / "test" / name).read_bytes() for name in names]
    save(arguments.work / TEST_FILE, images=_preprocess(contents, SETTINGS), names=np.array(names))


def _preprocess(contents: list[bytes], settings: PreprocessingSettings) -> np.ndarray:
    """Returns uint8 [N, size, size], by the graph that every build of the model serves with."""
    resolved = resolve(settings, (settings.size, settings.size))
    graph = tf.function(lambda encoded: preprocess_encoded(encoded, resolved))
    return np.squeeze(graph(tf.constant(contents)).numpy(), -1)


if __name__ == "__main__":
    main()
