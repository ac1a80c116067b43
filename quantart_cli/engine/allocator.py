"""Memory that is given back only at the end, and memory apart from it. No torch in here."""

from __future__ import annotations

import ctypes
import mmap
import sys

import numpy as np

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


def apart(shape: tuple[int, ...], dtype: type | str) -> np.ndarray:
    """An array of zeros in pages of its own, given back when it goes, whatever :func:`keep_memory` said.

    For what is as large as the picture and stays while it is painted: among the blocks that come and go it would leave
    holes which nothing fits.
    """
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    return np.frombuffer(mmap.mmap(-1, max(size, 1)), dtype, count=int(np.prod(shape))).reshape(shape)
