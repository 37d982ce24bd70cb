"""A network that was trained elsewhere, in the place of one that is trained here."""

import zipfile
from tempfile import NamedTemporaryFile

import keras
import numpy as np
import tensorflow as tf

from models.classifier import build_network
from models.errors import InputError
from models.settings import CoronetSettings
from models.training import Fitted


def load_pretrained(settings: CoronetSettings, size: tuple[int, int]) -> tuple[keras.Model, Fitted]:
    """Returns the network of the settings with the weights of the file `settings.pretrained`.

    Args:
        settings: whose `pretrained` is a Keras file on any filesystem that TensorFlow knows.
        size: (height, width) of the images in pixels, as they were preprocessed.

    Returns:
        The network, and what training found: nothing but the weights.

    Raises:
        InputError: no such file, not a Keras file, a network of another shape, or one whose
            training diverged.
    """
    path = settings.pretrained
    with NamedTemporaryFile(suffix=".keras") as local:
        try:
            tf.io.gfile.copy(path, local.name, overwrite=True)
            if not zipfile.is_zipfile(local.name):
                raise ValueError("no Keras file: save the network with Keras 3, as name.keras")
            found = keras.saving.load_model(local.name, compile=False)
        except Exception as error:
            # Keras meets an archive that is none of its own with any exception there is.
            raise InputError(f"coronet.pretrained: cannot read {path}: {error}") from error
    network = build_network(settings, size)
    wanted, given = _shapes(network), _shapes(found)
    if wanted != given:
        raise InputError(
            f"coronet.pretrained: {path} is not CORONet for images of {size[1]} x {size[0]} pixels "
            f"with {settings.dense_units} dense units: its weights are {_difference(given, wanted)}"
        )
    weights = found.get_weights()
    if not all(np.isfinite(array).all() for array in weights):
        raise InputError(
            f"coronet.pretrained: {path} has weights that are no numbers: its training diverged"
        )
    network.set_weights(weights)
    return network, Fitted(network.get_weights(), best_epoch=0, images_per_second=0.0)


def _shapes(network: keras.Model) -> list[tuple[int, ...]]:
    return [tuple(weight.shape) for weight in network.weights]


def _difference(given: list[tuple[int, ...]], wanted: list[tuple[int, ...]]) -> str:
    if len(given) != len(wanted):
        return f"{len(given)} arrays, not {len(wanted)}"
    number = next(n for n, pair in enumerate(zip(given, wanted, strict=True)) if pair[0] != pair[1])
    return f"of other shapes (array {number + 1} is {given[number]}, not {wanted[number]})"
