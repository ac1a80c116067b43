"""What CPUs do faster than torch's plain layers would."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_FUSED: Any = getattr(torch.ops.mkldnn, "_convolution_pointwise", None)
"""oneDNN's convolution with what is done to each of its results: what torch.compile makes of the two."""


def bf16_hardware() -> str | None:
    """The CPU's instructions that compute in bf16, for people; None where it has none."""
    for probe, name in (("_is_amx_tile_supported", "AMX"), ("_is_avx512_bf16_supported", "AVX512-BF16")):
        if getattr(torch.cpu, probe, bool)():
            return name
    return None


def convolution(layer: nn.Conv2d, x: Tensor, relu: bool = True) -> Tensor:
    """A convolution without padding and, in the same pass over memory where oneDNN can, its ReLU.

    Args:
        layer: of stride 1.
        x: (B, C, H, W), channels last.
        relu: whether its result goes through one.
    """
    if relu and _fuses(x):
        ones = [1, 1]
        fused: Tensor = _FUSED(x, layer.weight, layer.bias, [0, 0], ones, ones, 1, "relu", [], "")
        return fused
    x = layer(x)
    return F.relu_(x) if relu else x


def _fuses(x: Tensor) -> bool:
    if _FUSED is None or x.device.type != "cpu" or torch.is_grad_enabled() or torch.jit.is_tracing():
        return False
    if not (torch.backends.mkldnn.is_available() and torch.backends.mkldnn.enabled):
        return False
    return x.dtype == torch.float32 or (x.dtype == torch.bfloat16 and bf16_hardware() is not None)
