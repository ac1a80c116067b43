"""A painted picture, and how it was painted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import PIL.Image

from quantart_cli.images import Picture, encode_picture, resize


@dataclass(frozen=True)
class Result:
    """A painted picture, and how it was painted.

    Attributes:
        precision: precision of the computation: fp32 if the chosen precision overflowed.
        notes: remarks for a person, one line each.
        stopped: whether Ctrl-C ended an optimisation early. The picture is the one of the last step.
    """

    picture: Picture
    precision: str
    notes: tuple[str, ...] = ()
    stopped: bool = False

    def _repr_png_(self) -> bytes:
        """The picture as a notebook shows it: at most 1024 pixels a side."""
        return encode_picture(resize(self.picture, 1024, enlarge=False), "png")

    def to_pil(self) -> PIL.Image.Image:
        """A PIL image, RGB, or RGBA with transparency."""
        return self.picture.to_pil()

    def to_numpy(self) -> np.ndarray:
        """(H, W, 3) uint8, or (H, W, 4) with transparency; a copy."""
        return np.array(self.picture.to_pil())

    def to_tensor(self) -> Any:
        """A torch tensor (3, H, W) or (4, H, W) with transparency, float32 in [0, 1], on the CPU."""
        import torch

        return torch.from_numpy(self.to_numpy()).permute(2, 0, 1).float() / 255
