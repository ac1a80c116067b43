"""The manifest of weights: what each file is for, its sha256, licence and source."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from quantart_cli.errors import QuantArtError, suggest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_PACKAGE = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Artefact:
    """One file of weights.

    Attributes:
        name: what commands call it, for example ``adain-decoder``.
        purpose: what it is for, one line.
        file: file name in the weights folder.
        bytes: size of that file.
        sha256: of that file, 64 hexadecimal digits.
        licence: under which it may be used.
        source: where it comes from, one line.
    """

    name: str
    purpose: str
    file: str
    bytes: int
    sha256: str
    licence: str
    source: str

    @property
    def path(self) -> Path:
        """Where the file lies, whether it is there or not."""
        return weights_folder() / self.file


@cache
def weights_folder() -> Path:
    """Folder of the embedded weights: inside an installed package, beside the package in a checkout."""
    installed = _PACKAGE / "weights"
    return installed if installed.is_dir() else _PACKAGE.parent / "weights"


@cache
def manifest() -> dict[str, Artefact]:
    """All artefacts by name, in the order of ``manifest.toml``.

    Raises:
        QuantArtError: the manifest is missing, as in a package that was built without it.
    """
    path = weights_folder() / "manifest.toml"
    try:
        rows = tomllib.loads(path.read_text("utf-8"))["artefact"]
    except FileNotFoundError:
        raise QuantArtError(f"{path} is missing: install quantart-cli again, this copy is incomplete") from None
    return {row["name"]: Artefact(**row) for row in rows}


def artefact(name: str) -> Artefact:
    """The artefact of that name.

    Raises:
        QuantArtError: there is none; the nearest name is suggested.
    """
    known = manifest()
    if name not in known:
        raise QuantArtError(f"weights {name!r} are not known: {suggest(name, known)}")
    return known[name]
