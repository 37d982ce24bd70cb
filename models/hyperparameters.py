"""From what a tuner found to a classifier's settings."""

import json
from collections.abc import Mapping
from typing import Any

from models.settings import ClassifierSettings

AUGMENTATION_STRENGTH = "augmentation_strength"
"""Scales rotation, shift, shear and zoom together; 1 leaves the settings as they are."""

EPOCHS = "tuner/epochs"
"""How long Hyperband trains a trial; KerasTuner's own name, as all that begin with `tuner/`."""


def with_hyperparameters(
    settings: ClassifierSettings, values: Mapping[str, Any], *, trial: bool = False
) -> ClassifierSettings:
    """Returns `settings` with the tuned values in their places.

    Args:
        settings: of a classifier.
        values: by the setting's dotted name, such as `training.learning_rate`; a text is
            JSON, such as `[512, 512]`. Also `AUGMENTATION_STRENGTH`.
        trial: whether to train for Hyperband's `EPOCHS`; the final training takes those of
            the settings.

    Raises:
        ValueError: a name or a value that the settings do not take.
    """
    changed = settings.model_dump(mode="json")
    for name, value in values.items():
        if name == AUGMENTATION_STRENGTH:
            for field in ("rotation_degrees", "shift", "shear", "zoom"):
                changed["augmentation"][field] *= value
        elif name == EPOCHS:
            if trial:
                changed["training"]["epochs"] = value
        elif not name.startswith("tuner/"):
            *sections, field = name.split(".")
            section = changed
            for key in sections:
                section = section[key]
            section[field] = json.loads(value) if isinstance(value, str) else value
    return type(settings).model_validate(changed)
