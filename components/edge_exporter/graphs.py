"""The two graphs of an edge build, saved so that the TFLite converter accepts them.

Preprocessing stays in float and takes images of any size; the classifier has a fixed size
and may be quantized. In one file, full-integer quantization would squeeze the arithmetic
of CLAHE into 8 bits, and shapes that are known only when it runs would keep LiteRT from
handing the convolutions to its fast kernels.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import keras
import tensorflow as tf

from components.edge_exporter import head, stem
from components.edge_exporter.familiarity import Familiarity
from edge.metadata import (
    DISTANCE_OUTPUT,
    IMAGE_INPUT,
    MODEL_IMAGE_OUTPUT,
    PROBABILITIES_OUTPUT,
    SCORES_OUTPUT,
)
from models.features import CLASSIFIER_FILE, DESCRIPTION_FILE, PROBABILITIES, SCORES
from models.preprocessing import ResolvedPreprocessing, preprocess


@dataclass(frozen=True)
class Trained:
    """A classifier as the Trainer left it.

    Attributes:
        network: float32 [B, H, W, 1] in [0, 1] to `PROBABILITIES` and `SCORES`, each [B, 4].
        name: svm, mlp or coronet.
        preprocessing: what the images it was trained on went through.
        flip_at_test: whether predictions are averaged over the image and its mirror image.
    """

    network: keras.Model
    name: str
    preprocessing: ResolvedPreprocessing
    flip_at_test: bool


def load(folder: Path) -> Trained:
    """Reads `classifier.keras` and `model.json` from a copy of the Trainer's output."""
    description = json.loads((folder / DESCRIPTION_FILE).read_text(encoding="utf-8"))
    return Trained(
        network=keras.models.load_model(folder / CLASSIFIER_FILE, compile=False),
        name=description["name"],
        preprocessing=ResolvedPreprocessing.from_dict(description["preprocessing"]),
        flip_at_test=bool(description["flip_at_test"]),
    )


def save_preprocessing(
    preprocessing: ResolvedPreprocessing, familiarity: Familiarity, folder: Path
) -> None:
    """Saves uint8 [1, H, W, 1] to the model's image and its distance from the training set."""
    module = tf.Module()

    @tf.function(input_signature=[tf.TensorSpec([1, None, None, 1], tf.uint8, IMAGE_INPUT)])
    def serve(image: tf.Tensor) -> dict[str, tf.Tensor]:
        shape = [1, preprocessing.height, preprocessing.width, 1]
        model_image = tf.reshape(preprocess(image, preprocessing, histogram="one_hot"), shape)
        return {
            MODEL_IMAGE_OUTPUT: model_image,
            DISTANCE_OUTPUT: familiarity.distance(model_image),
        }

    tf.saved_model.save(module, str(folder), signatures={"serving_default": serve})


def save_classifier(
    trained: Trained,
    folder: Path,
    integers: bool = False,
    correction: head.Correction | None = None,
) -> None:
    """Saves uint8 [1, h, w, 1], preprocessed, to probabilities and scores.

    The batch is fixed at one, which the page's runtime needs; through `ExportArchive`,
    because the converter aborts on other ways into a Keras 3 model.

    Args:
        trained: the classifier.
        folder: to write.
        integers: write the same function in the ops that full-integer quantization and its
            kernels like better.
        correction: with `integers`, of the logits.
    """
    network = for_integers(trained.network, correction) if integers else trained.network

    def serve(image: tf.Tensor) -> dict[str, tf.Tensor]:
        unit = tf.cast(image, tf.float32) / 255.0
        if trained.flip_at_test:
            unit = tf.concat([unit, tf.reverse(unit, axis=[2])], axis=0)
        outputs = network(unit, training=False)
        return {
            PROBABILITIES_OUTPUT: tf.reduce_mean(outputs[PROBABILITIES], axis=0, keepdims=True),
            SCORES_OUTPUT: tf.reduce_mean(outputs[SCORES], axis=0, keepdims=True),
        }

    shape = [1, trained.preprocessing.height, trained.preprocessing.width, 1]
    archive = keras.export.ExportArchive()
    archive.track(network)
    archive.add_endpoint(
        "serving_default", serve, [tf.TensorSpec(shape, tf.uint8, name=IMAGE_INPUT)]
    )
    archive.write_out(str(folder), verbose=False)


def for_integers(network: keras.Model, correction: head.Correction | None = None) -> keras.Model:
    """Returns the function of `network` in ops and weights that suit int8.

    See `stem` and `head`. All other layers are shared with `network`.
    """
    convolutions = stem.grey_convolutions(network)
    taken_in = {layer.name for layer in convolutions.values() if layer is not None}
    stand_ins = head.float_layers(network, correction)
    weights = head.even_weights(network)

    def replaced(layer: keras.Layer) -> keras.Layer:
        if layer.name in convolutions:
            return stem.BlockedConvolution(layer, convolutions[layer.name])
        if layer.name in taken_in:
            return stem.TakenIn(name=layer.name)
        if layer.name in weights:
            return keras.layers.Dense.from_config(layer.get_config())
        return stand_ins.get(layer.name, layer)

    rebuilt = keras.models.clone_model(network, clone_function=replaced, recursive=True)
    for name, values in weights.items():
        rebuilt.get_layer(name).set_weights(values)
    return rebuilt
