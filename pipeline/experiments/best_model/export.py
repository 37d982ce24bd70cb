"""In the project's environment: the trained weights as a Keras CORONet, and a submission.

    python -m pipeline.experiments.best_model.export --weights weights.npz --output coronet.keras
    python -m pipeline.experiments.best_model.export ... --work WORK --submission submission.csv

`weights.npz` comes from `pipeline.experiments.best_model.untie`.
"""

import argparse
import csv
import io
from pathlib import Path

import keras
import numpy as np

from models.coronet import build_coronet
from models.features import CLASSES
from pipeline.experiments.best_model.data import TEST_FILE
from pipeline.experiments.results import write_text

BATCH = 64


def to_keras(weights: dict[str, np.ndarray], image_size: int = 200) -> keras.Model:
    """Builds figure 14's network with `weights`.

    Args:
        weights: arrays by `layer/variable`, in the names of `models.coronet`.
        image_size: pixels a side.

    Raises:
        ValueError: a variable has no array, an array no variable, or shapes differ.
    """
    model = build_coronet(image_size)
    unused = dict(weights)
    for layer in model.layers:
        for variable in layer.variables:
            key = f"{layer.name}/{variable.name}"
            if variable.name == "seed_generator_state":  # dropout's: training only
                continue
            if key not in unused:
                raise ValueError(f"no weights for {key}")
            variable.assign(unused.pop(key))
    if unused:
        raise ValueError(f"weights without a place in the network: {sorted(unused)}")
    return model


def predict(model: keras.Model, images: np.ndarray) -> np.ndarray:
    """Returns probabilities [N, classes], averaged over each image and its mirror image.

    Args:
        model: CORONet.
        images: uint8 [N, H, W], preprocessed.
    """
    unit = (images.astype(np.float32) / 255)[..., None]
    mirrored = unit[:, :, ::-1]
    both = [model.predict(one, batch_size=BATCH, verbose=0) for one in (unit, mirrored)]
    return np.mean(both, axis=0)


def submission(names: np.ndarray, probabilities: np.ndarray) -> str:
    """Returns the CSV that the challenge takes: `filename,label`, one line an image."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["filename", "label"])
    labels = (CLASSES[index] for index in probabilities.argmax(1))
    table.writerows(zip(names, labels, strict=True))
    return text.getvalue()


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weights", type=Path, required=True, help="what `untie` wrote")
    parser.add_argument("--output", type=Path, required=True, help="Keras file to write")
    parser.add_argument("--work", type=Path, help="what `prepare` wrote, for a submission")
    parser.add_argument("--submission", type=Path, help="CSV file to write")
    arguments = parser.parse_args()
    with np.load(arguments.weights, allow_pickle=False) as arrays:
        model = to_keras(dict(arrays))
    model.save(arguments.output)
    if arguments.submission is not None:
        with np.load(arguments.work / TEST_FILE, allow_pickle=False) as test:
            probabilities = predict(model, test["images"])
            write_text(arguments.submission, submission(test["names"], probabilities))


if __name__ == "__main__":
    main()
