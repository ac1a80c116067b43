"""What methods that optimise towards style pictures on VGG-19 have in common."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from quantart_cli.methods.base import Optimising, S
from quantart_cli.nets.vgg import VGG19

MaskedImage = tuple[Tensor, Tensor | None]
"""A picture (1, 3, H, W), float32 in [0, 1] or uint8, and its opacity (1, 1, H, W) or None."""


@dataclass(frozen=True)
class Styles:
    """Styles as pictures: each level of a pyramid looks at them at a size of its own."""

    pictures: tuple[MaskedImage, ...]
    shares: tuple[float, ...]


class OptimisingOnVGG(Optimising[S]):
    """A method whose only network is VGG-19, and whose encoded styles are the pictures themselves."""

    parts: ClassVar[dict[str, type[Any]]] = {"vgg": VGG19}

    def __init__(self, vgg: VGG19) -> None:
        self.vgg = vgg

    @property
    def device(self) -> torch.device:
        """Of its network."""
        return self.vgg.conv1_1.weight.device

    def encode_style(self, styles: Sequence[MaskedImage], shares: Sequence[float]) -> Styles:
        """Pictures with their opacities, and a share for each; the shares sum to 1."""
        return Styles(tuple(styles), tuple(shares))
