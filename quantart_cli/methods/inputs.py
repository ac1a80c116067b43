"""Inputs beside content, styles and settings: regions, and what an optimisation starts from. Does not import torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from PIL import Image

from quantart_cli.errors import QuantArtError, counted
from quantart_cli.images import Picture


@dataclass(frozen=True)
class Masks:
    """Regions of the content, and the parts of the styles that they take.

    Attributes:
        masks: a region of the content each, (H, W) float32 in [0, 1], at the content's size.
        style_masks: the part of a style whose look the region of the same number takes, (h, w) float32 in [0, 1] of
            any size; () for the whole style.
    """

    masks: tuple[np.ndarray, ...] = ()
    style_masks: tuple[np.ndarray, ...] = ()

    def styles_of_regions(self, shares: Sequence[float]) -> list[int]:
        """Which style each region takes, of styles with these shares; [] without regions.

        Raises:
            QuantArtError: so many masks do not go with so many styles, the shares differ, or a mask shows nothing.
        """
        regions, styles = len(self.masks), max(1, len(shares))  # without pictures, the style of the weights
        if self.style_masks and len(self.style_masks) != regions:
            raise QuantArtError(
                f"{counted(regions, 'mask')} and {counted(len(self.style_masks), 'style mask')}: "
                "give one style mask for each mask"
            )
        if regions and styles not in (1, regions):
            raise QuantArtError(
                f"{counted(regions, 'mask')} for {counted(styles, 'style')}: "
                "give one mask for each style, or one style for all"
            )
        if regions > 1 and styles == 1 and not self.style_masks:
            raise QuantArtError(
                f"{regions} masks for one style: give a style mask for each, the part of the style it takes"
            )
        if regions and len(set(shares)) > 1:
            raise QuantArtError("style weights blend styles, and with masks each region takes one: leave them out")
        for mask in (*self.masks, *self.style_masks):
            if not mask.any():
                raise QuantArtError("a mask is black all over: white is inside")
        return [i if styles > 1 else 0 for i in range(regions)]


@dataclass(frozen=True)
class Past:
    """What a frame was painted like before: the temporal loss keeps it (see ``Temporal`` in methods/objective.py).

    Attributes:
        picture: frames painted before, moved to where their pixels are now, (H, W, 3) float32 in [0, 1].
        weight: how firmly each pixel is kept, (H, W) float32, at least 0.
    """

    picture: np.ndarray
    weight: np.ndarray


@dataclass(frozen=True)
class OptimisationInputs(Masks):
    """Regions, a picture to start from, and a state to continue from.

    Attributes:
        start: a picture to start from, (h, w, 3) uint8 of any size; None: as ``init`` says.
        resume: the state to continue from; None: start at the beginning.
        past: of a frame of a clip; None: there is none.
    """

    start: np.ndarray | None = None
    resume: State | None = None
    past: Past | None = None


@dataclass(frozen=True)
class State:
    """An optimisation after a step, complete: what continues from it ends where the uninterrupted one does.

    Attributes:
        side: long side of the level of the pyramid it is at.
        optimizer: "lbfgs" or "adam".
        tensors: by name, float32.
    """

    side: int
    step: int
    optimizer: str
    tensors: dict[str, Any] = field(repr=False)
    numbers: dict[str, Any] = field(repr=False)


def mask_of(picture: Picture, size: tuple[int, int] | None = None) -> np.ndarray:
    """A picture as a mask, (H, W) float32 in [0, 1]: how bright it is, times its opacity.

    Args:
        size: (width, height) it is brought to; None: its own.
    """
    bright = np.asarray(Image.fromarray(picture.rgb).convert("L"), np.float32) / 255
    if picture.alpha is not None:
        bright = bright * (picture.alpha.astype(np.float32) / 255)
    return bright if size is None else fit_mask(bright, size)


def fit_mask(mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A mask, (h, w) float32 in [0, 1], at the size (width, height)."""
    if mask.shape != (size[1], size[0]):
        mask = np.asarray(Image.fromarray(mask).resize(size, Image.Resampling.BILINEAR))
    return np.ascontiguousarray(mask.clip(0, 1))
