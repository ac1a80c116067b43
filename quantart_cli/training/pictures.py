"""Pictures of a folder in memory, and random crops of them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor
from torchvision.transforms import v2

from quantart_cli.errors import QuantArtError
from quantart_cli.images import read_picture
from quantart_cli.images.formats import SUFFIXES

PHOTOGRAPHS, PAINTINGS, DETAILS = "photographs", "paintings", "detail paintings"
"""Names of what folders hold."""
SHORT_SIDE = 768
"""Larger pictures are reduced to this short side when they are read."""


def pictures_below(folder: Path, hold_out: float = 0.0) -> list[Path]:
    """All picture files in a folder and its subfolders, without hidden ones, sorted.

    Args:
        folder: to search.
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
    reduced: Tensor = v2.functional.resize(picture, [short_side], antialias=True)
    return reduced


def crop(picture: Tensor, share: float, size: int) -> Tensor:
    """A random square of a picture, flipped at random. Uses torch's global generator.

    Args:
        picture: (3, H, W) uint8.
        share: side of the square divided by the picture's short side.
        size: side of the result in pixels.

    Returns:
        (3, size, size) float32 in [0, 1].
    """
    side = max(1, round(share * min(picture.shape[1:])))
    view = v2.Compose(
        [
            v2.RandomCrop(side),
            v2.Resize([size, size], v2.InterpolationMode.BICUBIC, antialias=True),
            v2.RandomHorizontalFlip(),
            v2.ToDtype(torch.float32, scale=True),
        ]
    )
    found: Tensor = view(picture)
    return found


def crops(pictures: PictureSet, shares: Sequence[float], size: int) -> Tensor:
    """Random crops of random pictures, (len(shares), 3, size, size) float32 in [0, 1]; see :func:`crop`."""
    chosen = torch.randint(len(pictures), (len(shares),)).tolist()
    return torch.stack([crop(pictures[number], share, size) for number, share in zip(chosen, shares, strict=True)])


def pairs(contents: PictureSet, styles: PictureSet, count: int, smallest: float, size: int) -> tuple[Tensor, Tensor]:
    """Random crops of contents and of styles; the two of a pair have the same share of their pictures.

    Args:
        count: number of pairs.
        smallest: smallest share of a picture's short side; shares are log-uniform up to 1.
        size: side of the crops in pixels.

    Returns:
        two of (count, 3, size, size) float32 in [0, 1].
    """
    shares = (smallest ** torch.rand(count)).tolist()
    return crops(contents, shares, size), crops(styles, shares, size)
