"""The cache: downloaded weights, and small results that are computed once.

An entry is a folder, ``<cache>/<key>/``: a file with its sha256 in its name, and ``record.json``, which names the valid
file. The record is written last and in one step, so a kill at any moment leaves either the old entry or the new one.
Other files in the folder are leftovers of killed runs; the next process that holds the lock
``<cache>/locks/<key>.lock`` removes them. Small results are single files, ``<cache>/computed/<name>``, that end in the
sha256 of their content.

Without a usable folder (no home, a path that cannot be created) :func:`find`, :func:`get` and :func:`put` behave as
with an empty cache, and only :func:`writing` raises.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
import shutil
import stat
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from quantart_cli.checkpoints.hashing import Progress, sha256_of
from quantart_cli.checkpoints.location import CacheError as CacheError
from quantart_cli.checkpoints.location import cache_folder as cache_folder
from quantart_cli.checkpoints.location import cannot_write
from quantart_cli.checkpoints.location import folder_of as folder_of
from quantart_cli.checkpoints.location import using as using
from quantart_cli.errors import QuantArtError

_RECORD = "record.json"
_LOCKS = "locks"
_COMPUTED = "computed"
_FORMAT = 1  # of the record and of converted files: an entry of another format does not count
_DIGEST = 32
DEFAULT_LIMIT = 2_000_000_000
"""Bytes that :func:`trim` leaves of computed data; downloads do not count."""
_SMALL_RESULTS = 4096  # files in a folder of small results; the moments of a style are 4 KB


@dataclass(frozen=True)
class Entry:
    """A file in the cache and its record.

    ``source`` says where it comes from: ``sha256`` of the original and ``carrier`` for a download, for a file of the
    Hub that a person named also ``reference`` and ``commit``. Entries without a carrier were computed: they may be
    evicted.
    """

    key: str
    path: Path
    sha256: str  # that the file must have
    bytes: int
    kind: str | None  # a key of layouts.KINDS, or another word of the caller; None for a file that is kept as it came
    source: Mapping[str, str]

    @property
    def downloaded(self) -> bool:
        return "carrier" in self.source


@dataclass(frozen=True)
class Usage:
    """Bytes in the cache."""

    downloads: int
    computed: int


# Reading.


def find(name_or_key: str) -> Entry | None:
    """The entry of a manifest name or of a key; None when there is none. The file is not hashed.

    Works in a cache that cannot be written. A malformed record counts as none.

    Raises:
        QuantArtError: the record or the file is a symbolic link or not a regular file, or cannot be read.
    """
    from quantart_cli.checkpoints.manifest import manifest

    if cache_folder() is None:
        return None
    item = manifest().get(name_or_key)
    key = item.key if item is not None else name_or_key
    try:
        return _read_record(key)
    except OSError as error:
        raise QuantArtError(f"the cache entry {folder_of(key)} cannot be read: {error.strerror or error}") from None


def entries() -> Iterator[Entry]:
    """Every readable entry of the cache, by key."""
    folder = cache_folder()
    with suppress(OSError):
        for path in sorted(folder.iterdir()) if folder is not None else ():
            with suppress(OSError, QuantArtError):
                if (entry := _read_record(path.name)) is not None:
                    yield entry


def check(entry: Entry, progress: Progress | None = None) -> bool:
    """Whether the file of an entry has the size and sha256 of its record.

    Raises:
        QuantArtError: the file cannot be read.
    """
    try:
        return entry.path.stat().st_size == entry.bytes and sha256_of(entry.path, progress) == entry.sha256
    except FileNotFoundError:
        return False
    except OSError as error:
        raise QuantArtError(f"{entry.path} cannot be read: {error.strerror}") from None


def _read_record(key: str) -> Entry | None:
    folder = folder_of(key)
    try:
        _require(folder, stat.S_ISDIR)
        _require(folder / _RECORD, stat.S_ISREG)
        record = json.loads((folder / _RECORD).read_text("utf-8"))
        if record.pop("format") != _FORMAT:
            return None
        name = record.pop("file")
        entry = Entry(path=folder / name, **record)
        if entry.key != key or os.path.basename(name) != name or type(entry.bytes) is not int:
            return None
        if not re.fullmatch("[0-9a-f]{64}", entry.sha256) or not isinstance(entry.source, dict):
            return None
        _require(entry.path, stat.S_ISREG)
        return entry
    except (FileNotFoundError, NotADirectoryError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _require(path: Path, test: Callable[[int], bool]) -> None:
    """Refuse symbolic links: one in the cache could make quantart read any file of this machine."""
    mode = path.lstat().st_mode
    if not test(mode):
        what = "a symbolic link" if stat.S_ISLNK(mode) else "not a regular file or folder"
        raise QuantArtError(f"{path} in the cache is {what}, which is never followed: remove it")


# Writing.


@contextmanager
def writing(key: str, waiting: Callable[[str], None] | None = None, *, patient: bool = True) -> Iterator[Path]:
    """Hold the lock of an entry; gives its folder for temporary files. Leftovers of killed runs are removed.

    Args:
        waiting: called with one line when another process holds the lock.
        patient: wait for the lock. It belongs to the operating system and ends with the process that holds it.

    Raises:
        CacheError: the cache cannot be written, or another process holds the lock and ``patient`` is false.
    """
    from filelock import FileLock, Timeout

    folder = folder_of(key)
    lock = FileLock(folder.parent / _LOCKS / f"{key}.lock")
    try:
        os.makedirs(folder.parent / _LOCKS, exist_ok=True)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # that a file system has no flock and lock files are used instead
                lock.acquire(timeout=0)
        except Timeout:
            if not patient:
                raise
            if waiting is not None:
                waiting(f"another quantart is at {key}: waiting for it")
            lock.acquire()
    except (OSError, NotImplementedError) as error:  # filelock raises the latter where there are no locks
        raise cannot_write(error) from None
    try:
        os.makedirs(folder, exist_ok=True)
        _require(folder, stat.S_ISDIR)
        _sweep(folder)
        yield folder
    except OSError as error:
        raise cannot_write(error) from None
    finally:
        with suppress(OSError):
            _sweep(folder)
            folder.rmdir()  # fails when there is an entry
        lock.release()


def temporary(folder: Path, suffix: str) -> Path:
    """A new name in an entry's folder, for a file to be written and then installed; otherwise it is removed."""
    return folder / f"tmp-{secrets.token_hex(8)}{suffix}"


