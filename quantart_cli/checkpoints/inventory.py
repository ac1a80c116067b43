"""What weights are here: a row for each artefact of the manifest and each file of the Hub that is remembered."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from quantart_cli.checkpoints import cache
from quantart_cli.checkpoints.hub import HubReference
from quantart_cli.checkpoints.manifest import Artefact, Hub, manifest
from quantart_cli.checkpoints.streams import Progress, sha256_of
from quantart_cli.errors import QuantArtError

_THEIRS = "its repository's"


@dataclass(frozen=True)
class Row:
    """One file of weights as it stands.

    Attributes:
        name: of the artefact, or the reference.
        purpose, licence: of it.
        bytes: of the file a carrier brings, or of the file here when that is all that is known; None: not known.
        exact: whether ``bytes`` is exact.
        sha256: that file's, as it must be.
        state: "present" (not hashed), "verified", "damaged", "missing", or "by hand" where nothing can be downloaded.
        where: "embedded", "cache", "Hub", "package index" or "by hand": where it is, or would come from.
        path: of the file here, or None.
        note: what a person should know: why it is damaged, how to bring it.
    """

    name: str
    purpose: str
    licence: str
    bytes: int | None
    exact: bool
    sha256: str | None
    state: str
    where: str
    path: Path | None = None
    note: str | None = None

    @property
    def is_here(self) -> bool:
        return self.state in ("present", "verified", "damaged")


def survey(
    items: Iterable[Artefact | HubReference] | None = None,
    *,
    verify: bool = False,
    progress: Callable[[str], Progress] | None = None,
) -> list[Row]:
    """One row an item; without ``items`` all of the manifest in its order, then the remembered files of the Hub.

    Args:
        items: what to look at.
        verify: hash every file that is here. Without it a file counts as present when it has its size.
        progress: gives what is told the bytes hashed, by name.
    """
    if items is not None:
        return [
            _row(item, verify, progress) if isinstance(item, Artefact) else _reference(item, verify, progress)
            for item in items
        ]
    rows = [_row(item, verify, progress) for item in manifest().values()]
    remembered = [entry for entry in cache.entries() if "reference" in entry.source]
    return rows + [_remembered(entry, verify, progress) for entry in remembered]


def _row(item: Artefact, verify: bool, progress: Callable[[str], Progress] | None) -> Row:
    def row(state: str, where: str, path: Path | None = None, note: str | None = None) -> Row:
        exact = item.bytes is not None
        return Row(item.name, item.purpose, item.licence, item.size, exact, item.sha256, state, where, path, note)

    if item.embedded is not None:
        try:
            right = not verify or sha256_of(item.path, progress and progress(item.name)) == item.sha256
            here = item.path.stat().st_size == item.bytes and right
        except FileNotFoundError:
            return row("missing", "embedded", None, "install quantart-cli again")
        except OSError as error:
            return row("damaged", "embedded", item.path, error.strerror)
        state = "damaged" if not here else "verified" if verify else "present"
        return row(state, "embedded", item.path, None if here else "install quantart-cli again")
    if not item.carriers:
        return row("by hand", "by hand", None, item.how)
    source = "Hub" if isinstance(item.carriers[0], Hub) else "package index"
    try:
        entry = cache.find(item.key)
    except QuantArtError as error:
        return row("damaged", "cache", None, str(error))
    if entry is None:
        return row("missing", source)
    state, note = _state(entry, verify, progress and progress(item.name), f"quantart download-weights {item.name}")
    return row(state, "cache", entry.path, note)


def _reference(item: HubReference, verify: bool, progress: Callable[[str], Progress] | None) -> Row:
    state, note = "missing", None
    try:
        entry = cache.find(item.key)
        if entry is not None:
            return _remembered(entry, verify, progress)
    except QuantArtError as error:
        state, note = "damaged", str(error)
    return Row(str(item), "a file of the Hub", _THEIRS, None, False, None, state, "Hub", None, note)


def _remembered(entry: cache.Entry, verify: bool, progress: Callable[[str], Progress] | None) -> Row:
    name = entry.source["reference"]
    state, note = _state(entry, verify, progress and progress(name), f"quantart download-weights {name}")
    purpose = f"{entry.kind or 'tensors'}, commit {entry.source.get('commit', '')[:12]}"
    return Row(name, purpose, _THEIRS, entry.bytes, True, entry.sha256, state, "cache", entry.path, note)


def _state(entry: cache.Entry, verify: bool, progress: Progress | None, command: str) -> tuple[str, str | None]:
    try:
        if not verify and entry.path.stat().st_size == entry.bytes:
            return "present", None
        if verify and cache.check(entry, progress):
            return "verified", None
    except (OSError, QuantArtError) as error:
        return "damaged", str(error)
    return "damaged", f"{command} gets it again"
