"""Names that every stage shares, written once: classes, feature keys, split names, the gate.

This module imports nothing, so that the edge runtime, the command line and the
report can read it without paying for TensorFlow.
"""

from typing import Final

CLASSES: Final = ("normal", "bacterial", "viral", "covid")
"""The label set Y of the paper's section I.B; a label is its index in this tuple."""

MODEL_NAMES: Final = ("svm", "mlp", "coronet")
"""The paper's three classifiers, in the order of its sections III.A to III.C."""

GATE_ACCURACY: Final = 0.80065
"""The challenge's minimum accuracy, which the paper measures every classifier against."""

# Raw features: what ingestion writes into each tf.Example.
IMAGE: Final = "image"  # bytes: canonical encoding (grey JPEG as found, or 8-bit grey PNG)
LABEL: Final = "label"  # int64 in [0, len(CLASSES))
FILENAME: Final = "filename"  # bytes: path relative to the data root, for reports
PATIENT: Final = "patient_id"  # bytes: salted hash, empty where unknown
SOURCE: Final = "source"  # bytes: where the image came from, "unknown" if not given
SIZE_BUCKET: Final = "size_bucket"  # bytes: one of SIZE_BUCKETS, by the longer side
HEIGHT: Final = "height"  # int64, pixels, after EXIF orientation
WIDTH: Final = "width"  # int64, pixels, after EXIF orientation
DIGEST: Final = "digest"  # bytes: SHA-256 of the decoded pixels and their shape, hexadecimal

SIZE_BUCKETS: Final = ("up to 256 px", "257 to 512 px", "over 512 px")

# Transformed features: what Transform writes beside LABEL.
IMAGE_XF: Final = "image_xf"  # bytes: PNG of the preprocessed uint8 image, [H, W, 1]

# Splits: `train` fits, `eval` drives the learning rate and picks the best epoch,
# `test` is seen by the Evaluator alone.
TRAIN_SPLIT: Final = "train"
EVAL_SPLIT: Final = "eval"
TEST_SPLIT: Final = "test"
SPLITS: Final = (TRAIN_SPLIT, EVAL_SPLIT, TEST_SPLIT)

# Files of a Trainer's Model artifact, beside its SavedModel.
CLASSIFIER_FILE: Final = "classifier.keras"  # the Keras model alone
DESCRIPTION_FILE: Final = "model.json"  # what it is
HISTORY_FILE: Final = "history.json"  # of a training, by epoch

# Model outputs, in every signature of every build.
PROBABILITIES: Final = "probabilities"  # float32 [B, len(CLASSES)], rows sum to 1
SCORES: Final = "scores"  # float32 [B, len(CLASSES)]: margins (SVM) or log-probabilities
LABELS: Final = "labels"  # string [B]: the name of the most probable class

SERVING_SIGNATURE: Final = "serving_default"  # encoded image bytes in
EXAMPLES_SIGNATURE: Final = "serving_examples"  # serialized tf.Example in, for TFMA

DISCLAIMER: Final = "Not a medical device: for research and engineering only, not for diagnosis."


def size_bucket(height: int, width: int) -> str:
    """Returns the entry of `SIZE_BUCKETS` for an image of `height` x `width` pixels."""
    longer = max(height, width)
    if longer <= 256:
        return SIZE_BUCKETS[0]
    return SIZE_BUCKETS[1] if longer <= 512 else SIZE_BUCKETS[2]
