"""Memory: refused before the work begins rather than killed in the middle of it. No torch unless it is there."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from quantart_cli.engine.machine import Machine
from quantart_cli.errors import QuantArtError
from quantart_cli.pages import held

# Bytes a pixel at the peak by bytes of the dtype, measured with benchmarks/memory.py: feature maps at full resolution
# decide it, of 64 channels in VGG-19 and 128 in VQGAN, a few alive at once in a forward pass, all of them where
# gradients are taken.
_FORWARD = {
    ("torch", "vgg19"): {2: 260, 4: 540},
    ("torch", "vqgan"): {2: 1150, 4: 1800},
    ("openvino", "vgg19"): {2: 650, 4: 1200},
}
_GRADIENTS = {2: 1800, 4: 3200}
_OPTIMISED = 105
WIDE_BORDER = 80
"""Pixels around each tile of a picture that is optimised: what relu5_1 looks at."""
_ANYHOW = {"torch": 300_000_000, "openvino": 60_000_000}  # what a library takes for its work, whatever the size
BORDER = {"vgg19": 32, "vqgan": 64}
"""Pixels around each tile, by backbone."""
# The fastest on a CPU: smaller ones are more border, larger ones more than its caches and its allocator like.
_TILE = {"torch": 768, "openvino": 512}
_LEAST_TILE = 256
_SHARE = 0.8  # of the free memory is planned with
STEP_BYTES = 24
"""Of a step of L-BFGS: two numbers of four bytes for each of three channels, a pixel."""
_STEPS_BYTES, _FEWEST_STEPS, _MOST_STEPS = 400_000_000, 3, 20


def needed(pixels: int, machine: Machine, backbone: str = "vgg19", gradients: bool = False) -> int:
    """Predicted peak, in bytes, of what a picture takes beside the weights.

    Args:
        pixels: of the picture.
        machine: where it is painted.
        backbone: "vgg19" or "vqgan".
        gradients: whether the picture is optimised.
    """
    table = _GRADIENTS if gradients else _FORWARD[machine.runtime, backbone]
    return _ANYHOW[machine.runtime] + pixels * table[machine.bytes]


def needed_in_tiles(width: int, height: int, side: int | None, machine: Machine, backbone: str = "vgg19") -> int:
    """Predicted peak, in bytes, of a picture painted in tiles by a method that knows them.

    Args:
        width: of the picture.
        height: of the picture.
        side: of the tiles; None: it is painted whole.
        machine: where it is painted.
        backbone: "vgg19" or "vqgan".
    """
    border = BORDER[backbone]
    rows, columns = (size if side is None else min(size, side + 2 * border) for size in (height, width))
    # Beside the work on one tile: the pixels read, those painted, and relu4_1 of all, 512 channels at stride 8; with
    # VQGAN the picture as floats, twice, and the sums of what overlaps. What is large may lie on a disk.
    pixels = width * height
    features = 8 * machine.bytes * pixels
    if backbone != "vgg19":
        rest = (2 * 12 + 16) * pixels
    elif side is None or machine.device != "cpu":
        rest = features
    else:
        rest = held(features)
    return 2 * held(3 * pixels) + rest + needed(rows * columns, machine, backbone)


def choose_tile(
    width: int, height: int, tile: int | str | None, machine: Machine, backbone: str = "vgg19"
) -> int | None:
    """The side of the tiles, None for the whole picture.

    With VGG-19, tiles are faster on a CPU even where memory is plenty: what they work on stays near, and is used again
    instead of given back; on a GPU the whole is, as long as it fits. With VQGAN, where tiles change the picture a
    little, they are taken only when the whole does not fit.

    Args:
        width: of the picture.
        height: of the picture.
        tile: "auto", pixels a side, or None for the whole: as :func:`quantart_cli.engine.choices.parse_tile` gives it.
        machine: where it is painted.
        backbone: "vgg19" or "vqgan".
    """
    if tile != "auto":
        assert not isinstance(tile, str)
        return tile if tile is not None and tile < max(width, height) else None
    free = available(machine)
    fast = _TILE[machine.runtime]
    cut = machine.device == "cpu" and backbone == "vgg19" and max(width, height) > 1.5 * fast
    side = fast if cut else None
    while free is not None and needed_in_tiles(width, height, side, machine, backbone) > _SHARE * free:
        smaller = max(width, height) // 2 if side is None else side // 2
        if smaller < _LEAST_TILE:
            break
        side = smaller // 8 * 8
    return side


def needed_to_optimise(width: int, height: int, side: int | None, machine: Machine) -> int:
    """Predicted peak, in bytes, of a picture that is optimised, whole or in tiles.

    Args:
        width: of the picture.
        height: of the picture.
        side: of the tiles; None: it is whole.
        machine: where it is painted.
    """
    pixels = width * height
    rows, columns = (size if side is None else min(size, side + 2 * WIDE_BORDER) for size in (height, width))
    # Beside the work on one tile: pictures as floats, relu3_2 and relu4_2 of the content, and the last steps.
    kept = STEP_BYTES * pixels * steps_kept(pixels)
    return needed(rows * columns, machine, gradients=True) + (_OPTIMISED + 24 * machine.bytes) * pixels + kept


def steps_kept(pixels: int) -> int:
    """How many of its last steps L-BFGS keeps of a picture: fewer of a large one, where few are taken anyway."""
    return max(_FEWEST_STEPS, min(_MOST_STEPS, _STEPS_BYTES // (STEP_BYTES * pixels)))


def choose_tile_to_optimise(width: int, height: int, tile: int | str | None, machine: Machine) -> int | None:
    """The side of the tiles of a picture that is optimised, None for the whole.

    Tiles cost time here: each picture is looked at once more, and borders are wide. They are taken where half of the
    free memory is not enough for the whole.

    Args:
        width: of the picture.
        height: of the picture.
        tile: "auto", pixels a side, or None for the whole.
        machine: where it is painted.
    """
    if tile != "auto":
        assert not isinstance(tile, str)
        return tile if tile is not None and tile < max(width, height) else None
    free, side = available(machine), None
    while free is not None and needed_to_optimise(width, height, side, machine) > free / 2:
        smaller = max(width, height) // 2 if side is None else side // 2
        if smaller < _LEAST_TILE:
            break
        side = smaller // 16 * 16
    return side


def available(machine: Machine) -> int | None:
    """Free memory of the device in bytes; None where that is not known."""
    if machine.device == "cuda":
        import torch

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


def check_memory(wanted: int, machine: Machine, name: str) -> None:
    """Refuse a picture that cannot fit.

    Args:
        wanted: bytes, from :func:`needed` or :func:`needed_in_tiles`.
        machine: where it is painted.
        name: what the message calls it.

    Raises:
        QuantArtError: with the sizes, and a way out.
    """
    free = available(machine)
    if free is not None and wanted > free:
        raise QuantArtError(
            f"{name} needs about {wanted / 1e9:.1f} GB to paint and {free / 1e9:.1f} GB are free: reduce it with --size"
        )


@contextmanager
def out_of_memory(name: str) -> Iterator[None]:
    """Turn torch's out-of-memory errors into one line."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
    else:
        return
    raise QuantArtError(f"memory ran out on {name}: reduce it with --size") from None


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out; torch has several ways to say so."""
    torch = sys.modules.get("torch")
    if isinstance(error, MemoryError) or (torch is not None and isinstance(error, torch.cuda.OutOfMemoryError)):
        return True
    words = str(error)
    said = ("not enough memory", "can't allocate memory", "bad_alloc", "bad alloc", "Cannot allocate memory")
    return isinstance(error, RuntimeError) and any(part in words for part in said)
