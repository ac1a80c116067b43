"""SANet: Arbitrary Style Transfer with Style-Attentional Networks (Park and Lee, CVPR 2019).

    F_cs  = out(Σ_j softmax_j(f(F̄_c)_i · g(F̄_s)_j) h(F_s)_j) + F_c        at relu4_1 and relu5_1, equations 1 and 2
    F_csc = conv3×3(F_cs^4_1 + upsample(F_cs^5_1))                         equation 3
    image = D(α F_csc(c, s) + (1 - α) F_csc(c, c))

F̄ is F standardised by the picture's moments. Every position of the content sees all positions of the style, so memory
grows with the number of positions and not with its square. Several styles are blended by their weights as in the paper
(section 4.4): the average of their F_csc.

Departures from the authors' program:

* Pictures are mirrored to a multiple of 16 in height and width, and cropped again; the program stops at others.
* Transparent positions do not count in the moments, and the style's are not seen.
* The published weights are not part of quantart: see ``quantart sanet --help``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from quantart_cli.methods.base import FeedForward
from quantart_cli.runner import Image, MapOf, Runner
from quantart_cli.settings import StrengthSettings
from quantart_cli.stages import Map, Pixels, Stage, Summed


@dataclass(frozen=True)
class SANetSettings(StrengthSettings):
    """Settings of SANet."""


_NETS = "quantart_cli.nets.sanet:"
_FEATURES = {"z4": (8, 512), "z5": (16, 512)}
_STATISTICS = {name: (512,) for name in ("mean4", "std4", "mean5", "std5")}
ENCODE_BOTH = Stage(
    "encode-both",
    f"{_NETS}TwoLevelEncoder",
    parts=("vgg",),
    maps={"image": (1, 3), "weight": (8, 1)},
    outputs={"z4": Map(8), "z5": Map(16), "m4": Summed(), "m5": Summed()},
    halo=80,
)
KEYS_AND_VALUES = Stage(
    "keys-and-values",
    f"{_NETS}KeysAndValues",
    parts=("sanet",),
    maps=_FEATURES,
    whole=_STATISTICS,
    outputs={"keys4": Map(8), "values4": Map(8), "keys5": Map(16), "values5": Map(16)},
    exact=True,
)
TRANSFER = Stage(
    "transfer",
    f"{_NETS}Transfer",
    parts=("sanet",),
    maps=_FEATURES,
    whole={**{name: (1, 512, -1, -1) for name in KEYS_AND_VALUES.outputs}, **_STATISTICS},
    outputs={"z": Map(8)},
    halo=16,
    exact=True,  # scalar products that are not divided by the root of 512 are too large for 8 bits
)
DECODE_SANET = Stage(
    "decode-sanet",
    f"{_NETS}SANetDecoder",
    parts=("sanet",),
    maps={"z": (8, 512)},
    outputs={"image": Pixels()},
    halo=32,
)


@dataclass(frozen=True)
class Attended:
    """Styles: pairs of a weight and the whole keys and values, by the names of the inputs of :data:`TRANSFER`."""

    parts: tuple[tuple[float, dict[str, MapOf]], ...]


class SANet(FeedForward[SANetSettings]):
    """Style transfer by attention."""

    multiple = 16
    smallest = 32

    def stages(self, settings: SANetSettings | None = None) -> Sequence[Stage]:
        return ENCODE_BOTH, KEYS_AND_VALUES, TRANSFER, DECODE_SANET

    def style_kind(self, settings: SANetSettings) -> str:
        return "attended"

    def encode_style(self, run: Runner, style: Image, kind: str = "attended") -> Attended:
        return Attended(((1.0, _keys_and_values(run, _encoded(run, style), style)),))

    def blend(self, run: Runner, styles: Sequence[Attended], weights: Sequence[float]) -> Attended:
        pairs = zip(weights, styles, strict=True)
        return Attended(tuple((w * own, maps) for w, style in pairs for own, maps in style.parts if w > 0))

    def paint(self, run: Runner, content: Image, style: Attended, settings: SANetSettings) -> np.ndarray:
        c = _encoded(run, content)
        parts = [(settings.alpha * weight, maps) for weight, maps in style.parts if settings.alpha > 0]
        if settings.alpha < 1:
            parts.append((1 - settings.alpha, _keys_and_values(run, c, content)))
        found = [run(TRANSFER, **{**c, **maps})["z"] for _, maps in parts]
        z = run.mean_of(found, [weight for weight, _ in parts])
        image: np.ndarray = run(DECODE_SANET, z=z)["image"]
        return image


def _encoded(run: Runner, image: Image) -> dict[str, Any]:
    """relu4_1 and relu5_1, and their means and deviations."""
    found = run(ENCODE_BOTH, image)
    m4, m5 = found["m4"], found["m5"]
    return {"z4": found["z4"], "z5": found["z5"], "mean4": m4.mean, "std4": m4.std, "mean5": m5.mean, "std5": m5.std}


def _keys_and_values(run: Runner, encoded: dict[str, Any], image: Image) -> dict[str, MapOf]:
    """Keys and values of the visible positions of a picture. They are a set: the rest is left out, in one long row."""
    maps: dict[str, MapOf] = run(KEYS_AND_VALUES, **encoded)
    found = {}
    for name, each in maps.items():
        visible = image.visible(each.stride)
        if visible is not None and not visible.all():
            each = run.select(each, np.flatnonzero(visible)[None])
        found[name] = each
    return found
