"""Memory: refused before the work begins rather than killed in the middle of it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from quantart_cli.engine.device import Machine
from quantart_cli.errors import QuantArtError

# Bytes a pixel at the peak by bytes of the dtype, measured with benchmarks/memory.py: feature maps of 64 channels at
# full resolution decide it, a few alive at once in a forward pass, all of them where gradients are taken.
_FORWARD = {2: 480, 4: 870}
_GRADIENTS = {2: 2700, 4: 3900}


def needed(pixels: int, machine: Machine, method: str) -> int:
    """Predicted peak, in bytes, of what a picture of this many pixels takes beside the weights."""
    table = _GRADIENTS if method == "gatys" else _FORWARD
    return pixels * table[machine.dtype.itemsize]


def available(machine: Machine) -> int | None:
    """Free memory of the device in bytes; None where that is not known."""
    if machine.device == "cuda":
        return torch.cuda.mem_get_info()[0]
    if machine.device == "mps":
        return None
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, AttributeError):
        return None


def check_memory(pixels: int, machine: Machine, method: str, name: str) -> None:
    """Refuse a picture that cannot fit.

    Raises:
        QuantArtError: with the sizes, and a way out.
    """
    free, wanted = available(machine), needed(pixels, machine, method)
    if free is not None and wanted > free:
        raise QuantArtError(
            f"{name} needs about {wanted / 1e9:.1f} GB to paint and {free / 1e9:.1f} GB are free: reduce it with --size"
        )


@contextmanager
def out_of_memory(name: str) -> Iterator[None]:
    """Turn torch's out-of-memory errors into one line."""
    try:
        yield
    except torch.cuda.OutOfMemoryError:
        pass
    except RuntimeError as error:
        if "not enough memory" not in str(error) and "can't allocate memory" not in str(error):
            raise
    except MemoryError:
        pass
    else:
        return
    raise QuantArtError(f"memory ran out on {name}: reduce it with --size") from None
