"""Where painted windows are put together, already as the bytes of the result. No torch in here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from quantart_cli.color import keep_chroma
from quantart_cli.engine.tiling import Window
from quantart_cli.images import Picture
from quantart_cli.pages import apart

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Painted:
    """What painting a picture gives: the picture, and how it came about."""

    picture: Picture
    precision: str
    """That of the result: fp32 where the chosen precision overflowed."""
    notes: tuple[str, ...] = ()
    """Remarks for a person, one line each."""
    stopped: bool = False
    """Ctrl-C ended an optimisation early; the picture is what it had reached."""


class Canvas:
    """The result of painting a picture, of the same size.

    Args:
        content: the picture that is painted.
        keeps_chroma: whether only its luminance is (``--preserve-color luma``).

    Attributes:
        rgb: (H, W, 3) uint8; what was not put yet is black.
        finite: whether all numbers put so far were.
    """

    def __init__(self, content: Picture, keeps_chroma: bool = False) -> None:
        self.content = content
        self.keeps_chroma = keeps_chroma
        self.rgb = apart(content.rgb.shape, np.uint8)
        self.finite = True

    def put(self, window: Window, image: Tensor | np.ndarray) -> None:
        """Take the pixels of a window, (1, 3, h, w) float32, about [0, 1]; they are clamped."""
        channels = image[0] if isinstance(image, np.ndarray) else image[0].float().cpu().numpy()
        rgb = np.ascontiguousarray(channels.transpose(1, 2, 0))  # (h, w, 3)
        if not np.isfinite(rgb).all():
            self.finite = False
            return
        rgb.clip(0, 1, out=rgb)
        rows, columns = window.slices
        if self.keeps_chroma:
            rgb = keep_chroma(rgb, self.content.rgb[rows, columns].astype(np.float32) / 255)
        rgb *= 255
        self.rgb[rows, columns] = np.rint(rgb, out=rgb)

    def put_all(self, image: Tensor) -> None:
        """Take the whole picture at once, (1, 3, H, W)."""
        self.put(Window(0, 0, *self.rgb.shape[:2]), image)
