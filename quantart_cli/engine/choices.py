"""What a person can choose, for the command line and the API alike. No torch in here."""

from __future__ import annotations

import math
from collections.abc import Sequence

from quantart_cli.errors import QuantArtError

DEVICES = ("auto", "cpu", "cuda", "mps")
PRECISIONS = ("auto", "fp32", "bf16", "fp16")
PRESERVE_COLOR = ("none", "luma", "match")

RUNTIMES = ("auto", "torch", "openvino")

PARTS: dict[str, dict[str, str]] = {
    "quantart": {"vgg": "vgg19-normalised", "codebook": "quantart-vgg19", "decoder": "adain-decoder"},
    "adain": {"vgg": "vgg19-normalised", "decoder": "adain-decoder"},
    "gatys": {"vgg": "vgg19-normalised"},
}
"""Method name -> the weights its networks take, by parameter name. These weights are called as the kind of model they
are, so that a model of that kind takes their place."""

VQGAN_MODEL = "quantart-vqgan"
ACCEPTS: dict[str, tuple[str, ...]] = {
    "quantart": ("quantart-vgg19", VQGAN_MODEL),
    "adain": ("adain-decoder",),
    "gatys": ("vgg19-normalised",),
}
"""Method name -> the kinds of model it takes instead of its own."""

STYLE_SIZE = 1024
"""Long side in pixels above which a style is reduced unless its size is given."""


SMALLEST_TILE = 64
"""Pixels a side; smaller tiles would be all border."""


def parse_tile(tile: str | int | None) -> int | str | None:
    """A tile as people write it: "auto", "none" (or None), or a number of pixels a side.

    Returns:
        "auto", None, or pixels, a multiple of 8.

    Raises:
        QuantArtError: anything else, or fewer than 64 pixels.
    """
    if tile in ("auto", "none", None):
        return "auto" if tile == "auto" else None
    if not str(tile).isascii() or not str(tile).isdigit() or int(tile) < SMALLEST_TILE:
        raise QuantArtError(f"--tile must be auto, none or at least {SMALLEST_TILE} pixels, not {tile}")
    return int(tile) // 8 * 8


def normalise_weights(weights: Sequence[float] | None, count: int) -> tuple[float, ...]:
    """Style weights that sum to 1; all alike when none are given.

    Raises:
        QuantArtError: another number of weights than styles, a negative or non-finite one, or all of them 0.
    """
    if weights is None:
        return (1 / count,) * count
    if len(weights) != count:
        raise QuantArtError(f"{len(weights)} style weights for {count} styles: give one weight a style")
    if any(not math.isfinite(weight) or weight < 0 for weight in weights) or sum(weights) == 0:
        raise QuantArtError("style weights must be numbers that are not negative, and not all of them 0")
    return tuple(weight / sum(weights) for weight in weights)
