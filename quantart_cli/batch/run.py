"""One run over a plan: which items are due, and the outcome of each, on the disk, in the ledger and in the report."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import IO, Any

from quantart_cli.batch.job import Failure, PaintedFile, PaintJob
from quantart_cli.batch.ledger import Content, Entry, Ledger
from quantart_cli.batch.plan import Plan, WorkItem
from quantart_cli.checkpoints.hashing import sha256_of
from quantart_cli.errors import QuantArtError
from quantart_cli.files import printable, reason, remove_left_behind, write_atomically
from quantart_cli.images.formats import format_for
from quantart_cli.recipe import region

# After these errors the next picture would fail as well.
_FATAL = {errno.ENOSPC, errno.EROFS, errno.EIO, getattr(errno, "EDQUOT", errno.ENOSPC)}

UP_TO_DATE = "up to date"
KEPT = "kept"
CHANGED = "options changed"


@dataclass
class Due:
    """What a run has to do.

    Attributes:
        items: to paint, in order.
        why: reason -> number of items: "new", "content changed", ...
        settled: items that need no painting: :data:`UP_TO_DATE`, :data:`KEPT`, or a failure.
    """

    items: list[WorkItem] = field(default_factory=list)
    why: Counter[str] = field(default_factory=Counter)
    settled: list[tuple[WorkItem, str | Failure]] = field(default_factory=list)


class Run:
    """A plan, its settings, and the folder the pictures go to; several threads may use it.

    Args:
        job: how its pictures are painted.
        format: of all outputs; None: by their suffixes.
    """

    def __init__(self, plan: Plan, job: PaintJob, folder: Path, ledger: Ledger, format: str | None) -> None:
        self.plan, self.job, self.folder, self.ledger, self.format = plan, job, folder, ledger, format
        self._style_hash = cache(_style_hash)
        self._fingerprint = cache(self._fingerprint_of)

    def due(self, overwrite: bool = False) -> Due:
        """Compare the plan with the ledger and the disk.

        Args:
            overwrite: paint everything again, and replace files that quantart did not paint.
        """
        due = Due()
        for item in self.plan.items:
            try:
                format = format_for(item.output, self.format)
                item = replace(item, format=format, fingerprint=self._fingerprint(item.style, format, item.masks))
                entry = self.ledger.find(item.output)
                why = "overwritten" if overwrite else self._why(item, entry)
            except QuantArtError as error:
                due.settled.append((item, Failure(str(error))))
                continue
            if why in (UP_TO_DATE, KEPT):
                due.settled.append((item, why))
            else:
                due.items.append(item)
                due.why[why] += 1
        return due

    def reconcile(self) -> None:
        """Settle what a killed process was writing: either the file took its place, or it did not."""
        for entry in self.ledger.unfinished():
            path = self.folder / entry.output
            remove_left_behind(str(path.parent))
            if _sha256(path) == entry.sha256:
                self._done(entry, path.stat())

    def write(self, item: WorkItem, content: Content, painted: PaintedFile) -> None:
        """Write a picture to its place and into the ledger.

        Raises:
            QuantArtError: this picture cannot be written.
            OSError: the next one could not be written either.
        """
        path = self.folder / item.output
        sha256 = hashlib.sha256(painted.data).hexdigest()
        entry = Entry(item.output, "writing", content, item.fingerprint, sha256=sha256)
        self.ledger.put(entry)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(str(path), painted.data)
            status = path.stat()
        except (OSError, QuantArtError) as error:
            cause = error if isinstance(error, OSError) else error.__cause__
            if isinstance(cause, OSError) and cause.errno in _FATAL:
                raise cause from None
            if isinstance(error, QuantArtError):
                raise
            raise QuantArtError(f"{printable(path)} cannot be written: {reason(error)}") from error
        self._done(entry, status)

    def fail(self, item: WorkItem, content: Content, why: str) -> None:
        """Note a failure; an earlier output of that name stays, and its row too."""
        known = self.ledger.find(item.output)
        if known is None or known.state == "failed":
            self.ledger.put(Entry(item.output, "failed", content, item.fingerprint, reason=why))

    def _done(self, entry: Entry, status: os.stat_result) -> None:
        self.ledger.put(replace(entry, state="done", size=status.st_size, mtime=status.st_mtime_ns))

    def _fingerprint_of(self, style: int, format: str, masks: tuple[str, ...]) -> str:
        styles = tuple(map(self._style_hash, self.plan.styles[style]))
        return self.job.fingerprint(styles, format, tuple(map(_mask_hash, masks)))

    def _why(self, item: WorkItem, entry: Entry | None) -> str:
        """The reason why an item is painted, or UP_TO_DATE or KEPT.

        Raises:
            QuantArtError: a file that quantart did not paint has its name.
        """
        path = self.folder / item.output
        try:
            status = path.lstat()
        except OSError:
            return "new" if entry is None else "failed before" if entry.state == "failed" else "missing"
        if entry is None or entry.state == "failed":
            raise QuantArtError(
                f"{printable(path)} is there already and was not painted by this: move it away, or give --overwrite"
            )
        if entry.state == "writing":
            return "interrupted"
        if (status.st_size, status.st_mtime_ns) != (entry.size, entry.mtime):
            if _sha256(path) != entry.sha256:
                return KEPT
            entry = self._refreshed(replace(entry, size=status.st_size, mtime=status.st_mtime_ns))
        if entry.fingerprint != item.fingerprint:
            return CHANGED
        return UP_TO_DATE if self._same_content(item, entry) else "content changed"

    def _same_content(self, item: WorkItem, entry: Entry) -> bool:
        """Whether the content's bytes are those of the ledger."""
        known = entry.content
        try:
            status = os.stat(item.source)
        except OSError:
            return False  # painting it will say what is wrong
        now = (status.st_size, status.st_mtime_ns)
        if (known.size, known.mtime) == now and known.path == item.source:
            return True
        if known.size != status.st_size or _sha256(Path(item.source)) != known.sha256:
            return False
        self._refreshed(replace(entry, content=Content(item.source, *now, known.sha256)))
        return True

    def _refreshed(self, entry: Entry) -> Entry:
        if self.ledger.writable:
            self.ledger.put(entry)
        return entry


