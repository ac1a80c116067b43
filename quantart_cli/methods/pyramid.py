"""Coarse to fine: the sizes an optimisation goes through, and the steps it takes at each. Does not import torch.

Strokes larger than the networks' field of view form only where the picture is small, and a small picture is quickly
painted: so most steps are taken there, and the large ones only sharpen (Gatys et al. 2017, section 7, with one coarse
size; Johnson's and Crowson's scripts with many).
"""

from __future__ import annotations

from dataclasses import dataclass

from quantart_cli.errors import QuantArtError

_LEAST = 128  # long side of the smallest level of "auto", at least
_SHARE = 0.55  # steps of a level over those of the next smaller one


@dataclass(frozen=True)
class Level:
    """A size of the picture in pixels, and how many steps are taken at it."""

    width: int
    height: int
    steps: int

    @property
    def size(self) -> tuple[int, int]:
        """(width, height)."""
        return self.width, self.height

    @property
    def side(self) -> int:
        """Long side."""
        return max(self.width, self.height)


def parse_pyramid(given: str) -> tuple[int, ...] | str:
    """ "auto", "none", or long sides in pixels, from small to large.

    Raises:
        QuantArtError: anything else.
    """
    if given in ("auto", "none"):
        return given
    parts = [part.strip() for part in given.split(",")]
    if not all(part.isascii() and part.isdigit() and 0 < int(part) < 10**6 for part in parts):
        raise QuantArtError(f"pyramid must be auto, none or sizes such as 128,256,512, not {given!r}")
    sides = tuple(map(int, parts))
    if list(sides) != sorted(set(sides)):
        raise QuantArtError(f"pyramid must go from small to large, not {given}")
    return sides


def levels(width: int, height: int, steps: int, pyramid: str) -> list[Level]:
    """The levels of a picture, the last of which has its own size.

    Args:
        steps: in all; each level takes 0.55 times those of the level before. One with none is left out.
        pyramid: as :func:`parse_pyramid` reads it. Sizes from the picture's own on are left out.
    """
    longest, chosen = max(width, height), parse_pyramid(pyramid)
    sides = [longest]
    if chosen == "auto":
        while sides[0] // 2 >= _LEAST:
            sides.insert(0, sides[0] // 2)
    elif not isinstance(chosen, str):
        sides = [*(side for side in chosen if side < longest), longest]
    shares = [_SHARE**i for i in range(len(sides))]
    ends = [round(steps * sum(shares[: i + 1]) / sum(shares)) for i in range(len(sides))]
    found = []
    for side, start, end in zip(sides, [0, *ends], ends, strict=False):
        w, h = (max(1, (2 * length * side + longest) // (2 * longest)) for length in (width, height))
        found.append(Level(w, h, end - start))
    return [level for level in found if level.steps or level is found[-1]]
