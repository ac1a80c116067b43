"""The ledger of an output folder: what was painted from what, true after a kill at any moment.

One row an output. Before a file takes its place the row says "writing", with the sha256 the file will have; after it,
"done". A process killed between the two leaves a row that tells, by that sha256, whether the file came to its place.
Each commit is of one row, in SQLite's write-ahead log: a kill loses none, a power cut at most the last, whose pictures
are then painted again.

A shard (``--shard 3/16``) writes a ledger of its own, so that no two machines write one file, and reads the others'.
"""

from __future__ import annotations

import errno
import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from quantart_cli.errors import QuantArtError
from quantart_cli.images.names import printable

FOLDER = ".quantart"
_VERSION = 1
_FULL = ("disk is full", "disk I/O error")
_SCHEMA = """
CREATE TABLE IF NOT EXISTS outputs (
    output BLOB PRIMARY KEY,
    state TEXT NOT NULL,
    content BLOB NOT NULL,
    content_size INTEGER,
    content_mtime INTEGER,
    content_sha256 TEXT,
    recipe TEXT NOT NULL,
    size INTEGER,
    mtime INTEGER,
    sha256 TEXT,
    reason TEXT
) WITHOUT ROWID
"""


@dataclass(frozen=True)
class Content:
    """What a picture was painted from: its path, and its bytes' count, time of change in nanoseconds and sha256."""

    path: str
    size: int | None = None
    mtime: int | None = None
    sha256: str | None = None


@dataclass(frozen=True)
class Entry:
    """A row: ``state`` is "writing", "done" or "failed"; size, mtime and sha256 are the output's."""

    output: str
    state: str
    content: Content
    recipe: str
    size: int | None = None
    mtime: int | None = None
    sha256: str | None = None
    reason: str | None = None


class Ledger:
    """Rows of one output folder, for several threads of one process.

    Args:
        folder: the output folder.
        shard: (k, n), or None.
        read_only: nothing is written, not even a file made: for ``--dry-run``.

    Raises:
        QuantArtError: it is damaged, of a newer quantart, or cannot be written.
    """

    def __init__(self, folder: Path, shard: tuple[int, int] | None = None, read_only: bool = False) -> None:
        self._lock = threading.Lock()
        self._shard = shard
        self.writable = not read_only
        own = folder / FOLDER / ledger_name(shard)
        self._own: sqlite3.Connection | None = None
        if not read_only or own.exists():
            self._own = _open(own, read_only)
        others = sorted((folder / FOLDER).glob("ledger*.sqlite"))
        self._others = [_open(path, read_only=True) for path in others if path != own]

    def close(self) -> None:
        """Close the files; SQLite tidies its log away."""
        for connection in self._all():
            connection.close()

    def find(self, output: str) -> Entry | None:
        """The row of an output; where several ledgers have one, that of the latest file."""
        query = "SELECT * FROM outputs WHERE output = ?"
        with self._lock:
            rows = [each.execute(query, (os.fsencode(output),)).fetchone() for each in self._all()]
        entries = [_entry(row) for row in rows if row is not None]
        return max(entries, key=lambda entry: (entry.state == "writing", entry.mtime or 0), default=None)

    def unfinished(self) -> list[Entry]:
        """Rows of files that were being written when a process ended; a shard is told its own only."""
        with self._lock:
            some = self._all() if self._shard is None else self._all()[:1]
            query = "SELECT * FROM outputs WHERE state = 'writing'"
            return [_entry(row) for each in some for row in each.execute(query)]

    def outputs(self) -> Iterator[str]:
        """Every output there is a row of, done or not, by this run's ledger or another shard's."""
        for connection in self._all():
            with self._lock:
                rows = connection.execute("SELECT output FROM outputs WHERE state != 'failed'").fetchall()
            for (output,) in rows:
                yield os.fsdecode(output)

    def _all(self) -> list[sqlite3.Connection]:
        """Our own first."""
        return [each for each in (self._own, *self._others) if each is not None]

    def put(self, entry: Entry) -> None:
        """Write a row, in the place of an earlier one of that output.

        Raises:
            OSError: the disk is full.
        """
        content = entry.content
        row = (
            os.fsencode(entry.output),
            entry.state,
            os.fsencode(content.path),
            content.size,
            content.mtime,
            content.sha256,
            entry.recipe,
            entry.size,
            entry.mtime,
            entry.sha256,
            entry.reason,
        )
        assert self._own is not None
        with self._lock, _as_os_error():
            self._own.execute(f"INSERT OR REPLACE INTO outputs VALUES ({','.join('?' * len(row))})", row)


def ledger_name(shard: tuple[int, int] | None) -> str:
    """Its file's name in the folder ``.quantart``."""
    return "ledger.sqlite" if shard is None else f"ledger-{shard[0]}-of-{shard[1]}.sqlite"


def _open(path: Path, read_only: bool) -> sqlite3.Connection:
    uri = f"{path.resolve().as_uri()}?mode={'ro' if read_only else 'rwc'}"
    try:
        # Every statement is its own transaction: isolation_level None.
        connection = sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False, timeout=30)
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if version > _VERSION:
            raise QuantArtError(f"{printable(path)} was written by a newer quantart: use that one")
        if not read_only:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = NORMAL")
            connection.execute(_SCHEMA)
            connection.execute(f"PRAGMA user_version = {_VERSION}")
        connection.execute("SELECT count(*) FROM (SELECT * FROM outputs LIMIT 1)").fetchone()
    except sqlite3.OperationalError as error:
        if any(words in str(error) for words in _FULL):
            raise QuantArtError(f"{printable(path)} cannot be written: no space left on the disk") from None
        raise QuantArtError(f"{printable(path)} cannot be opened: {error}") from None
    except sqlite3.DatabaseError:
        raise QuantArtError(
            f"{printable(path)} is damaged: remove it, and give --overwrite to paint everything again"
        ) from None
    return connection


@contextmanager
def _as_os_error() -> Iterator[None]:
    """A full disk as the system says it; SQLite has words of its own."""
    try:
        yield
    except sqlite3.OperationalError as error:
        if any(words in str(error) for words in _FULL):
            raise OSError(errno.ENOSPC, "no space left on the disk") from error
        raise


def _entry(row: tuple) -> Entry:
    output, state, path, content_size, content_mtime, content_sha256, recipe, size, mtime, sha256, reason = row
    content = Content(os.fsdecode(path), content_size, content_mtime, content_sha256)
    return Entry(os.fsdecode(output), state, content, recipe, size, mtime, sha256, reason)
