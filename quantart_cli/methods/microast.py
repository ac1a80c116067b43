"""MicroAST: Towards Super-Fast Ultra-Resolution Arbitrary Style Transfer (Wang et al., AAAI 2023).

    (s₁, s₂), (w₁, b₁, w₂, b₂) = encoder and modulator of the style
    c₂    = encoder of the content
    x     = block(AdaIN(c₂, s₂); w₂, b₂)           each convolution f of the block is w f(x) + b x
    image = decode(block(AdaIN(x, s₁); w₁, b₁))

AdaIN(x, s) gives x the mean and the deviation of s, channel by channel. s₁ and s₂ enter by these only, and the signals
w and b are means over positions. So a style is a vector of numbers, and several are blended by averaging them.

Departures from the authors' program:

* ``alpha`` blends the numbers of the style with those of the content, from the encoder of styles. The program blends
  feature maps of two encoders whose deviations differ by a factor of 60: its pictures are wrong for any alpha but 1.
* Pictures are mirrored to a multiple of 4 in height and width, and cropped again.
* Transparent pixels do not count in the statistics and signals.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from quantart_cli.methods.base import FeedForward, adain
from quantart_cli.runner import Image, Runner
from quantart_cli.settings import StrengthSettings
from quantart_cli.stages import Map, Moments, Pixels, Stage, Summed


@dataclass(frozen=True)
class MicroASTSettings(StrengthSettings):
    """Settings of MicroAST."""


# All stages are exact: the maps of contents have deviations of about 0.02 and are scaled to those of styles, about 1.2.
# Rounding to 8 bits would be seen, and the networks are small enough for float32.
_NETS = "quantart_cli.nets.microast:"
_VECTOR = (64,)
_MODULATION = dict.fromkeys(("slope", "shift", "w", "b"), _VECTOR)
SIGNALS = Stage(
    "microast-signals",
    f"{_NETS}StyleSignals",
    parts=("microast",),
    maps={"image": (1, 3), "weight": (4, 1)},
    outputs={"signals": Summed()},
    halo=32,
    exact=True,
)
ENCODE = Stage(
    "microast-encode",
    f"{_NETS}ContentEncoder",
    parts=("microast",),
    maps={"image": (1, 3), "weight": (4, 1)},
    outputs={"z": Map(4), "moments": Summed()},
    halo=24,
    exact=True,
)
FIRST = Stage(
    "microast-first",
    f"{_NETS}FirstBlock",
    parts=("microast",),
    maps={"z": (4, 64), "weight": (4, 1)},
    whole=_MODULATION,
    outputs={"z": Map(4), "moments": Summed()},
    halo=8,
    exact=True,
)
LAST = Stage(
    "microast-last",
    f"{_NETS}LastBlock",
    parts=("microast",),
    maps={"z": (4, 64)},
    whole=_MODULATION,
    outputs={"image": Pixels()},
    halo=24,
    exact=True,
)


class MicroAST(FeedForward[MicroASTSettings]):
    """Style transfer by small networks. A style is :class:`Moments` of the maps s₁, s₂, w₁, b₁, w₂ and b₂."""

    multiple = 4

    def stages(self, settings: MicroASTSettings | None = None) -> Sequence[Stage]:
        return SIGNALS, ENCODE, FIRST, LAST

    def encode_style(self, runner: Runner, style: Image, form: str = "moments") -> Moments:
        found: Moments = runner(SIGNALS, style)["signals"]
        return found

    def blend(self, runner: Runner, styles: Sequence[Moments], shares: Sequence[float]) -> Moments:
        return Moments.lerp(list(styles), list(shares))

    def paint(self, runner: Runner, content: Image, style: Moments, settings: MicroASTSettings) -> np.ndarray:
        if settings.alpha < 1:
            style = Moments.lerp([style, self.encode_style(runner, content)], [settings.alpha, 1 - settings.alpha])
        w1, b1, w2, b2 = np.split(style.mean[128:], 4)
        c = runner(ENCODE, content)
        slope, shift = adain(c["moments"], _part(style, 64))
        x = runner(FIRST, z=c["z"], weight=content.weight(4), slope=slope, shift=shift, w=w2, b=b2)
        slope, shift = adain(x["moments"], _part(style, 0))
        image: np.ndarray = runner(LAST, z=x["z"], slope=slope, shift=shift, w=w1, b=b1)["image"]
        return image


def _part(style: Moments, first: int) -> Moments:
    """The moments of the 64 channels from that one."""
    return Moments(style.mean[first : first + 64], style.std[first : first + 64])
