"""WCT at several levels, as the paper has it (Li et al., NIPS 2017, section 3.3), with distilled networks.

From the deepest level to the shallowest, each with an encoder and a decoder of its own:

    image ← g_n(α f_cs + (1 - α) f_c),   f_c = f_n(image)

with f_cs of equations 3 and 4 in methods/wct.py. The networks are a sixteenth of VGG-19's (Wang et al., Collaborative
Distillation, CVPR 2020).

Departures from the authors' program:

* Pictures are mirrored to a multiple of 16 in height and width, and cropped again.
* Transparent pixels do not count in means and covariances.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from quantart_cli.methods.base import FeedForward
from quantart_cli.methods.wct import Colouring, WCTSettings, colouring, parse_levels, whiten_and_colour
from quantart_cli.runner import Image, MapOf, Runner
from quantart_cli.stages import Map, Pixels, Stage, Summed

_NETS = "quantart_cli.nets.wct_levels:"
_WIDTHS = {1: 24, 2: 32, 3: 64, 4: 128, 5: 128}
_HALO = {1: 8, 2: 8, 3: 16, 4: 32, 5: 80}
_ENCODE = {
    level: Stage(
        f"wct-encode{level}",
        f"{_NETS}Encode{level}",
        parts=("model",),
        maps={"pixels": (1, 3), "weight": (1 << (level - 1), 1)},
        outputs={"z": Map(1 << (level - 1)), "covariance": Summed(products=True)},
        halo=_HALO[level],
        exact=True,  # conv0 gives numbers to 255
    )
    for level in _WIDTHS
}
_DECODE = {
    (level, last): Stage(
        f"wct-decode{level}" + "-last" * last,
        f"{_NETS}Decode{level}",
        parts=("model",),
        maps={"z": (1 << (level - 1), _WIDTHS[level])},
        whole={"matrix": (_WIDTHS[level], _WIDTHS[level]), "shift": (_WIDTHS[level],)},
        outputs={"image": Pixels() if last else Map(1)},
        halo=_HALO[level],
        exact=True,
    )
    for level in _WIDTHS
    for last in (False, True)
}


Colourings = dict[int, Colouring]
"""A style by level, from the deepest."""


class WCTLevels(FeedForward[WCTSettings]):
    """Style transfer by whitening and colouring at several levels."""

    multiple = 16
    smallest = 32

    def stages(self, settings: WCTSettings | None = None) -> Sequence[Stage]:
        return (*_ENCODE.values(), *_DECODE.values())

    def style_form(self, settings: WCTSettings) -> str:
        return settings.levels

    def encode_style(self, runner: Runner, style: Image, form: str = "auto") -> Colourings:
        pixels = _floats(runner, style)
        return {level: colouring(_encoded(runner, level, pixels, style)["covariance"]) for level in parse_levels(form)}

    def blend(self, runner: Runner, styles: Sequence[Colourings], shares: Sequence[float]) -> Colourings:
        return {level: Colouring.lerp([style[level] for style in styles], list(shares)) for level in styles[0]}

    def paint(self, runner: Runner, content: Image, style: Colourings, settings: WCTSettings) -> np.ndarray:
        image: Any = _floats(runner, content)
        for level in style:
            c = _encoded(runner, level, image, content)
            matrix, shift = whiten_and_colour(c["covariance"], style[level], settings.alpha)
            stage = _DECODE[level, level == min(style)]
            image = runner(stage, z=c["z"], matrix=matrix, shift=shift)["image"]
        pixels: np.ndarray = image
        return pixels


def _floats(runner: Runner, image: Image) -> MapOf:
    """The picture as a map, as the decoders give it to the next encoder: not rounded to 8 bits."""
    return MapOf(runner.backend.tile_of_image(image.pixels), 1)


def _encoded(runner: Runner, level: int, pixels: MapOf, image: Image) -> dict[str, Any]:
    return runner(_ENCODE[level], pixels=pixels, weight=image.weight(1 << (level - 1)))
