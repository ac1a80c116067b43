"""What one picture goes through, and its name: all that decides the bytes of an output but the content's own."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass

from quantart_cli.methods.controls import Controls

# Raised when the same options begin to give other pictures: then everything painted before is stale.
_GENERATION = 1


@dataclass(frozen=True)
class Recipe:
    """How the pictures of a run are read, painted and written; goes to other processes as it is.

    Attributes:
        method: its name.
        controls: its settings.
        style_weights: one a style of a blend, summing to 1.
        size: long side of the results in pixels; None: the contents' own.
        style_size: long side of the styles in pixels; None: their own, up to a limit.
        preserve_color: "none", "luma" or "match".
        tile: as :func:`quantart_cli.engine.choices.parse_tile` takes it.
        seed: of all random numbers, for each picture anew.
        precision: as it was asked for.
        background: behind transparency, or None.
        quality: 1 to 100.
        strip_metadata: whether EXIF and the like are dropped.
        max_pixels: pictures above it are refused.
        weights: sha256 of each file of weights by name.
    """

    method: str
    controls: Controls
    style_weights: tuple[float, ...]
    size: int | None
    style_size: int | None
    preserve_color: str
    tile: str
    seed: int
    precision: str
    background: str | None
    quality: int
    strip_metadata: bool
    max_pixels: int
    weights: dict[str, str]
    tiles_matter: bool = False
    """Whether the tiles change the picture, as they do on VQGAN."""

    def name(self, styles: tuple[str, ...], format: str) -> str:
        """sha256 over all that decides the picture.

        What asks for the same in another way, on another device, in other tiles, is the same recipe, and so is
        ``auto`` wherever it is resolved.

        Args:
            styles: sha256 of each style's file.
            format: of the output.
        """
        facts = asdict(self)
        del facts["max_pixels"], facts["tiles_matter"]
        if not self.tiles_matter:
            del facts["tile"]
        facts["weights"] = sorted(self.weights.values())  # whatever their files are called
        facts |= {"styles": styles, "format": format, "generation": _GENERATION}
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
