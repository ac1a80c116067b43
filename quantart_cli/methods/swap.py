"""Style swap: Fast Patch-based Style Transfer of Arbitrary Style (Chen and Schmidt, 2016).

    φ_i^ss(C, S) = argmax_{φ_j(S)}  <φ_i(C), φ_j(S)> / (‖φ_i(C)‖ ‖φ_j(S)‖)          equation 2
    image        = g((1 - α) Φ(C) + α Φ^ss(C, S))

φ_i are patches of features, 3 × 3 positions, φ^ss those of the style that replace them; where they overlap, they are
averaged. Φ is VGG-19 to relu4_1, g the decoder of AdaIN.

Departures from the paper:

* It swaps at relu3_1, and at relu4_1 in its comparison; relu4_1 is what the decoder here takes. α is ours.
* Several styles are one set of patches. A share w multiplies the similarities to its style by (w N)^0.05, with N
  styles: equal shares change nothing, a share of 0 removes the style.
* Patches that are partly transparent are not used.
* Pictures smaller than a patch are mirrored; a patch is never larger than content and style.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from quantart_cli.methods.adain import ENCODE
from quantart_cli.methods.base import FeedForward
from quantart_cli.runner import Image, MapOf, Runner
from quantart_cli.settings import StrengthSettings, setting
from quantart_cli.stages import Map, Pixels, Stage

_WEIGHING = 0.05


@dataclass(frozen=True)
class SwapSettings(StrengthSettings):
    """Settings of style swap."""

    patch: int = setting(
        3,
        "Side of a patch in positions of 8 pixels: larger patches keep more of the style's shapes.",
        low=1,
        high=7,
    )


MATCH_PATCHES = Stage(
    "match-patches",
    "quantart_cli.nets.swap:PatchMatcher",
    parts=(),
    maps={"z": (8, 512)},
    whole={"style": (1, 512, -1, -1), "scale": (-1, -1)},
    outputs={"index": Map(8)},
    exact=True,
)
DECODE_SWAPPED = Stage(
    "decode-swapped",
    "quantart_cli.nets.swap:SwapDecoder",
    parts=("decoder",),
    maps={"index": (8, 1), "z": (8, 512)},
    whole={"style": (1, 512, -1, -1)},
    scalars=("alpha", "patch"),
    integers=("index",),
    outputs={"image": Pixels()},
    halo=32,
)


@dataclass(frozen=True)
class StylePatches:
    """What patches are taken from: one style, or several one below the other.

    Attributes:
        values: (1, 512, h, w), relu4_1.
        energy: (h, w) float32, sums of squares over channels.
        opacity: (h, w) float32 in [0, 1].
        gain: (h, w) float32, what similarities of a patch that begins there are multiplied by; 0: it is not used.
    """

    values: MapOf
    energy: np.ndarray
    opacity: np.ndarray
    gain: np.ndarray


class Swap(FeedForward[SwapSettings]):
    """Style transfer by the most similar patches."""

    smallest = 24

    def stages(self, settings: SwapSettings | None = None) -> Sequence[Stage]:
        patch = settings.patch if settings is not None else SwapSettings().patch
        return ENCODE, for_patch(MATCH_PATCHES, patch), for_patch(DECODE_SWAPPED, patch)

    def style_form(self, settings: SwapSettings) -> str:
        return "patches"

    def encode_style(self, runner: Runner, style: Image, form: str = "patches") -> StylePatches:
        values: MapOf = runner(ENCODE, style)["z"]
        energy = np.square(runner.backend.numpy(values.values)[0]).sum(0)
        weight = style.weight(8)
        opaque = np.ones_like(energy)
        return StylePatches(values, energy, opaque if weight is None else weight, opaque)

    def blend(self, runner: Runner, styles: Sequence[StylePatches], shares: Sequence[float]) -> StylePatches:
        used = [(style, w * len(styles)) for style, w in zip(styles, shares, strict=True) if w > 0]
        sizes = [style.values.size for style, _ in used]
        # A row without opacity between two styles: no patch reaches from one into the other.
        height, width = sum(h + 1 for h, _ in sizes) - 1, max(w for _, w in sizes)
        values = runner.backend.allocate(used[0][0].values.values, height, width)
        values[...] = 0
        energy, opacity, gain = np.zeros((3, height, width), np.float32)
        top = 0
        for (style, share), (h, w) in zip(used, sizes, strict=True):
            own = slice(top, top + h), slice(0, w)
            values[(slice(None), slice(None), *own)] = style.values.values
            energy[own], opacity[own], gain[own] = style.energy, style.opacity, style.gain * share**_WEIGHING
            top += h + 1
        return StylePatches(MapOf(values, used[0][0].values.stride), energy, opacity, gain)

    def paint(self, runner: Runner, content: Image, style: StylePatches, settings: SwapSettings) -> np.ndarray:
        z: MapOf = runner(ENCODE, content)["z"]
        patch = min(settings.patch, *z.size, *style.values.size)
        scale = scales(style, patch)
        index = runner(for_patch(MATCH_PATCHES, patch), z=z, style=style.values, scale=scale)["index"]
        image: np.ndarray = runner(
            for_patch(DECODE_SWAPPED, patch), index=index, z=z, style=style.values, alpha=settings.alpha, patch=patch
        )["image"]
        return image


def for_patch(stage: Stage, patch: int) -> Stage:
    """The stage with a halo for patches of this side."""
    return replace(stage, name=f"{stage.name}-{patch}", halo=stage.halo + 8 * (patch - 1))


def scales(style: StylePatches, patch: int) -> np.ndarray:
    """What products with each patch are multiplied by: its gain / ‖φ_j(S)‖; -1 for patches that are not used.

    Args:
        style: of (h, w) positions.
        patch: side of a patch, p.

    Returns:
        (h - p + 1, w - p + 1) float32.
    """
    opacity = _windows(style.opacity, patch).mean((2, 3))
    inside = _windows((style.gain > 0).astype(np.float32), patch).min((2, 3)) > 0
    used = inside & (opacity >= min(0.99, float(opacity[inside].max())))
    norm = np.sqrt(_windows(style.energy, patch).sum((2, 3)))
    gain = style.gain[: norm.shape[0], : norm.shape[1]]
    return np.where(used, gain / np.maximum(norm, 1e-6), -1).astype(np.float32)


def _windows(values: np.ndarray, side: int) -> np.ndarray:
    """All squares of an array (h, w): (h - side + 1, w - side + 1, side, side), without a copy."""
    return np.lib.stride_tricks.sliding_window_view(values, (side, side))
