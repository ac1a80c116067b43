"""Presets: the style pictures that come along, and those of a person's own folders, by name: ``@ink-wash``.

A style that is given as ``@name`` is the picture of that name, everywhere a style is taken. ``QUANTART_STYLES`` names
folders of one's own; their pictures come first.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from quantart_cli.errors import QuantArtError, suggest
from quantart_cli.files import printable

_PACKAGE = Path(__file__).resolve().parent
_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".avif", ".bmp", ".heic", ".heif")
_ABOUT = {
    "charcoal": "Charcoal and chalk on grey paper: soft greys, deep blacks, grain",
    "engraving": "Line engraving: swelling black lines that follow the forms",
    "expressionist": "Expressionist oil: knife patches in clashing colours, dark contours",
    "gouache": "Gouache: flat, matt, opaque strokes in terracotta, blue and lemon",
    "ink-wash": "East Asian ink-wash: mist, dry brush, much paper",
    "mosaic": "Roman mosaic: small stones in rows along the contours",
    "neoplastic": "Neoplastic: primary colours in a black grid",
    "pointillism": "Pointillism: dots of divided colour",
    "stained-glass": "Stained glass: glowing panes in black lead",
    "starry-oil": "Thick oil: swirling blues, yellow stars, wheat",
    "watercolour": "Watercolour: transparent washes, hard dried rims, white paper",
    "woodcut-wave": "Japanese woodcut: flat blues and cream, fine outlines",
}


@dataclass(frozen=True)
class Preset:
    """A style picture with a name.

    Attributes:
        name: without the ``@``.
        about: a few words; empty for a person's own.
        own: whether it is from a folder in ``QUANTART_STYLES``.
    """

    name: str
    path: Path
    about: str
    own: bool


def styles_folder() -> Path:
    """Folder of the styles that come along: inside an installed package, in ``examples`` of a checkout."""
    installed = _PACKAGE / "styles"
    return installed if installed.is_dir() else _PACKAGE.parent / "examples" / "styles"


def presets() -> dict[str, Preset]:
    """All presets by name, a person's own first. One's own replace those that come along under the same name.

    Raises:
        QuantArtError: a folder in ``QUANTART_STYLES`` does not exist.
    """
    found: dict[str, Preset] = {}
    for given in filter(None, os.environ.get("QUANTART_STYLES", "").split(os.pathsep)):
        folder = Path(given).expanduser()
        if not folder.is_dir():
            raise QuantArtError(f"QUANTART_STYLES names the folder {printable(given)}, which does not exist: change it")
        for path in _pictures(folder):
            found.setdefault(path.stem, Preset(path.stem, path, "", True))
    for path in _pictures(styles_folder()):
        found.setdefault(path.stem, Preset(path.stem, path, _ABOUT.get(path.stem, ""), False))
    return found


def _pictures(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in _SUFFIXES and path.name[0] != ".")


def preset_name(source: object) -> str | None:
    """The name in ``@name``; None for anything else. A file that is called so is a file."""
    if isinstance(source, str) and len(source) > 1 and source[0] == "@" and not os.path.lexists(source):
        return source[1:]
    return None


def locate(source: str) -> str:
    """The path of a style as it is given: of a preset its file, anything else unchanged.

    Raises:
        QuantArtError: there is no preset of that name, the nearest is suggested; or the ``@`` was forgotten.
    """
    name = preset_name(source)
    if name is None:
        if not os.path.lexists(source) and source in presets():
            raise QuantArtError(f"{printable(source)} does not exist: did you mean the style @{printable(source)}?")
        return source
    known = presets()
    if name not in known:
        raise QuantArtError(
            f"the style @{printable(name)} is not known: {suggest(f'@{name}', [f'@{each}' for each in known])}"
        )
    return str(known[name].path)
