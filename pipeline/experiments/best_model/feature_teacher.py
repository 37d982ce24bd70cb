"""In PyTorch's environment: classifiers on features, asked about images they have not seen.

ImageNet features of two EfficientNet-Lite networks, histograms of oriented gradients and
plain pixels, each under a support vector machine and a logistic regression. An image's
answer comes from models that were fitted without its fold, so unlike a fine-tuned network's
it knows how sure it may be of an image that it was not trained on.

    python -m pipeline.experiments.best_model.feature_teacher --work WORK --output unseen.npz
"""

import argparse
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import torch
from sklearn.base import ClassifierMixin
from sklearn.calibration import CalibratedClassifierCV
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from pipeline.experiments.best_model import data, unseen
from pipeline.experiments.best_model.network import CLASSES
from pipeline.experiments.best_model.precision import autocast
from pipeline.experiments.best_model.scores import scores
from pipeline.experiments.best_model.teacher import Teacher
from pipeline.experiments.best_model.views import resized

_BATCH = 16
_HOG_SIDE, _PIXELS_SIDE = 128, 48


def unseen_probabilities(
    features: list[np.ndarray], labels: np.ndarray, folds: np.ndarray
) -> np.ndarray:
    """Returns probabilities [N, classes], each from models fitted without the image's fold.

    Args:
        features: [N, any], a kind each.
        labels: int64 [N].
        folds: int64 [N].
    """
    answers = []
    for matrix in features:
        for make in _CLASSIFIERS:
            answer = np.zeros((len(labels), CLASSES))
            for fold in np.unique(folds):
                asked = folds == fold
                known = matrix[~asked]
                model = make(min(known.shape)).fit(known, labels[~asked])
                answer[asked] = model.predict_proba(matrix[asked])
            answers.append(answer)
    return np.mean(answers, axis=0)


def _support_vectors(most: int) -> ClassifierMixin:
    """Of at most `most` components: there are no more than images or numbers an image."""
    machine = CalibratedClassifierCV(SVC(C=3), ensemble=False)
    return make_pipeline(StandardScaler(), PCA(min(150, most), random_state=0), machine)


def _logistic_regression(most: int) -> ClassifierMixin:
    regression = LogisticRegression(C=0.003, max_iter=1000)
    return make_pipeline(StandardScaler(), PCA(min(200, most), random_state=0), regression)


_CLASSIFIERS: tuple[Callable[[int], ClassifierMixin], ...] = (
    _support_vectors,
    _logistic_regression,
)


def _features(prepared: data.Prepared) -> Iterator[np.ndarray]:
    """Yields the kinds of features, float32 [N, any]."""
    yield _network_features("lite0", prepared.images, 224)
    yield _network_features("lite0", prepared.stretched, 320)
    yield _network_features("lite2", prepared.images, 260)
    yield _gradient_features(prepared.images)
    small = [resized(image, _PIXELS_SIDE).ravel() for image in prepared.images]
    yield np.stack(small).astype(np.float32) / 255


def _network_features(kind: str, images: np.ndarray, side: int) -> np.ndarray:
    """Returns means and deviations of the ImageNet features, averaged with the mirror image's."""
    teacher = Teacher(kind).eval().to(memory_format=torch.channels_last)
    found = []
    with torch.no_grad(), autocast():
        for start in range(0, len(images), _BATCH):
            batch = np.stack([resized(one, side) for one in images[start : start + _BATCH]])
            unit = torch.from_numpy(batch[:, None]).float() / 255
            both = [teacher.pooled_features(view) for view in (unit, unit.flip(3))]
            found.append((both[0] + both[1]).numpy() / 2)
    return np.concatenate(found)


def _gradient_features(images: np.ndarray) -> np.ndarray:
    side = (_HOG_SIDE, _HOG_SIDE)
    histogram = cv2.HOGDescriptor(side, (32, 32), (16, 16), (16, 16), 9)
    found = []
    for image in images:
        small = resized(image, _HOG_SIDE)
        both = [histogram.compute(one) for one in (small, cv2.flip(small, 1))]
        found.append(np.mean(both, axis=0))
    return np.stack(found).reshape(len(images), -1)


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True, help="what `prepare` wrote")
    parser.add_argument("--output", type=Path, required=True, help="file to write")
    parser.add_argument(
        "--fold", type=int, default=data.NO_FOLD, help="fold left out; its images get no answer"
    )
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    prepared = data.load(arguments.work)
    used, _ = prepared.split(arguments.fold)
    labels = prepared.labels[used]
    found = unseen_probabilities(
        [matrix[used] for matrix in _features(prepared)], labels, prepared.folds[used]
    )
    print(json.dumps(scores(found, labels)))
    probabilities = np.full((len(prepared.labels), CLASSES), 1 / CLASSES, np.float32)
    probabilities[used] = found
    unseen.save(arguments.output, probabilities)


if __name__ == "__main__":
    main()
