"""Recipes: how a picture was painted, as JSON in the metadata of its file. Never a path.

A recipe holds the version, the method with all of its settings, the options that decide the picture, the sha256 of
each input and of each file of weights, and how it was computed. ``quantart repaint`` paints by it again.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from quantart_cli import __version__
from quantart_cli.checkpoints.hashing import sha256_of
from quantart_cli.errors import QuantArtError
from quantart_cli.images import Picture
from quantart_cli.masks import ALPHA, LABELS, NOT
from quantart_cli.presets import presets
from quantart_cli.registry import find
from quantart_cli.settings import Settings

if TYPE_CHECKING:
    from quantart_cli.model import Model
    from quantart_cli.result import Result

# Options beside the method's own settings that decide the picture, with their defaults.
OPTIONS: dict[str, Any] = {
    "size": None,
    "style_size": None,
    "style_weights": None,
    "preserve_color": "none",
    "seed": 0,
    "precision": "auto",
    "frame": None,
    "quality": 95,
    "background": None,
}
REGIONS = ("mask", "style_mask", "start")


@dataclass(frozen=True)
class Recipe:
    """How a picture was painted.

    Attributes:
        quantart: the version.
        method: its name.
        settings: all of the method's settings.
        options: of :data:`OPTIONS`, those that were not the default.
        content: sha256 of the content's file; None: it was from no file.
        styles: of each style its ``sha256``, and its ``preset`` if it is one.
        weights: sha256 of each file of weights by name.
        backend, precision: how it was computed.
        regions: masks and start, of :data:`REGIONS`: "alpha" or a sha256, also after "not:" or "labels:".
    """

    quantart: str
    method: str
    settings: dict[str, Any]
    options: dict[str, Any]
    content: str | None
    styles: tuple[dict[str, str | None], ...]
    weights: dict[str, str]
    backend: str
    precision: str
    regions: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def text(self) -> str:
        """As it is stored."""
        return json.dumps({key: value for key, value in asdict(self).items() if key != "regions" or value})

    def flags(self, complete: bool = True) -> list[str]:
        """Options of the command line that paint like this; not ``complete``: only those that are not the default.

        Raises:
            QuantArtError: the method is not known here, or has no such setting.
        """
        settings = find(self.method).settings
        chosen = settings.of(self.settings)
        given = {
            item.name: getattr(chosen, item.name)
            for item in fields(settings)
            if complete or getattr(chosen, item.name) != item.default
        }
        values = {**given, **self.options}
        return [f"--{name.replace('_', '-')}={_word(value)}" for name, value in values.items()]

    def command(self) -> list[str]:
        """The command line, with CONTENT, STYLE and FILE for the files that are not presets."""
        styles = [f"@{each['preset']}" if each.get("preset") else "STYLE" for each in self.styles]
        regions = [f"--{name.replace('_', '-')}={_file(each)}" for name, them in self.regions.items() for each in them]
        head = ["quantart", find(self.method).command_name, "CONTENT", *styles, "-o", "FILE"]
        return [*head, *regions, *self.flags(False)]


def _word(value: Any) -> str:
    return ",".join(f"{each:g}" for each in value) if isinstance(value, (list, tuple)) else str(value)


def _file(region: str) -> str:
    """A mask or start of a recipe, with FILE for its sha256."""
    prefix = next((each for each in (NOT, LABELS) if region.startswith(each)), "")
    return region if region.removeprefix(prefix) == ALPHA else f"{prefix}FILE"


def recipe_of(
    model: Model,
    settings: Settings,
    content: Picture,
    styles: Sequence[Picture],
    result: Result,
    options: Mapping[str, Any],
    regions: Mapping[str, Sequence[str]] | None = None,
) -> Recipe:
    """The recipe of a picture that was painted.

    Args:
        model, settings, content: what it was painted with.
        styles: as they were read, or resized.
        result: what was painted.
        options: values by name; those in :data:`OPTIONS` are taken. ``style_weights`` are numbers.
        regions: see :attr:`Recipe.regions`.
    """
    chosen = {name: options[name] for name, default in OPTIONS.items() if options.get(name, default) != default}
    weights = chosen.pop("style_weights", None)
    if weights is not None and len(set(weights)) > 1:
        chosen["style_weights"] = list(weights)
    return Recipe(
        quantart=__version__,
        method=model.method.name,
        settings=asdict(settings),
        options=chosen,
        content=content.sha256,
        styles=tuple(_style(each) for each in styles),
        weights={name if name.startswith("hf://") else Path(name).name: sum_ for name, sum_ in model.checksums.items()},
        backend=model.spec.backend,
        precision=result.precision,
        regions={name: tuple(values) for name, values in (regions or {}).items() if values},
    )


def _style(picture: Picture) -> dict[str, str | None]:
    preset = presets().get(Path(picture.name).stem)
    if preset is not None and picture.sha256 == sha256_of(preset.path):
        return {"sha256": picture.sha256, "preset": preset.name}
    return {"sha256": picture.sha256}


def region(given: str) -> str:
    """A mask or start as the recipe holds it: of a file its sha256."""
    prefix = next((each for each in (NOT, LABELS) if given.startswith(each)), "")
    name = given.removeprefix(prefix)
    return prefix + (name if name == ALPHA else sha256_of(Path(name)))


def parse_recipe(text: str | None, shown: str) -> Recipe:
    """The recipe in a picture's metadata, checked: it may come from anybody.

    Args:
        text: ``Picture.metadata.recipe``.
        shown: the picture's name, for messages.

    Raises:
        QuantArtError: there is none, or it is not one.
    """
    if text is None:
        raise QuantArtError(
            f"{shown} has no recipe: quantart did not paint it, its metadata was left out, or it is a film, a frame or "
            "a sheet, which carry none: use quantart stylize"
        )
    try:
        facts = json.loads(text)
        recipe = Recipe(
            quantart=str(facts["quantart"]),
            method=str(facts["method"]),
            settings=_scalars(facts["settings"]),
            options={name: value for name, value in facts["options"].items() if name in OPTIONS and _plain(value)},
            content=None if facts["content"] is None else str(facts["content"]),
            styles=tuple({key: str(value) for key, value in each.items()} for each in facts["styles"]),
            weights={str(name): str(value) for name, value in facts["weights"].items()},
            backend=str(facts["backend"]),
            precision=str(facts["precision"]),
            regions={
                name: tuple(str(each) for each in values)
                for name, values in facts.get("regions", {}).items()
                if name in REGIONS
            },
        )
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise QuantArtError(f"the recipe in {shown} is damaged: paint the picture again") from error
    return recipe


def _plain(value: Any) -> bool:
    """Whether it is text, a number, or a list of numbers."""
    if isinstance(value, list):
        return all(isinstance(each, (int, float)) and math.isfinite(each) for each in value)
    return isinstance(value, (str, int, float))


def _scalars(values: Mapping[str, Any]) -> dict[str, Any]:
    return {str(name): value for name, value in values.items() if isinstance(value, (str, int, float))}
