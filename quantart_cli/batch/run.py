"""One run over a plan: what is due, and what became of each picture, on the disk, in the ledger and in the report."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, Any

from quantart_cli.batch.ledger import Content, Entry, Ledger
from quantart_cli.batch.plan import Job, Plan
from quantart_cli.batch.recipe import Recipe
from quantart_cli.batch.work import Failed, Finished, Task
from quantart_cli.checkpoints.hashing import sha256_of
from quantart_cli.errors import QuantArtError
from quantart_cli.images.formats import format_for
from quantart_cli.images.names import printable, reason
from quantart_cli.images.output import remove_left_behind, write_atomically

# After these the next picture would fail as well.
_HOPELESS = {errno.ENOSPC, errno.EROFS, errno.EIO, getattr(errno, "EDQUOT", errno.ENOSPC)}

UP_TO_DATE = "up to date"
KEPT = "kept"


@dataclass
class Due:
    """What is to be done.

    Attributes:
        tasks: pictures to paint, in order.
        why: reason -> how many of them: "missing", "its content changed", ...
        settled: outputs that stay as they are: with :data:`UP_TO_DATE`, or :data:`KEPT`, or a failure.
    """

    tasks: list[Task] = field(default_factory=list)
    why: Counter[str] = field(default_factory=Counter)
    settled: list[tuple[Job, str | Failed]] = field(default_factory=list)


class Run:
    """A plan, a recipe, and the folder the pictures go to.

    Args:
        plan: the plan.
        recipe: how they are painted.
        folder: the output folder.
        ledger: of that folder.
        format: of all outputs; None: by their suffixes.
    """

    def __init__(self, plan: Plan, recipe: Recipe, folder: Path, ledger: Ledger, format: str | None) -> None:
        self.plan, self.recipe, self.folder, self.ledger, self.format = plan, recipe, folder, ledger, format
        self._names: dict[tuple[int, str], str] = {}
        self._hashes: dict[str, str] = {}

    def due(self, overwrite: bool = False) -> Due:
        """Compare the plan with the ledger and the disk.

        Args:
            overwrite: paint everything again, and replace files that are in the way.
        """
        found = Due()
        for number, job in enumerate(self.plan.jobs):
            try:
                task = self._task(number, job)
                entry = self.ledger.find(job.output)
                why = "overwritten" if overwrite else self._why(task, entry)
            except QuantArtError as error:
                found.settled.append((job, Failed(str(error))))
                continue
            if why in (UP_TO_DATE, KEPT):
                found.settled.append((job, why))
            else:
                found.tasks.append(task)
                found.why[why] += 1
        return found

    def reconcile(self) -> None:
        """Settle what a killed process was writing: it came to its place, or it did not."""
        for entry in self.ledger.unfinished():
            path = self.folder / entry.output
            remove_left_behind(str(path.parent))
            if _sha256(path) == entry.sha256:
                status = path.stat()
                self.ledger.put(replace(entry, state="done", size=status.st_size, mtime=status.st_mtime_ns))

    def write(self, task: Task, content: Content, finished: Finished) -> None:
        """Bring a picture to its place and into the ledger.

        Raises:
            QuantArtError: it cannot be written there.
            OSError: the next one could not be written either.
        """
        path = self.folder / task.output
        entry = Entry(task.output, "writing", content, task.recipe, sha256=hashlib.sha256(finished.data).hexdigest())
        self.ledger.put(entry)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(str(path), finished.data)
            status = path.stat()
        except OSError as error:
            _raise_hopeless(error)
            raise QuantArtError(f"{printable(path)} cannot be written: {reason(error)}") from error
        except QuantArtError as error:
            _raise_hopeless(error.__cause__)
            raise
        self.ledger.put(replace(entry, state="done", size=status.st_size, mtime=status.st_mtime_ns))

    def fail(self, task: Task, content: Content, why: str) -> None:
        """Note a failure; an earlier output of that name stays, and so does what the ledger knows of it."""
        known = self.ledger.find(task.output)
        if known is None or known.state == "failed":
            self.ledger.put(Entry(task.output, "failed", content, task.recipe, reason=why))

    def _task(self, number: int, job: Job) -> Task:
        format = format_for(job.output, self.format)
        key = job.style, format
        if key not in self._names:
            styles = tuple(self._style_hash(path) for path in self.plan.styles[job.style])
            self._names[key] = self.recipe.name(styles, format)
        return Task(number, job.source, job.output, job.style, format, self._names[key])

    def _style_hash(self, path: str) -> str:
        if path not in self._hashes:
            try:
                self._hashes[path] = sha256_of(Path(path))
            except OSError as error:
                raise QuantArtError(f"its style {printable(path)} cannot be read: {reason(error)}") from None
        return self._hashes[path]

    def _why(self, task: Task, entry: Entry | None) -> str:
        """Why a picture is painted, or that it is not.

        Raises:
            QuantArtError: a file that is not ours is in its place.
        """
        path = self.folder / task.output
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
            self._refresh(replace(entry, size=status.st_size, mtime=status.st_mtime_ns))
        if entry.recipe != task.recipe:
            return "options changed"
        return self._same_content(task, entry) or "content changed"

    def _same_content(self, task: Task, entry: Entry) -> str | None:
        """UP_TO_DATE when the content's bytes are those of the ledger."""
        known = entry.content
        try:
            status = os.stat(task.source)
        except OSError:
            return None  # it is tried, and what is wrong is told
        now = (status.st_size, status.st_mtime_ns)
        if (known.size, known.mtime) == now and known.path == task.source:
            return UP_TO_DATE
        if known.size != status.st_size or _sha256(Path(task.source)) != known.sha256:
            return None
        self._refresh(replace(entry, content=Content(task.source, *now, known.sha256)))
        return UP_TO_DATE

    def _refresh(self, entry: Entry) -> None:
        if self.ledger.writable:
            self.ledger.put(entry)


