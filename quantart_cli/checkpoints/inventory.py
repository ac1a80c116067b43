"""Which weights are here: a row for each artefact of the manifest and each file of the Hub in the cache."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from quantart_cli.checkpoints import cache
from quantart_cli.checkpoints.hashing import Progress, sha256_of
from quantart_cli.checkpoints.hub import HubReference
from quantart_cli.checkpoints.manifest import Artefact, Hub, manifest
from quantart_cli.errors import QuantArtError

_ProgressOf = Callable[[str], Progress]
_THEIRS = "its repository's"


@dataclass(frozen=True)
class Row:
    """The state of one file of weights."""

    name: str  # of the artefact, or the reference
    purpose: str
    licence: str
    bytes: int | None  # of the file a carrier brings, or of the file here; None: not known
    exact: bool  # whether ``bytes`` is exact
    sha256: str | None  # that the file must have
    state: str  # "present" (not hashed), "verified", "damaged", "missing", or "by hand": nothing can be downloaded
    where: str  # "embedded", "cache", "Hub", "package index" or "by hand": where it is, or would come from
    path: Path | None = None  # of the file here
    note: str | None = None  # why it is damaged, or how to bring it

    @property
    def is_here(self) -> bool:
        return self.state in ("present", "verified", "damaged")


def survey(
    items: Iterable[Artefact | HubReference] | None = None,
    *,
    verify: bool = False,
    progress: _ProgressOf | None = None,
) -> list[Row]:
    """One row per item; by default the whole manifest in its order, then the files of the Hub in the cache.

    With ``verify`` every file that is here is hashed; without it, a file that has its size counts as present.
    ``progress`` gives, by name, what is called with the bytes hashed.
    """
    if items is None:
        references = [entry for entry in cache.entries() if "reference" in entry.source]
        rows = [_artefact(item, verify, progress) for item in manifest().values()]
        return rows + [_from_hub(entry, verify, progress) for entry in references]
    return [
        _artefact(item, verify, progress) if isinstance(item, Artefact) else _reference(item, verify, progress)
        for item in items
    ]


def _artefact(item: Artefact, verify: bool, progress: _ProgressOf | None) -> Row:
    def row(state: str, where: str, path: Path | None = None, note: str | None = None) -> Row:
        exact = item.bytes is not None
        return Row(item.name, item.purpose, item.licence, item.size, exact, item.sha256, state, where, path, note)

    if item.embedded is not None:
        again = "install quantart-cli again"
        try:
            right = not verify or sha256_of(item.path, progress and progress(item.name)) == item.sha256
            if right and item.path.stat().st_size == item.bytes:
                return row("verified" if verify else "present", "embedded", item.path)
        except FileNotFoundError:
            return row("missing", "embedded", None, again)
        except OSError as error:
            return row("damaged", "embedded", item.path, error.strerror)
        return row("damaged", "embedded", item.path, again)
    try:
        entry = cache.find(item.key)
    except QuantArtError as error:
        return row("damaged", "cache", None, str(error))
    if entry is None and not item.carriers:
        return row("by hand", "by hand", None, item.how)
    if entry is None:
        return row("missing", "Hub" if isinstance(item.carriers[0], Hub) else "package index")
    return row(*_state(entry, item.name, verify, progress))


def _reference(item: HubReference, verify: bool, progress: _ProgressOf | None) -> Row:
    state, note = "missing", None
    try:
        if (entry := cache.find(item.key)) is not None:
            return _from_hub(entry, verify, progress)
    except QuantArtError as error:
        state, note = "damaged", str(error)
    return Row(str(item), "a file of the Hub", _THEIRS, None, False, None, state, "Hub", None, note)


def _from_hub(entry: cache.Entry, verify: bool, progress: _ProgressOf | None) -> Row:
    name = entry.source["reference"]
    purpose = f"{entry.kind or 'tensors'}, commit {entry.source.get('commit', '')[:12]}"
    found = _state(entry, name, verify, progress)
    return Row(name, purpose, _THEIRS, entry.bytes, True, entry.sha256, *found)


def _state(
    entry: cache.Entry, name: str, verify: bool, progress: _ProgressOf | None
) -> tuple[str, str, Path, str | None]:
    """The last four fields of a row for a file in the cache."""
    try:
        right = cache.check(entry, progress and progress(name)) if verify else entry.path.stat().st_size == entry.bytes
    except (OSError, QuantArtError) as error:
        return "damaged", "cache", entry.path, str(error)
    if not right:
        return "damaged", "cache", entry.path, f"quantart download-weights {name} gets it again"
    return "verified" if verify else "present", "cache", entry.path, None
