"""Pictures as they are compared: found by their names, in pairs of a content and a style, at one size."""

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
from quantart_cli.files import reason
from quantart_cli.images import fill_transparent, read_picture, resize
from quantart_cli.images.formats import SUFFIXES
from quantart_cli.presets import locate

PATTERN = "{content}--{style}"
"""Default names of outputs, without the suffix."""


@dataclass(frozen=True)
class Source:
    """A picture file, and its name in pairs, which is unique."""

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


def find_pictures(given: str, hold_out: float = 0.0) -> list[Path]:
    """A file, or the pictures below a folder.

    Args:
        given: path of a file or folder, or ``@NAME`` of a preset.
        hold_out: keep only the files that a training with this ``hold_out`` leaves out; 0: all files.

    Raises:
        QuantArtError: nothing is there, or no picture is left.
    """
    from quantart_cli.training.pictures import name_hash, pictures_below

    path = Path(locate(given))
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise QuantArtError(f"{given} is no folder: give a folder of pictures")
    found = [each for each in pictures_below(path) if hold_out == 0 or name_hash(each.name) < hold_out]
    if not found:
        raise QuantArtError(f"{given}: none of its pictures is held out: raise hold_out")
    return found


def reduced(path: Path, long_side: int) -> np.ndarray:
    """A picture reduced to at most ``long_side`` pixels; (H, W, 3) uint8 sRGB, transparent parts filled."""
    return np.ascontiguousarray(fill_transparent(resize(read_picture(path), long_side, enlarge=False)))


def square(path: Path, size: int) -> np.ndarray:
    """The largest centred square of a picture, resized with Lanczos; (size, size, 3) uint8 sRGB."""
    return to_shape(path, (size, size))


def to_shape(path: Path, shape: tuple[int, int]) -> np.ndarray:
    """The largest centred part of a picture with the shape's ratio, resized with Lanczos; (*shape, 3) uint8 sRGB.

    Args:
        shape: height and width in pixels.
    """
    rgb = fill_transparent(read_picture(path))
    scale = min(rgb.shape[0] / shape[0], rgb.shape[1] / shape[1])
    height, width = (max(1, round(side * scale)) for side in shape)
    top, left = (rgb.shape[0] - height) // 2, (rgb.shape[1] - width) // 2
    middle = Image.fromarray(np.ascontiguousarray(rgb[top : top + height, left : left + width]))
    return np.array(middle.resize(shape[::-1], Image.Resampling.LANCZOS))


def named(paths: Sequence[Path]) -> list[Source]:
    """Files with unique names: the stem, or when it is not unique the file name, or the whole path."""
    stems = Counter(path.stem for path in paths)
    names = Counter(path.name for path in paths)

    def name(path: Path) -> str:
        if stems[path.stem] == 1:
            return path.stem
        return path.name if names[path.name] == 1 else "_".join(path.parts).strip("/\\_")

    return [Source(path, name(path)) for path in paths]


def choose_pairs(contents: Sequence[Source], styles: Sequence[Source], count: int, seed: int) -> list[Pair]:
    """Different pairs that use as many contents and styles as possible, each about equally often.

    Args:
        contents, styles: one or more each.
        count: of pairs; fewer are returned when there are not so many.
        seed: the same pictures and seed give the same pairs.
    """
    c, s = (_shuffled(each, seed) for each in (contents, styles))
    lap = math.lcm(len(c), len(s))  # after one lap the same pairs would come again: the styles move on by one
    count = min(count, len(c) * len(s))
    return [Pair(c[i % len(c)], s[(i + i // lap) % len(s)]) for i in range(count)]


def _shuffled(sources: Sequence[Source], seed: int) -> list[Source]:
    """Sorted by a hash of seed and name: an additional picture does not change the order of the others."""
    return sorted(sources, key=lambda source: hashlib.sha256(f"{seed} {source.name}".encode()).digest())


def check_pattern(pattern: str) -> str:
    """Return the pattern of the names of outputs.

    Raises:
        QuantArtError: it lacks ``{content}`` or ``{style}``, or has other fields.
    """
    try:
        tried = pattern.format(content="\0", style="\1")
        valid = tried.count("\0") == tried.count("\1") == 1
    except (KeyError, IndexError, ValueError):
        valid = False
    if not valid:
        raise QuantArtError(f"pattern {pattern!r} must have {{content}} and {{style}} once each, such as {PATTERN}")
    return pattern


def find_outputs(
    folder: Path, pattern: str, contents: Sequence[Source], styles: Sequence[Source]
) -> dict[tuple[str, str], Path]:
    """Outputs of another tool by the names of their content and style; empty when no file name matches.

    Args:
        folder: searched without its subfolders.
        pattern: of the file names, with ``{content}`` and ``{style}``.

    Raises:
        QuantArtError: the folder cannot be read.
    """
    try:
        by_stem = {path.stem: path for path in sorted(folder.iterdir()) if path.suffix.lower() in SUFFIXES}
    except OSError as error:
        raise QuantArtError(f"{folder} is no folder of pictures: {reason(error)}") from None
    names = ((pattern.format(content=c.name, style=s.name), c.name, s.name) for c in contents for s in styles)
    return {(content, style): by_stem[stem] for stem, content, style in names if stem in by_stem}


def shared_pairs(
    outputs: Sequence[dict[tuple[str, str], Path]], contents: Sequence[Source], styles: Sequence[Source]
) -> list[Pair]:
    """The pairs that every set of outputs has, sorted by name."""
    by_content, by_style = ({source.name: source for source in each} for each in (contents, styles))
    return [Pair(by_content[c], by_style[s]) for c, s in sorted(set.intersection(*map(set, outputs)))]