@dataclass
class Recorder:
    """Writes, notes, counts and reports the outcome of each item; for several threads.

    Attributes:
        report: receives one JSON object a line, or None.
        fail_fast: whether the first failure sets ``stop``.
        on_change: called after each outcome, in order.
        stop: ends the run.
        painted: number of pictures painted.
        attempted: number painted or failed in this run.
        settled: "up to date" or "kept" -> number.
        failures: (content, output, reason) of each.
    """

    run: Run
    report: IO[str] | None = None
    fail_fast: bool = False
    on_change: Callable[[Recorder], None] = lambda _: None
    stop: threading.Event = field(default_factory=threading.Event)
    painted: int = 0
    attempted: int = 0
    settled: Counter[str] = field(default_factory=Counter)
    failures: list[tuple[str, str, str]] = field(default_factory=list)
    trace: str | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def record(self, item: WorkItem, content: Content, outcome: PaintedFile | Failure) -> None:
        """Write a painted picture, or note a failure.

        Raises:
            OSError: the run cannot continue.
        """
        if isinstance(outcome, PaintedFile):
            try:
                self.run.write(item, content, outcome)
            except QuantArtError as error:
                outcome = Failure(str(error))
        if isinstance(outcome, Failure):
            self.run.fail(item, content, outcome.reason)
            if self.fail_fast:
                self.stop.set()
        self._count(item, outcome, attempted=True)

    def settle(self, due: Due) -> None:
        """Report what needs no painting, and the files that cannot be read."""
        for item, outcome in due.settled:
            self._count(item, outcome, attempted=False)
        for path, what in self.run.plan.found.unreadable.items():
            self._write_line({"content": path, "status": "unreadable", "reason": f"{path} is {what}"})

    def _count(self, item: WorkItem, outcome: PaintedFile | Failure | str, attempted: bool) -> None:
        styles = list(self.run.plan.styles[item.style])
        line: dict[str, Any] = {"content": item.source, "output": item.output, "styles": styles}
        with self._lock:
            self.attempted += attempted
            if isinstance(outcome, Failure):
                self.failures.append((item.source, item.output, outcome.reason))
                self.trace = self.trace or outcome.trace
                line |= {"status": "failed", "reason": outcome.reason}
            elif isinstance(outcome, str):
                self.settled[outcome] += 1
                line |= {"status": outcome}
            else:
                self.painted += 1
                line |= {"status": "painted", "width": outcome.width, "height": outcome.height}
                line |= {"seconds": round(outcome.seconds, 3), "precision": outcome.precision}
                line |= {"notes": list(outcome.notes)}
            self._write_line(line)
            self.on_change(self)

    def _write_line(self, line: dict[str, Any]) -> None:
        if self.report is not None:
            print(json.dumps(line), file=self.report, flush=True)


def own_outputs(folder: Path, ledger: Ledger) -> set[str]:
    """Real paths of the files that quantart painted into a folder before: they are never contents."""
    real = os.path.realpath(folder)
    return {os.path.join(real, *output.split("/")) for output in ledger.outputs()}


def _style_hash(path: str) -> str:
    try:
        return sha256_of(Path(path))
    except OSError as error:
        raise QuantArtError(f"its style {printable(path)} cannot be read: {reason(error)}") from None


def _mask_hash(mask: str) -> str:
    try:
        return region(mask)
    except OSError as error:
        raise QuantArtError(f"its mask {printable(mask)} cannot be read: {reason(error)}") from None


def _sha256(path: Path) -> str | None:
    try:
        return sha256_of(path)
    except OSError:
        return None
