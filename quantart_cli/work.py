"""One painting: everything that decides the result, except the style."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from quantart_cli.images import Picture
from quantart_cli.methods.base import Step
from quantart_cli.methods.inputs import Masks
from quantart_cli.runner import Runner
from quantart_cli.tiling import Tiler

Progress = Callable[[Step], None]


@dataclass(frozen=True)
class Work:
    """One painting: the content and everything that decides the result, except the style.

    Attributes:
        opacity: of the content, (H, W) uint8, within the region that is painted; None: all opaque.
        reference: what the style is recoloured to, if it is.
    """

    content: Picture
    opacity: np.ndarray | None
    settings: Any
    tiler: Tiler
    seed: int
    progress: Progress
    inputs: Masks | None
    reference: Picture | None
    make_runner: Callable[..., Runner]
