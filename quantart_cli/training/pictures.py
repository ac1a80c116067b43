"""Pictures of a folder in memory, and random crops of them."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Generic, Protocol, TypeVar

import torch
from torch import Tensor
from torchvision.transforms import v2
from torchvision.transforms.v2.functional import resize

from quantart_cli.errors import QuantArtError
from quantart_cli.images import read_picture
from quantart_cli.images.formats import SUFFIXES
from quantart_cli.training.options import GradientOptions

T = TypeVar("T")

PHOTOGRAPHS, PAINTINGS, DETAILS = "photographs", "paintings", "detail paintings"
"""Names of what folders hold."""
SHORT_SIDE = 768
"""Larger pictures are reduced to this short side when they are read."""


def pictures_below(folder: Path, hold_out: float = 0.0) -> list[Path]:
    """All picture files in a folder and its subfolders, without hidden ones, sorted.

    Args:
        hold_out: share of the files to leave out: those with the smallest :func:`name_hash`.

    Raises:
        QuantArtError: the folder does not exist or holds no pictures.
    """
    if not folder.is_dir():
        raise QuantArtError(f"{folder} is not a folder: give a folder of pictures")
    found = sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in SUFFIXES
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
        and name_hash(path.name) >= hold_out
    )
    if not found:
        raise QuantArtError(f"{folder} holds no pictures: quantart looks for {', '.join(sorted(SUFFIXES))}")
    return found


def name_hash(name: str) -> float:
    """A number in [0, 1) that depends on the file name only."""
    return int.from_bytes(hashlib.sha256(name.encode("utf-8", "surrogateescape")).digest()[:8], "big") / 2**64


class PictureSet(Protocol):
    """Decoded pictures by number, (3, H, W) uint8 sRGB."""

    unreadable: list[str]

    def __len__(self) -> int: ...

    def __getitem__(self, number: int) -> Tensor: ...


class Pictures:
    """Decoded pictures of files. Those that do not fit into memory are read again at each access.

    Attributes:
        unreadable: one line for each file that could not be read; such files are left out.

    Args:
        paths: files, in a fixed order.
        room: bytes of decoded pictures to keep in memory.
        progress: called with (files read, files in all).
        short_side: larger pictures are reduced to this short side, in pixels.

    Raises:
        QuantArtError: none of the files can be read.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        room: float,
        progress: Callable[[int, int], None] = lambda *_: None,
        short_side: int = SHORT_SIDE,
    ) -> None:
        self.unreadable: list[str] = []
        self._short_side = short_side
        self._paths: list[Path] = []
        self._in_memory: list[Tensor | None] = []
        for number, path in enumerate(paths, 1):
            try:
                picture = self._read(path)
            except QuantArtError as error:
                self.unreadable.append(str(error))
            else:
                room -= picture.numel()
                self._paths.append(path)
                self._in_memory.append(picture if room >= 0 else None)
            progress(number, len(paths))
        if not self._paths:
            raise QuantArtError(f"none of the {len(paths)} pictures can be read; the first: {self.unreadable[0]}")

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, number: int) -> Tensor:
        picture = self._in_memory[number]
        return self._read(self._paths[number]) if picture is None else picture

    def _read(self, path: Path) -> Tensor:
        picture = torch.from_numpy(read_picture(path).rgb).permute(2, 0, 1)
        return reduce(picture, self._short_side)


def reduce(picture: Tensor, short_side: int) -> Tensor:
    """(3, H, W) uint8 with at most this short side."""
    if min(picture.shape[1:]) <= short_side:
        return picture
    reduced: Tensor = resize(picture, [short_side], antialias=True)
    return reduced


class Prefetched(Generic[T]):
    """What a function makes of the number of an update; threads make the next ones meanwhile.

    The function draws random numbers from generators of its own: torch's global one is not safe in threads.

    Args:
        device: on which updates are computed; a GPU takes more threads.
    """

    def __init__(self, make: Callable[[int], T], device: torch.device) -> None:
        self._make, self._ahead = make, 16 if device.type == "cuda" else 2
        self._pool = ThreadPoolExecutor(self._ahead)
        self._next: dict[int, Future[T]] = {}

    def __getitem__(self, number: int) -> T:
        numbers = range(number, number + self._ahead + 1)
        self._next = {n: self._next.get(n) or self._pool.submit(self._make, n) for n in numbers}
        return self._next.pop(number).result()


class Crops:
    """Random crops of pictures, by the number of an update. Everything random depends on the seed and that number.

    Args:
        pictures: sets of them. Crops of several sets at one place of a batch have the same share of their pictures.
        options: ``batch``, ``crop`` and ``seed`` are used.
        device: where the crops are put.
        shares: smallest and largest side of a crop divided by its picture's short side; log-uniform between them.
    """

    def __init__(
        self,
        pictures: Sequence[PictureSet],
        options: GradientOptions,
        device: torch.device | str,
        shares: tuple[float, float],
    ) -> None:
        self._pictures, self._options, self._shares = pictures, options, shares
        self._device = torch.device(device)
        self._batches = Prefetched(self._make, self._device)

    def __getitem__(self, number: int) -> list[Tensor]:
        """A batch of each set, (B, 3, crop, crop) float32 in [0, 1] on the device."""
        return [batch.to(self._device).float() / 255 for batch in self._batches[number]]

    def _make(self, number: int) -> list[Tensor]:
        o, (low, high) = self._options, self._shares
        r = random.Random(f"{o.seed} {number}")
        shares = [high * (low / high) ** r.random() for _ in range(o.batch)]
        return [torch.stack([crop(r.choice(each), share, o.crop, r) for share in shares]) for each in self._pictures]


def crop(picture: Tensor, share: float, size: int, r: random.Random) -> Tensor:
    """A random square of a picture, flipped at random.

    Args:
        picture: (3, H, W) uint8.
        share: side of the square divided by the picture's short side.
        size: side of the result in pixels.
        r: random numbers.

    Returns:
        (3, size, size) uint8.
    """
    height, width = picture.shape[1:]
    side = max(1, round(share * min(height, width)))
    top, left = r.randint(0, height - side), r.randint(0, width - side)
    square = picture[:, top : top + side, left : left + side]
    found: Tensor = resize(square, [size, size], v2.InterpolationMode.BICUBIC, antialias=True)
    return found.flip(2) if r.random() < 0.5 else found
