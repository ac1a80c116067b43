"""The cache of downloaded weights: one folder an entry, a file named by its sha256, and a record that names the file.

``<cache>/<key>/<name>-<sha256…>.safetensors`` holds the bytes, ``<cache>/<key>/record.json`` says which file is valid,
with its whole sha256. The record is written last and in one step, so whatever interrupts an installation, the cache
says what is true: the entry as it was, or the new one. What else lies in the folder was left by a killed run, and the
next one that holds the entry's lock, ``<cache>/locks/<key>.lock``, removes it.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import secrets
import shutil
import stat
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path

from quantart_cli.checkpoints.streams import Progress, sha256_of
from quantart_cli.errors import QuantArtError

_RECORD = "record.json"
_LOCKS = "locks"
_FORMAT = 1  # of the record and of what conversion makes: an entry of another format is no entry
_chosen: ContextVar[Path | None] = ContextVar("_chosen", default=None)


@dataclass(frozen=True)
class Entry:
    """A file in the cache and its record.

    Attributes:
        key: what it is called in the cache.
        path: of the file.
        sha256: that the file must have.
        bytes: its size.
        kind: what it was converted to, or was found to be; None for a file kept as it came.
        source: what it was made from: ``sha256`` of the bytes that came, ``carrier`` that brought them, and for a
            file of the Hub that a person named, ``reference`` and ``commit``.
    """

    key: str
    path: Path
    sha256: str
    bytes: int
    kind: str | None
    source: Mapping[str, str]


def cache_folder() -> Path:
    """Where downloaded weights are kept: QUANTART_CACHE, else ``quantart`` in the platform's folder for caches."""
    chosen = _chosen.get()
    if chosen is not None:
        return chosen
    if given := os.environ.get("QUANTART_CACHE"):
        return Path(given).expanduser()
    home = Path.home()
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or home / "AppData" / "Local") / "quantart"
    if sys.platform == "darwin":
        return home / "Library" / "Caches" / "quantart"
    xdg = os.environ.get("XDG_CACHE_HOME", "")  # relative ones are to be ignored, says the standard
    return (Path(xdg) if os.path.isabs(xdg) else home / ".cache") / "quantart"


@contextmanager
def using(folder: Path | None) -> Iterator[None]:
    """Another cache folder while the body runs; None changes nothing."""
    token = _chosen.set(folder if folder is not None else _chosen.get())
    try:
        yield
    finally:
        _chosen.reset(token)


def folder_of(key: str) -> Path:
    """Folder of an entry, whether it is there or not."""
    return cache_folder() / key


def find(name_or_key: str) -> Entry | None:
    """The entry of a manifest name or of a key; None when there is none. Its bytes are not hashed here.

    Works in a cache that cannot be written. A record that is no record counts as none.

    Raises:
        QuantArtError: the record or the file is a symbolic link or no regular file, or cannot be read.
    """
    from quantart_cli.checkpoints.manifest import manifest

    item = manifest().get(name_or_key)
    key = item.key if item is not None else name_or_key
    try:
        return _read_record(key)
    except OSError as error:
        raise QuantArtError(f"the cache entry {folder_of(key)} cannot be read: {error.strerror or error}") from None


def entries() -> Iterator[Entry]:
    """Every readable entry of the cache, by key."""
    with contextlib.suppress(OSError):
        for folder in sorted(cache_folder().iterdir()):
            with contextlib.suppress(OSError, QuantArtError):
                entry = _read_record(folder.name)
                if entry is not None:
                    yield entry


