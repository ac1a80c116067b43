"""What a picture is once it has been read: sRGB pixels, alpha, and what the file said about them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from PIL import Image

Pixels = np.ndarray[Any, np.dtype[np.uint8]]
"""uint8, (H, W) or (H, W, channels)."""


@dataclass(frozen=True)
class Metadata:
    """What is carried from the file read to the file written.

    Attributes:
        exif: a TIFF block (``II*`` or ``MM*``, without the ``Exif\\0\\0`` prefix) without orientation and without
            thumbnail; None when there is none.
        xmp: the XMP packet as bytes, without ``tiff:Orientation``; None when there is none.
        dpi: (horizontal, vertical) pixels an inch; None when the file does not say.
        comment: the comment of a JPEG or GIF, bytes as they stand in the file.
        text: PNG text chunks as (key, value, language, translated key); the last two are empty but for iTXt.
        recipe: how quantart painted it, JSON (see quantart_cli/recipe.py); None when the file does not say.
    """

    exif: bytes | None = None
    xmp: bytes | None = None
    dpi: tuple[float, float] | None = None
    comment: bytes | None = None
    text: tuple[tuple[str, str, str, str], ...] = ()
    recipe: str | None = None


@dataclass(frozen=True, eq=False)
class Picture:
    """A still picture, upright, in sRGB.

    Attributes:
        rgb: (H, W, 3) uint8, C-contiguous, sRGB; not premultiplied by alpha.
        alpha: (H, W) uint8, 255 opaque; None when every pixel is opaque.
        metadata: what else the file contains.
        name: for messages: the file's name, ``<stdin>``, ``<bytes>``, ``<image>`` or ``<array>``.
        notes: one-line remarks for the person, such as "3 pages: the first is used".
        sha256: of the file it was read from; None when it is from no file.

    Raises ValueError when the arrays have other shapes or types: that is a bug of the caller.
    """

    rgb: Pixels
    alpha: Pixels | None = None
    metadata: Metadata = field(default_factory=Metadata)
    name: str = "<array>"
    notes: tuple[str, ...] = ()
    sha256: str | None = None

    def __post_init__(self) -> None:
        if self.rgb.dtype != np.uint8 or self.rgb.ndim != 3 or self.rgb.shape[2] != 3 or self.rgb.size == 0:
            raise ValueError(f"rgb must be (H, W, 3) uint8 and not empty, got {self.rgb.shape} {self.rgb.dtype}")
        if self.alpha is not None and (self.alpha.dtype != np.uint8 or self.alpha.shape != self.rgb.shape[:2]):
            raise ValueError(f"alpha must be {self.rgb.shape[:2]} uint8, got {self.alpha.shape} {self.alpha.dtype}")

    @property
    def width(self) -> int:
        """Pixels from left to right."""
        return int(self.rgb.shape[1])

    @property
    def height(self) -> int:
        """Pixels from top to bottom."""
        return int(self.rgb.shape[0])

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) in pixels."""
        return self.width, self.height

    def to_pil(self) -> Image.Image:
        """A PIL image of mode RGBA when there is alpha, RGB otherwise; its pixels are a copy."""
        image = Image.fromarray(self.rgb)
        if self.alpha is not None:
            image.putalpha(Image.fromarray(self.alpha))
        return image

    def with_rgb(self, rgb: Pixels) -> Picture:
        """The same picture (alpha, metadata, name, notes) with other colours, (H, W, 3) uint8 of the same size.

        Raises ValueError when ``rgb`` has another shape or type.
        """
        if rgb.shape != self.rgb.shape:
            raise ValueError(f"rgb must be {self.rgb.shape}, got {rgb.shape}")
        return replace(self, rgb=np.ascontiguousarray(rgb))

    def with_recipe(self, recipe: str | None) -> Picture:
        """The same picture with another recipe in its metadata; None: without."""
        return replace(self, metadata=replace(self.metadata, recipe=recipe))
