"""What to paint, as the controls of the page say it, and the same as a command and as Python."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, NamedTuple

from quantart_cli.errors import QuantArtError
from quantart_cli.registry import find
from quantart_cli.settings import Settings


class File(NamedTuple):
    """A file that was uploaded and the name it had, or a preset, whose name is ``@name``."""

    path: str
    name: str


@dataclass(frozen=True)
class Order:
    """A painting to make.

    Attributes:
        styles: pictures of styles, none for a method that takes none.
        style_weights: one for each style.
        settings: of the method, by name.
        size: long side of the result; None: the content's.
        preserve_color: as of ``Model.paint``.
        masks: regions of the content, one for each style; () to paint everything.
    """

    method: str
    content: File
    styles: tuple[File, ...] = ()
    style_weights: tuple[float, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    size: int | None = None
    preserve_color: str = "none"
    masks: tuple[File, ...] = ()

    @property
    def blend(self) -> tuple[float, ...]:
        """The weights of styles that are blended; () with masks, since a region takes one style."""
        return () if self.masks else self.style_weights

    @property
    def name(self) -> str:
        """Name of the picture's file. JPEG and WebP stay what they are, everything else becomes PNG."""
        stem, _, suffix = self.content.name.rpartition(".")
        suffix = suffix.lower() if suffix.lower() in ("jpg", "jpeg", "webp") else "png"
        styles = [style.name.rpartition(".")[0] or style.name.lstrip("@") for style in self.styles] or [self.method]
        return f"{'--'.join([stem or self.content.name, *styles])[:120]}.{suffix}"

    def checked(self) -> Settings:
        """The settings of the method.

        Raises:
            QuantArtError: a setting is out of range, or styles are missing or too many.
        """
        method = find(self.method)
        if method.needs_style and not self.styles:
            raise QuantArtError("no style was given: choose one of the gallery, or add a picture of your own")
        return method.settings.of(self.settings)

    def changed(self) -> dict[str, Any]:
        """The settings that differ from the method's defaults."""
        defaults = {item.name: item.default for item in fields(find(self.method).settings)}
        return {name: value for name, value in self.settings.items() if value != defaults.get(name)}

    def command(self, machine: Mapping[str, Any]) -> str:
        """The command that paints this picture. ``machine``: options of the page that are not its defaults."""
        method = find(self.method)
        words = ["quantart", method.command_name, self.content.name, *(style.name for style in self.styles)]
        words += ["-o", self.name]
        options = {**self.changed(), **self._options(), **machine}
        if len(set(self.blend)) > 1:
            options["style-shares"] = ",".join(f"{share:g}" for share in self.blend)
        for name, value in options.items():
            words += [f"--{name.replace('_', '-')}", f"{value:g}" if isinstance(value, float) else str(value)]
        for mask in self.masks:
            words += ["--mask", mask.name]
        return shlex.join(words)

    def python(self, machine: Mapping[str, Any]) -> str:
        """The same in Python."""
        loading = {name: value for name, value in machine.items() if name not in ("tile", "seed")}
        painting = {**self._options(), **{name: machine[name] for name in ("tile", "seed") if name in machine}}
        styles: Any = [style.name for style in self.styles]
        lines = ["import quantart_cli as quantart", "", f"model = quantart.load({_arguments(self.method, **loading)})"]
        given = [repr(self.content.name)]
        if styles and len(set(self.blend)) > 1:
            lines.append(f"style = model.encode_style({styles}, weights={list(self.blend)})")
            given.append("style")
        elif styles:
            given.append(repr(styles if len(styles) > 1 else styles[0]))
        if self.masks:
            painting["masks"] = [mask.name for mask in self.masks]
        arguments = [*given, *(f"{name}={value!r}" for name, value in {**painting, **self.changed()}.items())]
        lines.append(f"picture = model.stylize({', '.join(arguments)})")
        return "\n".join([*lines, f"picture.save({self.name!r})"])

    def _options(self) -> dict[str, Any]:
        found: dict[str, Any] = {} if self.size is None else {"size": self.size}
        return found if self.preserve_color == "none" else {**found, "preserve_color": self.preserve_color}


def _arguments(first: str, **others: Any) -> str:
    return ", ".join([repr(first), *(f"{name}={value!r}" for name, value in others.items())])
