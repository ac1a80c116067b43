"""What one worker of the Ray executor does: it has one model, receives pictures as bytes and returns bytes.

It writes no file and needs nothing of Ray, so it gives the bytes that the local executor gives.
"""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import lru_cache
from typing import Any

from quantart_cli import __version__
from quantart_cli.batch.job import Computation, Failure, PaintedFile, PaintJob
from quantart_cli.batch.plan import STYLES_AT_ONCE, WorkItem
from quantart_cli.errors import QuantArtError
from quantart_cli.images import read_picture

CONCURRENT_CALLS = 3
"""While one picture is painted, others are decoded and encoded."""


class Worker:
    """One model, which paints on a thread of its own.

    Args:
        job: how pictures are painted.
    """

    def __init__(self, job: PaintJob, version: str) -> None:
        self._job, self._version = job, version
        self._painting = ThreadPoolExecutor(1)
        self._model: Any = None
        self._style = lru_cache(STYLES_AT_ONCE)(pickle.loads)

    def load(self, like: Computation | None) -> Computation | Failure:
        """Load the model: as ``like`` says, or else as suits this machine."""
        try:
            return self._painting.submit(self._load, like).result()
        except Exception as error:
            return Failure.of(error)

    def encode_style(self, files: Sequence[tuple[str, bytes]]) -> bytes | Failure:
        """A style for all workers, from the path and the bytes of each of its files."""

        try:
            pictures = [read_picture(data, max_pixels=self._job.max_pixels, path=path) for path, data in files]
            return pickle.dumps(self._painting.submit(self._job.encode_style, self._model, pictures).result())
        except Exception as error:
            return Failure.of(error)

    def paint(self, item: WorkItem, data: bytes, style: bytes | Failure) -> PaintedFile | Failure:
        """Paint the content with the bytes ``data`` in a style that :meth:`encode_style` returned."""
        if isinstance(style, Failure):
            return Failure(f"its style: {style.reason}", style.trace)
        try:
            picture = self._job.decode(data, item.source)
            paint = self._painting.submit(
                lambda: self._job.paint(self._model, picture, self._style(style), masks=item.masks)
            )
            return self._job.encode(picture, *paint.result(), item.format)
        except Exception as error:
            return Failure.of(error)

    def _load(self, like: Computation | None) -> Computation:
        if self._version != __version__:
            raise QuantArtError(f"quantart-cli is {__version__} there and {self._version} here: install the same")
        job = self._job.located()
        if like is not None:
            job = replace(job, backend=like.backend, device=like.device, precision=like.precision)
        self._model = job.load_model(lambda _: None)
        return Computation.of(self._model)
