"""The style predictor of Ghiasi et al. (BMVC 2017): Inception-v3 to Mixed_6e, a mean, and two linear layers.

As in Magenta's program: ReLU6, pictures in [0, 1] without centring, average pooling that leaves the padding out of the
count. Batch norms are multiplied into the convolutions. Layers have the names of TensorFlow-Slim.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from quantart_cli.nets.fast import BLOCKS, StyleNetwork, magenta_names

CODE = 100
"""Numbers that describe a style."""
SHORT_SIDE = 256
"""Larger pictures are reduced to it, as in Magenta's program."""
_BATCH_NORM_EPSILON = 1e-3

Branch = tuple[tuple[str, int, tuple[int, int]], ...]
"""Convolutions one after the other: name, channels, kernel."""


def _branch(*layers: tuple[str, int]) -> Branch:
    kernels = (tuple(map(int, name[-3:].split("x"))) for name, _ in layers)
    return tuple((name, channels, (k[0], k[1])) for (name, channels), k in zip(layers, kernels, strict=True))


def _mixed_5(pooled: int, wide: tuple[str, str] = ("Conv2d_0a_1x1", "Conv2d_0b_5x5")) -> tuple[Branch, ...]:
    return (
        _branch(("Conv2d_0a_1x1", 64)),
        _branch((wide[0], 48), (wide[1], 64)),
        _branch(("Conv2d_0a_1x1", 64), ("Conv2d_0b_3x3", 96), ("Conv2d_0c_3x3", 96)),
        _branch(("Conv2d_0b_1x1", pooled)),
    )


def _mixed_6(width: int) -> tuple[Branch, ...]:
    long = [f"Conv2d_0{letter}_{kernel}" for letter, kernel in zip("bcde", ("7x1", "1x7", "7x1", "1x7"), strict=True)]
    return (
        _branch(("Conv2d_0a_1x1", 192)),
        _branch(("Conv2d_0a_1x1", width), ("Conv2d_0b_1x7", width), ("Conv2d_0c_7x1", 192)),
        _branch(("Conv2d_0a_1x1", width), *((name, width) for name in long[:3]), (long[3], 192)),
        _branch(("Conv2d_0b_1x1", 192)),
    )


_STEM = _branch(
    ("Conv2d_1a_3x3", 32), ("Conv2d_2a_3x3", 32), ("Conv2d_2b_3x3", 64), ("Conv2d_3b_1x1", 80), ("Conv2d_4a_3x3", 192)
)
_REDUCED = "Mixed_6a"  # its last convolutions have stride 2 and kernels of 3×3, whatever their names say
_BLOCKS: dict[str, tuple[Branch, ...]] = {
    "Mixed_5b": _mixed_5(32),
    "Mixed_5c": _mixed_5(64, ("Conv2d_0b_1x1", "Conv_1_0c_5x5")),
    "Mixed_5d": _mixed_5(64),
    _REDUCED: (
        (("Conv2d_1a_1x1", 384, (3, 3)),),
        (*_branch(("Conv2d_0a_1x1", 64), ("Conv2d_0b_3x3", 96)), ("Conv2d_1a_1x1", 96, (3, 3))),
    ),
    "Mixed_6b": _mixed_6(128),
    "Mixed_6c": _mixed_6(160),
    "Mixed_6d": _mixed_6(160),
    "Mixed_6e": _mixed_6(192),
}