def _sha256(path: Path) -> str | None:
    try:
        return sha256_of(path)
    except OSError:
        return None


def _raise_hopeless(error: BaseException | None) -> None:
    if isinstance(error, OSError) and error.errno in _HOPELESS:
        raise error


@dataclass
class Tally:
    """What became of the pictures so far, told as it happens; for several threads.

    Attributes:
        painted: how many were.
        attempted: painted or failed in this run.
        settled: up to date, kept -> how many.
        failures: (content, output, reason) of each.
        trace: the first traceback of a bug.
    """

    report: IO[str] | None = None
    tell: Callable[[Tally], None] = lambda _: None
    painted: int = 0
    attempted: int = 0
    settled: Counter[str] = field(default_factory=Counter)
    failures: list[tuple[str, str, str]] = field(default_factory=list)
    trace: str | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(
        self,
        source: str,
        output: str,
        styles: tuple[str, ...],
        outcome: Finished | Failed | str,
        attempted: bool = True,
    ) -> None:
        """One picture: painted, failed, or settled without being tried."""
        line: dict[str, Any] = {"content": source, "output": output, "styles": list(styles)}
        with self._lock:
            self.attempted += attempted
            if isinstance(outcome, Failed):
                self.failures.append((source, output, outcome.reason))
                self.trace = self.trace or outcome.trace
                line |= {"status": "failed", "reason": outcome.reason}
            elif isinstance(outcome, str):
                self.settled[outcome] += 1
                line |= {"status": outcome}
            else:
                self.painted += 1
                line |= {
                    "status": "painted",
                    "width": outcome.width,
                    "height": outcome.height,
                    "seconds": round(outcome.seconds, 3),
                    "precision": outcome.precision,
                    "notes": list(outcome.notes),
                }
            if self.report is not None:
                print(json.dumps(line), file=self.report, flush=True)
            self.tell(self)  # in the order it happened


def recorder(run: Run, tally: Tally, stop: threading.Event, fail_fast: bool) -> Callable[..., None]:
    """What an executor hands each picture to: written, noted, counted.

    Args:
        run: the run.
        tally: counts.
        stop: set at the first failure if ``fail_fast``.
        fail_fast: whether the first failure ends the run.
    """

    def record(task: Task, content: Content, outcome: Finished | Failed) -> None:
        try:
            if isinstance(outcome, Finished):
                run.write(task, content, outcome)
        except QuantArtError as error:
            outcome = Failed(str(error))
        if isinstance(outcome, Failed):
            run.fail(task, content, outcome.reason)
            if fail_fast:
                stop.set()
        tally.add(task.source, task.output, run.plan.styles[task.style], outcome)

    return record


def own_outputs(folder: Path, ledger: Ledger) -> Iterator[str]:
    """Real paths of what quantart painted into a folder before: never taken as contents."""
    real = os.path.realpath(folder)
    for output in ledger.outputs():
        yield os.path.join(real, *output.split("/"))
