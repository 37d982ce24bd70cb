"""Probabilities out of raw scores: temperature scaling.

C. Guo et al., "On Calibration of Modern Neural Networks" (ICML 2017). One number is
fitted, so the class with the largest raw score, which is what the paper's SVM predicts,
stays the likeliest class.
"""

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

_LOG_RANGE = (-10.0, 10.0)


def fit_temperature(scores: np.ndarray, labels: np.ndarray) -> float:
    """Returns the T > 0 for which softmax(scores / T) explains the labels best.

    Args:
        scores: float [N, classes], of images that were not trained on.
        labels: int [N].

    Returns:
        T between e^-10 and e^10; the bounds are reached where the scores separate the
        classes without a mistake, or say nothing.
    """

    def loss(log_temperature: float) -> float:
        return negative_log_likelihood(scores / np.exp(log_temperature), labels)

    return float(np.exp(minimize_scalar(loss, bounds=_LOG_RANGE, method="bounded").x))


def negative_log_likelihood(logits: np.ndarray, labels: np.ndarray) -> float:
    """Returns the mean of -log softmax(logits)[label]."""
    return float(-np.mean(log_softmax(logits, axis=1)[np.arange(len(labels)), labels]))
