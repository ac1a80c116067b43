"""Arrays as large as a picture, in pages of their own: small ones in memory, large ones in files without a name.

What lies in such a file takes memory only while it is worked on: the system writes it out and drops it when memory is
short, and :func:`release` takes it off the process at once. The files lie where ``TMPDIR`` says, else in /var/tmp, which
unlike /tmp is on a disk; nobody sees them, and they go with the process, however that ends.
"""

from __future__ import annotations

import contextlib
import ctypes
import math
import mmap
import os
import sys
import threading
import weakref
from collections.abc import Sequence

import numpy as np

LARGE = 128 << 20
"""Bytes from which on an array lies in a file."""

_mapped: weakref.WeakSet[mmap.mmap] = weakref.WeakSet()
_lock = threading.Lock()


def alloc_scratch(shape: Sequence[int], dtype: type | str) -> np.ndarray:
    """An array of zeros, given back when it goes, whatever the allocator is set to.

    For what is as large as the picture and stays while it is painted: among the blocks that come and go it would leave
    holes which nothing fits. Where a large one cannot lie in a file, it lies in memory.
    """
    count = math.prod(shape)
    size = max(count * np.dtype(dtype).itemsize, 1)
    pages = _in_file(size) if size >= LARGE else None
    if pages is None:
        pages = mmap.mmap(-1, size)
    return np.frombuffer(pages, dtype, count=count).reshape(shape)


def resident_bytes(size: int) -> int:
    """Bytes of memory that an array of so many bytes takes while nobody works on it: all of them, or none."""
    if size < LARGE or not _can():
        return size
    try:
        told = os.statvfs(_folder())
    except OSError:
        return size
    return size if told.f_bavail * told.f_frsize < size else 0


def release() -> None:
    """Take what lies in files off this process's memory; it comes back when it is looked at, from the system's."""
    if not _mapped:
        return
    with _lock:
        for pages in list(_mapped):
            pages.madvise(mmap.MADV_DONTNEED)


def _in_file(size: int) -> mmap.mmap | None:
    """Pages of a new file without a name; None where there is no room for it."""
    if not _can():
        return None
    from tempfile import TemporaryFile  # which takes its time

    try:
        with TemporaryFile(dir=_folder()) as file:
            # A disk that is full later on would end the process without a word.
            os.posix_fallocate(file.fileno(), 0, size)
            pages = mmap.mmap(file.fileno(), size)
    except OSError:
        return None
    with _lock:
        _mapped.add(pages)
    return pages


def _can() -> bool:
    """Whether the system can reserve room on a disk, and take pages off a process: Linux."""
    return hasattr(os, "posix_fallocate") and hasattr(mmap, "MADV_DONTNEED")


def _folder() -> str:
    if os.environ.get("TMPDIR") is None and os.access("/var/tmp", os.W_OK):
        return "/var/tmp"
    from tempfile import gettempdir

    return gettempdir()


def trim_heap() -> None:
    """Return free memory in the heap of the C library to the system; only with glibc.

    Feature maps of some megabytes are allocated and freed around arrays that stay. After some tiles of a large picture
    a fifth of the memory in use is such holes.
    """
    if sys.platform != "linux":
        return
    with contextlib.suppress(OSError, AttributeError):  # another C library
        ctypes.CDLL(None).malloc_trim(0)
