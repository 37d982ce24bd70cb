"""In the project's environment: preprocess the images once, and assign the folds.

What is prepared belongs to one set of images: a folder that was made from others is refused, for
what was trained there does not know them.
"""

import argparse
import csv
import sys
from pathlib import Path

import numpy as np
import tensorflow as tf

from components.ingestion.settings import DataSettings
from models.errors import InputError
from models.preprocessing import preprocess_encoded, resolve
from models.settings import PreprocessingSettings
from pipeline.experiments.best_model.data import TEST_FILE, TRAIN_FILE, save
from pipeline.experiments.dataset import read_labelled_images
from pipeline.experiments.folds import make_folds
from pipeline.experiments.results import write_text

STAMP = "data.digest"
FOLDS = 5
SEED = 2020
SETTINGS = PreprocessingSettings(method="A", threshold="preset", size=200)
STRETCHED = PreprocessingSettings(method="B", threshold="preset", size=320, clahe=False)


def main() -> None:
    """Writes the training images with labels and folds, and apart from them the test images."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="labelled images")
    parser.add_argument("--work", type=Path, required=True, help="folder to write")
    arguments = parser.parse_args()
    try:
        prepare(arguments.data, arguments.work)
    except InputError as error:
        sys.exit(str(error))


def prepare(data: Path, work: Path) -> None:
    """Writes below `work` what `pipeline.experiments.best_model.data` reads, unless it is there.

    Args:
        data: labelled images; those that its `test.csv` lists below `test/`, if it is there,
            are to be predicted.
        work: folder to write.

    Raises:
        InputError: `work` was made from other images, or these are too few.
    """
    work.mkdir(parents=True, exist_ok=True)
    dataset = read_labelled_images(str(data), DataSettings())
    names = _test_names(data)
    stamp, made_of = work / STAMP, "\n".join([dataset.digest, *names])
    if stamp.exists():
        if stamp.read_text(encoding="utf-8") != made_of:
            raise InputError(f"{work} was made from other images: name another, or remove it")
        return
    folds = np.empty(len(dataset), np.int64)
    for number, fold in enumerate(make_folds(dataset.labels, dataset.groups, FOLDS, SEED)):
        folds[fold.test] = number
    save(
        work / TRAIN_FILE,
        images=_preprocess(list(dataset.encoded), SETTINGS),
        stretched=_preprocess(list(dataset.encoded), STRETCHED),
        labels=dataset.labels,
        folds=folds,
    )

    contents = [(data / "test" / name).read_bytes() for name in names]
    if names:
        save(work / TEST_FILE, images=_preprocess(contents, SETTINGS), names=np.array(names))
    write_text(stamp, made_of)  # last: what it says is there


def _test_names(data: Path) -> list[str]:
    listed = data / "test.csv"
    if not listed.exists():
        return []
    with listed.open(newline="", encoding="utf-8") as table:
        return [row["filename"] for row in csv.DictReader(table)]


def _preprocess(contents: list[bytes], settings: PreprocessingSettings) -> np.ndarray:
    """Returns uint8 [N, size, size], by the graph that every build of the model serves with."""
    resolved = resolve(settings, (settings.size, settings.size))
    graph = tf.function(lambda encoded: preprocess_encoded(encoded, resolved))
    return np.squeeze(graph(tf.constant(contents)).numpy(), -1)


if __name__ == "__main__":
    main()
