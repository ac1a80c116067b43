"""What CPUs do faster than torch's plain layers would."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_FUSED: Any = getattr(torch.ops.mkldnn, "_convolution_pointwise", None)
"""oneDNN's convolution with what is done to each of its results: what torch.compile makes of the two."""

_BAND = 1 << 18  # pixels whose maps at full resolution are computed at a time: 34 MB of 64 channels in bf16


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


def reflected(x: Tensor, rows: tuple[bool, bool] = (True, True), enlarge: bool = False) -> Tensor:
    """What a 3×3 convolution takes: x with one more value on each side, by reflection.

    Args:
        x: (B, C, h, w), channels last.
        rows: whether a row is added above, and below.
        enlarge: whether x is enlarged twofold before, by repeating its values: in one pass over memory, and without
            another map of that size.
    """
    above, below = map(int, rows)
    if not enlarge or torch.is_grad_enabled() or torch.jit.is_tracing():
        x = F.interpolate(x, scale_factor=2, mode="nearest") if enlarge else x
        return F.pad(x, (1, 1, above, below), mode="reflect")
    batch, channels, h, w = x.shape
    found = x.new_empty((batch, 2 * h + above + below, 2 * w + 2, channels))
    inside = found[:, above : above + 2 * h, 1:-1].unflatten(2, (w, 2)).unflatten(1, (h, 2))
    inside.copy_(x.permute(0, 2, 3, 1)[:, :, None, :, None])
    if above:
        found[:, 0] = found[:, 2]
    if below:
        found[:, -1] = found[:, -3]
    found[:, :, 0], found[:, :, -1] = found[:, :, 2], found[:, :, -3]
    return found.permute(0, 3, 1, 2)


def bands(x: Tensor, pixels: int, traced: int = 1) -> list[tuple[int, int]]:
    """How the rows of a map are computed one after the other, so that larger maps of them take little memory.

    Args:
        x: (B, C, h, w).
        pixels: of the picture, in a position of the map.
        traced: number of bands in a graph that is traced.

    Returns:
        the first row and the row after the last of each band. One of all rows on a GPU, and where gradients are
        recorded.
    """
    h, w = x.shape[2:]
    if torch.jit.is_tracing():
        count = traced
    elif x.device.type != "cpu" or torch.is_grad_enabled():
        count = 1
    else:
        count = min(-(-h * w * pixels // _BAND), max(1, h // 2))
    return [(h * i // count, h * (i + 1) // count) for i in range(count)] if count > 1 else [(0, h)]


def _fuses(x: Tensor) -> bool:
    if _FUSED is None or x.device.type != "cpu" or torch.is_grad_enabled() or torch.jit.is_tracing():
        return False
    if not (torch.backends.mkldnn.is_available() and torch.backends.mkldnn.enabled):
        return False
    return x.dtype == torch.float32 or (x.dtype == torch.bfloat16 and bf16_hardware() is not None)
