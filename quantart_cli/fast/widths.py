"""bf16 for numpy, which has no name for it. No torch in here."""

from __future__ import annotations

import numpy as np


def rounded(values: np.ndarray) -> np.ndarray:
    """float32 brought to the nearest number that bf16 has, in place: infinities stay, and so does NaN."""
    bits = values.view(np.uint32)
    bits += 0x8000  # half of the last bit that stays
    bits &= 0xFFFF0000
    return values


def halves(values: np.ndarray) -> np.ndarray:
    """float32 as bf16, for which numpy has no other name than uint16: the upper half of :func:`rounded`."""
    return (rounded(np.array(values, order="C")).view(np.uint32) >> 16).astype(np.uint16)


def floats(values: np.ndarray) -> np.ndarray:
    """float32 as it is, bf16 as :func:`halves` keeps it widened."""
    return values if values.dtype == np.float32 else (values.astype(np.uint32) << 16).view(np.float32)
