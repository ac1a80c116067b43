"""Methods that look at all positions of the style by attention: SANet and AdaAttN. This module does not import torch.

Four stages: features of a picture with their moments, keys and values of a style, the content transformed by them, the
picture. Every position of the content sees all positions of the style, so memory grows with the number of positions
and not with its square. Several styles are blended by their shares: the average of the transformed features.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

import numpy as np

from quantart_cli.methods.base import FeedForward
from quantart_cli.runner import Image, MapOf, Runner
from quantart_cli.settings import StrengthSettings
from quantart_cli.stages import Moments, Stage

S = TypeVar("S", bound=StrengthSettings)


@dataclass(frozen=True)
class AttentionStages:
    """The stages of a method, in the order they run.

    Attributes:
        encode: a picture -> maps, and ``Summed`` moments m4, m5, … of them. The stages that follow take the moments as
            the arrays mean4, std4, mean5, std5, …
        keys: maps and moments of a style -> its keys and values.
        transfer: maps and moments of a content, and keys and values of a style, whole -> transformed features.
        decode: transformed features -> the picture.
    """

    encode: Stage
    keys: Stage
    transfer: Stage
    decode: Stage


@dataclass(frozen=True)
class Attended:
    """Styles: pairs of a share and the whole keys and values, by the names of the inputs of the stage ``transfer``."""

    parts: tuple[tuple[float, dict[str, MapOf]], ...]


class Attentive(FeedForward[S]):
    """Style transfer by attention."""

    by: ClassVar[AttentionStages]

    def stages(self, settings: S | None = None) -> Sequence[Stage]:
        return self.by.encode, self.by.keys, self.by.transfer, self.by.decode

    def style_form(self, settings: S) -> str:
        return "attended"

    def encode_style(self, runner: Runner, style: Image, form: str = "attended") -> Attended:
        return Attended(((1.0, self._keys_and_values(runner, self._encoded(runner, style), style, form)),))

    def blend(self, runner: Runner, styles: Sequence[Attended], shares: Sequence[float]) -> Attended:
        pairs = zip(shares, styles, strict=True)
        return Attended(tuple((w * own, maps) for w, style in pairs for own, maps in style.parts if w > 0))

    def paint(self, runner: Runner, content: Image, style: Attended, settings: S) -> np.ndarray:
        c = self._encoded(runner, content)
        parts = [(settings.alpha * share, maps) for share, maps in style.parts if settings.alpha > 0]
        if settings.alpha < 1:
            parts.append((1 - settings.alpha, self._keys_and_values(runner, c, content, self.style_form(settings))))
        found = [runner(self.by.transfer, **{**c, **maps}) for _, maps in parts]
        shares = [share for share, _ in parts]
        outputs = self.by.transfer.outputs
        z: dict[str, Any] = {name: runner.mean_of([each[name] for each in found], shares) for name in outputs}
        image: np.ndarray = runner(self.by.decode, **z)["image"]
        return image

    def seen(self, name: str, positions: np.ndarray, form: str) -> np.ndarray:
        """Which of the visible positions of a style are used.

        Args:
            positions: numbers of the visible positions.
            form: of the style, see :meth:`style_form`.
        """
        return positions

    def _encoded(self, runner: Runner, image: Image) -> dict[str, Any]:
        """The maps of a picture, and the means and deviations of each."""
        found: dict[str, Any] = {}
        for name, value in runner(self.by.encode, image).items():
            if isinstance(value, Moments):
                found |= {f"mean{name[1:]}": value.mean, f"std{name[1:]}": value.std}
            else:
                found[name] = value
        return found

    def _keys_and_values(self, runner: Runner, encoded: Mapping[str, Any], image: Image, form: str) -> dict[str, MapOf]:
        """Keys and values of the visible positions of a picture. They are a set: what is left out shortens the row."""
        maps: dict[str, MapOf] = runner(self.by.keys, **encoded)
        found = {}
        for name, each in maps.items():
            count = each.size[0] * each.size[1]
            visible = image.visible(each.stride)
            positions = np.arange(count) if visible is None else np.flatnonzero(visible)
            positions = self.seen(name, positions, form)
            found[name] = each if len(positions) == count else runner.select(each, positions[None])
        return found