def install(key: str, file: Path, name: str, *, sha256: str, kind: str | None, source: Mapping[str, str]) -> Entry:
    """Make a file the entry's; to be called inside :func:`writing`.

    Args:
        file: a temporary file of the entry's own folder is moved; another one is linked if possible, else copied.
        name: file name for people, with its suffix.
        sha256: of the file, computed by the caller.
        kind, source: as in :class:`Entry`.
    """
    folder = folder_of(key)
    if file.parent != folder:
        original, file = os.path.realpath(file), temporary(folder, ".part")
        try:
            os.link(original, file)
        except OSError:
            shutil.copyfile(original, file)
    stem, suffix = os.path.splitext(name)
    entry = Entry(key, folder / f"{stem}-{sha256[:16]}{suffix}", sha256, file.stat().st_size, kind, dict(source))
    _replace(file, entry.path)
    record = {"format": _FORMAT, "file": entry.path.name, **asdict(entry)}
    del record["path"]
    written = temporary(folder, ".json")
    written.write_text(json.dumps(record, indent=1), "utf-8")
    _replace(written, folder / _RECORD)
    if not entry.downloaded:
        trim(keep=entry.path)
    return entry


def tidy(prefix: str | None = None) -> None:
    """Remove what killed runs left, and the entries whose keys begin with ``prefix``.

    Only folders with a lock file are touched: a person may keep other things in the same folder. Entries that another
    process is writing are left alone.
    """
    folder = cache_folder()
    for lock in sorted((folder / _LOCKS).glob("*.lock")) if folder is not None else ():
        remove(lock.stem, only_tidy=prefix is None or not lock.stem.startswith(prefix))


