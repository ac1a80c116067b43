"""Work done window by window: pictures larger than memory, and memory that runs out in the middle. No torch in here."""

from __future__ import annotations

import itertools
import math
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from quantart_cli.engine.memory import is_out_of_memory
from quantart_cli.pages import let_go

# Windows begin at multiples of it: the stride of relu4_1, so that pooling falls on the same pixels in every window.
GRAIN = 8
SMALLEST = 64
"""Windows are not made smaller than this when memory runs out."""


@dataclass(frozen=True)
class Window:
    """A rectangle of rows and columns, in pixels or in positions of features.

    Attributes:
        top: first row; ``bottom`` is the row after the last.
        left: first column; ``right`` is the column after the last.
        usual: height and width of most windows it was cut with, the last of which are smaller; () for its own.
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

    def grown(self, by: int, height: int, width: int, grain: int = 1) -> Window:
        """With a border of its surroundings, as far as the whole, (height, width), has any.

        Where it has none on one side the border is wider on the other: windows of one size ask for blocks of memory of
        one size, which then fit where those of the window before were, and networks prepare for one size.

        Args:
            by: width of the border, at least; a multiple of the grain.
            height: of the whole.
            width: of the whole.
            grain: the corner lies on a multiple of it.
        """
        usual = self.usual or (self.height, self.width)
        top, bottom = _grown(self.top, self.bottom, usual[0] + 2 * by, by, height, grain)
        left, right = _grown(self.left, self.right, usual[1] + 2 * by, by, width, grain)
        return Window(top, left, bottom, right)

    def within(self, outer: Window) -> Window:
        """The same place counted from the corner of another window."""
        top, left = outer.top, outer.left
        return Window(self.top - top, self.left - left, self.bottom - top, self.right - left)

    def shrunk(self, stride: int) -> Window:
        """Positions of features of that stride that lie in it; its own corner is a multiple of the stride."""
        bottom, right = -(-self.bottom // stride), -(-self.right // stride)
        usual = tuple(-(-length // stride) for length in self.usual)
        return Window(self.top // stride, self.left // stride, bottom, right, usual)


class Tiles:
    """How a picture is cut into windows, and what is done when one does not fit into memory.

    Args:
        side: windows are at most this high and wide, in pixels; None: the whole picture is one window.
        notice: told one line when memory runs out for the first time.
        grain: windows begin at multiples of it.
    """

    def __init__(
        self, side: int | None = None, notice: Callable[[str], None] = lambda _: None, grain: int = GRAIN
    ) -> None:
        self.side = side
        self.notice = notice
        self.grain = grain
        self._told = False

    def run(self, height: int, width: int, work: Callable[[Window], None]) -> None:
        """Do the work on every window of a picture.

        When memory runs out the window is cut into halves and so are those that follow; what ``work`` did not finish it
        must not have pasted anywhere.

        Raises:
            the error of the memory, when windows of 64 pixels do not fit either.
        """
        waiting = [Window(0, 0, height, width)]
        while waiting:
            window = waiting.pop()
            if self.side is not None and max(window.height, window.width) > self.side:
                waiting.extend(reversed(list(_cut(window, self.side, self.grain))))
                continue
            try:
                work(window)
            except (RuntimeError, MemoryError) as error:
                largest = max(window.height, window.width)
                if not is_out_of_memory(error) or largest <= SMALLEST:
                    raise
                self._halve(largest)
                waiting.append(window)
            let_go()
            # Out of the handler, where the error still held on to what did not fit.
            if waiting and waiting[-1] is window and (torch := sys.modules.get("torch")) is not None:
                torch.cuda.empty_cache()

    def _halve(self, largest: int) -> None:
        before = self.side
        self.side = max(SMALLEST, math.ceil(largest / 2 / self.grain) * self.grain)
        if not self._told:
            self._told = True
            what = "the whole picture" if before is None else f"tiles of {before}"
            self.notice(f"memory ran out on {what}: going on with tiles of {self.side}")


def _cut(window: Window, side: int, grain: int) -> Iterator[Window]:
    """Windows of nearly the same size, ``side`` at most, all cuts at multiples of the grain."""
    rows, columns = _cuts(window.top, window.bottom, side, grain), _cuts(window.left, window.right, side, grain)
    for top, bottom in itertools.pairwise(rows):
        for left, right in itertools.pairwise(columns):
            yield Window(top, left, bottom, right, (rows[1] - rows[0], columns[1] - columns[0]))


def _grown(start: int, end: int, length: int, by: int, size: int, grain: int) -> tuple[int, int]:
    """One axis of :meth:`Window.grown`."""
    first = max(0, min(start - by, (size - length) // grain * grain))
    return first, min(size, max(first + length, end + by))


def _cuts(start: int, end: int, side: int, grain: int) -> list[int]:
    count = math.ceil((end - start) / side)
    step = min(math.ceil((end - start) / count / grain) * grain, max(side // grain, 1) * grain)
    return [*range(start, end, step), end]
