"""Memory that is given back only at the end; what is apart from it is in pages.py. No torch in here."""

from __future__ import annotations

import contextlib
import ctypes
import sys

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # of malloc.h


def keep_memory() -> None:
    """Let the C library keep freed memory for the next feature map instead of giving it back to the system.

    Every large block would otherwise come as fresh pages, each zeroed at its first touch: half the time of painting a
    picture of some megapixels on a CPU. For the whole process, so a program decides on it and no library; only where
    the C library is glibc.
    """
    if sys.platform != "linux":
        return
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # another C library
        return
    mallopt(_M_MMAP_MAX, 0)
    mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)


def give_back() -> None:
    """Give what the C library holds in holes between its blocks back to the system; where it is glibc.

    Feature maps of some megabytes come and go between what stays: after some windows of a large picture a fifth of all
    memory in use is such holes.
    """
    if sys.platform != "linux":
        return
    with contextlib.suppress(OSError, AttributeError):  # another C library
        ctypes.CDLL(None).malloc_trim(0)
