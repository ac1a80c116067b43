"""A progress bar for ``progress=True``, in notebooks and elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from quantart_cli.methods.base import Step


@contextmanager
def shown_progress() -> Iterator[Any]:
    """A function that is called with each :class:`Step`, and draws a bar for each stage."""
    from tqdm.auto import tqdm

    bars: dict[str, Any] = {}

    def show(step: Step) -> None:
        if step.stage not in bars:
            for bar in bars.values():
                bar.close()
            bars[step.stage] = tqdm(total=step.steps, desc=step.stage or "painting", leave=False)
        bar = bars[step.stage]
        bar.total = step.steps
        bar.update(step.step - bar.n)
        if step.losses:
            bar.set_postfix({name: f"{loss:.3g}" for name, loss in step.losses.items()}, refresh=False)

    try:
        yield show
    finally:
        for bar in bars.values():
            bar.close()
