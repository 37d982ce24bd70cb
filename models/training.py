"""The training loop that the three classifiers share."""

import hashlib
import json
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field

import keras
import numpy as np
import tensorflow as tf

from models.callbacks import AveragedWeights, RunLog, SaveBest, early_stopping, plateau
from models.checkpoint import Checkpoint
from models.classifier import build_network
from models.data import Split, evaluation_batches, steps_per_epoch, training_batches
from models.devices import precision
from models.errors import DivergedError
from models.mlp import HalfSquaredError
from models.optimization import build_optimizer
from models.recalibration import with_statistics_of
from models.settings import ClassifierSettings, MlpSettings, SvmSettings, TrainingSettings
from models.svm import OneAgainstAllHinge, decaying_step
from models.svm_steps import ROWS_AT_A_TIME, RowByRow


@dataclass(frozen=True)
class Job:
    """What to train, and where to write about it.

    Attributes:
        name: svm, mlp or coronet; for messages.
        settings: of the classifier; their type says which one it is.
        seed: of weights, order, augmentation and dropout.
        run_folder: gets `history.json` and TensorBoard's event files.
        checkpoint_folder: from which training goes on after a crash, if data and settings
            are still the same; empty keeps no checkpoints.
    """

    name: str
    settings: ClassifierSettings
    seed: int
    run_folder: str
    checkpoint_folder: str = ""


@dataclass(frozen=True)
class Fitted:
    """What training found.

    Attributes:
        weights: of the best epoch, in the order of the network's `weights`.
        best_epoch: counting from 1.
        images_per_second: of training, without validation and the first epoch.
        history: per epoch, as in `history.json`.
        recalibrated: whether the weights have batch-norm statistics of unaugmented images;
            the history shows the best epoch without them.
    """

    weights: list[np.ndarray]
    best_epoch: int
    images_per_second: float
    history: dict[str, list[float]] = field(default_factory=dict)
    recalibrated: bool = False


def fit(
    job: Job,
    training_split: Split,
    evaluation_split: Split,
    initial_weights: Sequence[np.ndarray] | None = None,
) -> Fitted:
    """Trains in this process, with the Keras backend that is loaded.

    The same job on the same data gives the same weights on a CPU, whether or not it was
    interrupted on the way.

    Args:
        job: what to train.
        training_split, evaluation_split: the images.
        initial_weights: in the order of the network's `weights`; None draws them.

    Raises:
        DivergedError: the loss was never finite.
        InputError: the network cannot be built so.
    """
    training = _effective(job.settings)
    steps = steps_per_epoch(len(training_split), training.batch_size)
    keras.utils.set_random_seed(job.seed)
    tf.config.experimental.enable_op_determinism()
    with _strategy_scope(job.settings):
        network = compiled_network(job.settings, training_split.size, steps)
    if initial_weights is not None:
        network.set_weights(initial_weights)
    averaged = AveragedWeights() if training.ema_momentum else None
    best = SaveBest(training.save_best, averaged)
    log = RunLog(job.run_folder, job.name, training.epochs, len(training_split), best)
    callbacks = [*([averaged] if averaged else []), best, log]
    if training.schedule == "plateau" and not isinstance(job.settings, SvmSettings):
        callbacks.append(plateau(training))
    if training.early_stopping_patience:
        callbacks.append(early_stopping(training))
    callbacks.append(keras.callbacks.TerminateOnNaN())
    first_epoch = 0
    if job.checkpoint_folder:
        key = _key(job, training_split, evaluation_split)
        checkpoint = Checkpoint(job.checkpoint_folder, key, best, callbacks)
        callbacks.append(checkpoint)
        first_epoch = checkpoint.finished_epochs
        if checkpoint.stopped or first_epoch == training.epochs:
            checkpoint.set_model(network)
            checkpoint.restore()
            log.write()  # this run's folder is another one
            first_epoch = training.epochs
        elif first_epoch:
            print(f"{job.name} goes on after epoch {first_epoch}", flush=True)
    if first_epoch < training.epochs:
        network.fit(
            training_batches(
                training_split, training, job.settings.augmentation, job.seed, first_epoch
            ),
            validation_data=evaluation_batches(evaluation_split),
            epochs=training.epochs,
            initial_epoch=first_epoch,
            steps_per_epoch=steps,
            callbacks=callbacks,
            verbose=0,
        )
    if not best.weights:
        knob, rate = "training.learning_rate", training.learning_rate
        if isinstance(job.settings, SvmSettings):
            knob, rate = "epsilon", job.settings.epsilon
        raise DivergedError(
            f"{job.name} diverged: no epoch had a finite validation loss; "
            f"lower {job.name}.{knob} (now {rate:g})"
        )
    weights, recalibrated = best.weights, False
    if training.recalibrate_batch_norm:
        again = with_statistics_of(training_split, weights, job.settings)
        recalibrated = _lowers_loss(job.name, network, evaluation_split, weights, again)
        weights = again if recalibrated else weights
    return Fitted(weights, best.best_epoch, log.images_per_second, log.history, recalibrated)


