"""VQ-VAE: style transfer with discrete codes (van den Oord et al., Neural Discrete Representation Learning, NIPS 2017).

With z = E(x), e = VQ(z) the nearest entries, c the content, s the style and w the weight α:

    decoder   image = D(e_c, e_s)                       by their means and deviations, see nets/vqvae.py
    before    image = D(ê, ê)      ê = VQ((1 - w) z_c + w z_s)
    after     image = D(ê, ê)      ê = (1 - w) e_c + w e_s

There is no paper on this; the definitions are ours. D is trained to reconstruct, D(e_x, e_x), and to paint,
D(e_c, e_s): see training/vqvae.py. ``before`` and ``after`` average the codes of two pictures place by place, so both
are seen at once; the codes of the style are brought to the size of the content's by nearest neighbour. ``before`` goes
in steps: each place takes an entry near the heavier picture. At w = 0 and w = 1 both are reconstructions.

α interpolates the style's means and deviations in ``decoder``. Several styles: their means and deviations, or their
codes, are averaged.

A VQGAN can be given as the model (methods/vqvae_vqgan.py): it has ``before`` and ``after``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from quantart_cli.methods.base import FeedForward, adain
from quantart_cli.runner import Image, MapOf, Runner
from quantart_cli.settings import StrengthSettings, setting
from quantart_cli.stages import Map, Moments, Pixels, Stage, Summed

MIXES = ("auto", "decoder", "before", "after")


@dataclass(frozen=True)
class VQVAESettings(StrengthSettings):
    """Settings of VQ-VAE."""

    mix: str = setting(
        "auto",
        "Where content and style meet: decoder, it takes the codes of both; before or after, codes are averaged before "
        "or after quantization, with --alpha as the weight of the style. auto: decoder, or after with a VQGAN.",
        choices=MIXES,
    )


_CODES = {"e": (4, 64)}
ENCODE_CODES = Stage(
    "encode-codes",
    "quantart_cli.nets.vqvae:Encoding",
    parts=("vqvae",),
    maps={"image": (1, 3), "weight": (4, 1)},
    outputs={"z": Map(4), "e": Map(4), "moments": Summed()},
    halo=24,
    exact=True,
)
MIX_CODES = Stage(
    "mix-codes",
    "quantart_cli.nets.vqvae:Mixing",
    parts=("vqvae",),
    maps={"content": (4, 64), "style": (4, 64), "weight": (4, 1)},
    scalars=("share", "quantizes"),
    outputs={"e": Map(4), "moments": Summed()},
    exact=True,
)
DECODE_CODES = Stage(
    "decode-two-codes",
    "quantart_cli.nets.vqvae:Decoding",
    parts=("vqvae",),
    maps=_CODES,
    whole={name: (64,) for name in ("slope", "shift", "mean", "std")},
    outputs={"image": Pixels()},
    halo=40,
)


@dataclass(frozen=True)
class Codes:
    """Styles: share, z and e of each; shares sum to 1."""

    parts: tuple[tuple[float, MapOf, MapOf], ...]


class VQVAE(FeedForward[VQVAESettings]):
    """Style transfer with discrete codes."""

    multiple = 4

    def stages(self, settings: VQVAESettings | None = None) -> Sequence[Stage]:
        if settings is not None and self.style_form(settings) == "moments":
            return ENCODE_CODES, DECODE_CODES
        return ENCODE_CODES, MIX_CODES, DECODE_CODES

    def style_form(self, settings: VQVAESettings) -> str:
        return "codes" if settings.mix in ("before", "after") else "moments"

    def encode_style(self, runner: Runner, style: Image, form: str = "moments") -> Moments | Codes:
        """Form "moments": mean and deviation of e. Form "codes": z and e."""
        s = runner(ENCODE_CODES, style)
        moments: Moments = s["moments"]
        return moments if form == "moments" else Codes(((1.0, s["z"], s["e"]),))

    def blend(self, runner: Runner, styles: Sequence[Any], shares: Sequence[float]) -> Moments | Codes:
        if isinstance(styles[0], Moments):
            return Moments.lerp(list(styles), list(shares))
        pairs = zip(shares, styles, strict=True)
        return Codes(tuple((w * own, z, e) for w, style in pairs for own, z, e in style.parts if w > 0))

    def paint(self, runner: Runner, content: Image, style: Any, settings: VQVAESettings) -> np.ndarray:
        c = runner(ENCODE_CODES, content)
        if isinstance(style, Codes):
            return _decoded(runner, *_mixed(runner, c, content, style, settings))
        return _decoded(
            runner, c["e"], c["moments"], Moments.lerp([c["moments"], style], [1 - settings.alpha, settings.alpha])
        )


def _mixed(
    runner: Runner, c: dict[str, Any], content: Image, style: Codes, settings: VQVAESettings
) -> tuple[MapOf, Moments]:
    """ê, and its mean and deviation."""
    before = settings.mix == "before"
    own = c["z" if before else "e"]
    theirs = [fitted(runner, z if before else e, own.size) for _, z, e in style.parts]
    found = runner(
        MIX_CODES,
        content=own,
        style=runner.mean_of(theirs, [share for share, _, _ in style.parts]),
        weight=content.weight(4),
        share=settings.alpha,
        quantizes=before,
    )
    return found["e"], found["moments"]


def _decoded(runner: Runner, e: MapOf, own: Moments, style: Moments | None = None) -> np.ndarray:
    """D of entries with mean and deviation ``own``, in the look of ``style``; None: their own."""
    style = style or own
    slope, shift = adain(own, style)
    image: np.ndarray = runner(DECODE_CODES, e=e, slope=slope, shift=shift, mean=style.mean, std=style.std)["image"]
    return image


def fitted(runner: Runner, codes: MapOf, size: tuple[int, int]) -> MapOf:
    """Codes at another (h, w), by nearest neighbour: position i takes ⌊i h' / h⌋ of h'."""
    rows, columns = (np.arange(new) * old // new for old, new in zip(codes.size, size, strict=True))
    return codes if codes.size == size else runner.select(codes, rows[:, None] * codes.size[1] + columns)
