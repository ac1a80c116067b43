"""Memory: how much a picture needs, how it is cut to fit, and what an out-of-memory error looks like.

A picture that cannot fit is refused before the work begins, not killed in the middle of it. Torch is imported only to
ask a GPU.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import product
from pathlib import Path

from quantart_cli.device import DeviceSpec, control_groups
from quantart_cli.errors import QuantArtError
from quantart_cli.scratch import resident_bytes


class NotEnoughMemory(QuantArtError):
    """A picture does not fit into the free memory."""


# Peak bytes a pixel of a tile by bytes of the dtype, measured with benchmarks/memory.py. Feature maps at full
# resolution decide it: 64 channels in VGG-19 and 128 in VQGAN, a few of them alive at once in a forward pass,
# all of them where gradients are taken.
_FORWARD = {
    ("torch", "vgg19"): {2: 260, 4: 540},
    ("torch", "wct2"): {2: 500, 4: 900},
    ("torch", "fast"): {2: 260, 4: 540},
    ("torch", "vqgan"): {2: 1150, 4: 1800},
    ("torch", "painter"): {2: 300, 4: 560},
    ("openvino", "vgg19"): {2: 650, 4: 1200},
    ("openvino", "painter"): {2: 1150, 4: 1900},
}
_GRADIENTS = {2: 1800, 4: 3200}
_OPTIMISED = 105
_LIBRARY = {"torch": 300_000_000, "openvino": 60_000_000}  # working memory of the library at any size
# Numbers a pixel of the maps that are stored for the whole picture. VGG-19: relu4_1, 512 channels at stride 8. WCT2: 64
# channels at stride 1, before and after they are changed, and the high bands of three levels. Networks of fast: two
# maps of 128 channels at stride 4, before and after a layer.
_STORED = {"vgg19": 8, "wct2": 240, "fast": 32, "painter": 8}
_MATCHES = 9  # numbers a pixel that the painter keeps in memory
# Bytes a pixel beside that, measured: pictures of two levels, from coarse to fine; a mask, and what is painted for it.
# Mixing these takes the same for all sizes.
_LEVELS, _REGION, _MIXING = 9, 10, 60_000_000
HALO = {"vgg19": 32, "vqgan": 64, "wct2": 24, "fast": 8, "painter": 32}
"""Pixels around each tile of a forward pass, by network."""
WIDE_HALO = 80
"""Pixels around each tile of a picture that is optimised: relu5_1 depends on them."""
# The fastest on a CPU: smaller tiles are more halo, larger ones exceed caches and allocator.
_TILE = {"torch": 768, "openvino": 512}
_LEAST_TILE = 256
_SHARE = 0.8  # of the free memory is used
STEP_BYTES = 24
"""Bytes a pixel of a step stored by L-BFGS: two float32 numbers for each of three channels."""
_STEPS_BYTES, _FEWEST_STEPS, _MOST_STEPS = 400_000_000, 3, 20


def needed(pixels: int, spec: DeviceSpec, network: str = "vgg19", gradients: bool = False) -> int:
    """Predicted peak in bytes of the work on a picture or a tile, without the weights.

    Args:
        spec: where it is painted.
        network: a key of :data:`HALO`.
        gradients: whether the picture is optimised.
    """
    table = _GRADIENTS if gradients else _FORWARD[spec.backend, network]
    return _LIBRARY[spec.backend] + pixels * table[spec.bytes]


def needed_beside(pixels: int, levels: bool, regions: int) -> int:
    """Predicted bytes for a whole picture beside its painting in tiles.

    Args:
        levels: whether it is painted coarse to fine.
        regions: number of masks.
    """
    return pixels * (_LEVELS * levels + _REGION * regions) + (_MIXING if regions else 0)


def needed_in_tiles(
    width: int, height: int, side: int | None, spec: DeviceSpec, network: str = "vgg19", beside: int = 0
) -> int:
    """Predicted peak in bytes of a picture painted by a forward pass in tiles.

    Args:
        side: of the tiles; None: it is painted whole.
        spec: where it is painted.
        network: a key of :data:`HALO`.
        beside: of :func:`needed_beside`.
    """
    halo = HALO[network]
    rows, columns = (size if side is None else min(size, side + 2 * halo) for size in (height, width))
    # Beside the work on one tile: the pixels read and painted, and the stored maps of the picture.
    # VQGAN: the picture as floats, twice, and the sums of overlapping tiles. Large arrays may be in scratch files.
    pixels = width * height
    features = _STORED.get(network, 0) * spec.bytes * pixels
    if network == "vqgan":
        rest = (2 * 12 + 16) * pixels
    elif side is None or spec.device != "cpu":
        rest = features
    else:
        rest = resident_bytes(features)
    if network == "painter":
        rest += _MATCHES * spec.bytes * pixels
    return beside + 2 * resident_bytes(3 * pixels) + rest + needed(rows * columns, spec, network)


def choose_tile(
    width: int, height: int, tile: int | str | None, spec: DeviceSpec, network: str = "vgg19", beside: int = 0
) -> int | None:
    """The side of the tiles of a forward pass in pixels; None: the whole picture.

    With VGG-19 on a CPU, tiles are faster even where memory is plenty: they stay in the caches, and memory is reused.
    On a GPU the whole picture is faster as long as it fits. VQGAN is cut only when the whole does not fit, since its
    tiles change the picture a little.

    Args:
        tile: as :func:`quantart_cli.settings.parse_tile` returns it.
        spec: where it is painted.
        network: a key of :data:`HALO`.
        beside: of :func:`needed_beside`.
    """
    if tile != "auto":
        assert not isinstance(tile, str)
        return tile if tile is not None and tile < max(width, height) else None
    free = available(spec)
    fast = _TILE[spec.backend]
    side = fast if spec.device == "cpu" and network != "vqgan" and max(width, height) > 1.5 * fast else None
    while free is not None and needed_in_tiles(width, height, side, spec, network, beside) > _SHARE * free:
        smaller = max(width, height) // 2 if side is None else side // 2
        if smaller < _LEAST_TILE:
            break
        side = smaller // 8 * 8
    return side


def needed_to_optimise(width: int, height: int, side: int | None, spec: DeviceSpec) -> int:
    """Predicted peak in bytes of a picture that is optimised, whole or in tiles; arguments as above."""
    pixels = width * height
    rows, columns = (size if side is None else min(size, side + 2 * WIDE_HALO) for size in (height, width))
    # Beside the work on one tile: pictures as floats, relu3_2 and relu4_2 of the content, and the last steps.
    stored = STEP_BYTES * pixels * stored_steps(pixels)
    return needed(rows * columns, spec, gradients=True) + (_OPTIMISED + 24 * spec.bytes) * pixels + stored


def stored_steps(pixels: int) -> int:
    """How many of its last steps L-BFGS stores for a picture: fewer for a large one, where few are taken anyway."""
    return max(_FEWEST_STEPS, min(_MOST_STEPS, _STEPS_BYTES // (STEP_BYTES * pixels)))


def choose_tile_to_optimise(width: int, height: int, tile: int | str | None, spec: DeviceSpec) -> int | None:
    """The side of the tiles of a picture that is optimised; None: the whole picture.

    Tiles cost time here: halos are wide and each picture is encoded once more. They are used where half of the free
    memory is not enough for the whole.
    """
    if tile != "auto":
        assert not isinstance(tile, str)
        return tile if tile is not None and tile < max(width, height) else None
    free, side = available(spec), None
    while free is not None and needed_to_optimise(width, height, side, spec) > free / 2:
        smaller = max(width, height) // 2 if side is None else side // 2
        if smaller < _LEAST_TILE:
            break
        side = smaller // 16 * 16
    return side


def available(spec: DeviceSpec) -> int | None:
    """Free memory of the device in bytes; None where that is not known.

    On a CPU the smallest of: free memory of the machine, the limits of its control groups (versions 1 and 2), and the
    limit on the address space of the process.
    """
    if spec.device_type == "cuda":
        import torch

        return int(torch.cuda.mem_get_info(spec.device)[0])
    if spec.device_type == "mps":
        return None
    limits = [_of_machine(), _of_control_group(), _of_address_space()]
    known = [limit for limit in limits if limit is not None]
    return min(known) if known else None


def _of_machine() -> int | None:
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, AttributeError):
        return None


# Files of control groups: limit, use, and the part of the use that the kernel drops when memory is short.
_GROUP_FILES = (
    ("memory.max", "memory.current", "inactive_file"),
    ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
)


def _of_control_group() -> int | None:
    """Free memory under the limits of this process's control group and its parents."""
    found = []
    for folder, (limit_file, use_file, cache_name) in product(control_groups("memory"), _GROUP_FILES):
        try:
            limit, use = int((folder / limit_file).read_text()), int((folder / use_file).read_text())
            stat = (folder / "memory.stat").read_text().split()
            cached = dict(zip(stat[::2], stat[1::2], strict=False)).get(cache_name, "0")
        except (OSError, ValueError):  # missing, or "max"
            continue
        if limit < 1 << 60:
            found.append(max(0, limit - use + int(cached)))
    return min(found) if found else None


