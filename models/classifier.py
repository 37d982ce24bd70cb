"""The three networks behind one interface: an image in, probabilities and scores out."""

import keras

from models.coronet import build_coronet
from models.features import PROBABILITIES, SCORES
from models.mlp import build_mlp
from models.settings import ClassifierSettings, CoronetSettings, MlpSettings, SvmSettings
from models.svm import build_svm


def build_network(settings: ClassifierSettings, size: tuple[int, int]) -> keras.Model:
    """Builds the network that is trained.

    Args:
        settings: whose type says which of the three.
        size: (height, width) of the images in pixels.

    Returns:
        A model from float32 [B, H, W, 1] in [0, 1] to float32 [B, classes]: raw scores of
        the SVM, probabilities of the others.

    Raises:
        InputError: the network cannot be built so.
        TypeError: settings of no classifier.
    """
    if isinstance(settings, SvmSettings):
        return build_svm(size, epochs=settings.training.epochs)
    if isinstance(settings, MlpSettings):
        return build_mlp(size, hidden=settings.hidden, activations=settings.activations)
    if isinstance(settings, CoronetSettings):
        return build_coronet(
            size,
            dense_units=settings.dense_units,
            dropout=settings.dropout,
            l2=settings.l2,
            batch_norm_momentum=settings.training.batch_norm_momentum,
        )
    raise TypeError(f"settings of no classifier: {type(settings).__name__}")


def as_classifier(network: keras.Model, temperature: float | None = None) -> keras.Model:
    """Gives `network` the outputs that serving, evaluation and the edge share.

    Args:
        network: see `build_network`.
        temperature: for a network of raw scores: divides them before the softmax (see
            `models.calibration`). None for a network of probabilities.

    Returns:
        A model from float32 [B, H, W, 1] to `PROBABILITIES` (rows sum to 1) and `SCORES`
        (raw scores, or log-probabilities), float32 [B, classes] each.
    """
    output = network.output
    if temperature is None:
        outputs = {PROBABILITIES: output, SCORES: LogProbabilities(name=SCORES)(output)}
    else:
        outputs = {
            PROBABILITIES: TemperatureSoftmax(temperature, name=PROBABILITIES)(output),
            SCORES: output,
        }
    return keras.Model(network.input, outputs, name=network.name)


@keras.saving.register_keras_serializable("coronet")
class LogProbabilities(keras.layers.Layer):
    """Natural logarithms of probabilities, finite also where one has underflown to 0."""

    # The smallest normal float32: its logarithm is -87.3.
    _LEAST = 1.1754944e-38

    def call(self, probabilities: keras.KerasTensor) -> keras.KerasTensor:
        return keras.ops.log(keras.ops.maximum(probabilities, self._LEAST))


@keras.saving.register_keras_serializable("coronet")
class TemperatureSoftmax(keras.layers.Layer):
    """softmax(scores / temperature): the class with the largest score stays the likeliest.

    Args:
        temperature: positive.
    """

    def __init__(self, temperature: float, **kwargs: object):
        super().__init__(**kwargs)
        self.temperature = temperature

    def call(self, scores: keras.KerasTensor) -> keras.KerasTensor:
        return keras.ops.softmax(scores / self.temperature, axis=-1)

    def get_config(self) -> dict[str, object]:
        return {**super().get_config(), "temperature": self.temperature}
