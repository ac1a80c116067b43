"""Encoders and decoders of WCT at five levels, distilled to a sixteenth (Wang et al., CVPR 2020); published layout."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor, nn

from quantart_cli.nets.statistics import products

_BLOCKS = (2, 2, 4, 4, 1)
LEVELS = (1, 2, 3, 4, 5)


def widths(level: int) -> tuple[int, ...]:
    """Channels of the blocks of one level's networks."""
    return (24 if level == 1 else 16, 32, 64, 128, 128)[:level]


def _layers(level: int) -> list[tuple[str, int, int]]:
    """Name, input and output channels of the convolutions to relu{level}_1."""
    found, fan_in = [], 3
    for block, width in enumerate(widths(level), 1):
        for i in range(1, 2 if block == level else _BLOCKS[block - 1] + 1):
            found.append((f"conv{block}{i}", fan_in, width))
            fan_in = width
    return found


def _convolve(layer: nn.Module, x: Tensor) -> Tensor:
    return F.relu(layer(F.pad(x, (1, 1, 1, 1), mode="reflect")))


class Encoder(nn.Module):
    """A picture (1, 3, H, W) in [0, 1] to relu{level}_1 of stride 2^(level - 1), by which H and W are divisible."""

    def __init__(self, level: int) -> None:
        super().__init__()
        self.conv0 = nn.Conv2d(3, 3, 1)
        self.names = [name for name, _, _ in _layers(level)]
        for name, fan_in, fan_out in _layers(level):
            self.add_module(name, nn.Conv2d(fan_in, fan_out, 3))

    def forward(self, image: Tensor) -> Tensor:
        x: Tensor = self.conv0(image)
        for name in self.names:
            if name.endswith("1") and name != "conv11":
                x = F.max_pool2d(x, 2)
            x = _convolve(getattr(self, name), x)
        return x


class Decoder(nn.Module):
    """The encoder in a mirror, with nearest upsampling; the picture goes through a ReLU, too."""

    def __init__(self, level: int) -> None:
        super().__init__()
        self.names = [name for name, _, _ in reversed(_layers(level))]
        for name, fan_out, fan_in in _layers(level):
            self.add_module(name, nn.Conv2d(fan_in, fan_out, 3))

    def forward(self, z: Tensor) -> Tensor:
        for name in self.names:
            z = _convolve(getattr(self, name), z)
            if name.endswith("1") and name != "conv11":
                z = F.interpolate(z, scale_factor=2, mode="nearest")
        return z


class LevelNetworks(nn.Module):
    """The ten networks."""

    kind = "wct-levels"

    def __init__(self) -> None:
        super().__init__()
        for level in LEVELS:
            self.add_module(f"encoder{level}", Encoder(level))
            self.add_module(f"decoder{level}", Decoder(level))

    @classmethod
    def like(cls, tensors: Mapping[str, Tensor]) -> LevelNetworks:
        """An empty network, to be filled with a checkpoint's tensors."""
        return cls()


def from_published(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors of the ten published files, whose names begin with the file's, by the names of :class:`LevelNetworks`.

    A file is an encoder if it has a conv0; its level is that of its deepest convolution.
    """
    files: dict[str, dict[str, Tensor]] = {}
    for name, value in state.items():
        file, _, own = name.rpartition(":")
        files.setdefault(file, {})[own] = value
    found: dict[str, Tensor] = {}
    for tensors in files.values():
        part = "encoder" if "conv0.weight" in tensors else "decoder"
        level = max((match[1] for name in tensors if (match := re.match(r"conv([1-5])1\.", name))), default="")
        found |= {f"{part}{level}.{name}": value for name, value in tensors.items()}
    return found


# Stages; see methods/wct_levels.py.


class _Level(nn.Module):
    parts: ClassVar = {"model": LevelNetworks}
    level: ClassVar[int]

    def __init__(self, model: LevelNetworks) -> None:
        super().__init__()
        self.encoder: nn.Module = getattr(model, f"encoder{self.level}")
        self.decoder: nn.Module = getattr(model, f"decoder{self.level}")


class _Encode(_Level):
    def forward(self, image: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
        """z, and what its covariance is summed from; see :func:`quantart_cli.nets.statistics.products`."""
        z = self.encoder(image)
        return z, products(z, weight)


class _Decode(_Level):
    def forward(self, z: Tensor, matrix: Tensor, shift: Tensor) -> tuple[Tensor]:
        """The picture of matrix · z + shift."""
        return (self.decoder((matrix @ z.flatten(2) + shift[:, None]).view_as(z)),)


class Encode1(_Encode):
    level = 1


class Encode2(_Encode):
    level = 2


class Encode3(_Encode):
    level = 3


class Encode4(_Encode):
    level = 4


class Encode5(_Encode):
    level = 5


class Decode1(_Decode):
    level = 1


class Decode2(_Decode):
    level = 2


class Decode3(_Decode):
    level = 3


class Decode4(_Decode):
    level = 4


class Decode5(_Decode):
    level = 5
