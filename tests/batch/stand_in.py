"""Run ``quantart`` with a model that needs no networks: what is tested is what happens to files.

The model inverts colours, takes so many seconds a picture, and writes the name of each content it paints to a log.
Processes are forked from a server that has imported everything, so that many short runs cost little.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import time
from multiprocessing.context import ForkServerProcess
from types import SimpleNamespace
from typing import ClassVar

from quantart_cli.batch import job
from quantart_cli.cli import main
from quantart_cli.images import Picture, read_picture
from quantart_cli.result import Result


class Inverter:
    """As much of a model as a batch uses."""

    optimises = False
    spec = SimpleNamespace(device="cpu", precision="fp32", backend="torch")
    method = SimpleNamespace(name="adain")
    checksums: ClassVar[dict[str, str]] = {}

    def __init__(self, log: str | None = None, seconds: float = 0) -> None:
        self.log, self.seconds = log, seconds
        self.encoded: list[object] = []

    def encode_style(self, styles: list[str], *, weights=None, size=None, settings=None) -> object:
        pictures = [read_picture(style) for style in styles]
        self.encoded.append([picture.name for picture in pictures])
        return SimpleNamespace(pictures=pictures)

    def paint(self, picture: Picture, style: object, settings: object, **_: object) -> Result:
        if self.log is not None:
            with open(self.log, "a") as file:
                print(picture.name, file=file)
        time.sleep(self.seconds)
        return Result(picture.with_rgb(255 - picture.rgb), "fp32")


class Process:
    """``quantart`` with arguments, in a process of its own."""

    def __init__(self, log: object, seconds: float, stderr: object, *arguments: object) -> None:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload([__name__])
        given = (str(log), seconds, str(stderr), [str(argument) for argument in arguments])
        self._process: ForkServerProcess = context.Process(target=_run, args=given)
        self._stderr = stderr
        self._process.start()

    @property
    def status(self) -> int | None:
        """As that of subprocess; None: it is running."""
        return self._process.exitcode

    def send(self, number: int) -> None:
        if self.status is None:
            os.kill(self._process.pid, number)

    def wait(self, seconds: float = 60) -> tuple[int | None, str]:
        """Its exit status, and what it wrote to stderr."""
        self._process.join(seconds)
        with open(str(self._stderr)) as file:
            return self.status, file.read()


def _run(log: str, seconds: float, stderr: str, arguments: list[str]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # outside the command
    target = os.open(stderr, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(target, 1)
    os.dup2(target, 2)
    sys.stderr = os.fdopen(2, "w", closefd=False)
    job.PaintJob.load_model = lambda *_: Inverter(log, seconds)
    main(arguments)
