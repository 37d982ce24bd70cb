"""The SavedModel: raw encoded images in, probabilities, scores and names out.

Decoding, resizing and CLAHE are inside, and are the functions that Transform ran before
training, so that no server can preprocess otherwise.
"""

from functools import partial

import keras
import tensorflow as tf

from models.data import EVALUATION_BATCH
from models.features import (
    CLASSES,
    EXAMPLES_SIGNATURE,
    IMAGE,
    LABELS,
    PROBABILITIES,
    SCORES,
    SERVING_SIGNATURE,
)
from models.preprocessing import ResolvedPreprocessing, preprocess_encoded, to_unit

EXAMPLES = "examples"
"""Name of the input of `EXAMPLES_SIGNATURE`."""


class ServingModel(tf.Module):
    """A classifier with its preprocessing.

    Args:
        classifier: see `models.classifier.as_classifier`.
        preprocessing: what its training images went through.
        flip_at_test: average over the image and its mirror image.
    """

    def __init__(
        self,
        classifier: keras.Model,
        preprocessing: ResolvedPreprocessing,
        flip_at_test: bool = False,
    ):
        super().__init__()
        self._preprocessing = preprocessing
        # Not the model as an attribute: TensorFlow would save each weight twice, once as Keras's
        # variable and once as the one of TensorFlow inside, which is what the graph reads.
        self._predict = partial(predict, classifier, flip_at_test=flip_at_test)
        self._variables = [variable.value for variable in classifier.variables]

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name=IMAGE)])
    def classify_images(self, image: tf.Tensor) -> dict[str, tf.Tensor]:
        """Classifies the contents of image files, string [B].

        Returns:
            `PROBABILITIES` and `SCORES`, float32 [B, classes]; `LABELS`, string [B].
        """
        pixels = to_unit(preprocess_encoded(image, self._preprocessing))
        outputs = self._predict(pixels)
        best = tf.argmax(outputs[PROBABILITIES], axis=-1)
        return {**outputs, LABELS: tf.gather(tf.constant(CLASSES), best)}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name=EXAMPLES)])
    def classify_examples(self, examples: tf.Tensor) -> dict[str, tf.Tensor]:
        """Classifies serialized `tf.Example`s as ingestion writes them, string [B].

        Only `IMAGE` is read. Returns what `classify_images` returns.

        TFMA hands over what it has read at once, thousands of small images, and what a network
        makes of them would not fit into memory: so a batch of `EVALUATION_BATCH` at a time.
        """
        parsed = tf.io.parse_example(examples, {IMAGE: tf.io.FixedLenFeature([], tf.string)})
        image, values = parsed[IMAGE], tf.RaggedTensorSpec([None, len(CLASSES)], ragged_rank=0)
        parts = tf.map_fn(
            lambda first: self.classify_images(image[first : first + EVALUATION_BATCH]),
            tf.range(0, tf.size(image), EVALUATION_BATCH),
            parallel_iterations=1,
            fn_output_signature={
                **dict.fromkeys((PROBABILITIES, SCORES), values),
                LABELS: tf.RaggedTensorSpec([None], tf.string, ragged_rank=0),
            },
        )
        # Of no examples there is no part, which leaves the shape unknown.
        shapes = {PROBABILITIES: [-1, len(CLASSES)], SCORES: [-1, len(CLASSES)], LABELS: [-1]}
        return {key: tf.reshape(parts[key].values, shape) for key, shape in shapes.items()}


def predict(classifier: keras.Model, images: tf.Tensor, flip_at_test: bool) -> dict[str, tf.Tensor]:
    """Applies the classifier to preprocessed images.

    Args:
        classifier: see `models.classifier.as_classifier`.
        images: float32 [B, H, W, 1] in [0, 1].
        flip_at_test: whether probabilities and scores are the means over the image and its
            mirror image.

    Returns:
        `PROBABILITIES` and `SCORES`, float32 [B, classes].
    """
    outputs = classifier(images, training=False)
    if flip_at_test:
        mirrored = classifier(tf.reverse(images, axis=[2]), training=False)
        outputs = {key: (outputs[key] + mirrored[key]) / 2 for key in (PROBABILITIES, SCORES)}
    return {key: outputs[key] for key in (PROBABILITIES, SCORES)}


def export(serving: ServingModel, folder: str) -> None:
    """Writes the SavedModel with its two signatures into `folder`."""
    tf.saved_model.save(
        serving,
        folder,
        signatures={
            SERVING_SIGNATURE: serving.classify_images,
            EXAMPLES_SIGNATURE: serving.classify_examples,
        },
    )
