"""WCT: Universal Style Transfer via Feature Transforms (Li et al., NIPS 2017).

    f̂     = E_c (D_c + I)^-1/2 E_cᵀ (f_c - μ_c)         whitening, equation 3
    f_cs  = E_s D_s^1/2 E_sᵀ f̂ + μ_s                    colouring, equation 4
    image = g(α f_cs + (1 - α) f_c)                      equation 5

E D Eᵀ are the covariances of the features of content and style. The whole is one matrix and one shift, computed in
float64. Several styles are blended by their shares: the transformed features are averaged, which is the average of the
matrices.

Departures from the paper:

* One level, relu4_1, with the decoder of AdaIN; the paper goes through five, each with a decoder of its own. See
  methods/wct_levels.py for these.
* As in the authors' program, the identity is added to the content's covariance, and eigenvalues of the style below 1e-5
  are dropped. So constant pictures are no special case.
* Transparent pixels do not count in means and covariances.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from quantart_cli.errors import QuantArtError
from quantart_cli.methods.base import FeedForward
from quantart_cli.runner import Image, Runner
from quantart_cli.settings import StrengthSettings, setting
from quantart_cli.stages import Covariance, Map, Pixels, Stage, Summed

_SMALLEST = 1e-5  # eigenvalues of the style that are kept


def parse_levels(given: str) -> tuple[int, ...]:
    """Levels of a text such as ``4,3,2``, from the deepest; "auto" is all five.

    Raises:
        QuantArtError: not numbers from 1 to 5, or one twice.
    """
    found = ["5", "4", "3", "2", "1"] if given == "auto" else [part.strip() for part in given.split(",")]
    if not set(found) <= set("12345") or len(set(found)) < len(found):
        raise QuantArtError(f"levels must be auto, or numbers from 5 to 1 with commas, each once, not {given!r}")
    return tuple(sorted(map(int, found), reverse=True))


@dataclass(frozen=True)
class WCTSettings(StrengthSettings):
    """Settings of WCT."""

    levels: str = setting(
        "auto",
        "Levels at which features are changed, such as 5,4,3: each from relu{level}_1 to the picture and back. auto: 4 "
        "with the default weights, which have no other, and all five with a model of several levels.",
        parse=parse_levels,
        metavar="LEVELS",
    )


ENCODE_COVARIANCE = Stage(
    "encode-covariance",
    "quantart_cli.nets.encoder:CovarianceEncoder",
    parts=("vgg",),
    maps={"image": (1, 3), "weight": (8, 1)},
    outputs={"z": Map(8), "covariance": Summed(products=True)},
    halo=32,
)
DECODE_LINEAR = Stage(
    "decode-linear",
    "quantart_cli.nets.decoder:LinearDecoder",
    parts=("decoder",),
    maps={"z": (8, 512)},
    whole={"matrix": (512, 512), "shift": (512,)},
    outputs={"image": Pixels()},
    halo=32,
)


@dataclass(frozen=True)
class Colouring:
    """A style: E_s D_s^1/2 E_sᵀ, (C, C), and μ_s, (C,); float64."""

    matrix: np.ndarray
    mean: np.ndarray

    @staticmethod
    def lerp(styles: list[Colouring], shares: list[float]) -> Colouring:
        """The weighted mean of several: the result is linear in both."""
        pairs = list(zip(shares, styles, strict=True))
        matrix = np.sum([w * style.matrix for w, style in pairs], axis=0)
        return Colouring(matrix, np.sum([w * style.mean for w, style in pairs], axis=0))


class WCT(FeedForward[Any]):
    """Style transfer by whitening and colouring. Its settings have ``alpha``."""

    def stages(self, settings: Any = None) -> Sequence[Stage]:
        return ENCODE_COVARIANCE, DECODE_LINEAR

    def style_form(self, settings: Any) -> str:
        if getattr(settings, "levels", "auto") not in ("auto", "4"):  # AdaIN's settings have no levels
            raise QuantArtError(f"levels {settings.levels}: these weights have level 4 only, give model=wct-levels")
        return "colouring"

    def encode_style(self, runner: Runner, style: Image, form: str = "colouring") -> Colouring:
        return colouring(runner(ENCODE_COVARIANCE, style)["covariance"])

    def blend(self, runner: Runner, styles: Sequence[Colouring], shares: Sequence[float]) -> Colouring:
        return Colouring.lerp(list(styles), list(shares))

    def paint(self, runner: Runner, content: Image, style: Colouring, settings: Any) -> np.ndarray:
        c = runner(ENCODE_COVARIANCE, content)
        matrix, shift = whiten_and_colour(c["covariance"], style, settings.alpha)
        image: np.ndarray = runner(DECODE_LINEAR, z=c["z"], matrix=matrix, shift=shift)["image"]
        return image


def colouring(style: Covariance, ridge: float = 0.0) -> Colouring:
    """The root of a style's covariance, without its smallest eigenvalues. ``ridge`` times the identity is added."""
    values, vectors = np.linalg.eigh(style.matrix + ridge * np.eye(len(style.matrix)))
    roots = np.sqrt(np.where(values < _SMALLEST, 0, values))
    return Colouring((vectors * roots) @ vectors.T, style.mean)


def whiten_and_colour(own: Covariance, style: Colouring, alpha: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """α WCT(z) + (1 - α) z as matrix · z + shift, (C, C) and (C,) float32.

    Args:
        own: mean and covariance of z.
        style: from :func:`colouring`.
        alpha: α in [0, 1].
    """
    values, vectors = np.linalg.eigh(own.matrix + np.eye(len(own.matrix)))
    whitening = (vectors / np.sqrt(values.clip(min=_SMALLEST))) @ vectors.T
    transform = style.matrix @ whitening
    matrix = alpha * transform + (1 - alpha) * np.eye(len(transform))
    shift = alpha * (style.mean - transform @ own.mean)
    return matrix.astype(np.float32), shift.astype(np.float32)
