"""Artifact types that our components add to TFX's standard ones."""

from tfx.types.artifact import Artifact, Property, PropertyType


class Quarantine(Artifact):
    """Inputs that ingestion refused, and what it found about duplicates and leakage.

    Payload: `quarantine.jsonl` (one refused input a line: path, reason, detail, digest),
    `summary.json` (counts per reason, per split and class, duplicates, resolved leaks).
    """

    TYPE_NAME = "CoronetQuarantine"
    PROPERTIES = {"refused": Property(type=PropertyType.INT)}


class EdgeModel(Artifact):
    """TFLite builds of one classifier.

    Payload: `model.tflite` (the build that is evaluated and pushed), further variants as
    `model_<variant>.tflite`, and `edge.json` (metadata that `edge.Classifier` reads).
    """

    TYPE_NAME = "CoronetEdgeModel"


class Report(Artifact):
    """Payload: `index.html`, one self-contained page, and `model_card.md`."""

    TYPE_NAME = "CoronetReport"
