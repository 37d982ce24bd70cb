"""Converts a trained classifier into TFLite files that `edge.Classifier` runs."""
