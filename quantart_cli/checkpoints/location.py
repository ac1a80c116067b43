"""Where the cache is, and whether it can be used there."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

from quantart_cli.errors import QuantArtError

_chosen: ContextVar[Path | None] = ContextVar("_chosen", default=None)


class CacheError(QuantArtError):
    """The cache cannot be written. Callers that can do without it catch this."""


def cache_folder() -> Path | None:
    """The cache folder if it can be used, else None: ``--dir``, QUANTART_CACHE, or the platform's cache folder.

    A folder that exists must be readable; one that does not exist must be possible to create. Nothing is created here,
    and a disk may still turn out to be full.
    """
    folder = _location()
    try:
        if folder is None or folder.is_dir():
            return folder if folder is not None and os.access(folder, os.R_OK | os.X_OK) else None
        parent = next(each for each in folder.parents if os.path.lexists(each))
        possible = not os.path.lexists(folder) and parent.is_dir() and os.access(parent, os.W_OK | os.X_OK)
    except (OSError, ValueError, StopIteration):
        return None
    return folder if possible else None


@contextmanager
def using(folder: Path | None) -> Iterator[None]:
    """Use another cache folder inside the ``with`` block; None changes nothing."""
    token = _chosen.set(folder if folder is not None else _chosen.get())
    try:
        yield
    finally:
        _chosen.reset(token)


def _location() -> Path | None:
    """Where the cache is, usable or not; None when there is no home folder to put it in."""
    if (chosen := _chosen.get()) is not None:
        return chosen
    if given := os.environ.get("QUANTART_CACHE"):
        path = Path(os.path.expanduser(given))
    else:
        import platformdirs

        try:
            path = platformdirs.user_cache_path("quantart", appauthor=False, opinion=False)
        except RuntimeError:  # neither HOME nor an entry in the password database; older versions return ~/.cache
            return None
        if not path.is_absolute():  # a relative XDG_CACHE_HOME, which its standard says to ignore
            path = Path(os.path.expanduser("~/.cache/quantart"))
    return None if path.parts[:1] == ("~",) else path


def folder_of(key: str) -> Path:
    """Folder of an entry, whether it exists or not. Raises CacheError when there is no cache folder."""
    folder = cache_folder()
    if folder is None:
        where = f"the cache {_location()}" if _location() is not None else "there is no home folder: the cache"
        raise CacheError(f"{where} cannot be written: choose another folder with --dir or QUANTART_CACHE")
    return folder / key


def cannot_write(error: OSError | NotImplementedError) -> CacheError:
    """The error for a cache folder that refuses to be written."""
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return CacheError(f"the disk of the cache {_location()} is full: free some space, or give --dir another")
    reason = (isinstance(error, OSError) and error.strerror) or str(error)
    return CacheError(
        f"the cache {_location()} cannot be written ({reason}): choose another folder with --dir or QUANTART_CACHE"
    )
