"""The knobs of the edge build. Nothing here imports TFX or TensorFlow."""

from typing import Literal

from pydantic import Field, PositiveInt, field_validator

from models.settings import Settings

Variant = Literal["int8", "dynamic", "float16", "float32"]


class EdgeSettings(Settings):
    """How the TFLite build is made.

    Attributes:
        variant: the build that is evaluated, gated and pushed. `int8`: weights and
            activations are 8-bit integers; `dynamic`: 8-bit weights, float activations;
            `float16`: half-precision weights; `float32`: as trained.
        further_variants: builds that are written beside it.
        calibration_images: training images whose activations set the ranges of int8.
        familiar_share: share of held-out training-like images that must count as familiar;
            it sets the threshold of the out-of-distribution score.
        timeout_seconds: the converter is stopped after this long.
    """

    variant: Variant = "int8"
    further_variants: tuple[Variant, ...] = ()
    calibration_images: PositiveInt = 200
    familiar_share: float = Field(default=0.99, gt=0.5, le=1)
    timeout_seconds: PositiveInt = 1800

    @field_validator("further_variants")
    @classmethod
    def _without_the_first(cls, value: tuple[Variant, ...], info) -> tuple[Variant, ...]:
        if len(set(value)) != len(value) or info.data.get("variant") in value:
            raise ValueError(f"name each variant once, and not `variant` again; received {value}")
        return value
