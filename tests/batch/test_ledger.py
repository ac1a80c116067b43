"""The ledger and the lock on file systems that lack something."""

import errno
import sqlite3

import pytest
from filelock import FileLock

from quantart_cli import QuantArtError
from quantart_cli.batch import ledger as module
from quantart_cli.batch.ledger import Content, Entry, Ledger
from quantart_cli.batch.lock import output_lock

ENTRY = Entry("a.png", "done", Content("in/a.png", 3, 4, "ab"), "fingerprint", 1, 2, "cd")


class Connection(sqlite3.Connection):
    """Refuses statements, as SQLite does on some file systems."""

    refused: tuple[str, str] = ("", "")

    def execute(self, statement, *arguments):
        word, why = Connection.refused
        if word and word in statement:
            raise sqlite3.OperationalError(why)
        return super().execute(statement, *arguments)


@pytest.fixture
def refuse(tmp_path, monkeypatch):
    """Makes statements with a word fail; the folder exists."""
    (tmp_path / ".quantart").mkdir()
    connect = sqlite3.connect
    monkeypatch.setattr(
        module.sqlite3, "connect", lambda *given, **options: connect(*given, factory=Connection, **options)
    )
    return lambda word, why: monkeypatch.setattr(Connection, "refused", (word, why))


def test_without_shared_memory_another_journal_is_used(tmp_path, refuse):
    refuse("= WAL", "disk I/O error")
    for _ in range(2):
        ledger = Ledger(tmp_path)
        ledger.put(ENTRY)
        ledger.close()
    ledger = Ledger(tmp_path, read_only=True)
    assert ledger.find("a.png") == ENTRY
    ledger.close()
    with sqlite3.connect(tmp_path / ".quantart" / "ledger.sqlite") as plain:
        assert plain.execute("PRAGMA journal_mode").fetchone() == ("delete",)  # not wal


def test_a_ledger_with_a_write_ahead_log_is_brought_over(tmp_path, refuse):
    ledger = Ledger(tmp_path)
    ledger.put(ENTRY)
    ledger.close()
    refuse("= WAL", "disk I/O error")
    ledger = Ledger(tmp_path)
    assert ledger.find("a.png") == ENTRY
    ledger.close()


@pytest.mark.parametrize(
    ("why", "number", "said"),
    [
        ("database or disk is full", errno.ENOSPC, "no space left on the disk"),
        ("disk I/O error", errno.EIO, "the ledger cannot be written: disk I/O error"),
    ],
)
def test_a_full_disk_is_said_only_when_it_is_full(tmp_path, refuse, why, number, said):
    ledger = Ledger(tmp_path)
    refuse("INSERT", why)
    with pytest.raises(OSError, match=said) as raised:
        ledger.put(ENTRY)
    assert raised.value.errno == number
    ledger.close()
    refuse("CREATE", why)
    with pytest.raises(
        QuantArtError, match="no space left" if number == errno.ENOSPC else "cannot be opened: disk I/O"
    ):
        Ledger(tmp_path)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (NotImplementedError("no flock"), "cannot lock files: give an output folder on another disk"),
        (OSError(errno.ENOLCK, "No locks available"), "cannot be written: No locks available"),
    ],
)
def test_a_missing_flock_is_one_line(tmp_path, monkeypatch, error, said):
    def acquire(self, timeout):
        raise error

    monkeypatch.setattr(FileLock, "acquire", acquire)
    with pytest.raises(QuantArtError, match=said), output_lock(tmp_path):
        pass


def test_a_run_stopped_before_its_first_note_leaves_an_empty_ledger(tmp_path):
    (tmp_path / ".quantart").mkdir()
    sqlite3.connect(tmp_path / ".quantart" / "ledger.sqlite").close()
    for read_only in (True, False):
        ledger = Ledger(tmp_path, read_only=read_only)
        assert list(ledger.outputs()) == []
        ledger.close()
