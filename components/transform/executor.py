"""What `Transform` does: TFX's own, reading batches of a size in bytes."""

from typing import Any

from absl import flags
from tfx.components.transform import executor
from tfx.types import Artifact

# `tfx_bsl` defines it, and TFX reads through `tfx_bsl`: 20 MiB of records a batch.
_BOUND_BY_BYTES = "tfxio_use_byte_size_batching"


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
        super().Do(input_dict, output_dict, exec_properties)
