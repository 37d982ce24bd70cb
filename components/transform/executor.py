"""What `Transform` does: TFX's own, reading batches of a size in bytes, a thread a worker."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import tensorflow as tf
from absl import flags
from tfx.components.transform import executor
from tfx.types import Artifact

# `tfx_bsl` defines it, and TFX reads through `tfx_bsl`: 20 MiB of records a batch.
_BOUND_BY_BYTES = "tfxio_use_byte_size_batching"

# TensorFlow reads them when it first runs in a process.
_THREADS = ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS")


class Executor(executor.Executor):
    """Executor of `Transform`."""

    def Do(
        self,
        input_dict: dict[str, list[Artifact]],
        output_dict: dict[str, list[Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Runs TFX's Transform.

        Left alone, Beam grows the batches up to 1,000 images, whatever they weigh, so that
        memory grows with the data. The batches are laid down where the pipeline is built,
        that is here, for workers elsewhere too.
        """
        flags.FLAGS.set_default(_BOUND_BY_BYTES, True)
        with one_thread_in_each_worker():
            super().Do(input_dict, output_dict, exec_properties)


@contextmanager
def one_thread_in_each_worker() -> Iterator[None]:
    """Has the processes that are started meanwhile give TensorFlow one thread.

    Beam's multiprocess runner starts one a core. Ops on single images are too small to share
    out: two threads take 1.4 times as much of the processors for the same images as one.
    This process keeps its threads; values that the user has set stay.
    """
    tf.config.list_logical_devices()  # this process's threads are started now, if not before
    ours = [name for name in _THREADS if name not in os.environ]
    os.environ.update(dict.fromkeys(ours, "1"))
    try:
        yield
    finally:
        for name in ours:
            os.environ.pop(name, None)