def _of_address_space() -> int | None:
    try:
        import resource

        soft = resource.getrlimit(resource.RLIMIT_AS)[0]
        if soft == resource.RLIM_INFINITY:
            return None
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    except (ImportError, OSError, ValueError):
        return None
    return max(0, soft - used)


def check_memory(wanted: int, spec: DeviceSpec, name: str) -> None:
    """Refuse a picture that cannot fit.

    Args:
        wanted: bytes, from the functions above.
        spec: where it is painted.
        name: of the picture, for the message.

    Raises:
        NotEnoughMemory: with both sizes and a way out.
    """
    free = available(spec)
    if free is not None and wanted > free:
        raise NotEnoughMemory(
            f"{name} needs about {wanted / 1e9:.1f} GB to paint and {free / 1e9:.1f} GB are free: reduce it with size"
        )


@contextmanager
def out_of_memory(name: str) -> Iterator[None]:
    """Turn out-of-memory errors of the backends into one line."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
    else:
        return
    raise NotEnoughMemory(f"memory ran out on {name}: reduce it with size") from None


_WORDS = (
    "not enough memory",
    "can't allocate memory",
    "bad_alloc",
    "bad alloc",
    "Cannot allocate memory",
    "out of memory",
    "Failed to allocate",
    "could not create a memory object",
)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out; backends have several ways to say so."""
    torch = sys.modules.get("torch")
    if isinstance(error, MemoryError) or (torch is not None and isinstance(error, torch.cuda.OutOfMemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _WORDS)
