"""The TFX component that preprocesses the examples."""

from tfx import v1 as tfx
from tfx.dsl.components.base import executor_spec

from components.transform.executor import Executor


class Transform(tfx.components.Transform):
    """TFX's Transform, whose memory does not grow with the number of images.

    It has TFX's parameters and outputs; `components.transform.executor` says what differs.
    """

    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(Executor)