def check(entry: Entry, progress: Progress | None = None) -> bool:
    """Whether the file of an entry holds the bytes of its record.

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
    record = folder / _RECORD
    try:
        _must_be_plain(folder, stat.S_ISDIR)
        _must_be_plain(record, stat.S_ISREG)
        said = json.loads(record.read_text("utf-8"))
        file, sha256, size = said["file"], said["sha256"], said["bytes"]
        valid = said["format"] == _FORMAT and said["key"] == key and os.path.basename(file) == file
        valid = valid and re.fullmatch("[0-9a-f]{64}", sha256) is not None and type(size) is int
        path = folder / file
        if not valid:
            return None
        _must_be_plain(path, stat.S_ISREG)
        return Entry(key, path, sha256, size, said["kind"], dict(said["source"]))
    except (FileNotFoundError, NotADirectoryError, ValueError, KeyError, TypeError):
        return None


def _must_be_plain(path: Path, test: Callable[[int], bool]) -> None:
    """Refuse what leads elsewhere: a link in the cache could make quantart read any file of this machine."""
    mode = path.lstat().st_mode
    if not test(mode):
        what = "a symbolic link" if stat.S_ISLNK(mode) else "no regular file or folder"
        raise QuantArtError(f"{path} in the cache is {what}, which is never followed: remove it")


# Writing.


@contextmanager
def writing(key: str, waiting: Callable[[str], None] | None = None, *, patient: bool = True) -> Iterator[Path]:
    """Hold the entry's lock and give its folder to write temporary files in; leftovers of killed runs are removed.

    A second process waits here. The lock is the operating system's: it dies with the process that holds it.

    Args:
        key: of the entry.
        waiting: told one line when another process holds the lock.
        patient: wait for the lock.

    Raises:
        QuantArtError: the cache cannot be written, or another process holds the lock and ``patient`` is false.
    """
    folder = folder_of(key)
    with _locked(key, waiting, patient):
        try:
            folder.mkdir(exist_ok=True)
            _must_be_plain(folder, stat.S_ISDIR)
            try:
                _sweep(folder)
                yield folder
            finally:
                with contextlib.suppress(OSError):
                    _sweep(folder)
                    folder.rmdir()  # fails, rightly, when there is an entry
        except OSError as error:
            raise cannot_write(error) from None


@contextmanager
def _locked(key: str, waiting: Callable[[str], None] | None, patient: bool) -> Iterator[None]:
    from filelock import FileLock, Timeout

    lock = FileLock(cache_folder() / _LOCKS / f"{key}.lock")
    try:
        (cache_folder() / _LOCKS).mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(timeout=0)
        except Timeout:  # a TimeoutError, that is an OSError
            if not patient:
                raise
            if waiting is not None:
                waiting(f"another quantart is at {key}: waiting for it")
            lock.acquire()
    except (OSError, NotImplementedError) as error:
        raise cannot_write(error) from None
    try:
        yield
    finally:
        lock.release()


def temporary(folder: Path, suffix: str) -> Path:
    """A name nobody has in an entry's folder, for a file to be filled and then installed; swept away otherwise."""
    return folder / f"tmp-{secrets.token_hex(8)}{suffix}"


def install(key: str, file: Path, name: str, *, sha256: str, kind: str | None, source: Mapping[str, str]) -> Entry:
    """Make a file the entry's; call it inside :func:`writing`.

    Args:
        key: of the entry.
        file: on the same file system it is linked, which costs no space, elsewhere copied; a temporary file of the
            entry's own folder is moved.
        name: what people will see the file called, with its suffix.
        sha256: that of the file, found by the caller.
        kind, source: as in :class:`Entry`.
    """
    folder = folder_of(key)
    stem, suffix = os.path.splitext(name)
    path = folder / f"{stem}-{sha256[:16]}{suffix}"
    if file.parent != folder:
        file = _into(folder, file)
    size = file.stat().st_size
    _settle(file, path)
    said = {
        "format": _FORMAT,
        "key": key,
        "file": path.name,
        "sha256": sha256,
        "bytes": size,
        "kind": kind,
        "source": dict(source),
    }
    record = temporary(folder, ".json")
    record.write_text(json.dumps(said, indent=1), "utf-8")
    _settle(record, folder / _RECORD)
    return Entry(key, path, sha256, size, kind, dict(source))


def remove(key: str) -> None:
    """Remove an entry.

    Raises:
        QuantArtError: the cache cannot be written.
    """
    with writing(key) as folder:
        (folder / _RECORD).unlink(missing_ok=True)  # the rest goes as what no record names


def tidy(forget: str) -> None:
    """Remove what killed runs left in any entry's folder, and the entries whose keys begin with ``forget``.

    Only folders with a lock of ours are looked at: the cache may have been put where a person keeps other things. Those
    whose lock is held are somebody's at this moment, and left alone.
    """
    for lock in sorted((cache_folder() / _LOCKS).glob("*.lock")):
        with contextlib.suppress(QuantArtError), writing(lock.stem, patient=False) as folder:
            if lock.stem.startswith(forget):
                (folder / _RECORD).unlink(missing_ok=True)


def _into(folder: Path, file: Path) -> Path:
    """The same bytes as a file of this folder: a second name for them where possible, else a copy."""
    place = temporary(folder, ".part")
    try:
        os.link(os.path.realpath(file), place)
    except OSError:
        shutil.copyfile(file, place)
    return place


def _settle(file: Path, target: Path) -> None:
    """Bring a file's bytes to the disk, then give it its name in one step."""
    with contextlib.suppress(PermissionError), file.open("rb+") as opened:
        os.fsync(opened.fileno())
    os.replace(file, target)
    with contextlib.suppress(OSError):  # folders cannot be opened on Windows, which needs no such thing
        descriptor = os.open(target.parent, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _sweep(folder: Path) -> None:
    """Remove what an entry's folder holds beside its record and the file it names; a link there is for a person."""
    try:
        entry = _read_record(folder.name)
    except (OSError, QuantArtError):
        return
    for path in list(folder.iterdir()):
        if path.name != _RECORD and (entry is None or path != entry.path):
            with contextlib.suppress(OSError):
                path.unlink()


def cannot_write(error: OSError | NotImplementedError) -> QuantArtError:
    """What is wrong with the cache folder, in a sentence."""
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return QuantArtError(f"the disk of the cache {cache_folder()} is full: free some space, or give --dir another")
    reason = (isinstance(error, OSError) and error.strerror) or str(error)
    return QuantArtError(
        f"the cache {cache_folder()} cannot be written ({reason}): choose another folder with --dir or QUANTART_CACHE"
    )
