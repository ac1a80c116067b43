"""Clips made by the tests, and a painter that needs no network."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import PIL.Image

from quantart_cli import flow
from quantart_cli.images import Picture
from quantart_cli.result import Result
from quantart_cli.video.clips import Clip, Target
from quantart_cli.video.render import Job
from tests.conftest import scene


def panned(count: int, step: int, width: int = 96, height: int = 64) -> list[np.ndarray]:
    """Frames of a camera that moves to the right by so many pixels a frame."""
    wide = scene(width + step * count, height, 5)
    return [np.ascontiguousarray(wide[:, i * step : i * step + width]) for i in range(count)]


def square(count: int, width: int = 64, height: int = 48) -> list[np.ndarray]:
    """A red square that moves over grey, two pixels a frame."""
    frames = np.full((count, height, width, 3), 90, np.uint8)
    for i, frame in enumerate(frames):
        frame[8:20, 4 + 2 * i : 16 + 2 * i] = (200, 40, 40)
    return list(frames)


def write_gif(path, frames, durations, **options):
    first, *rest = [PIL.Image.fromarray(frame) for frame in frames]
    first.save(path, save_all=True, append_images=rest, duration=durations, **options)


class Inverter:
    """Paints negatives; a stand-in for ``Steady``.

    Attributes:
        interrupt: number of the frame at which Ctrl-C comes.
    """

    steady = 0.5
    estimate = staticmethod(flow.estimate)

    def __init__(self, interrupt: int | None = None, error: Exception | None = None) -> None:
        self.content = self.last = None
        self.painted, self.interrupt, self.error = 0, interrupt, error
        self.motions = []

    def paint(self, content: Picture, motion):
        if self.painted == self.interrupt:
            raise self.error or KeyboardInterrupt
        self.painted += 1
        self.motions.append(motion)
        self.content, self.last = content.rgb, 255 - content.rgb
        return Result(content.with_rgb(self.last), "fp32")

    def state(self):
        return {} if self.last is None else {"content": self.content, "last": self.last}

    def restore(self, state):
        self.content, self.last = state["content"], state["last"]


def job_of(clip: Clip, path, **changed) -> Job:
    """A job with default options."""
    own = {"size": None, "background": None, "every": None} | {
        name: changed.pop(name) for name in ("size", "background", "every") if name in changed
    }
    options = {"format": "png", "codec": None, "crf": None, "quality": 95, "strip_metadata": False, "sound": True}
    options |= {"size": clip.size, "alpha": clip.alpha and own["background"] is None, "start": None, "end": None}
    target = Target(path=str(path), **{**options, **changed})
    return Job(clip, target, own["size"], 10**8, own["background"], own["every"], {"recipe": 1})


def seconds(*values: str) -> list[Fraction]:
    return [Fraction(value) for value in values]
