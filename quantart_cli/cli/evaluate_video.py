"""``quantart evaluate --video``: how much painted clips flicker."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from fractions import Fraction
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np

from quantart_cli import __version__
from quantart_cli.cli.console import pictures_bar, write_json
from quantart_cli.cli.options import EvaluationOptions
from quantart_cli.errors import QuantArtError
from quantart_cli.files import printable
from quantart_cli.images import DEFAULT_MAX_PIXELS, read_picture, resize
from quantart_cli.settings import STYLE_SIZE


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
    from quantart_cli.evaluation.video import measure
    from quantart_cli.video.clips import open_clip

    painting = None if style is None else resize(read_picture(style), STYLE_SIZE, enlarge=False).rgb
    clips = [open_clip(each, rate=Fraction(25), max_pixels=DEFAULT_MAX_PIXELS) for each in (video, *outputs)]
    networks = None
    if painting is not None:
        networks = MetricNetworks.load(choose_device(options.device, options.precision).device)
    with pictures_bar(clips[0].frames or 0, options.quiet) as bar:
        frames = _together(clips)
        found = measure(frames, len(outputs), painting, networks, lambda done: bar.done(done, 0))
    names = [printable(each) for each in (video, *outputs)]
    if not (options.quiet and options.json):
        stream = sys.stderr if options.json else sys.stdout
        width = max(map(len, names))
        print(f"{'':{width}}  warping error  long-term  painted", file=stream)
        for name, each in zip(names, found, strict=True):
            painted = "–" if each.painted is None else f"{each.painted:.3f}"
            print(f"{name:{width}}  {each.short:13.2f}  {each.long:9.2f}  {painted:>7}", file=stream)
    if options.json:
        facts = [{"name": name, **_finite(vars(each))} for name, each in zip(names, found, strict=True)]
        write_json({"quantart": __version__, "clips": facts})
    return 0


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


def _finite(values: dict[str, Any]) -> dict[str, Any]:
    return {name: None if value is None or value != value else round(value, 4) for name, value in values.items()}
