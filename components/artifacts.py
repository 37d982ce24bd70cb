"""Artifact types that our components add to TFX's standard ones.

Kubeflow's compiler takes a type's name for the path to import it from, allows one dot in
it, and no declared properties; so the names are `components.<class>`, which
`components/__init__.py` resolves, and properties are custom ones.
"""

from tfx.types.artifact import Artifact


class Quarantine(Artifact):
    """Inputs that ingestion refused, and what it found about duplicates and leakage.

    Payload: `quarantine.jsonl` (one refused input a line: path, reason, detail, digest),
    `summary.json` (counts per reason, per split and class, duplicates, resolved leaks).
    """

    TYPE_NAME = "components.Quarantine"


class EdgeModel(Artifact):
    """TFLite builds of one classifier.

    Payload: `preprocess.tflite` (pixels to the classifier's image), `model.tflite` (the build
    that is evaluated and pushed), further variants as `model_<variant>.tflite`, and `edge.json`
    (metadata that `edge.Classifier` reads).
    """

    TYPE_NAME = "components.EdgeModel"


class Report(Artifact):
    """Payload: `index.html`, one self-contained page, and `model_card.md`."""

    TYPE_NAME = "components.Report"


class DataVerdict(Artifact):
    """The data passed its schema. Payload: `verdict.json`, warnings and measured distances.

    The custom property `statistics_id` names the ExampleStatistics that were accepted.
    """

    TYPE_NAME = "components.DataVerdict"