def _lowers_loss(
    name: str,
    network: keras.Model,
    evaluation_split: Split,
    before: list[np.ndarray],
    after: list[np.ndarray],
) -> bool:
    """Whether the validation loss is lower with the weights `after`; prints both."""
    found = []
    for weights in (before, after):
        network.set_weights(weights)
        found.append(
            network.evaluate(evaluation_batches(evaluation_split), verbose=0, return_dict=True)
        )
    lower = bool(found[1]["loss"] < found[0]["loss"])
    print(
        f"{name} batch-norm statistics of unaugmented images:"
        f"  val_loss {found[0]['loss']:.4f} -> {found[1]['loss']:.4f}"
        f"  val_accuracy {found[0]['accuracy']:.4f} -> {found[1]['accuracy']:.4f}"
        f"  {'kept' if lower else 'not kept'}",
        flush=True,
    )
    return lower


def compiled_network(
    settings: ClassifierSettings, size: tuple[int, int], steps_per_epoch: int
) -> keras.Model:
    """Builds the network with its loss and optimizer.

    Args:
        settings: of the classifier.
        size: (height, width) of the images in pixels.
        steps_per_epoch: batches of one pass over the training split.
    """
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy(precision(settings.training.precision))
    try:
        network = build_network(settings, size)
    finally:
        keras.config.set_dtype_policy(policy)
    if isinstance(settings, SvmSettings):
        rate = decaying_step(settings.epsilon, steps_per_epoch)
        optimizer, loss = keras.optimizers.SGD(rate), OneAgainstAllHinge(settings.c)
        if _takes_rows():
            network = RowByRow(network, settings.training.epochs)
    else:
        optimizer = build_optimizer(settings.training, steps_per_epoch)
        if isinstance(settings, MlpSettings):
            loss = HalfSquaredError()
        else:
            loss = keras.losses.CategoricalCrossentropy()
    # The weighted loss is what is minimised; accuracy counts images.
    network.compile(
        optimizer,
        loss,
        metrics=[keras.metrics.CategoricalAccuracy(name="accuracy")],
    )
    # Of the compiled network: for float16 it is one that wraps ours and scales the loss.
    network.optimizer.build(network.trainable_variables)
    return network


def _effective(settings: ClassifierSettings) -> TrainingSettings:
    """The training settings as they are used: the SVM takes one image a step (eq. 3.1)."""
    if isinstance(settings, SvmSettings):
        batch_size = ROWS_AT_A_TIME if _takes_rows() else 1
        return settings.training.model_copy(update={"batch_size": batch_size})
    return settings.training


def _takes_rows() -> bool:
    """Whether this backend has a faster way than batches of one image (`models.svm_steps`)."""
    return keras.backend.backend() == "tensorflow"


def _strategy_scope(settings: ClassifierSettings):
    """Copies the model to every GPU where TensorFlow has several."""
    several = len(tf.config.list_logical_devices("GPU")) > 1
    # Each step of the SVM starts from where the one before it ended: it cannot be shared out.
    shared = several and not isinstance(settings, SvmSettings)
    if shared and keras.backend.backend() == "tensorflow":
        return tf.distribute.MirroredStrategy().scope()
    return nullcontext()


def _key(job: Job, training_split: Split, evaluation_split: Split) -> str:
    """A digest of everything that the weights depend on."""
    parts = [
        job.name,
        job.settings.model_dump_json(),
        precision(job.settings.training.precision),
        job.seed,
        training_split.digest(),
        evaluation_split.digest(),
        keras.version(),
        keras.backend.backend(),
    ]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()
