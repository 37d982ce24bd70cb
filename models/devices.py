"""GPUs that are shared with other processes."""

import contextlib

import tensorflow as tf


def share_gpus() -> None:
    """Takes the memory of each GPU that is needed, not all there is."""
    for gpu in tf.config.list_physical_devices("GPU"):
        # Refused once TensorFlow has started: in a local run, Transform did in this process.
        with contextlib.suppress(RuntimeError):
            tf.config.experimental.set_memory_growth(gpu, True)
