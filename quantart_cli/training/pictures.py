"""Pictures of a folder held in memory, and random crops of them that depend on a seed alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor
from torchvision.transforms import v2

from quantart_cli.errors import QuantArtError
from quantart_cli.images import read_picture

# Crops are never taken from more pixels than these a short side: larger pictures are reduced as they are read.
_SHORT_SIDE = 768


class Pictures:
    """Decoded pictures as uint8: in memory as long as they fit, the others read again each time they are asked for.

    Attributes:
        unreadable: one line for each file that could not be read; it is left out.

    Args:
        paths: files, in a fixed order.
        room: bytes that may be held.
        progress: called with (files read, files in all).

    Raises:
        QuantArtError: none of them can be read.
    """

    def __init__(self, paths: Sequence[Path], room: float, progress: Callable[[int, int], None]) -> None:
        self.unreadable: list[str] = []
        self._paths: list[Path] = []
        self._held: list[Tensor | None] = []
        for number, path in enumerate(paths, 1):
            try:
                picture = _read(path)
            except QuantArtError as error:
                self.unreadable.append(str(error))
            else:
                room -= picture.numel()
                self._paths.append(path)
                self._held.append(picture if room >= 0 else None)
            progress(number, len(paths))
        if not self._paths:
            raise QuantArtError(f"none of the {len(paths)} pictures can be read; the first: {self.unreadable[0]}")

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, number: int) -> Tensor:
        """(3, H, W) uint8, sRGB."""
        held = self._held[number]
        return _read(self._paths[number]) if held is None else held


def _read(path: Path) -> Tensor:
    picture = torch.from_numpy(read_picture(path).rgb).permute(2, 0, 1)
    if min(picture.shape[1:]) > _SHORT_SIDE:
        picture = v2.functional.resize(picture, [_SHORT_SIDE], antialias=True)
    return picture


def crop(picture: Tensor, share: float, size: int) -> Tensor:
    """A random square of a picture, mirrored or not, by torch's global random numbers.

    Args:
        picture: (3, H, W) uint8.
        share: side of the square as a share of the picture's short side.
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
    return view(picture)


def pairs(contents: Pictures, styles: Pictures, count: int, smallest: float, size: int) -> tuple[Tensor, Tensor]:
    """Random crops of contents and of styles, the two of a pair at one scale; by torch's global random numbers.

    Args:
        count: how many pairs.
        smallest: side of the smallest square as a share of a picture's short side; shares are log-uniform up to 1.
        size: side of the crops in pixels.

    Returns:
        Two of (count, 3, size, size) float32 in [0, 1].
    """
    shares = (smallest ** torch.rand(count)).tolist()
    both = []
    for pictures in (contents, styles):
        chosen = torch.randint(len(pictures), (count,)).tolist()
        both.append([crop(pictures[number], share, size) for number, share in zip(chosen, shares, strict=True)])
    return torch.stack(both[0]), torch.stack(both[1])


def crops(pictures: Pictures, shares: Sequence[float], size: int) -> Tensor:
    """Random crops, each of a picture drawn anew, by torch's global random numbers.

    Args:
        pictures: to draw from.
        shares: side of each square as a share of its picture's short side.
        size: side of the crops in pixels.

    Returns:
        (len(shares), 3, size, size) float32 in [0, 1].
    """
    chosen = torch.randint(len(pictures), (len(shares),)).tolist()
    return torch.stack([crop(pictures[number], share, size) for number, share in zip(chosen, shares, strict=True)])
