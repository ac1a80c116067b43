"""Settings of methods/nnst.py, and its plan of updates, in a module that does not import torch."""

from __future__ import annotations

from dataclasses import dataclass

from quantart_cli.errors import QuantArtError
from quantart_cli.settings import Settings, setting

_AUTO = (100, 80, 25, 8, 4)
"""Updates at the four finest scales, coarse to fine, and of the final pass."""


def parse_plan(given: str) -> tuple[int, ...]:
    """Updates at each scale from coarse to fine, then those of the final pass.

    >>> parse_plan("200")
    (200, 200)

    Raises:
        QuantArtError: neither "auto" nor numbers.
    """
    if given == "auto":
        return _AUTO
    parts = [part.strip() for part in given.split(",")]
    if not all(part.isascii() and part.isdigit() and int(part) < 10**6 for part in parts):
        raise QuantArtError(f"steps must be auto, a number, or numbers such as 100,80,25,8,4, not {given!r}")
    numbers = tuple(map(int, parts))
    if not any(numbers):
        raise QuantArtError(f"steps must hold a number above 0, not {given}")
    return numbers * 2 if len(numbers) == 1 else numbers


def plan(given: str, scales: int) -> tuple[int, ...]:
    """Updates at so many scales, and of the final pass: (scales + 1) numbers.

    The last numbers are those of the finest scales. With more scales than numbers the first one counts for the coarser
    ones too.

    Raises:
        QuantArtError: more numbers than that.
    """
    *updates, final = parse_plan(given)
    if len(updates) > scales and "," in given:
        raise QuantArtError(
            f"steps {given} has {len(updates) + 1} numbers: this picture takes at most {scales + 1}, one for each of "
            f"{scales} {'scale' if scales == 1 else 'scales'} and the final pass"
        )
    updates = [updates[0]] * (scales - len(updates)) + updates
    return (*updates[-scales:], final)


@dataclass(frozen=True)
class NNSTSettings(Settings):
    """Settings of Neural Neighbor Style Transfer (Kolkin et al. 2022)."""

    content_weight: float = setting(
        0.75,
        "Whether the style's parts are found for the content (1) or for the picture as painted so far (0). The paper's "
        "alpha.",
        low=0,
        high=1,
        aliases=("alpha",),
    )
    steps: str = setting(
        "auto",
        "Updates at each scale from coarse to fine, then of the final pass: 100,80,25,8,4. One number counts for all; "
        "the paper takes 200.",
        parse=parse_plan,
        metavar="auto|N|N,N,…",
    )
    style_scale: float = setting(
        1.0, "Size of the brush: long side of the style over that of the picture; never enlarged.", low=0.05, high=20
    )
    style_rotations: str = setting(
        "yes", "Whether the style turned by 90, 180 and 270 degrees is used as well.", choices=("yes", "no")
    )
    recolor: str = setting(
        "painted",
        "Which hues are moved to the mean and covariance of the style's: painted, those of the strokes; content, as in "
        "the paper; no: the colours stay as optimised.",
        choices=("painted", "content", "no"),
    )
