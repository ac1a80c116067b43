"""Tiles: a picture is cut into rectangles, which are halved when memory runs out. Does not import torch."""

from __future__ import annotations

import itertools
import math
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from quantart_cli.memory import is_out_of_memory
from quantart_cli.scratch import release

GRAIN = 8
"""Tiles begin at multiples of it: the stride of relu4_1, so that pooling sees the same pixels in every tile."""
SMALLEST_TILE = 64
"""Tiles are not made smaller than this when memory runs out."""


@dataclass(frozen=True)
class Tile:
    """A rectangle of rows and columns, in pixels or in positions of features.

    Attributes:
        top: first row.
        left: first column.
        bottom: the row after the last.
        right: the column after the last.
        usual: (height, width) of most tiles of the picture; tiles at the end may be smaller. () for its own size.
    """

    top: int
    left: int
    bottom: int
    right: int
    usual: tuple[int, ...] = ()

    @property
    def height(self) -> int:
        return self.bottom - self.top

    @property
    def width(self) -> int:
        return self.right - self.left

    @property
    def slices(self) -> tuple[slice, slice]:
        """Rows and columns, for indexing."""
        return slice(self.top, self.bottom), slice(self.left, self.right)

    def grown(self, halo: int, height: int, width: int, grain: int = 1) -> Tile:
        """The tile with a halo around it, inside a picture of (height, width).

        Where the picture ends on one side, the halo is wider on the other side, so that all tiles have one size:
        memory is then reused from tile to tile, and networks prepare for one size only.

        Args:
            halo: least width of the halo; a multiple of the grain.
            height: of the picture.
            width: of the picture.
            grain: the corner is at a multiple of it.
        """
        usual = self.usual or (self.height, self.width)
        top, bottom = _grown(self.top, self.bottom, usual[0] + 2 * halo, halo, height, grain)
        left, right = _grown(self.left, self.right, usual[1] + 2 * halo, halo, width, grain)
        return Tile(top, left, bottom, right)

    def within(self, outer: Tile) -> Tile:
        """The same rectangle, counted from the corner of another tile."""
        top, left = outer.top, outer.left
        return Tile(self.top - top, self.left - left, self.bottom - top, self.right - left)

    def rounded(self, multiple: int) -> Tile:
        """The tile with its end rounded up to a multiple."""
        bottom, right = -(-self.bottom // multiple) * multiple, -(-self.right // multiple) * multiple
        return Tile(self.top, self.left, bottom, right, self.usual)

    def shrunk(self, stride: int) -> Tile:
        """The tile in positions of features of this stride; its corner must be at a multiple of the stride."""
        bottom, right = -(-self.bottom // stride), -(-self.right // stride)
        usual = tuple(-(-length // stride) for length in self.usual)
        return Tile(self.top // stride, self.left // stride, bottom, right, usual)


class Tiler:
    """Cuts pictures into tiles.

    Args:
        side: largest height and width of a tile in pixels; None: the whole picture is one tile.
        notify: called with one line when memory runs out for the first time.
        grain: tiles begin at multiples of it.
    """

    def __init__(
        self, side: int | None = None, notify: Callable[[str], None] = lambda _: None, grain: int = GRAIN
    ) -> None:
        self.side = side
        self.notify = notify
        self.grain = grain
        self._notified = False

    def run(self, height: int, width: int, work: Callable[[Tile], None]) -> None:
        """Call ``work`` for every tile of a picture.

        When memory runs out, the tile and all that follow are halved; ``work`` must not have stored anything of a tile
        it did not finish.

        Raises:
            the memory error, when tiles of 64 pixels do not fit either.
        """
        waiting = [Tile(0, 0, height, width)]
        while waiting:
            tile = waiting.pop()
            if self.side is not None and max(tile.height, tile.width) > self.side:
                waiting.extend(reversed(list(_cut(tile, self.side, self.grain))))
                continue
            try:
                work(tile)
            except (RuntimeError, MemoryError) as error:
                largest = max(tile.height, tile.width)
                if not is_out_of_memory(error) or largest <= SMALLEST_TILE:
                    raise
                self._halve(largest)
                waiting.append(tile)
            release()
            # Outside the handler: the error held references to what did not fit.
            if waiting and waiting[-1] is tile and (torch := sys.modules.get("torch")) is not None:
                torch.cuda.empty_cache()

    def count(self, height: int, width: int) -> int:
        """How many tiles a picture is cut into."""
        if self.side is None or max(height, width) <= self.side:
            return 1
        return len(list(_cut(Tile(0, 0, height, width), self.side, self.grain)))

    def _halve(self, largest: int) -> None:
        before = self.side
        self.side = max(SMALLEST_TILE, math.ceil(largest / 2 / self.grain) * self.grain)
        if not self._notified:
            self._notified = True
            what = "the whole picture" if before is None else f"tiles of {before} pixels"
            self.notify(f"memory ran out with {what}: continuing with tiles of {self.side} pixels")


def _cut(tile: Tile, side: int, grain: int) -> Iterator[Tile]:
    """Tiles of nearly equal size, at most ``side``, all cuts at multiples of the grain."""
    rows, columns = _cuts(tile.top, tile.bottom, side, grain), _cuts(tile.left, tile.right, side, grain)
    for top, bottom in itertools.pairwise(rows):
        for left, right in itertools.pairwise(columns):
            yield Tile(top, left, bottom, right, (rows[1] - rows[0], columns[1] - columns[0]))


def _grown(start: int, end: int, length: int, halo: int, size: int, grain: int) -> tuple[int, int]:
    """One axis of :meth:`Tile.grown`."""
    first = max(0, min(start - halo, (size - length) // grain * grain))
    return first, min(size, max(first + length, end + halo))


def _cuts(start: int, end: int, side: int, grain: int) -> list[int]:
    count = math.ceil((end - start) / side)
    step = min(math.ceil((end - start) / count / grain) * grain, max(side // grain, 1) * grain)
    return [*range(start, end, step), end]
