"""What a method gives the model. Does not import torch.

A feed-forward method is a list of stages and a short program that runs them; an optimising method is an iterator of
steps. See docs in CONTRIBUTING.md, "Add a method in one file".
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

import numpy as np

from quantart_cli.runner import Image, Runner
from quantart_cli.settings import Settings
from quantart_cli.stages import Moments, Stage

if TYPE_CHECKING:
    from quantart_cli.methods.inputs import OptimisationInputs

S = TypeVar("S", bound=Settings)


class FeedForward(Generic[S]):
    """A method that paints by running stages.

    Attributes:
        given: parts whose weights a person gave with ``model``.
        multiple: pictures are mirrored up to a multiple of it in height and width.
        smallest: least height and width of a picture for the networks; smaller ones are mirrored.
        memory: bytes a pixel of a tile over those of AdaIN, for the prediction of memory.
    """

    multiple: ClassVar[int] = 1
    smallest: ClassVar[int] = 16
    memory: ClassVar[float] = 1.0

    def __init__(self, given: Sequence[str] = ()) -> None:
        self.given = tuple(given)

    def stages(self, settings: S | None = None) -> Sequence[Stage]:
        """All stages that painting with these settings may run; None: with any."""
        raise NotImplementedError

    def style_kind(self, settings: S) -> str:
        """Which of several encodings of a style these settings need. "moments" are kept in the cache on the disk."""
        return "moments"

    def encode_style(self, run: Runner, style: Image, kind: str = "moments") -> Any:
        """What the method needs of one style picture."""
        raise NotImplementedError

    def blend(self, run: Runner, styles: Sequence[Any], weights: Sequence[float]) -> Any:
        """Several encoded styles as one; weights sum to 1. Only called for two or more."""
        raise NotImplementedError

    def pixels_of_work(self, size: tuple[int, int], settings: S) -> float:
        """Pixels computed for a picture of (height, width), to predict its time from that of a sample."""
        return float(size[0] * size[1])

    def paint(self, run: Runner, content: Image, style: Any, settings: S) -> np.ndarray:
        """The painted picture, (H, W, 3) uint8, of the size of ``content.pixels``."""
        raise NotImplementedError


@dataclass(frozen=True)
class Step:
    """Progress: an optimisation after a step, or a feed-forward method after a tile.

    Attributes:
        step: steps or tiles done.
        steps: steps planned, or tiles in all.
        stage: of a feed-forward method, which begins to count anew with each.
        losses: by name, weights applied.
        size: (width, height) of the picture at this step.
        image: returns the picture, (1, 3, H, W) at the content's size, about [0, 1].
        state: returns everything that is needed to continue from here; None: the method cannot.
    """

    step: int
    steps: int
    stage: str = ""
    losses: dict[str, float] = field(default_factory=dict)
    size: tuple[int, int] = (0, 0)
    image: Any = field(default=None, repr=False)
    state: Any = field(default=None, repr=False)


class Optimising(Generic[S]):
    """A method that finds the picture by optimisation, with torch.

    It is built from the networks that its class attribute ``parts`` names, as arguments of those names. All
    pictures are (1, 3, H, W), float32 in [0, 1] or uint8; opacities are (1, 1, H, W) float32 or None.

    Attributes:
        device: of its networks.
    """

    parts: ClassVar[dict[str, type[Any]]]
    device: Any

    def encode_style(self, styles: Sequence[tuple[Any, Any]], weights: Sequence[float]) -> Any:
        """What the method needs of styles, pairs of a picture and its opacity; weights sum to 1."""
        raise NotImplementedError

    def pixels_of_work(self, size: tuple[int, int], settings: S) -> float:
        """Pixels computed for a picture of (height, width) in all steps, to predict its time from that of a sample."""
        return float(size[0] * size[1])

    def sample_settings(self, settings: S) -> S:
        """Settings that take few steps and as long for each, to measure the time of a sample."""
        return settings

    def steps(
        self,
        content: Any,
        style: Any,
        settings: S,
        *,
        opacity: Any = None,
        tiler: Any = None,
        inputs: OptimisationInputs | None = None,
        seed: int = 0,
    ) -> Iterator[Step]:
        """The optimisation, a step at a time.

        Raises:
            NotFinite: the precision overflowed.
        """
        raise NotImplementedError


class WholePicture(Generic[S]):
    """A method whose networks look at the whole picture, with torch. Its tiles come close to the whole, not equal.

    It is made by ``from_tensors`` from the tensors of the model file, the part "model".

    Attributes:
        device: of its networks.
    """

    device: Any

    @classmethod
    def from_tensors(cls, tensors: dict[str, Any], spec: Any, name: str) -> Any:
        """Build it from a checkpoint's tensors; ``name`` is for messages."""
        raise NotImplementedError

    def encode_style(self, styles: Sequence[tuple[Any, Any]], weights: Sequence[float]) -> Any:
        """As of :class:`Optimising`."""
        raise NotImplementedError

    def stylize(self, content: Any, style: Any, settings: S, opacity: Any = None, tiler: Any = None) -> Any:
        """The painted picture, (1, 3, H, W) float32 in about [0, 1]."""
        raise NotImplementedError


def adain(own: Moments, style: Moments, alpha: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """(1 - α) z + α AdaIN(z, s) as slope · z + shift, (C,) float32 each.

    AdaIN(z, s) = σ(s) (z - μ(z)) / σ(z) + μ(s)  (Huang and Belongie 2017, equation 8).

    Args:
        own: μ and σ of z.
        style: μ and σ of s.
        alpha: α in [0, 1].
    """
    ratio = style.std / own.std
    slope, shift = 1 + alpha * (ratio - 1), alpha * (style.mean - own.mean * ratio)
    return slope.astype(np.float32), shift.astype(np.float32)
