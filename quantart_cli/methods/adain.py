"""AdaIN: Arbitrary Style Transfer in Real-time with Adaptive Instance Normalization (Huang and Belongie, ICCV 2017).

    t     = AdaIN(f(c), f(s)) = σ(f(s)) (f(c) - μ(f(c))) / σ(f(c)) + μ(f(s))      equations 8 and 9
    image = g((1 - α) f(c) + α t)                                                 equation 14

f is VGG-19 to relu4_1, g the decoder, both with the published weights. Several styles are blended by their weights
(equation 15).

Departures from the reference script:

* The result has the size of the content also if that is not divisible by 8: the output is cropped.
* Pictures of less than 16 pixels a side are extended to 16 by mirroring.
* Transparent pixels do not count in μ and σ.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from quantart_cli.methods.base import FeedForward, adain
from quantart_cli.runner import Image, Runner
from quantart_cli.settings import Settings, setting
from quantart_cli.stages import Map, Moments, Pixels, Stage, Summed


@dataclass(frozen=True)
class AdaINSettings(Settings):
    """Settings of AdaIN."""

    STRENGTH = "alpha"

    alpha: float = setting(
        1.0,
        "Style strength: 0 is the content as the network reconstructs it, 1 the full style.",
        low=0,
        high=1,
        aliases=("strength",),
    )


ENCODE = Stage(
    "encode",
    "quantart_cli.nets.encoder:Encoder",
    parts=("vgg",),
    maps={"image": (1, 3), "weight": (8, 1)},
    outputs={"z": Map(8), "moments": Summed()},
    halo=32,
)
DECODE = Stage(
    "decode",
    "quantart_cli.nets.decoder:AffineDecoder",
    parts=("decoder",),
    maps={"z": (8, 512)},
    whole={"slope": (512,), "shift": (512,)},
    outputs={"image": Pixels()},
    halo=32,
)


class AdaIN(FeedForward[AdaINSettings]):
    """Style transfer by the means and deviations of features."""

    def stages(self, settings: AdaINSettings | None = None) -> Sequence[Stage]:
        return ENCODE, DECODE

    def encode_style(self, run: Runner, style: Image, kind: str = "moments") -> Moments:
        """μ(f(s)) and σ(f(s))."""
        found: Moments = run(ENCODE, style)["moments"]
        return found

    def blend(self, run: Runner, styles: Sequence[Moments], weights: Sequence[float]) -> Moments:
        return Moments.lerp(list(styles), list(weights))

    def paint(self, run: Runner, content: Image, style: Moments, settings: AdaINSettings) -> np.ndarray:
        c = run(ENCODE, content)
        # Equation 14 is affine in each channel: the decoder applies slope · z + shift to each tile of z.
        slope, shift = adain(c["moments"], style, settings.alpha)
        image: np.ndarray = run(DECODE, z=c["z"], slope=slope, shift=shift)["image"]
        return image
