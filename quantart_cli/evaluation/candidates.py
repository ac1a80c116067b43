"""What is measured: methods that paint, the photographs themselves, outputs of another tool; their names."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from quantart_cli.errors import QuantArtError, check_choice
from quantart_cli.images import Picture
from quantart_cli.methods.controls import CONTROLS, Controls

if TYPE_CHECKING:
    from torch import nn

    from quantart_cli.api import Model
    from quantart_cli.evaluation.pictures import Pair

PHOTOGRAPHS = "photographs"
"""The candidate that leaves every content as it is."""


@dataclass(frozen=True)
class Wanted:
    """A candidate as a person asked for it.

    Attributes:
        name: the text they gave, which is unique.
        method: of :data:`CONTROLS`, or "photographs".
        controls: of the method; None for photographs.
        model: other weights, or None.
    """

    name: str
    method: str
    controls: Controls | None = None
    model: str | None = None


def parse(text: str) -> Wanted:
    """``METHOD``, or ``METHOD:NAME=VALUE,…`` with the method's own options and ``model=FILE``.

    Raises:
        QuantArtError: it is no such text, or names a method, option or value that does not exist.
    """
    method, _, rest = text.partition(":")
    check_choice("--compare", method, (*CONTROLS, PHOTOGRAPHS))
    values: dict[str, Any] = {}
    for part in filter(None, rest.split(",")):
        name, equals, value = part.partition("=")
        if not equals or not value:
            raise QuantArtError(f"--compare {text!r}: {part!r} is no NAME=VALUE, such as quantart:fidelity=1")
        values[name.strip().replace("-", "_")] = value.strip()
    if method == PHOTOGRAPHS:
        if values:
            raise QuantArtError(f"--compare {text!r}: {PHOTOGRAPHS} are left as they are and take no options")
        return Wanted(text, method)
    model = values.pop("model", None)
    controls = CONTROLS[method].of({name: _value(value) for name, value in values.items()})
    return Wanted(text, method, controls, model)


def _value(text: str) -> Any:
    """A number where it is one; the controls say what is wrong with anything else."""
    for kind in (int, float):
        with suppress(ValueError):
            return kind(text)
    return text


class Photographs:
    """Contents as they are: what doing nothing would score."""

    name = PHOTOGRAPHS
    codebook = None

    def output(self, pair: Pair, content: np.ndarray, style: np.ndarray) -> np.ndarray:
        return content


@dataclass
class Painting:
    """A method with its options; painting takes encoding the style with it."""

    name: str
    model: Model
    controls: Controls
    seed: int
    codebook: nn.Module | None = None

    def output(self, pair: Pair, content: np.ndarray, style: np.ndarray) -> np.ndarray:
        encoded = self.model.encode_style(style)
        picture = Picture(np.ascontiguousarray(content), name=pair.name)
        return self.model.paint(picture, encoded, self.controls, seed=self.seed).picture.rgb


@dataclass
class Outputs:
    """Pictures that another tool made of the pairs."""

    name: str
    files: Mapping[tuple[str, str], Path]
    """By the names of content and style."""
    codebook: None = field(default=None, init=False)

    def output(self, pair: Pair, content: np.ndarray, style: np.ndarray) -> np.ndarray:
        from quantart_cli.evaluation.pictures import square

        return square(self.files[pair.content.name, pair.style.name], len(content))


def art_codebook(networks: Any) -> nn.Module | None:
    """The codebook of artworks that a method's networks paint with, or None."""
    found = getattr(networks, "codebook", None)
    quantized = getattr(networks, "quantized", None)
    return found if found is not None else getattr(quantized, "quantize_dec", None)
