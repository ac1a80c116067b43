"""Exit statuses, and output for people: all of it on stderr; stdout is for pictures and ``--json``."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Protocol

from quantart_cli.files import write_stdout

if TYPE_CHECKING:
    from rich.console import RenderableType

    from quantart_cli.images import Picture

USER_ERROR = 2
INTERRUPTED = 130
TERMINATED = 143

# Without a terminal, progress is one line this often, in seconds.
_PLAIN_EVERY = 10.0
_DRAWN_EVERY = 0.5  # seconds between two pictures that are drawn


def say(line: str) -> None:
    """One line on stderr; a closed stderr is no error."""
    with suppress(OSError, ValueError):
        print(f"{line}\n", end="", file=sys.stderr, flush=True)  # one write: other threads may say something too


def write_line(text: str) -> None:
    """Write a line to stdout, every byte of it.

    Raises:
        QuantArtError: stdout is closed, its disk is full, or its reader is gone.
    """
    write_stdout(f"{text}\n")


def write_json(facts: object) -> None:
    """Write one JSON object to stdout; errors as of :func:`write_line`."""
    write_line(json.dumps(facts))


def is_terminal() -> bool:
    return sys.stderr is not None and sys.stderr.isatty()


@contextmanager
def waiting(text: str, quiet: bool) -> Iterator[None]:
    """A spinner while the body runs, on a terminal only."""
    if quiet or not is_terminal():
        yield
        return
    from rich.console import Console

    with Console(stderr=True).status(text):
        yield


class Bar(Protocol):
    """Shows progress: units done of all, and a few words."""

    def __call__(self, done: int, total: int, words: str = "", stage: str | None = None) -> None: ...


@contextmanager
def progress_bar(stage: str, quiet: bool) -> Iterator[Bar]:
    """A progress bar on a terminal; elsewhere a plain line every ten seconds; with ``quiet`` nothing."""
    if quiet:
        yield lambda done, total, words="", stage=None: None
        return
    if not is_terminal():
        yield _plain_lines(stage)
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[words]}"),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as shown:
        tasks = {stage: shown.add_task(stage, total=None, words="")}

        def update(done: int, total: int, words: str = "", stage: str | None = stage) -> None:
            assert stage is not None
            if stage not in tasks:
                for old in tasks.values():
                    shown.update(old, visible=False)
                tasks[stage] = shown.add_task(stage, total=total, words=words)
            shown.update(tasks[stage], completed=done, total=total, words=words)

        yield update


def _plain_lines(first_stage: str) -> Bar:
    last = time.monotonic()

    def update(done: int, total: int, words: str = "", stage: str | None = None) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= _PLAIN_EVERY:
            last = now
            say(f"{stage or first_stage} {done}/{total} {words}".rstrip())

    return update


@contextmanager
def pictures_bar(total: int, quiet: bool) -> Iterator[Pictures]:
    """Pictures a second, time left, failures, the current file: a bar on a terminal, else a line every few seconds."""
    if quiet or not is_terminal():
        yield Pictures(total, quiet)
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
        TextColumn("[red]{task.fields[failed]}[/red]"),
        TextColumn("{task.fields[name]}", markup=False),
    )

    class PicturesProgress(Progress):
        drawn: RenderableType | None = None

        def get_renderables(self) -> Iterator[RenderableType]:
            if self.drawn is not None:
                yield self.drawn
            yield from super().get_renderables()

    with PicturesProgress(*columns, console=Console(stderr=True), transient=True) as shown:
        yield _RichPictures(shown, total)


class Pictures:
    """Shows how many pictures are done, and the current one: in plain lines, or as a subclass does."""

    def __init__(self, total: int, quiet: bool) -> None:
        self._total, self._quiet = total, quiet
        self._start = self._last = time.monotonic()
        self._name, self._done = "", 0

    def done(self, painted: int, failed: int) -> None:
        """So many were painted, and so many failed."""
        self._done = count = painted + failed
        if not count or not self._is_time():
            return
        rate = count / (time.monotonic() - self._start)
        left = time_in_words((self._total - count) / rate)
        failures = f", {failed:,} failed" if failed else ""
        say(f"{count:,}/{self._total:,}, {rate:.2f} a second, {left} left{failures}: {self._name}")

    def now(self, name: str) -> None:
        """The current file."""
        self._name = name

    def step(self, done: int, total: int) -> None:
        """Steps or tiles done of the current file, and all of them."""
        if self._is_time():
            say(f"{self._done:,}/{self._total:,}: {self._name}, {done}/{total}")

    def draw(self, picture: Picture) -> None:
        """Draw the picture painted last above the bar, if there is one."""

    def _is_time(self) -> bool:
        """Whether the last line is long enough ago for another one."""
        now = time.monotonic()
        due = not self._quiet and now - self._last >= _PLAIN_EVERY
        self._last = now if due else self._last
        return due


class _RichPictures(Pictures):
    def __init__(self, shown: Any, total: int) -> None:
        self._shown, self._start = shown, time.monotonic()
        self._task = shown.add_task("", total=total, rate="", failed="", name="")
        self._name, self._last_drawn = "", 0.0

    def done(self, painted: int, failed: int) -> None:
        count = painted + failed
        rate = count / max(1e-6, time.monotonic() - self._start)
        failures = f"{failed:,} failed" if failed else ""
        self._shown.update(self._task, completed=count, rate=f"{rate:.2f}/s", failed=failures)

    def now(self, name: str) -> None:
        self._name = name.encode("utf-8", "replace").decode()
        self._shown.update(self._task, name=self._name)

    def step(self, done: int, total: int) -> None:
        if total > 1:
            self._shown.update(self._task, name=f"{self._name} {done}/{total}")

    def draw(self, picture: Picture) -> None:
        if time.monotonic() - self._last_drawn < _DRAWN_EVERY:
            return
        from quantart_cli.cli.showing import fitted, half_blocks

        console = self._shown.console
        size = fitted(picture.size, console.width, console.height - 3)  # the bar may take two lines
        self._shown.drawn, self._last_drawn = half_blocks(picture.to_pil().convert("RGB"), *size), time.monotonic()


def time_in_words(seconds: float) -> str:
    """ "40 s", "12 min", "3 h 05 min"."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02} min"


