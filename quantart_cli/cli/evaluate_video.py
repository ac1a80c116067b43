"""``quantart evaluate --video``: how much painted clips flicker."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from fractions import Fraction
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import numpy as np

from quantart_cli import __version__
from quantart_cli.cli.console import pictures_bar, write_json
from quantart_cli.cli.options import EvaluationOptions
from quantart_cli.errors import QuantArtError, counted
from quantart_cli.files import printable
from quantart_cli.images import DEFAULT_MAX_PIXELS, read_picture, resize
from quantart_cli.settings import STYLE_SIZE

if TYPE_CHECKING:
    from quantart_cli.evaluation.video import Flicker


def evaluate(video: str, outputs: list[str], style: str | None, options: EvaluationOptions) -> int:
    """Measure painted clips and print a table; returns the exit status.

    Raises:
        QuantArtError: a clip cannot be read, or there is none.
    """
    if not outputs:
        raise QuantArtError("--video needs --outputs: the painted clip, or several")
    if style is not None and Path(style).is_dir():
        raise QuantArtError("--video takes one painting: --styles painting.jpg")
    from quantart_cli.device import choose_device
    from quantart_cli.evaluation.networks import MetricNetworks
    from quantart_cli.evaluation.video import FAR, measure
    from quantart_cli.video.clips import open_clip

    painting = None if style is None else resize(read_picture(style), STYLE_SIZE, enlarge=False).rgb
    clips = [open_clip(each, rate=Fraction(25), max_pixels=DEFAULT_MAX_PIXELS) for each in (video, *outputs)]
    networks = None
    if painting is not None:
        networks = MetricNetworks.load(choose_device(options.device, options.precision).device)
    seen = 0
    with pictures_bar(clips[0].frames or 0, options.quiet) as bar:

        def progress(done: int) -> None:
            nonlocal seen
            seen = done
            bar.done(done, 0)

        found = measure(_together(clips), len(outputs), painting, networks, progress)
    names = [printable(each) for each in (video, *outputs)]
    # Motion is that of the clip itself: all are measured, or none.
    errors = {"warping error": (found[0].short, 1), "long-term error": (found[0].long, FAR)}
    notes = [_why_none(name, seen, apart) for name, (error, apart) in errors.items() if error is None]
    if not (options.quiet and options.json):
        _print_table(names, found, [] if options.quiet else notes, sys.stderr if options.json else sys.stdout)
    if options.json:
        facts = [{"name": name, **_rounded(vars(each))} for name, each in zip(names, found, strict=True)]
        write_json({"quantart": __version__, "clips": facts, "frames": seen, "notes": notes})
    return 0


def _print_table(names: list[str], found: list[Flicker], notes: list[str], stream: TextIO) -> None:
    width = max(map(len, names))
    print(f"{'':{width}}  warping error  long-term  painted", file=stream)
    for name, each in zip(names, found, strict=True):
        short, long, painted = _shown(each.short, 2), _shown(each.long, 2), _shown(each.painted, 3)
        print(f"{name:{width}}  {short:>13}  {long:>9}  {painted:>7}", file=stream)
    for note in notes:
        print(note, file=stream)


def _why_none(error: str, frames: int, apart: int) -> str:
    if frames <= apart:
        return f"no {error}: it compares frames {apart} apart, and the clip has {counted(frames, 'frame')}"
    return f"no {error}: the motion from frame to frame cannot be followed"


def _shown(value: float | None, digits: int) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def _together(clips: list[Any]) -> Iterator[list[np.ndarray[Any, Any]]]:
    """The frames of all clips at the same place, those of the painted ones at the size of the first's."""
    last: list[Any] = [None] * len(clips)
    for frames in zip_longest(*(clip.read() for clip in clips)):
        if frames[0] is None:
            return
        last = [
            old if new is None or new.picture is None else new.picture for old, new in zip(last, frames, strict=True)
        ]
        if any(each is None for each in last):
            continue
        size = last[-1].size
        yield [each.rgb if each.size == size else _resized(each, size) for each in last]


def _resized(picture: Any, size: tuple[int, int]) -> np.ndarray[Any, Any]:
    from PIL import Image

    return np.asarray(Image.fromarray(picture.rgb).resize(size, Image.Resampling.LANCZOS))


def _rounded(values: dict[str, float | None]) -> dict[str, float | None]:
    return {name: None if value is None else round(value, 4) for name, value in values.items()}