class Predictor(nn.Module):
    """From a picture of a style to its code, and from a code to scales and shifts.

    Args:
        channels: n, of all norms of the network that paints.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        width = 3
        for layer in _STEM:
            width = self._add("", layer, width)
        for block, branches in _BLOCKS.items():
            ends = []
            for number, branch in enumerate(branches):
                end = width
                for layer in branch:
                    end = self._add(f"{block}_{number}_", layer, end)
                ends.append(end)
            width = sum(ends) + (width if block == _REDUCED else 0)
        self.bottleneck = nn.Linear(width, CODE)
        self.norms = nn.Linear(CODE, 2 * channels)

    def _add(self, prefix: str, layer: tuple[str, int, tuple[int, int]], fan_in: int) -> int:
        name, fan_out, kernel = layer
        self.add_module(prefix + name, nn.Conv2d(fan_in, fan_out, kernel))
        return fan_out

    def _convolved(self, name: str, x: Tensor, stride: int = 1, same: bool = True) -> Tensor:
        layer: nn.Conv2d = getattr(self, name)
        padding = [k // 2 if same else 0 for k in layer.kernel_size]
        return F.conv2d(x, layer.weight, layer.bias, stride, padding).clamp_(0, 6)

    def features(self, image: Tensor) -> Tensor:
        """Mixed_6e of (1, 3, H, W) float32 in [0, 1], H and W at least 75."""
        x = self._convolved("Conv2d_1a_3x3", image, 2, same=False)
        x = self._convolved("Conv2d_2a_3x3", x, same=False)
        x = F.max_pool2d(self._convolved("Conv2d_2b_3x3", x), 3, 2)
        x = self._convolved("Conv2d_3b_1x1", x)
        x = F.max_pool2d(self._convolved("Conv2d_4a_3x3", x, same=False), 3, 2)
        for block, branches in _BLOCKS.items():
            ends = []
            for number, branch in enumerate(branches):
                y = F.avg_pool2d(x, 3, 1, 1, count_include_pad=False) if number == 3 else x
                for name, *_ in branch:
                    strided = block == _REDUCED and name == branch[-1][0]
                    y = self._convolved(f"{block}_{number}_{name}", y, 2 if strided else 1, same=not strided)
                ends.append(y)
            if block == _REDUCED:
                ends.append(F.max_pool2d(x, 3, 2))
            x = torch.cat(ends, 1)
        return x

    def forward(self, image: Tensor) -> Tensor:
        """The code of a picture, (1, 3, H, W) float32 in [0, 1] -> (1, 100). Larger pictures are reduced first."""
        short = min(image.shape[2:])
        if short > SHORT_SIDE:
            size = [round(side * SHORT_SIDE / short) for side in image.shape[2:]]
            image = F.interpolate(image, size, mode="bilinear", antialias=True)
        code: Tensor = self.bottleneck(self.features(image).mean((2, 3)))
        return code

    def styles(self, code: Tensor) -> Tensor:
        """Scales and shifts of codes: (B, 100) -> (B, 2, n)."""
        found: Tensor = self.norms(code).view(len(code), 2, -1)
        return found


class Code(nn.Module):
    """The predictor as a stage."""

    parts: ClassVar[dict[str, type[nn.Module]]] = {"model": StyleNetwork}

    def __init__(self, model: StyleNetwork) -> None:
        super().__init__()
        self.predictor = model.predictor

    def forward(self, image: Tensor) -> tuple[Tensor]:
        """(1, 3, H, W) -> (1, 100, 1, 1)."""
        assert self.predictor is not None
        return (self.predictor(image)[:, :, None, None],)


def from_magenta(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The variables of Magenta's program, with kernels (out, in, h, w), in our layout. Unknown ones stay."""
    left = dict(state)

    def folded(name: str) -> tuple[Tensor, Tensor]:
        """Weight and bias of a convolution with its batch norm, which has no scale."""
        norm = f"{name}/BatchNorm"
        factor = (left.pop(f"{norm}/moving_variance") + _BATCH_NORM_EPSILON).rsqrt()
        weight = left.pop(f"{name}/weights") * factor.view(-1, 1, 1, 1)
        return weight, left.pop(f"{norm}/beta") - left.pop(f"{norm}/moving_mean") * factor

    names = {name: f"InceptionV3/{name}" for name, *_ in _STEM}
    for block, branches in _BLOCKS.items():
        for number, branch in enumerate(branches):
            names |= {f"{block}_{number}_{name}": f"InceptionV3/{block}/Branch_{number}/{name}" for name, *_ in branch}
    found: dict[str, Tensor] = {}
    for ours, theirs in names.items():
        found[f"predictor.{ours}.weight"], found[f"predictor.{ours}.bias"] = folded(theirs)
    found["predictor.bottleneck.weight"] = left.pop("Conv/weights").flatten(1)
    found["predictor.bottleneck.bias"] = left.pop("Conv/biases")
    layers = magenta_names(BLOCKS)
    styled = [f"style_params/{theirs}/StyleNorm" for ours, theirs in layers.items() if not ours.startswith("contract")]
    for ours, what in (("weight", "weights"), ("bias", "biases")):
        scales, shifts = ([left.pop(f"{name}/{conv}/{what}") for name in styled] for conv in ("Conv_1", "Conv"))
        found[f"predictor.norms.{ours}"] = torch.cat([*scales, *shifts]).flatten(1 if what == "weights" else 0)
    for ours, theirs in layers.items():
        if ours.startswith("contract"):
            found[f"{ours}.weight"], found[f"{ours}.bias"] = folded(theirs)
        else:
            found[f"{ours}.weight"] = left.pop(f"{theirs}/weights")
    return found | left
