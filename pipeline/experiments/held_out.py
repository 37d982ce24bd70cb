"""The splits of a cross-validation's fold, for a run of the pipeline.

    python -m pipeline.experiments.held_out --data DATA --fold 0 --output splits.csv

A network that was trained without a fold (`pipeline.experiments.best_model` with `FOLD=0`) must
face the gate on that fold's images and on no other. This writes them down as the test split,
the next fold as the eval split, and the rest as the train split, for `data.split_file`.
"""

import argparse
import csv
import io
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from components.ingestion.settings import DataSettings
from models.errors import InputError
from models.features import EVAL_SPLIT, TEST_SPLIT, TRAIN_SPLIT
from pipeline.experiments.dataset import read_labelled_images
from pipeline.experiments.folds import Fold, make_folds
from pipeline.experiments.results import write_text


def split_table(keys: Sequence[str], fold: Fold) -> str:
    """Returns the CSV that `components.ingestion.split_table` reads.

    Args:
        keys: of each image, as `LabelledImages.keys`.
        fold: its test part becomes the test split, its validation part the eval split.
    """
    parts = {TRAIN_SPLIT: fold.train, EVAL_SPLIT: fold.validation, TEST_SPLIT: fold.test}
    rows = {(keys[index], split) for split, indices in parts.items() for index in np.sort(indices)}
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["key", "split"])
    table.writerows(sorted(rows))
    return text.getvalue()


def main() -> None:
    """Entry point."""
    # Here, because it imports TensorFlow.
    from pipeline.experiments.best_model.prepare import FOLDS, SEED

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", required=True, help="labelled images")
    parser.add_argument(
        "--fold", type=int, required=True, choices=range(FOLDS), help="which fold was held out"
    )
    parser.add_argument("--output", type=Path, required=True, help="CSV file to write")
    arguments = parser.parse_args()
    try:
        dataset = read_labelled_images(arguments.data, DataSettings())
        folds = make_folds(dataset.labels, dataset.groups, FOLDS, SEED)
    except InputError as error:
        sys.exit(str(error))
    write_text(arguments.output, split_table(dataset.keys, folds[arguments.fold]))


if __name__ == "__main__":
    main()
