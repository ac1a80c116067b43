"""Base classes of methods. This module does not import torch.

A feed-forward method declares stages and runs them. An optimising method yields steps. Classes for model files may also
be :class:`WholePicture`. There is a complete example in CONTRIBUTING.md, "Add a method in one file".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

import numpy as np

from quantart_cli.runner import Image, Runner
from quantart_cli.settings import Settings
from quantart_cli.stages import Moments, Stage

if TYPE_CHECKING:
    from quantart_cli.checkpoints.models import ModelFile
    from quantart_cli.methods.inputs import OptimisationInputs

S = TypeVar("S", bound=Settings)


class FeedForward(Generic[S]):
    """A method that paints by running stages.

    If its settings have a field ``refine``, the model takes so many updates by NNST after :meth:`paint`.

    Attributes:
        given: parts whose weights come from the argument ``model`` of ``load``, not from the default weights.
        multiple: height and width of pictures are extended to a multiple of it, by mirroring.
        smallest: least height and width of a picture for the networks. Smaller pictures are extended by mirroring.
        network: type of its networks, for predictions of memory (see memory.py).
    """

    network: ClassVar[str] = "vgg19"
    multiple: ClassVar[int] = 1
    smallest: ClassVar[int] = 16

    def __init__(self, given: Sequence[str] = ()) -> None:
        self.given = tuple(given)

    def open(self, files: Mapping[str, ModelFile]) -> None:
        """Read what the method itself needs to know of the weights; called once, with the files by part."""

    def stages(self, settings: S | None = None) -> Sequence[Stage]:
        """All stages that painting with these settings may run; None: those for any settings."""
        raise NotImplementedError

    def style_form(self, settings: S) -> str:
        """Form of encoded style that these settings need. Only the form "moments" (``Moments``) is cached on disk."""
        return "moments"

    def encode_style(self, runner: Runner, style: Image, form: str = "moments") -> Any:
        """Compute what painting needs from one style picture. ``form`` is as returned by :meth:`style_form`."""
        raise NotImplementedError

    def blend(self, runner: Runner, styles: Sequence[Any], shares: Sequence[float]) -> Any:
        """Combine two or more encoded styles into one. The shares sum to 1."""
        raise NotImplementedError

    def pixels_of_passes(self, size: tuple[int, int], settings: S) -> Sequence[int]:
        """Number of pixels of each pass over a picture of (height, width)."""
        return [size[0] * size[1]]

    def pixels_of_work(self, size: tuple[int, int], settings: S) -> float:
        """Number of pixels that are computed for a picture of (height, width). Time is predicted from it."""
        return float(sum(self.pixels_of_passes(size, settings)))

    def paint(self, runner: Runner, content: Image, style: Any, settings: S) -> np.ndarray:
        """The painted picture, (H, W, 3) uint8, at least as large as the content. The model crops it to that size."""
        raise NotImplementedError


@dataclass(frozen=True)
class Step:
    """Progress: an optimisation after a step, or a feed-forward method after a tile.

    Attributes:
        step: steps or tiles done.
        steps: steps planned, or tiles in all.
        stage: name of the stage, feed-forward methods only. Each stage counts its own steps.
        losses: weighted losses by name.
        size: (width, height) of the picture at this step.
        image: a function that returns the picture, (1, 3, H, W) in about [0, 1], at the size of the content.
        state: a function that returns everything needed to continue from this step; None: continuing is not possible.
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

    The class attribute ``parts`` maps names of parts to network classes. ``__init__`` gets the networks as keyword
    arguments of these names. All pictures are (1, 3, H, W), float32 in [0, 1] or uint8. Opacities are (1, 1, H, W)
    float32, or None.

    Attributes:
        device: device of its networks.
    """

    parts: ClassVar[dict[str, type[Any]]]
    device: Any

    def encode_style(self, styles: Sequence[tuple[Any, Any]], shares: Sequence[float]) -> Any:
        """Compute what painting needs from styles, pairs of a picture and its opacity. The shares sum to 1."""
        raise NotImplementedError

    def pixels_of_work(self, size: tuple[int, int], settings: S) -> float:
        """Number of pixels that all steps compute for a picture of (height, width). Time is predicted from it."""
        return float(size[0] * size[1])

    def sample_settings(self, settings: S) -> S:
        """The same settings with few steps, to measure the time of a step on a sample."""
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
        """Optimise the picture and yield each step.

        Raises:
            NotFinite: the precision overflowed.
        """
        raise NotImplementedError


class WholePicture(Generic[S]):
    """A method whose networks depend on the whole picture, with torch. With tiles its result changes a little.

    It is built by ``from_tensors`` from the tensors of the model file, the part "model".

    Attributes:
        device: device of its networks.
    """

    network: ClassVar[str] = "vqgan"
    device: Any

    @classmethod
    def from_tensors(cls, tensors: dict[str, Any], spec: Any, name: str) -> Any:
        """Build it from the tensors of a model file. ``name`` is used in messages."""
        raise NotImplementedError

    def encode_style(self, styles: Sequence[tuple[Any, Any]], shares: Sequence[float]) -> Any:
        """As in :class:`Optimising`."""
        raise NotImplementedError

    def stylize(self, content: Any, style: Any, settings: S, opacity: Any = None, tiler: Any = None) -> Any:
        """The painted picture, (1, 3, H, W) float32 in about [0, 1]."""
        raise NotImplementedError


def adain(own: Moments, style: Moments, alpha: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """The slope and shift, (C,) float32 each, with (1 - α) z + α AdaIN(z, s) = slope · z + shift.

    AdaIN(z, s) = σ(s) (z - μ(z)) / σ(z) + μ(s)  (Huang and Belongie 2017, equation 8).

    Args:
        own: μ and σ of the features z of the content.
        style: μ and σ of the features s of the style.
        alpha: α in [0, 1].
    """
    ratio = style.std / own.std
    slope, shift = 1 + alpha * (ratio - 1), alpha * (style.mean - own.mean * ratio)
    return slope.astype(np.float32), shift.astype(np.float32)