def remove(key: str, *, only_tidy: bool = False) -> None:
    """Remove an entry, unless another process is writing it."""
    with suppress(QuantArtError), writing(key, patient=False) as folder:
        if not only_tidy:
            (folder / _RECORD).unlink(missing_ok=True)  # the rest is swept as a leftover


def _replace(file: Path, target: Path) -> None:
    """Flush a file to the disk, then rename it in one step."""
    with suppress(PermissionError), file.open("rb+") as opened:
        os.fsync(opened.fileno())
    os.replace(file, target)


def _sweep(folder: Path) -> None:
    """Remove everything but a valid record and its file. A symbolic link is left for a person to remove."""
    try:
        entry = _read_record(folder.name)
    except (OSError, QuantArtError):
        return
    for path in list(folder.iterdir()):
        if entry is None or path not in (entry.path, folder / _RECORD):
            with suppress(OSError):
                path.unlink()


# Small results: single files, without locks.


def get(name: str) -> bytes | None:
    """What :func:`put` stored under this name; None when there is nothing, or it is damaged."""
    with suppress(OSError, CacheError):
        path = folder_of(_COMPUTED) / name
        data = path.read_bytes()
        if hashlib.sha256(data[:-_DIGEST]).digest() == data[-_DIGEST:]:
            os.utime(path)  # the oldest are evicted first
            return data[:-_DIGEST]
    return None


def put(name: str, data: bytes) -> None:
    """Store a small result, for instance under ``styles/<key>``. A cache that cannot be written is no error."""
    with suppress(OSError, CacheError):
        path = folder_of(_COMPUTED) / name
        written = path.with_name(f"tmp-{secrets.token_hex(8)}")
        os.makedirs(path.parent, exist_ok=True)
        try:
            written.write_bytes(data + hashlib.sha256(data).digest())
            os.replace(written, path)
        finally:
            written.unlink(missing_ok=True)
        for old in _oldest(path.parent, _SMALL_RESULTS):
            old.unlink(missing_ok=True)


def _oldest(folder: Path, kept: int) -> list[Path]:
    """The files of a folder without the newest; none while there are at most ``kept``, else a tenth more than that."""
    with os.scandir(folder) as scanned:
        files = list(scanned)
    if len(files) <= kept:
        return []
    files.sort(key=lambda file: file.stat().st_mtime_ns)
    return [Path(file) for file in files[: len(files) - kept + kept // 10]]


# Size.


def size() -> Usage:
    """Bytes of downloads and of computed data."""
    downloads = sum(entry.bytes for entry in entries() if entry.downloaded)
    return Usage(downloads, sum(path.stat().st_size for path in _computed()))


def trim(limit: int = DEFAULT_LIMIT, *, keep: Path | None = None) -> None:
    """Remove computed data, the oldest first, until at most ``limit`` bytes are left. ``keep`` is not removed."""
    found = sorted(((path.stat(), path) for path in _computed()), key=lambda item: item[0].st_mtime)
    total = sum(status.st_size for status, _ in found)
    for status, path in found:
        if total > limit and path != keep:
            with suppress(OSError):
                path.with_name(_RECORD).unlink(missing_ok=True)  # first: a kill in between leaves no entry
                path.unlink()
                total -= status.st_size
                path.parent.rmdir()  # fails while there is something in it


def _computed() -> list[Path]:
    """The files of all computed data."""
    folder = cache_folder()
    small = (folder / _COMPUTED).rglob("*") if folder is not None else ()
    return [entry.path for entry in entries() if not entry.downloaded] + [path for path in small if path.is_file()]
