"""How much can be guessed without the lungs: a control model that sees the border only.

In data sets that collect their classes from different hospitals, the frame of an image
(markers, collimation, padding, the patient's arms) gives the class away (DeGrave et al.,
2021). Whatever this model scores above chance, a classifier may have learned without
looking at a lung.

    python -m pipeline.experiments.border_control --data DIR
"""

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tensorflow as tf
from sklearn.decomposition import PCA
from sklearn.pipeline import make_pipeline
from sklearn.svm import SVC

from components.evaluation.intervals import wilson
from components.ingestion.settings import DataSettings
from models.errors import InputError
from models.features import CLASSES
from models.preprocessing import preprocess_encoded, resolve
from models.settings import PreprocessingSettings
from pipeline.experiments.dataset import read_labelled_images
from pipeline.experiments.folds import Fold, make_folds
from pipeline.experiments.results import class_recall, confusion_matrix, markdown_table

SIDE = 48  # pixels: enough for a support vector machine, which gains little from more
COMPONENTS = 100
BORDER_SHARES = (0.15, 0.05)  # the wider leaves half of the area, the narrower a fifth
FOLDS = 5


@dataclass(frozen=True)
class Control:
    """What one control model scored in cross-validation.

    Attributes:
        name: what it saw.
        right, images: counts over all folds.
        recall: of each class.
    """

    name: str
    right: int
    images: int
    recall: tuple[float | None, ...]


def border_only(images: np.ndarray, share: float) -> np.ndarray:
    """Returns uint8 images [N, H, W] with all black but a frame.

    Args:
        images: uint8 [N, H, W].
        share: width of the frame, as a share of each side.
    """
    height, width = images.shape[1:]
    rows, columns = round(height * share), round(width * share)
    framed = images.copy()
    framed[:, rows : height - rows, columns : width - columns] = 0
    return framed


def cross_validated_control(
    name: str, images: np.ndarray, labels: np.ndarray, folds: list[Fold], seed: int
) -> Control:
    """Trains a support vector machine on each fold's training and validation images.

    Args:
        name: what the images show.
        images: uint8 [N, H, W].
        labels: int64 [N].
        folds: by patient.
        seed: of the principal components.
    """
    flat = images.reshape(len(images), -1).astype(np.float32) / 255
    predictions = np.empty_like(labels)
    for fold in folds:
        fitted = np.concatenate([fold.train, fold.validation])
        components = min(COMPONENTS, len(fitted))
        model = make_pipeline(PCA(components, random_state=seed), SVC(class_weight="balanced"))
        model.fit(flat[fitted], labels[fitted])
        predictions[fold.test] = model.predict(flat[fold.test])
    counts = np.array(confusion_matrix(labels, predictions))
    return Control(name, int(np.trace(counts)), len(labels), class_recall(counts))


def control_table(controls: list[Control]) -> str:
    """Returns the controls as a Markdown table."""
    rows = []
    for control in controls:
        interval = wilson(control.right, control.images)
        rows.append(
            [
                control.name,
                f"{control.right / control.images:.3f}",
                f"{interval.low:.3f} to {interval.high:.3f}",
                *("-" if recall is None else f"{recall:.2f}" for recall in control.recall),
            ]
        )
    return markdown_table(["sees", "accuracy", "95% interval", *CLASSES], rows)


def main() -> None:
    """Prints what the whole image and its border alone give away."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="labelled images")
    parser.add_argument("--seed", type=int, default=2020)
    arguments = parser.parse_args()
    try:
        print(_measure(str(arguments.data), arguments.seed))
    except InputError as error:
        sys.exit(str(error))


def _measure(data: str, seed: int) -> str:
    dataset = read_labelled_images(data, DataSettings())
    folds = make_folds(dataset.labels, dataset.groups, FOLDS, seed)
    settings = PreprocessingSettings(method="B", threshold="preset", size=SIDE)
    # Stretched to a square, so that black bars do not tell the aspect ratio.
    resolved = resolve(settings, (SIDE, SIDE))
    graph = tf.function(lambda encoded: preprocess_encoded(encoded, resolved))
    images = np.squeeze(graph(tf.constant(dataset.encoded)).numpy(), -1)
    seen = {"the whole image": images} | {
        f"a border of {share:.0%} a side": border_only(images, share) for share in BORDER_SHARES
    }
    controls = [
        cross_validated_control(name, shown, dataset.labels, folds, seed)
        for name, shown in seen.items()
    ]
    return control_table(controls)


if __name__ == "__main__":
    main()
