"""Workers for the tests of the Ray executor. This module imports no torch, so that they start quickly."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar

from quantart_cli.batch.job import Computation
from quantart_cli.batch.ray_worker import Worker
from quantart_cli.errors import QuantArtError
from quantart_cli.result import Result


def note(source: str, line: str) -> None:
    """Append to the file ``log`` beside a picture's folder, from whichever process."""
    with open(Path(source).parents[1] / "log", "a") as file:
        print(line, file=file)


class Watched(Worker):
    """Notes what it does; the picture 05.png kills it once."""

    def encode_style(self, files):
        note(str(Path(files[0][0]).parent / "in" / "_"), "style")
        return super().encode_style(files)

    def paint(self, item, data, style):
        note(item.source, str(os.getpid()))
        first = Path(item.source).parents[1] / "first"
        if item.source.endswith("05.png") and not first.exists():
            first.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().paint(item, data, style)


class Xor:
    """Paints without networks: the content's pixels xor the style's first one."""

    max_pixels = 10_000
    method = SimpleNamespace(name="adain")
    spec = SimpleNamespace(device="cpu", precision="fp32", backend="torch")
    checksums: ClassVar[dict[str, str]] = {}

    def encode_style(self, pictures, *, weights, size, settings):
        return SimpleNamespace(pictures=pictures)

    def paint(self, picture, style, settings, **_):
        return Result(picture.with_rgb(picture.rgb ^ style.pictures[0].rgb[0, 0, 0]), "fp32")


class Quick(Worker):
    def _load(self, like):
        self._model = Xor()
        return Computation("torch", "cpu", "fp32")

    def encode_style(self, files):
        note(files[0][0], Path(files[0][0]).name)
        return super().encode_style(files)


class Poisoned(Quick):
    """Dies of 03.png, every time."""

    def paint(self, item, data, style):
        note(item.source, Path(item.source).name)
        if item.source.endswith("03.png"):
            os.kill(os.getpid(), signal.SIGKILL)
        return super().paint(item, data, style)


class Homeless(Worker):
    def _load(self, like):
        raise QuantArtError("no weights there")
