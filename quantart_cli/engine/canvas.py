"""Where painted windows are put together, already as the bytes of the result."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from quantart_cli.color import keep_chroma
from quantart_cli.engine.tiling import Window
from quantart_cli.images import Picture


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
        self.rgb = np.zeros(content.rgb.shape, np.uint8)
        self.finite = True

    def put(self, window: Window, image: Tensor) -> None:
        """Take the pixels of a window, (1, 3, h, w) float32, about [0, 1]; they are clamped."""
        if not image.isfinite().all():
            self.finite = False
            return
        rows, columns = window.slices
        rgb = image[0].clamp(0, 1).permute(1, 2, 0).float().cpu().numpy()  # (h, w, 3)
        if self.keeps_chroma:
            rgb = keep_chroma(rgb, self.content.rgb[rows, columns].astype(np.float32) / 255)
        self.rgb[rows, columns] = np.rint(rgb * 255)

    def put_all(self, image: Tensor) -> None:
        """Take the whole picture at once, (1, 3, H, W)."""
        self.put(Window(0, 0, *self.rgb.shape[:2]), image)
