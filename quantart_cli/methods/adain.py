"""AdaIN: Arbitrary Style Transfer in Real-time with Adaptive Instance Normalization (Huang and Belongie, ICCV 2017).

    t     = AdaIN(f(c), f(s)) = σ(f(s)) (f(c) - μ(f(c))) / σ(f(c)) + μ(f(s))      equations 8 and 9
    image = g((1 - α) f(c) + α t)                                                 equation 14

c is the content, s the style, f VGG-19 to relu4_1, g the decoder, both with the published weights. μ and σ are the mean
and standard deviation of each channel. Several styles are blended by their shares (equation 15).

The setting ``transfer`` replaces equation 8: "efdm" matches whole distributions (methods/efdm.py), "wct" covariances
(methods/wct.py).

Departures from the reference script:

* The result has the size of the content also if that is not divisible by 8: the model crops the output.
* Pictures of less than 16 pixels a side are extended to 16 by mirroring.
* Transparent pixels do not count in μ and σ.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from quantart_cli.methods.base import FeedForward, adain
from quantart_cli.methods.efdm import Quantiles, matched_to
from quantart_cli.methods.wct import WCT
from quantart_cli.runner import Image, MapOf, Runner
from quantart_cli.settings import StrengthSettings, setting
from quantart_cli.stages import Map, Pixels, Stage, Summed


@dataclass(frozen=True)
class AdaINSettings(StrengthSettings):
    """Settings of AdaIN."""

    transfer: str = setting(
        "adain",
        "What is matched with the style: adain, mean and deviation of each channel; efdm, its whole distribution; wct, "
        "the covariance of all channels.",
        choices=("adain", "efdm", "wct"),
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


DECODE_PLAIN = Stage(
    "decode-plain",
    "quantart_cli.nets.decoder:PlainDecoder",
    parts=("decoder",),
    maps={"z": (8, 512)},
    outputs={"image": Pixels()},
    halo=32,
)
_KINDS = {"adain": "moments", "efdm": "quantiles", "wct": "colouring"}


class AdaIN(FeedForward[AdaINSettings]):
    """Style transfer by the statistics of features."""

    def stages(self, settings: AdaINSettings | None = None) -> Sequence[Stage]:
        by_transfer = {"adain": (ENCODE, DECODE), "efdm": (ENCODE, DECODE_PLAIN), "wct": WCT().stages()}
        if settings is not None:
            return by_transfer[settings.transfer]
        return tuple(dict.fromkeys(stage for stages in by_transfer.values() for stage in stages))

    def style_form(self, settings: AdaINSettings) -> str:
        return _KINDS[settings.transfer]

    def encode_style(self, runner: Runner, style: Image, form: str = "moments") -> Any:
        """What the setting ``transfer`` needs from f(s): by default μ and σ."""
        if form == "colouring":
            return WCT().encode_style(runner, style)
        found = runner(ENCODE, style)
        if form == "moments":
            return found["moments"]
        z, visible = runner.backend.numpy(found["z"].values)[0], style.visible(8)
        return Quantiles.of(z.reshape(len(z), -1), None if visible is None else visible.reshape(-1))

    def blend(self, runner: Runner, styles: Sequence[Any], shares: Sequence[float]) -> Any:
        return type(styles[0]).lerp(list(styles), list(shares))

    def paint(self, runner: Runner, content: Image, style: Any, settings: AdaINSettings) -> np.ndarray:
        if settings.transfer == "wct":
            return WCT().paint(runner, content, style, settings)
        c = runner(ENCODE, content)
        if settings.transfer == "efdm":
            z = _with_quantiles(runner, c["z"], content, style, settings.alpha)
            image: np.ndarray = runner(DECODE_PLAIN, z=z)["image"]
            return image
        # Equation 14 is affine in each channel: the decoder applies slope · z + shift to each tile of z.
        slope, shift = adain(c["moments"], style, settings.alpha)
        image = runner(DECODE, z=c["z"], slope=slope, shift=shift)["image"]
        return image


def _with_quantiles(runner: Runner, z: MapOf, content: Image, style: Quantiles, alpha: float) -> MapOf:
    """(1 - α) z + α t, with t of equation 4 of EFDM. Equal values are ordered by the sum over channels."""
    channels = range(0, z.values.shape[1], 32)  # 32 at a time, which takes less memory
    totals = sum(runner.backend.numpy(z.values[:, first : first + 32]).sum(1) for first in channels)
    positions, visible = np.argsort(np.ravel(totals), kind="stable"), content.visible(8)
    if visible is not None:
        positions = positions[visible.reshape(-1)[positions]]

    def change(values: np.ndarray, part: slice) -> np.ndarray:
        t = [matched_to(row, style, part.start + i, positions) for i, row in enumerate(values)]
        return (1 - alpha) * values + alpha * np.stack(t)

    return runner.change_channels(z, change)
