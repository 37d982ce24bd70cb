"""Which parts of an image a prediction rests on, by occlusion.

Zeiler and Fergus, "Visualizing and Understanding Convolutional Networks" (2014), section
4.2: cover a part, and see how far the probability falls. It asks the deployed, quantized
model itself and needs no gradients.
"""

from typing import Final

import numpy as np

from edge.classifier import Classifier

GRID: Final = 10  # positions of the cover along each side
COVER: Final = 0.2  # side of the cover, as a share of the image's


def occlusion(classifier: Classifier, model_image: np.ndarray, label: str) -> np.ndarray:
    """Slides a grey square over the image and notes how much `label` loses.

    Args:
        classifier: the model to ask, `GRID` * `GRID` times.
        model_image: uint8 [h, w], preprocessed, from a `Prediction`.
        label: the class whose probability is watched.

    Returns:
        float32 [GRID, GRID]: probability lost with the cover centred in each cell; negative
        where covering helps.
    """
    index = classifier.classes.index(label)
    height, width = model_image.shape
    grey = round(float(model_image.mean()))
    whole = classifier.classify(model_image)[0][index]
    lost = np.empty((GRID, GRID), np.float32)
    for row, (top, bottom) in enumerate(_spans(height)):
        for column, (left, right) in enumerate(_spans(width)):
            covered = model_image.copy()
            covered[top:bottom, left:right] = grey
            lost[row, column] = whole - classifier.classify(covered)[0][index]
    return lost


def _spans(length: int) -> list[tuple[int, int]]:
    """Start and end of the cover, in pixels, at each position along a side."""
    half = COVER * length / 2
    centres = (np.arange(GRID) + 0.5) * length / GRID
    return [(max(0, round(centre - half)), min(length, round(centre + half))) for centre in centres]
