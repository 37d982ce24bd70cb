"""The runtime against TensorFlow: same pixels, same answer."""

from pathlib import Path

import numpy as np
import pytest

from edge import Classifier


def test_smoke(edge_model: Path, sample_folder: Path):
    classifier = Classifier(edge_model)
    print(classifier.metadata)
    p = classifier.predict(sample_folder / "train" / "phantom-0003.jpeg")
    print(p)
