"""The executor of one machine: reading, painting and writing go on at the same time, in memory that stays flat.

One thread reads and decodes ahead, the main thread paints, a few encode and write. Painting one picture at a time is on
purpose: on a CPU the convolutions keep all cores at nine tenths of their peak from 128² on, and several small pictures
at once gain nothing (benchmarks/batch.py measures it).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

from quantart_cli.batch import work
from quantart_cli.batch.ledger import Content
from quantart_cli.batch.recipe import Recipe
from quantart_cli.batch.stages import Recent, Record, Stages, style_error
from quantart_cli.batch.work import Failed, Finished, Task
from quantart_cli.errors import QuantArtError
from quantart_cli.images import Picture


class Styles:
    """The styles of a plan, each encoded when it is first asked for and kept while it may be asked for again."""

    def __init__(self, model: Any, styles: Sequence[tuple[str, ...]], recipe: Recipe) -> None:
        self._model, self._styles, self._recipe = model, styles, recipe
        self._known = Recent()

    def __call__(self, number: int) -> Any:
        """One of them, by its place in the plan.

        Raises:
            QuantArtError: it cannot be read; the same each time.
        """
        if number not in self._known:
            recipe = self._recipe
            try:
                encode = self._model.encode_style
                found = encode(list(self._styles[number]), weights=recipe.style_weights, size=recipe.style_size)
            except QuantArtError as error:
                found = style_error(error, self._styles)
            self._known[number] = found
        found = self._known[number]
        if isinstance(found, QuantArtError):
            raise found
        return found


class Pipeline(Stages):
    """One run over tasks.

    Args:
        model: that paints.
        styles: gives an encoded style by its number.
        recipe: how.
        record: takes what became of each picture, in any thread.
        stop: ends the run before the next picture, by whoever sets it.
        now: told each picture when it is about to be painted.
    """

    def __init__(
        self,
        model: Any,
        styles: Callable[[int], Any],
        recipe: Recipe,
        record: Record,
        stop: threading.Event,
        now: Callable[[Task], None] = lambda _: None,
    ) -> None:
        super().__init__(record, stop)
        self._model, self._styles, self._recipe, self._now = model, styles, recipe, now

    def _open(self, data: bytes, path: str) -> Picture:
        return work.decode(data, path, self._recipe)

    def _weigh(self, opened: Picture) -> int:
        return opened.rgb.nbytes

    def _work(self) -> None:
        while not self._stop.is_set() and (item := self._ready.get()) is not None:
            self._paint(*item)

    def _paint(self, task: Task, content: Content, picture: Picture | Failed) -> None:
        self._now(task)
        if isinstance(picture, Failed):
            self._record(task, content, picture)
            return
        try:
            painted = work.paint(self._model, picture, self._styles(task.style), self._recipe)
        except Exception as error:
            self._record(task, content, Failed.of(error))
        else:
            self._done.put((task, content, picture, *painted), self._weigh(picture))

    def _finish(self, task: Task, *worked: Any) -> Finished:
        return work.encode(*worked, task.format, self._recipe)
