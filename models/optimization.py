"""Optimizers and learning-rate schedules, from settings."""

from typing import Any

import keras

from models.settings import TrainingSettings

_OPTIMIZERS = {
    "sgd": keras.optimizers.SGD,
    "adam": keras.optimizers.Adam,
    "adamw": keras.optimizers.AdamW,
}


def build_optimizer(training: TrainingSettings, steps_per_epoch: int) -> keras.optimizers.Optimizer:
    """Returns the optimizer that `training` describes.

    Args:
        training: its schedule `plateau` starts from a constant rate, which a callback lowers.
        steps_per_epoch: steps of one pass over the training split.
    """
    rate = _rate(training, steps_per_epoch)
    common: dict[str, Any] = {"clipnorm": training.gradient_clip_norm or None}
    if training.ema_momentum:
        # The averages are swapped in to validate and to save (`callbacks.SaveBest`).
        common |= {"use_ema": True, "ema_momentum": training.ema_momentum}
    if training.weight_decay or training.optimizer == "adamw":
        # AdamW has a default of its own: 0.004, of biases and normalisation too.
        common["weight_decay"] = training.weight_decay
    if training.optimizer == "sgd":
        common["momentum"] = training.momentum
    optimizer: keras.optimizers.Optimizer = _OPTIMIZERS[training.optimizer](rate, **common)
    if training.weight_decay:
        # Decay is for kernels: it would pull normalisation's scale to 0.
        optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    return optimizer


def _rate(
    training: TrainingSettings, steps_per_epoch: int
) -> float | keras.optimizers.schedules.LearningRateSchedule:
    if training.schedule != "cosine":
        return training.learning_rate
    warmup = min(training.warmup_epochs, training.epochs - 1) * steps_per_epoch
    return keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=0.0 if warmup else training.learning_rate,
        warmup_target=training.learning_rate if warmup else None,
        warmup_steps=warmup,
        decay_steps=training.epochs * steps_per_epoch - warmup,
    )
