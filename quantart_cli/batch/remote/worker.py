"""What a worker of the Ray executor does: one model, and pictures as bytes in and out. No file is written here.

Nothing here needs Ray but what fetches bytes out of its object store, so that it is the executor of one machine that
is run elsewhere: the same functions, the same bytes.
"""

from __future__ import annotations

import os
import pickle
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from quantart_cli import __version__
from quantart_cli.batch import work
from quantart_cli.batch.recipe import Recipe
from quantart_cli.batch.stages import Recent
from quantart_cli.batch.work import Failed, Finished, Task
from quantart_cli.checkpoints.models import ModelFile
from quantart_cli.errors import QuantArtError
from quantart_cli.images import Picture, read_picture

AT_ONCE = 3
"""Calls that go on at the same time: one is painted, of others the picture is decoded or encoded meanwhile."""


@dataclass(frozen=True)
class Loaded:
    """How a worker paints; pictures of workers that differ in it differ."""

    runtime: str
    device: str
    precision: str


class Worker:
    """One model, on a thread of its own.

    Args:
        values: of the command's options.
        file: the model given with ``--model``; a worker finds it by its path, or by its name in its own cache.
        recipe: how pictures are painted.
        threads: that painting may take; None: as many as the libraries like.
        version: of the quantart that asks.
    """

    def __init__(
        self, values: dict[str, Any], file: ModelFile | None, recipe: Recipe, threads: int | None, version: str
    ) -> None:
        self._values, self._file, self._recipe = values, file, recipe
        self._threads, self._version = threads, version
        self._painting = ThreadPoolExecutor(1)
        self._decoding = threading.Lock()
        self._last: tuple[str, Picture] | None = None
        self._styles = Recent()
        self._model: Any = None

    def load(self, given: Loaded | None) -> Loaded | Failed:
        """Load the model: the way ``given`` says, or else as it is best here."""
        return self._told(self._load, given)

    def encode_style(self, files: Sequence[tuple[str, bytes]]) -> bytes | Failed:
        """A style for all workers, from the path and the bytes of each file blended into it."""

        def encode() -> bytes:
            pictures = [read_picture(data, max_pixels=self._model.max_pixels, path=path) for path, data in files]
            recipe = self._recipe
            style = self._model.encode_style(pictures, weights=recipe.style_weights, size=recipe.style_size)
            return pickle.dumps(style)

        return self._told(encode)

    def paint(self, task: Task, given: Sequence[Any]) -> Finished | Failed:
        """Paint a picture.

        Args:
            task: the picture.
            given: references to the file's bytes, and to the style that :meth:`encode_style` made.
        """
        data, style = given
        try:
            picture = self._decoded(task, data)
            painted = self._painting.submit(
                lambda: work.paint(self._model, picture, self._adopted(task.style, style), self._recipe)
            ).result()
            return work.encode(picture, *painted, task.format, self._recipe)
        except Exception as error:
            return _failed(error)

    def _told(self, what: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return self._painting.submit(what, *arguments).result()
        except Exception as error:
            return _failed(error)

    def _load(self, given: Loaded | None) -> Loaded:
        if self._version != __version__:
            raise QuantArtError(f"quantart-cli is {__version__} there and {self._version} here: install the same")
        self._limit_threads()
        from quantart_cli.checkpoints.models import find_model, weights_of
        from quantart_cli.cli.runtime import load_model
        from quantart_cli.engine.choices import ACCEPTS

        method, file, values = self._recipe.method, self._file, self._values
        if file is not None and not file.embedded and not file.path.exists():
            file = find_model(file.name, ACCEPTS[method])
        if {each.name: each.checksum for each in weights_of(method, file).values()} != self._recipe.weights:
            raise QuantArtError(f"{file.name if file else 'quantart'} has other weights there than here")
        if given is not None:
            values = {**values, "runtime": given.runtime, "device": given.device, "precision": given.precision}
        self._model = load_model(method, values, file, lambda _: None)
        machine = self._model.machine
        return Loaded(machine.runtime, machine.device, machine.precision)

    def _limit_threads(self) -> None:
        """Several workers share a machine."""
        if self._threads is None:
            return
        from quantart_cli import fast

        os.environ["OMP_NUM_THREADS"] = str(self._threads)  # read when torch is imported
        if fast.installed() and self._values["runtime"] != "torch":
            from quantart_cli.fast.runtime import core

            core().set_property("CPU", {"INFERENCE_NUM_THREADS": self._threads})
        if self._values["runtime"] != "openvino":
            import torch

            torch.set_num_threads(self._threads)

    def _decoded(self, task: Task, stored: Any) -> Picture:
        """The picture; the last one is kept for its other styles."""
        with self._decoding:
            if self._last is None or self._last[0] != task.source:
                self._last = None
                self._last = task.source, work.decode(_fetch(stored), task.source, self._recipe)
            return self._last[1]

    def _adopted(self, number: int, stored: Any) -> Any:
        if number not in self._styles:
            self._styles[number] = self._model.adopt(pickle.loads(_fetch(stored)))
        return self._styles[number]


def _fetch(stored: Any) -> bytes:
    import ray

    return ray.get(stored)


def _failed(error: Exception) -> Failed:
    """Losing the object store is no fault of the picture: it is raised, and the picture done again."""
    from ray.exceptions import RayError

    if isinstance(error, RayError):
        raise error
    return Failed.of(error)
