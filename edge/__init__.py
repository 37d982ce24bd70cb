"""Runs an exported classifier anywhere: LiteRT, NumPy and Pillow, no TensorFlow, no network."""

from edge.classifier import Classifier, Prediction
from edge.errors import EdgeError

__all__ = ["Classifier", "EdgeError", "Prediction"]
