"""One picture's way: bytes in, bytes out. The same in every executor, whether its steps run in one process or several.

load -> decode -> paint -> encode -> (the run writes it)
"""

from __future__ import annotations

import hashlib
import time
import traceback
from dataclasses import dataclass
from typing import Any

from quantart_cli.batch.ledger import Content
from quantart_cli.batch.recipe import Recipe
from quantart_cli.engine.canvas import Painted
from quantart_cli.errors import QuantArtError
from quantart_cli.images import Picture, encode_picture, read_picture, to_size
from quantart_cli.images.reading import read_file


@dataclass(frozen=True, slots=True)
class Task:
    """A picture to paint.

    Attributes:
        number: of it in the plan.
        source: the file to read.
        output: the file to write, below the output folder.
        style: which of the plan's styles.
        format: of the output, normalised.
        recipe: its name, see :meth:`Recipe.name`.
    """

    number: int
    source: str
    output: str
    style: int
    format: str
    recipe: str


@dataclass(frozen=True)
class Finished:
    """A picture painted and encoded: its bytes, and what to report of it."""

    data: bytes
    width: int
    height: int
    seconds: float
    precision: str
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Failed:
    """A picture that was not painted: why, in one line; ``trace`` when that is a bug of ours."""

    reason: str
    trace: str | None = None

    @classmethod
    def of(cls, error: Exception) -> Failed:
        """What a person caused is its own line; anything else is told as a bug, with its traceback."""
        if isinstance(error, QuantArtError):
            return cls(str(error))
        return cls(f"a bug of quantart: {type(error).__name__}: {error}", "".join(traceback.format_exception(error)))


def load(path: str) -> tuple[bytes, Content]:
    """The bytes of a content, and what they are."""
    data, status = read_file(path)
    return data, Content(path, len(data), status.st_mtime_ns, hashlib.sha256(data).hexdigest())


def decode(data: bytes, path: str, recipe: Recipe) -> Picture:
    """The picture at the size to paint it."""
    picture = read_picture(data, max_pixels=recipe.max_pixels, path=path)
    return to_size(picture, recipe.size, recipe.max_pixels)


def paint(model: Any, picture: Picture, style: Any, recipe: Recipe) -> tuple[Painted, float]:
    """The painted picture, and the seconds it took.

    Raises:
        KeyboardInterrupt: Ctrl-C, also in the middle of an optimisation.
    """
    start = time.perf_counter()
    painted = model.paint(
        picture,
        style,
        recipe.controls,
        preserve_color=recipe.preserve_color,
        tile=recipe.tile,
        seed=recipe.seed,
    )
    if painted.stopped:
        raise KeyboardInterrupt
    return painted, time.perf_counter() - start


def encode(content: Picture, painted: Painted, seconds: float, format: str, recipe: Recipe) -> Finished:
    """The bytes of the output."""
    data = encode_picture(
        painted.picture,
        format,
        background=recipe.background,
        quality=recipe.quality,
        strip_metadata=recipe.strip_metadata,
    )
    notes = (*content.notes, *painted.notes)
    return Finished(data, *content.size, seconds, painted.precision, notes)
