"""The knobs of the gate. Nothing here imports TFX or TensorFlow."""

from typing import Annotated, Literal

from pydantic import Field

from models.features import GATE_ACCURACY
from models.settings import Settings

Share = Annotated[float, Field(ge=0, le=1)]
ClassName = Literal["normal", "bacterial", "viral", "covid"]
SliceFeature = Literal["source", "size_bucket"]


class GateSettings(Settings):
    """What the float and the edge build of a classifier must each achieve on the test split.

    Attributes:
        accuracy: least accuracy over all test images. A single weak slice does not block.
        max_edge_drop: how far the edge build's accuracy may be below the float build's.
        compare_with_baseline: whether the float build must also hold up against the latest
            blessed model of its kind.
        max_baseline_drop: how far it may be below that model.
        class_recall: least recall of single classes, as `{covid: 0.9}`; none by default.
        slice_accuracy: least accuracy of single slices, as `{source: {hospital-b: 0.7}}`. A
            slice that is named here and has no test image fails. TFMA compares values that are
            numbers as numbers: a bound for `1` also holds for `01` and `1.0`.
    """

    accuracy: Share = GATE_ACCURACY
    max_edge_drop: Share = 0.01
    compare_with_baseline: bool = True
    max_baseline_drop: Share = 0.0
    class_recall: dict[ClassName, Share] = {}
    slice_accuracy: dict[SliceFeature, dict[str, Share]] = {}