@contextmanager
def bytes_bar(quiet: bool) -> Iterator[Bytes]:
    """A progress bar in bytes on a terminal; elsewhere a plain line every ten seconds; with ``quiet`` no bar."""
    if quiet or not is_terminal():
        yield Bytes(quiet)
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as shown:
        yield _RichBytes(shown)


class Bytes:
    """Shows the bytes of downloads, file by file: in plain lines, or as a subclass does."""

    def __init__(self, quiet: bool) -> None:
        self._quiet = quiet

    def of(self, name: str) -> Callable[[int, int | None, str], None]:
        """A callback for one file: bytes done, bytes in all (None: not known), and what is being done."""
        last = time.monotonic()

        def update(done: int, total: int | None, words: str) -> None:
            nonlocal last
            now = time.monotonic()
            if not self._quiet and now - last >= _PLAIN_EVERY:
                last = now
                of_all = "" if total is None else f"/{total / 1e6:.0f}"
                say(f"{name} {words} {done / 1e6:.0f}{of_all} MB")

        return update

    def say(self, line: str) -> None:
        """A line that does not disturb the bar."""
        say(line)


class _RichBytes(Bytes):
    def __init__(self, shown: Any) -> None:
        self._shown = shown

    def of(self, name: str) -> Callable[[int, int | None, str], None]:
        task: Any = None
        stage = ""

        def update(done: int, total: int | None, words: str) -> None:
            nonlocal task, stage
            if words != stage or task not in self._shown.task_ids:  # a bar for each stage: speeds do not mix
                self._clear()
                task, stage = self._shown.add_task(f"{name} {words}", total=total), words
            self._shown.update(task, completed=done, total=total)

        return update

    def _clear(self) -> None:
        for old in list(self._shown.task_ids):
            self._shown.remove_task(old)

    def say(self, line: str) -> None:
        self._clear()
        self._shown.console.print(line, markup=False, highlight=False, soft_wrap=True)
