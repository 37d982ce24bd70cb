"""The knobs of preprocessing and training, as validated settings.

`pipeline.config.Config` composes these into the one object a user sees; they live
here because `models` may not import `pipeline`. Nothing here imports TensorFlow.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PositiveFloat,
    PositiveInt,
    ValidationInfo,
    field_validator,
)


class Settings(BaseModel):
    """Base of every settings section: immutable; an unknown key, NaN or infinity is an error."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", validate_default=True, allow_inf_nan=False
    )


# The tables of 256 x 256 tiles take 0.6 GB for an image, those of 512 x 512 four times as much.
Tiles = Annotated[int, Field(ge=1, le=256)]


class PreprocessingSettings(Settings):
    """Resizing and CLAHE (the paper's section II).

    Attributes:
        method: `A` keep the aspect ratio and pad with black to a square; `B` stretch;
            `C` cover a rectangle and crop; `D` cover a square and crop.
        threshold: `max` or `min` over the training images, or `preset` for `size`.
        size: pixels a side under `threshold="preset"`; ignored otherwise.
        clahe: whether to equalise after resizing.
        clip_limit: OpenCV's `clipLimit`; 0 switches clipping off.
        tile_grid: (rows, columns) of CLAHE tiles, at most 256 of each.
    """

    method: Literal["A", "B", "C", "D"] = "A"
    threshold: Literal["max", "min", "preset"] = "preset"
    size: int = Field(default=200, ge=8, le=4096)
    clahe: bool = True
    clip_limit: float = Field(default=2.0, ge=0)
    tile_grid: tuple[Tiles, Tiles] = (8, 8)


class AugmentationSettings(Settings):
    """Random affine augmentation of the training split (the paper's section III.C).

    Attributes:
        rotation_degrees: angle range, drawn from [-r, r].
        shift: translation range as a fraction of the image's side.
        shear: range of the shear angle in radians, drawn from [-s, s]. (Keras's
            ImageDataGenerator takes degrees, where the paper's 0.3 would do nothing.)
        zoom: zoom range, drawn from [1 - z, 1 + z] per axis.
        flip: mirror left to right with probability one half.
    """

    enabled: bool = True
    rotation_degrees: float = Field(default=20.0, ge=0, le=180)
    shift: float = Field(default=0.3, ge=0, lt=1)
    shear: float = Field(default=0.3, ge=0, lt=1)
    zoom: float = Field(default=0.3, ge=0, lt=1)
    flip: bool = True


class TrainingSettings(Settings):
    """The training loop that the three classifiers share.

    Attributes:
        epochs: passes over the training split.
        batch_size: images a step.
        learning_rate: the initial (or peak) rate.
        optimizer: the Keras optimizer.
        momentum: of `sgd`.
        weight_decay: decoupled, of kernels only.
        gradient_clip_norm: longest gradient of a variable; 0 does not clip.
        schedule: `plateau` is the paper's ReduceLROnPlateau; `cosine` one cycle with warm-up.
        warmup_epochs: of `cosine`: the rate first rises from 0 for so long.
        plateau_factor, plateau_patience, plateau_min_delta: the paper's 0.1, 3 and 0.1.
        early_stopping_patience: epochs without a lower validation loss; 0 never stops early.
        save_best: when an epoch's weights replace the saved ones. `both` (the paper's
            SaveBest): validation loss lower and accuracy higher than those of the saved epoch;
            `loss`: loss lower; `accuracy`: accuracy higher, or equal with a lower loss;
            `last`: always.
        label_smoothing: share of the target spread over all classes.
        mixup_alpha: Beta(a, a) of mixup; 0 switches it off.
        ema_momentum: exponential moving average of the weights; 0 switches it off.
        class_weights: weigh the loss by inverse class frequency.
        batch_norm_momentum: of CORONet's moving statistics; lower follows short epochs better.
        recalibrate_batch_norm: after the last epoch, take the batch-norm statistics again over
            the unaugmented training images; kept if the validation loss falls.
        flip_at_test: average the prediction over the image and its mirror image.
        precision: Keras dtype policy; `auto` is mixed_bfloat16 where the machine multiplies it.
        backend: the Keras backend that trains; export always goes through TensorFlow.
    """

    epochs: PositiveInt = 200
    batch_size: PositiveInt = 32
    learning_rate: PositiveFloat = 0.1
    optimizer: Literal["sgd", "adam", "adamw"] = "sgd"
    momentum: float = Field(default=0.0, ge=0, lt=1)
    weight_decay: float = Field(default=0.0, ge=0)
    gradient_clip_norm: float = Field(default=0.0, ge=0)
    schedule: Literal["constant", "plateau", "cosine"] = "plateau"
    warmup_epochs: int = Field(default=0, ge=0)
    plateau_factor: float = Field(default=0.1, gt=0, lt=1)
    plateau_patience: PositiveInt = 3
    plateau_min_delta: float = Field(default=0.1, ge=0)
    early_stopping_patience: int = Field(default=0, ge=0)
    save_best: Literal["both", "loss", "accuracy", "last"] = "both"
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    mixup_alpha: float = Field(default=0.0, ge=0)
    ema_momentum: float = Field(default=0.0, ge=0, lt=1)
    class_weights: bool = False
    batch_norm_momentum: float = Field(default=0.99, gt=0, lt=1)
    recalibrate_batch_norm: bool = False
    flip_at_test: bool = False
    precision: Literal["auto", "float32", "mixed_bfloat16", "mixed_float16"] = "float32"
    backend: Literal["tensorflow", "jax", "torch"] = "tensorflow"


