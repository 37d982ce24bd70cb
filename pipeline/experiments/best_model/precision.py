"""The precision that the networks compute in."""

import torch


def autocast() -> torch.autocast:
    """bfloat16 where the processor multiplies it, float32 elsewhere.

    A processor without it (AVX2) emulates it, and takes more than ten times as long as in float32.
    """
    supported = torch.ops.mkldnn._is_mkldnn_bf16_supported()
    return torch.autocast("cpu", torch.bfloat16, enabled=supported)
