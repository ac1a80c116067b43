"""What the command line sets for its process. A library sets none of this.

Streams, the environment of libraries, signals, the allocator, and how torch is imported.
"""

from __future__ import annotations

import contextlib
import ctypes
import math
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any

from quantart_cli import files
from quantart_cli.cli.console import INTERRUPTED, say
from quantart_cli.device import control_groups
from quantart_cli.files import remove_unfinished, reserve_standard_descriptors

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # of malloc.h


def prepare() -> None:
    """Set up streams, environment and imports; called before anything large is imported."""
    _prepare_streams()
    # Threads that wait for each other must not spin: beside other jobs that costs many times the work itself.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("GOMP_SPINCOUNT", "0")
    quota = cpu_quota()
    if quota is not None and quota < cpus():
        os.environ.setdefault("OMP_NUM_THREADS", str(quota))


def _prepare_streams() -> None:
    """Open what was closed, and let no encoding end a command with an error.

    A file opened later would get the number of a closed stderr, and receive the messages of libraries.
    """
    reserve_standard_descriptors()
    files.stderr_may_be_muted = sys.stderr is not None
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError, ValueError):
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]


def cpus() -> int:
    """CPUs this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def cpu_quota(root: Path = Path("/sys/fs/cgroup"), groups: Path = Path("/proc/self/cgroup")) -> int | None:
    """CPUs that the control groups (versions 1 and 2) of this process allow, rounded up; None: as many as there are."""
    found = [share for folder in control_groups("cpu", root, groups) if (share := _quota_of(folder)) is not None]
    return max(1, math.ceil(min(found))) if found else None


def _quota_of(folder: Path) -> float | None:
    with contextlib.suppress(OSError, ValueError):
        quota, period = (folder / "cpu.max").read_text().split()
        return int(quota) / int(period)  # "max" is no number
    with contextlib.suppress(OSError, ValueError):
        quota, period = ((folder / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period"))
        return int(quota) / int(period) if int(quota) > 0 else None
    return None


@contextmanager
def stoppable() -> Iterator[list[int]]:
    """In the body the first INT, TERM or HUP raises KeyboardInterrupt or SystemExit, the second ends the process.

    While a module is imported the first one ends it, too. Unfinished files are removed either way. Ignored
    signals, as under nohup, stay ignored. Nothing changes outside the main thread, which alone receives signals.

    Yields:
        the numbers of the signals received.
    """
    received: list[int] = []

    def receive(number: int, frame: FrameType | None) -> None:
        if received:
            leave(number)
        if _in_import(frame):
            say(f"quantart: {_what(number)}")
            leave(number)
        received.append(number)
        if number == signal.SIGINT:
            raise KeyboardInterrupt
        raise SystemExit(128 + number)

    def unraisable(problem: Any) -> None:
        # Raised where Python ignores exceptions, in a destructor for example: the signal must not be lost.
        if received and isinstance(problem.exc_value, (KeyboardInterrupt, SystemExit)):
            leave(received[0])
        sys.__unraisablehook__(problem)

    before, hook = {}, sys.unraisablehook
    if threading.current_thread() is threading.main_thread():
        sys.unraisablehook = unraisable
        for name in ("SIGINT", "SIGTERM", "SIGHUP"):
            number = getattr(signal, name, None)
            if number is not None and signal.getsignal(number) != signal.SIG_IGN:
                before[number] = signal.signal(number, receive)
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        sys.unraisablehook = hook


def _in_import(frame: FrameType | None) -> bool:
    """Whether a module is being imported.

    An exception raised there may be lost, since modules try imports and pass over whatever is raised. In torch it may
    reach C++, which aborts with a trace on stderr.
    """
    while frame is not None and not frame.f_code.co_filename.startswith("<frozen importlib"):
        frame = frame.f_back
    return frame is not None


def _what(number: int) -> str:
    return "interrupted" if number == signal.SIGINT else "terminated"


def ended(received: Sequence[int]) -> int:
    """Say that a signal ended the command before it had written anything; returns the exit status."""
    number = received[0] if received else signal.SIGINT
    say(f"quantart: {_what(number)}, nothing was written")
    return INTERRUPTED if number == signal.SIGINT else 128 + number


def leave(number: int) -> None:
    """End the process now, without unfinished files."""
    remove_unfinished()
    os._exit(128 + number)


def keep_memory() -> None:
    """Let the C library keep freed memory for the next feature map; only where it is glibc.

    Every large block would otherwise come as fresh pages, each zeroed at its first touch: half the time of painting a
    picture of some megapixels on a CPU.
    """
    if sys.platform != "linux":
        return
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # another C library
        return
    mallopt(_M_MMAP_MAX, 0)
    mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)


# Shapes and decompositions of all operations, for tracing. Leaving them out saves a quarter of a cold start.
_FOR_COMPILERS = "torch._meta_registrations"


def lean_torch() -> None:
    """From now on, import torch without what only its compilers and its random generators use.

    For a process that runs networks as they are. Where OpenVINO is imported first, torch is imported whole: networks
    may be traced.
    """
    if "torch" not in sys.modules and not any(isinstance(each, _LeanTorch) for each in sys.meta_path):
        sys.meta_path.insert(0, _LeanTorch())


class _LeanTorch:
    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        if name != "torch":
            return None
        sys.meta_path.remove(self)
        spec = find_spec(name)
        if spec is not None and spec.loader is not None and "openvino" not in sys.modules:
            run = spec.loader.exec_module

            def exec_module(module: ModuleType) -> None:
                late = sys.modules[_FOR_COMPILERS] = _Late(_FOR_COMPILERS)
                try:
                    run(module)
                finally:
                    if sys.modules.get(_FOR_COMPILERS) is late:
                        del sys.modules[_FOR_COMPILERS]

            spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec


class _Late(ModuleType):
    """Stands in for a module while torch is imported, until somebody uses it."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # of the import system
            raise AttributeError(name)
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]
        return getattr(import_module(self.__name__), name)
