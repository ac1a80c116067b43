"""What is compared: methods with their settings, the photographs themselves, and outputs of other tools.

This module and :mod:`quantart_cli.evaluation.networks` are the only ones of the evaluation that use the methods.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from quantart_cli.errors import QuantArtError, check_choice
from quantart_cli.images import Picture
from quantart_cli.registry import find, methods
from quantart_cli.settings import Settings

if TYPE_CHECKING:
    from quantart_cli.evaluation.pictures import Pair
    from quantart_cli.model import Model
    from quantart_cli.style import Style

PHOTOGRAPHS = "photographs"
"""The system that returns every content unchanged."""


@dataclass(frozen=True)
class SystemSpec:
    """A system as the user names it.

    Attributes:
        method: a name in the registry, or "photographs".
        settings: the method's settings; None for photographs.
        model: other weights, or None.
    """

    name: str
    method: str
    settings: Settings | None = None
    model: str | None = None


def parse_system(text: str) -> SystemSpec:
    """Read ``METHOD`` or ``METHOD:NAME=VALUE,…``: settings of the method, and ``model=FILE`` for other weights.

    Raises:
        QuantArtError: the text has another form, or the method, a setting or a value does not exist.
    """
    method, _, rest = text.partition(":")
    check_choice("method", method, (*methods(), PHOTOGRAPHS))
    values: dict[str, Any] = {}
    for part in filter(None, rest.split(",")):
        name, equals, value = part.partition("=")
        if not equals or not value:
            raise QuantArtError(f"{text}: {part!r} is not NAME=VALUE, for example quantart:fidelity=1")
        values[name.strip().replace("-", "_")] = _number_or_text(value.strip())
    if method == PHOTOGRAPHS:
        if values:
            raise QuantArtError(f"{text}: {PHOTOGRAPHS} are not changed and take no settings")
        return SystemSpec(text, method)
    model = values.pop("model", None)
    return SystemSpec(text, method, find(method).settings.of(values), None if model is None else str(model))


def _number_or_text(text: str) -> int | float | str:
    for number in (int, float):
        with suppress(ValueError):
            return number(text)
    return text


class System(Protocol):
    """Something that makes a picture of a content and a style."""

    name: str

    def output(self, pair: Pair, content: np.ndarray, style: np.ndarray) -> np.ndarray:
        """The picture of a pair, from (H, W, 3) uint8 sRGB contents and styles to (H, W, 3) uint8 sRGB."""


class Photographs:
    """The contents unchanged: the score of doing nothing."""

    name = PHOTOGRAPHS

    def output(self, pair: Pair, content: np.ndarray, style: np.ndarray) -> np.ndarray:
        return content


@dataclass
class Painting:
    """A method with its settings."""

    name: str
    model: Model
    settings: Settings
    seed: int

    def output(self, pair: Pair, content: np.ndarray, style: np.ndarray) -> np.ndarray:
        picture = Picture(np.ascontiguousarray(content), name=pair.name)
        return self.paint(picture, self.encode(style)).rgb

    def encode(self, style: Picture | np.ndarray) -> Style:
        """A style for :meth:`paint`; a method whose styles are in its weights takes none."""
        return self.model.encode_style(style if self.model.method.needs_style else (), settings=self.settings)

    def paint(self, content: Picture, style: Style) -> Picture:
        """Paint a picture in a style that :attr:`model` encoded."""
        return self.model.paint(content, style, self.settings, seed=self.seed).picture


@dataclass
class Outputs:
    """Finished pictures of another tool.

    Attributes:
        files: by the names of content and style.
    """

    name: str
    files: Mapping[tuple[str, str], Path]

    def output(self, pair: Pair, content: np.ndarray, style: np.ndarray) -> np.ndarray:
        from quantart_cli.evaluation.pictures import to_shape

        return to_shape(self.files[pair.content.name, pair.style.name], content.shape[:2])


def check_names(names: Sequence[str]) -> None:
    """Raises QuantArtError unless all names of systems differ."""
    for name in names:
        if names.count(name) > 1:
            raise QuantArtError(f"{name} is given twice: give each system once, and each folder a name of its own")


def check_model(specs: Sequence[SystemSpec], model: str | None) -> None:
    """Raises QuantArtError when other weights are given and no method takes any."""
    if model and not any(find(spec.method).models for spec in specs if spec.settings and spec.model is None):
        raise QuantArtError("model: none of the compared methods takes other weights")


def with_own_styles(specs: Sequence[SystemSpec]) -> list[str]:
    """Names of the systems whose styles are in their weights: they paint in no style that is given."""
    return [spec.name for spec in specs if spec.settings and not find(spec.method).needs_style]


def load_systems(specs: Sequence[SystemSpec], *, model: str | None, seed: int, **machine: Any) -> list[System]:
    """Load the methods, each set of weights once.

    Args:
        model: other weights for the methods that take this kind and name none of their own.
        seed: of all random numbers of the methods.
        **machine: device, precision and download, as in :func:`quantart_cli.load`.

    Raises:
        QuantArtError: weights are missing, damaged or of another kind.
    """
    from quantart_cli.model import load

    loaded: dict[tuple[str, str | None], Model] = {}
    systems: list[System] = []
    for spec in specs:
        if spec.settings is None:
            systems.append(Photographs())
            continue
        file = spec.model or _model_for(spec.method, model, specs)
        key = spec.method, file
        if key not in loaded:
            loaded[key] = load(spec.method, model=file, **machine)
        systems.append(Painting(spec.name, loaded[key], spec.settings, seed))
    return systems


def _model_for(method: str, model: str | None, specs: Sequence[SystemSpec]) -> str | None:
    """``model`` when the method takes weights of its kind; an error when none of the methods does."""
    if model is None:
        return None
    from quantart_cli.checkpoints.models import find_model

    kinds = tuple({kind for spec in specs if spec.settings for kind in find(spec.method).models})
    return model if find_model(model, kinds).kind in find(method).models else None
