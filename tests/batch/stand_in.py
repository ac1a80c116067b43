"""Run ``quantart`` with a model that needs no networks: what is tested is what happens to files.

python -m tests.batch.stand_in LOG SECONDS batch … paints by inverting colours, takes so many seconds a picture, and
writes the name of each content it paints to LOG.
"""

from __future__ import annotations

import os
import sys
import time
from types import SimpleNamespace

from quantart_cli.engine.canvas import Painted
from quantart_cli.images import Picture


class Inverter:
    """As much of a painter as a batch asks for."""

    optimises = False
    machine = SimpleNamespace(device="cpu", precision="fp32", runtime="torch")

    def __init__(self, log: str | None = None, seconds: float = 0) -> None:
        self.log, self.seconds = log, seconds
        self.encoded: list[object] = []

    def encode_style(self, styles: list[str], *, weights=None, size=None) -> object:
        from quantart_cli.images import read_picture

        self.encoded.append([read_picture(style).name for style in styles])
        return object()

    def paint(self, picture: Picture, style: object, controls: object, **_: object) -> Painted:
        if self.log is not None:
            with open(self.log, "a") as file:
                print(picture.name, file=file)
        time.sleep(self.seconds)
        return Painted(picture.with_rgb(255 - picture.rgb), "fp32")


def main() -> None:
    log, seconds, *arguments = sys.argv[1:]
    from quantart_cli.cli import main, runtime

    runtime.load_model = lambda *_: Inverter(log, float(seconds))
    main(arguments)


if __name__ == "__main__":
    os.environ.setdefault("QUANTART_CACHE", os.devnull)
    main()
