"""Any style by conditional instance norm: the network of Magenta (Ghiasi et al., BMVC 2017).

    S = P(s)                              100 numbers that describe the style, section 3.1
    z̄ = γ(S) (z - μ(z)) / σ(z) + β(S)     after each convolution of the network of fast

The strength mixes descriptions, S = α P(s) + (1 - α) P(c): at 0 the picture is painted in its own style. Several
styles are mixed by their shares in the same way. The picture goes through the network as in methods/fast.py.

Departures from Magenta's program:

* Pictures are mirrored to a multiple of 4 in height and width, and cropped again.
* Only pictures that are described are reduced to a short side of 256 pixels, the painted one is not.
* Transparent positions do not count in μ and σ; the description sees transparent pixels in the colours around them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from quantart_cli.methods.base import FeedForward
from quantart_cli.methods.fast import STAGES, Painter, open_network
from quantart_cli.runner import Image, Runner
from quantart_cli.settings import StrengthSettings, setting
from quantart_cli.stages import Map, Stage

if TYPE_CHECKING:
    from quantart_cli.checkpoints.models import ModelFile


@dataclass(frozen=True)
class MagentaSettings(StrengthSettings):
    """Settings of Magenta's network."""

    alpha: float = setting(
        1.0,
        "Style strength: 0 is the picture painted in its own style, 1 the full style.",
        low=0,
        high=1,
        aliases=("strength",),
    )


CODE = Stage(
    "code",
    "quantart_cli.nets.magenta:Code",
    parts=("model",),
    maps={"image": (1, 3)},
    outputs={"code": Map(1)},
    exact=True,
    tiled=False,
)


class Magenta(FeedForward[MagentaSettings]):
    """Style transfer by predicted scales and shifts."""

    multiple = 4
    smallest = 48
    network = "fast"

    def open(self, files: Mapping[str, ModelFile]) -> None:
        self.opened = open_network(files["model"])

    def stages(self, settings: MagentaSettings | None = None) -> Sequence[Stage]:
        return (CODE, *STAGES)

    def style_form(self, settings: MagentaSettings) -> str:
        return "code"

    def encode_style(self, runner: Runner, style: Image, form: str = "code") -> np.ndarray:
        """S, (1, 100)."""
        height, width = style.size
        own = replace(style, pixels=style.pixels[: max(height, self.smallest), : max(width, self.smallest)])
        code: np.ndarray = runner.backend.numpy(runner(CODE, own)["code"].values)[:, :, 0, 0]
        return code

    def blend(self, runner: Runner, styles: Sequence[np.ndarray], shares: Sequence[float]) -> np.ndarray:
        return np.asarray(sum(share * code for share, code in zip(shares, styles, strict=True)))

    def paint(self, runner: Runner, content: Image, style: np.ndarray, settings: MagentaSettings) -> np.ndarray:
        import torch

        code = style
        if settings.alpha < 1:
            code = settings.alpha * style + (1 - settings.alpha) * self.encode_style(runner, content)
        assert self.opened.predictor is not None
        norms = self.opened.predictor.styles(torch.from_numpy(code.astype(np.float32)))
        return Painter(runner, content, self.opened, norms[0].numpy()).paint()
