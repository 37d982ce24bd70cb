"""What a validation says: accuracy, loss and recall."""

import numpy as np

from pipeline.experiments.best_model.network import CLASSES


def scores(probabilities: np.ndarray, labels: np.ndarray) -> dict[str, object]:
    """Returns accuracy, mean cross-entropy in nats and recall by class.

    Args:
        probabilities: [N, CLASSES].
        labels: int64 [N].
    """
    predictions = probabilities.argmax(1)
    of_the_truth = probabilities[np.arange(len(labels)), labels]
    return {
        "val_accuracy": float((predictions == labels).mean()),
        "val_loss": float(-np.log(np.maximum(of_the_truth, 1e-7)).mean()),
        "val_recall": [float((predictions[labels == c] == c).mean()) for c in range(CLASSES)],
    }
