"""What this machine computes on."""

import contextlib
from pathlib import Path

import tensorflow as tf

AUTO = "auto"
_BFLOAT16, _FLOAT32 = "mixed_bfloat16", "float32"
_PROCESSOR = Path("/proc/cpuinfo")
_BFLOAT16_FLAGS = frozenset({"avx512_bf16", "amx_bf16", "bf16"})  # x86-64 twice, 64-bit ARM
_BFLOAT16_CAPABILITY = (8, 0)  # NVIDIA's Ampere


def share_gpus() -> None:
    """Takes the memory of each GPU that is needed, not all there is."""
    for gpu in tf.config.list_physical_devices("GPU"):
        # Refused once TensorFlow has started: in a local run, Transform did in this process.
        with contextlib.suppress(RuntimeError):
            tf.config.experimental.set_memory_growth(gpu, True)


def precision(wanted: str) -> str:
    """Returns the Keras dtype policy for `TrainingSettings.precision`.

    `AUTO` is bfloat16 where every GPU, or without one the processor, multiplies it. A processor
    that emulates it trains CORONet at 0.8 images a second where float32 has 5.2 (AVX2, 2 cores).
    """
    if wanted != AUTO:
        return wanted
    gpus = tf.config.list_physical_devices("GPU")
    if gpus:
        details = map(tf.config.experimental.get_device_details, gpus)
        fast = all(one.get("compute_capability", (0, 0)) >= _BFLOAT16_CAPABILITY for one in details)
    else:
        fast = bool(_BFLOAT16_FLAGS & _processor_flags())
    return _BFLOAT16 if fast else _FLOAT32


def _processor_flags() -> set[str]:
    try:
        return set(_PROCESSOR.read_text(encoding="utf-8").split())
    except OSError:  # not Linux
        return set()
