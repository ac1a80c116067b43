"""The ledger of an output folder: what was painted from what, true after a kill at any moment.

Each output has one row. Before a file is moved to its name, the row says "writing" and holds the sha256 that the file
will have; afterwards it says "done". If a process is killed between the two, the sha256 shows whether it moved.
Each commit is one row. A kill loses none; a power cut loses at most the last ones, whose pictures are painted again.

A shard (``--shard 3/16``) writes a ledger of its own, so that no two machines write one file, and reads the others'.
"""

from __future__ import annotations

import errno
import os
import sqlite3
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from quantart_cli.errors import QuantArtError
from quantart_cli.files import printable

FOLDER = ".quantart"
_VERSION = 1
_FULL = "disk is full"  # SQLite's words for ENOSPC
# "recipe" holds the fingerprint: the column keeps its name for the sake of older ledgers.
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
    """The file a picture was painted from: path, bytes, time of change in nanoseconds, sha256."""

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
    fingerprint: str
    size: int | None = None
    mtime: int | None = None
    sha256: str | None = None
    reason: str | None = None


class Ledger:
    """The rows of one output folder; safe to use from several threads of one process.

    Args:
        shard: (k, n), or None.
        read_only: nothing is written and no file is made, for ``--dry-run``.

    Raises:
        QuantArtError: it is damaged, of a newer quantart, or cannot be written.
    """

    def __init__(self, folder: Path, shard: tuple[int, int] | None = None, read_only: bool = False) -> None:
        self._lock = threading.Lock()
        self._shard = shard
        self.writable = not read_only
        name = "ledger.sqlite" if shard is None else f"ledger-{shard[0]}-of-{shard[1]}.sqlite"
        own = folder / FOLDER / name
        others = sorted(path for path in (folder / FOLDER).glob("ledger*.sqlite") if path != own)
        self._all = [_open(own, read_only)] if self.writable or own.exists() else []  # this run's own comes first
        self._all += [_open(path, read_only=True) for path in others]

    def close(self) -> None:
        """Close the files; SQLite removes its log."""
        for connection in self._all:
            connection.close()

    def find(self, output: str) -> Entry | None:
        """The row of an output; if several ledgers have one, that of the latest file."""
        query = "SELECT * FROM outputs WHERE output = ?"
        with self._lock:
            rows = [each.execute(query, (os.fsencode(output),)).fetchone() for each in self._all]
        entries = [_entry(row) for row in rows if row is not None]
        return max(entries, key=lambda entry: (entry.state == "writing", entry.mtime or 0), default=None)

    def unfinished(self) -> list[Entry]:
        """Rows of files that were being written when a process ended; a shard gets only its own."""
        with self._lock:
            some = self._all if self._shard is None else self._all[:1]
            query = "SELECT * FROM outputs WHERE state = 'writing'"
            return [_entry(row) for each in some for row in each.execute(query)]

    def outputs(self) -> Iterator[str]:
        """Every output that has a row, finished or not, in this ledger or another shard's."""
        for connection in self._all:
            with self._lock:
                rows = connection.execute("SELECT output FROM outputs WHERE state != 'failed'").fetchall()
            for (output,) in rows:
                yield os.fsdecode(output)

    def put(self, entry: Entry) -> None:
        """Write a row, replacing an earlier one of that output.

        Raises:
            OSError: the disk is full, or the ledger cannot be written for another reason.
        """
        content = entry.content
        row = (
            *(os.fsencode(entry.output), entry.state),
            *(os.fsencode(content.path), content.size, content.mtime, content.sha256),
            *(entry.fingerprint, entry.size, entry.mtime, entry.sha256, entry.reason),
        )
        try:
            with self._lock:
                self._all[0].execute(f"INSERT OR REPLACE INTO outputs VALUES ({','.join('?' * len(row))})", row)
        except sqlite3.OperationalError as error:
            if _FULL in str(error):
                raise OSError(errno.ENOSPC, "no space left on the disk") from error
            raise OSError(errno.EIO, f"the ledger cannot be written: {error}") from error


def _open(path: Path, read_only: bool) -> sqlite3.Connection:
    try:
        try:
            return _connect(path, read_only)
        except sqlite3.OperationalError as error:
            if _FULL in str(error):
                raise
            return _connect(path, read_only, shared_memory=False)
    except sqlite3.OperationalError as error:
        if _FULL in str(error):
            raise QuantArtError(f"{printable(path)} cannot be written: no space left on the disk") from None
        raise QuantArtError(f"{printable(path)} cannot be opened: {error}") from None
    except sqlite3.DatabaseError:
        raise QuantArtError(
            f"{printable(path)} is damaged: remove it, and give --overwrite to paint everything again"
        ) from None


def _connect(path: Path, read_only: bool, shared_memory: bool = True) -> sqlite3.Connection:
    """Open a ledger, with a write-ahead log or, where a file system cannot map shared memory, a rollback journal."""
    uri = f"{path.resolve().as_uri()}?mode={'ro' if read_only else 'rwc'}"
    if read_only and not shared_memory:
        uri += "&immutable=1"  # a log that a killed run left behind is not read
    # isolation_level None: every statement is its own transaction
    connection = sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False, timeout=30)
    try:
        if not shared_memory and not read_only:
            connection.execute("PRAGMA locking_mode = EXCLUSIVE")  # reads a write-ahead log without shared memory
            connection.execute("PRAGMA journal_mode = TRUNCATE")
            connection.execute("PRAGMA locking_mode = NORMAL")
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if version > _VERSION:
            raise QuantArtError(f"{printable(path)} was written by a newer quantart: use that one")
        if not read_only:
            if shared_memory:
                connection.execute("PRAGMA journal_mode = WAL")
                connection.execute("PRAGMA synchronous = NORMAL")
            connection.execute(_SCHEMA)
            connection.execute(f"PRAGMA user_version = {_VERSION}")
        elif version == 0:  # a run that was stopped before it made the table: nothing is noted
            connection.close()
            connection = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
            connection.execute(_SCHEMA)
        connection.execute("SELECT count(*) FROM (SELECT * FROM outputs LIMIT 1)").fetchone()
    except BaseException:
        connection.close()
        raise
    return connection


def _entry(row: tuple[Any, ...]) -> Entry:
    output, state, path, content_size, content_mtime, content_sha256, *rest = row
    content = Content(os.fsdecode(path), content_size, content_mtime, content_sha256)
    return Entry(os.fsdecode(output), state, content, *rest)
