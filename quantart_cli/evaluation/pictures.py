"""Pictures as they are measured: squares of one size, in pairs of a content and a style, found by their names."""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from quantart_cli.errors import QuantArtError
from quantart_cli.images import fill_transparent, read_picture
from quantart_cli.images.formats import SUFFIXES

PATTERN = "{content}--{style}"
"""How outputs are named, without their suffix, unless a person says otherwise."""


@dataclass(frozen=True)
class Source:
    """A picture file, and its name in pairs: unique in its folder."""

    path: Path
    name: str


@dataclass(frozen=True)
class Pair:
    """A content and the style it is painted in."""

    content: Source
    style: Source

    @property
    def name(self) -> str:
        return PATTERN.format(content=self.content.name, style=self.style.name)


def square(path: Path, size: int) -> np.ndarray:
    """The middle of a picture: the largest centred square, resized with Lanczos; (size, size, 3) uint8 sRGB.

    Raises:
        QuantArtError: it cannot be read.
    """
    rgb = fill_transparent(read_picture(path))
    side = min(rgb.shape[:2])
    top, left = (rgb.shape[0] - side) // 2, (rgb.shape[1] - side) // 2
    middle = Image.fromarray(np.ascontiguousarray(rgb[top : top + side, left : left + side]))
    return np.array(middle.resize((size, size), Image.Resampling.LANCZOS))


def named(paths: Sequence[Path]) -> list[Source]:
    """Files with their names: the file name without its suffix, or with it and as much of the path as it takes to be
    unique."""
    stems = Counter(path.stem for path in paths)
    names = Counter(path.name for path in paths)

    def name(path: Path) -> str:
        if stems[path.stem] == 1:
            return path.stem
        return path.name if names[path.name] == 1 else "_".join(path.parts).strip("/\\_")

    return [Source(path, name(path)) for path in paths]


def choose_pairs(contents: Sequence[Source], styles: Sequence[Source], count: int, seed: int) -> list[Pair]:
    """Pairs, all of them different, that use as many contents and styles as there are, as evenly as can be.

    Args:
        contents, styles: at least one each.
        count: of the pairs; fewer come back where there are not as many.
        seed: the same pictures and seed give the same pairs.
    """
    c, s = (_shuffled(each, seed) for each in (contents, styles))
    lap = math.lcm(len(c), len(s))  # after which both would come together as they did before: styles move on by one
    count = min(count, len(c) * len(s))
    return [Pair(c[i % len(c)], s[(i + i // lap) % len(s)]) for i in range(count)]


def _shuffled(sources: Sequence[Source], seed: int) -> list[Source]:
    """By a hash of seed and name: an added picture leaves the others in their order."""
    return sorted(sources, key=lambda source: hashlib.sha256(f"{seed} {source.name}".encode()).digest())


def check_pattern(pattern: str) -> str:
    """The pattern of names of outputs, when it is one.

    Raises:
        QuantArtError: it lacks ``{content}`` or ``{style}``, or has other fields.
    """
    try:
        tried = pattern.format(content="\0", style="\1")
        good = tried.count("\0") == tried.count("\1") == 1
    except (KeyError, IndexError, ValueError):
        good = False
    if not good:
        raise QuantArtError(f"--pattern {pattern!r} must name {{content}} and {{style}} once each, such as {PATTERN}")
    return pattern


def find_outputs(
    folder: Path, pattern: str, contents: Sequence[Source], styles: Sequence[Source]
) -> dict[tuple[str, str], Path]:
    """Outputs of another tool by the names of their content and style; empty when no file's name fits.

    Args:
        folder: searched without its subfolders.
        pattern: how they are named, with ``{content}`` and ``{style}``.
        contents, styles: that can be named.

    Raises:
        QuantArtError: the folder cannot be read.
    """
    try:
        by_stem = {path.stem: path for path in sorted(folder.iterdir()) if path.suffix.lower() in SUFFIXES}
    except OSError as error:
        raise QuantArtError(f"{folder} is no folder of pictures: {error.strerror}") from None
    names = ((pattern.format(content=c.name, style=s.name), c.name, s.name) for c in contents for s in styles)
    return {(content, style): by_stem[stem] for stem, content, style in names if stem in by_stem}
