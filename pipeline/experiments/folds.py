"""Stratified folds that keep a patient's images together."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from sklearn.model_selection import StratifiedGroupKFold

from models.errors import InputError
from models.features import CLASSES


@dataclass(frozen=True)
class Fold:
    """Indices of the images of one fold: disjoint, together all images.

    Attributes:
        train: fits the classifier.
        validation: the next fold; drives the learning rate and picks the best epoch.
        test: measured once, after training.
    """

    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray


def make_folds(labels: np.ndarray, groups: Sequence[str], count: int, seed: int) -> list[Fold]:
    """Returns `count` folds; each image is in the test part of exactly one.

    Args:
        labels: int64 [N].
        groups: what may not be torn apart, one a image.
        count: k of the k-fold, 3 or more: one fold tests, one validates, the rest train.
        seed: of the shuffle.

    Raises:
        InputError: a class has fewer groups than there are folds.
    """
    if count < 3:
        raise InputError(f"{count} folds are too few: one tests, one validates, and the rest train")
    for index, name in enumerate(CLASSES):
        members = {group for group, label in zip(groups, labels, strict=True) if label == index}
        if len(members) < count:
            raise InputError(
                f"class {name} has {len(members)} patients, too few for {count} folds, "
                "each of which needs one: add images, or ask for fewer folds"
            )
    # Numbers in order of appearance: the folds must not depend on how patients are named.
    # Shuffled here, because StratifiedGroupKFold's own shuffling lost the stratification
    # in scikit-learn 1.5; without it, groups that are alike are taken in this order.
    appearance = {group: number for number, group in enumerate(dict.fromkeys(groups))}
    shuffled = np.random.default_rng(seed).permutation(len(appearance))
    codes = shuffled[[appearance[group] for group in groups]]
    splitter = StratifiedGroupKFold(count)
    parts = [test for _, test in splitter.split(np.zeros(len(labels)), labels, codes)]
    everything = np.arange(len(labels))
    folds = []
    for number, test in enumerate(parts):
        validation = parts[(number + 1) % count]
        train = np.setdiff1d(everything, np.concatenate([test, validation]))
        folds.append(Fold(train=train, validation=validation, test=test))
    return folds
