"""Arrays as large as a picture: small ones in memory, large ones in memory-mapped temporary files without a name.

A mapped file takes memory only while it is used: the system writes it out and drops it when memory is short, and
:func:`release` drops it from the process at once. The files are in ``TMPDIR``, by default in /var/tmp, which unlike
/tmp is on a disk. They have no name and disappear with the process, however it ends.
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
from typing import Any

import numpy as np

LARGE = 128 << 20
"""Bytes from which on an array is in a file."""

_mapped: weakref.WeakSet[mmap.mmap] = weakref.WeakSet()
_lock = threading.Lock()
# Linux alone can reserve room on a disk and drop pages from a process.
_CAN_MAP = hasattr(os, "posix_fallocate") and hasattr(mmap, "MADV_DONTNEED")


def alloc_scratch(shape: Sequence[int], dtype: Any) -> np.ndarray[Any, Any]:
    """An array of zeros in pages of its own, which the system gets back when the array is freed.

    The heap would keep such pages: a large array that outlives the blocks allocated after it leaves a hole that
    nothing else fits. Where no file can be made, a large array is in anonymous memory.
    """
    count = math.prod(shape)
    size = max(count * np.dtype(dtype).itemsize, 1)
    pages = _map_file(size) if size >= LARGE else None
    return np.frombuffer(pages or mmap.mmap(-1, size), dtype, count=count).reshape(shape)


def resident_bytes(size: int) -> int:
    """Bytes of memory that an array of ``size`` bytes takes while it is not in use: ``size``, or 0 when in a file."""
    if size < LARGE or not _CAN_MAP:
        return size
    try:
        disk = os.statvfs(_folder())
    except OSError:
        return size
    return size if disk.f_bavail * disk.f_frsize < size else 0


def release() -> None:
    """Drop the mapped arrays from this process's memory; their values are read back when they are used."""
    if not _mapped:
        return
    with _lock:
        for pages in list(_mapped):
            pages.madvise(mmap.MADV_DONTNEED)


def _map_file(size: int) -> mmap.mmap | None:
    """Pages of a new file without a name; None where there is no room for it."""
    if not _CAN_MAP:
        return None
    from tempfile import TemporaryFile  # slow to import

    try:
        with TemporaryFile(dir=_folder()) as file:
            # Without the reservation a disk that fills up later would kill the process (SIGBUS).
            os.posix_fallocate(file.fileno(), 0, size)
            pages = mmap.mmap(file.fileno(), size)
    except OSError:
        return None
    with _lock:
        _mapped.add(pages)
    return pages


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
