"""Ctrl-C twice: the first finishes what is being written, the second leaves at once."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from quantart_cli.images.output import remove_unfinished

_INTERRUPTED = 130


@contextmanager
def interruptible() -> Iterator[None]:
    """While the body runs, the first Ctrl-C raises KeyboardInterrupt, the second ends the process.

    What was being written then is removed, and what it would have replaced is still there. Outside the main thread,
    which alone hears of signals, nothing is changed.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    asked = False

    def hear(signum: int, frame: FrameType | None) -> None:
        nonlocal asked
        if asked:
            remove_unfinished()
            os._exit(_INTERRUPTED)
        asked = True
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, hear)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