class ClassifierSettings(Settings):
    """What every classifier has: its own preprocessing where it differs, and its training."""

    preprocessing: PreprocessingSettings | None = None
    training: TrainingSettings
    augmentation: AugmentationSettings

    @field_validator("training", "augmentation", mode="before")
    @classmethod
    def _over_the_classifiers_own(cls, value: Any, info: ValidationInfo) -> Any:
        """What a mapping leaves out is this classifier's default, not the section's."""
        if not isinstance(value, Mapping) or info.field_name is None:
            return value
        default = cls.model_fields[info.field_name].default
        return {**default.model_dump(), **value} if isinstance(default, Settings) else value


class SvmSettings(ClassifierSettings):
    """One-against-all linear SVM by stochastic gradient descent (section III.A).

    Attributes:
        c: the tolerance C of eq. 3.1.
        epsilon: the step size of eq. 3.1 to 3.3. The paper's best trial is C = 0.1 with
            epsilon = 0.0001; its text then names C = 0.01, which its own table contradicts.
        training: how it descends is the algorithm's own (by epsilon / epoch, one image a step):
            optimizer, momentum, rate, schedule, batch size, weight decay and gradient bound are
            not used. Mixup and label smoothing have no meaning for a margin, averaged weights
            none for its steps: they are refused.
    """

    c: PositiveFloat = 0.1
    epsilon: PositiveFloat = 1e-4
    training: TrainingSettings = TrainingSettings(epochs=100, schedule="constant")
    augmentation: AugmentationSettings = AugmentationSettings(enabled=False)

    @field_validator("training")
    @classmethod
    def _knobs_it_has(cls, value: TrainingSettings) -> TrainingSettings:
        for knob in ("label_smoothing", "mixup_alpha", "ema_momentum"):
            if getattr(value, knob):
                raise ValueError(f"{knob} has no meaning for this machine: leave it at 0")
        return value


class MlpSettings(ClassifierSettings):
    """Fully connected network (section III.B): 512 and 512 sigmoid units by default."""

    hidden: tuple[PositiveInt, ...] = (512, 512)
    activations: tuple[str, ...] = ("sigmoid", "sigmoid")
    training: TrainingSettings = TrainingSettings(
        epochs=500, learning_rate=1e-4, schedule="constant"
    )
    augmentation: AugmentationSettings = AugmentationSettings(enabled=False)

    @field_validator("activations")
    @classmethod
    def _one_for_each_layer(cls, value: tuple[str, ...], info) -> tuple[str, ...]:
        hidden = info.data.get("hidden", ())
        if len(value) == 1:
            return value * len(hidden)
        if len(value) != len(hidden):
            raise ValueError(
                f"give one activation, or one for each of the {len(hidden)} hidden layers; "
                f"received {len(value)}: {list(value)}"
            )
        return value


CORONET_MIN_SIZE = 32
"""Pixels of the shorter side that the pooling leaves something of."""


class CoronetSettings(ClassifierSettings):
    """Residual convolutional network (section III.C, figure 14).

    Attributes:
        dense_units: width of the dense layer before the softmax (the paper: 256, then 1024).
        dropout: share of that layer's units dropped while training.
        l2: weight decay of the convolution kernels, as a loss term.
        training: the paper says nothing of a bound on gradients; without one its rate of 0.1 gave
            NaN within ten steps.
        pretrained: Keras file of this network, trained elsewhere, which the Trainer takes in
            place of training one; everything after the Trainer, the gate included, is as ever.
            The test split must not hold images that it was trained on: see `data.split_file`.
    """

    dense_units: PositiveInt = 1024
    dropout: float = Field(default=0.5, ge=0, lt=1)
    l2: float = Field(default=0.0, ge=0)
    pretrained: str = ""
    training: TrainingSettings = TrainingSettings(gradient_clip_norm=1.0)
    augmentation: AugmentationSettings = AugmentationSettings()
