"""The Hub carrier: the real huggingface_hub client, and our own check of every byte it brings.

The client honours HF_HOME, HF_HUB_CACHE, HF_ENDPOINT, HF_TOKEN and HF_HUB_OFFLINE. It compares sizes only, so the
sha256 is ours to check. Whatever it raises becomes one line: its exceptions differ from version to version, so they
are told apart by HTTP status and by name.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import re
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from quantart_cli.checkpoints.manifest import Hub
from quantart_cli.checkpoints.streams import Progress, git_sha1_of, other_bytes, sha256_of, watching
from quantart_cli.errors import QuantArtError

_REFERENCE = re.compile(
    r"hf://(?:(?P<type>models|datasets|spaces)/)?(?P<repo>[^/@]+/[^/@]+)(?:@(?P<revision>[^/@]+))?/(?P<file>[^@]+)"
)
_NAME = re.compile(r"[A-Za-z0-9][\w.-]{0,95}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_SHA1 = re.compile(r"[0-9a-f]{40}")
_OFFLINE = "it is not in the Hub's cache, and the network is not asked (--offline or HF_HUB_OFFLINE)"
_NO_CONNECTION = "no connection: check the network and HF_ENDPOINT"
_BROKE_OFF = "the connection broke off: try again"
_ATTEMPTS = 5


class _BrokeOff(QuantArtError):
    """A download that can go on."""


@dataclass(frozen=True)
class HubReference:
    """A file of the Hub that a person named: ``hf://owner/repo[@revision]/file.safetensors``."""

    repo_id: str
    filename: str
    repo_type: str = "model"
    revision: str = "main"

    def __str__(self) -> str:
        prefix = "" if self.repo_type == "model" else f"{self.repo_type}s/"
        return f"hf://{prefix}{self.repo_id}@{self.revision}/{self.filename}"

    @property
    def key(self) -> str:
        """What it is called in the cache: readable, and different for every reference on any file system."""
        readable = re.sub(r"[^a-z0-9]+", "-", self.repo_id.lower())
        return f"hub-{readable}-{hashlib.sha256(str(self).encode()).hexdigest()[:16]}"

    @property
    def hub(self) -> Hub:
        return Hub(self.repo_id, self.filename, self.repo_type, self.revision)


@dataclass(frozen=True)
class Brought:
    """A file of the Hub whose bytes are those its checksum names."""

    path: Path
    commit: str


def parse_reference(text: str) -> HubReference:
    """``hf://owner/repo[@revision]/file.safetensors``; ``hf://datasets/…`` and ``hf://spaces/…`` too.

    Raises:
        QuantArtError: it is of another form, or names another kind of file.
    """
    form = "hf://owner/repo/file.safetensors or hf://owner/repo@revision/file.safetensors"
    match = _REFERENCE.fullmatch(text)
    if match is None:
        raise QuantArtError(f"{text!r} is no file of the Hub: write {form}")
    repo, file, revision = match["repo"], match["file"], unquote(match["revision"] or "main")
    names = [*repo.split("/"), *revision.split("/")]
    parts = file.split("/")
    strange = any(not _NAME.fullmatch(name) or ".." in name for name in names)
    if strange or any(part in ("", ".", "..") or re.search(r"[\\:\x00-\x1f]", part) for part in parts):
        raise QuantArtError(f"{text!r} is no file of the Hub: write {form}")
    if not file.endswith(".safetensors"):
        raise QuantArtError(f"{text!r} must end in .safetensors: quantart convert makes one of a checkpoint")
    return HubReference(repo, file, (match["type"] or "models").removesuffix("s"), revision)


def describe(carrier: Hub) -> str:
    """What a line calls the carrier."""
    kind = "" if carrier.repo_type == "model" else f"{carrier.repo_type} "
    return f"the Hub ({kind}{carrier.repo_id})"


def cache_dir() -> Path:
    """Folder of the client's own cache."""
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE)


def forced_offline() -> bool:
    """Whether HF_HUB_OFFLINE is set."""
    from huggingface_hub import constants

    return bool(constants.HF_HUB_OFFLINE)


def is_cached(carrier: Hub) -> bool:
    """Whether the client has the file in its cache, so that it will not be downloaded."""
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(
        carrier.repo_id,
        carrier.filename,
        cache_dir=cache_dir(),
        revision=carrier.revision,
        repo_type=carrier.repo_type,
    )
    return isinstance(found, str)


def bring(
    carrier: Hub, sha256: str, size: int | None = None, *, offline: bool = False, progress: Progress | None = None
) -> Path:
    """The file in the client's cache, with exactly these bytes.

    A file that is there already and right costs no network. One with wrong bytes is downloaded once again, and removed
    if it stays wrong; when the Hub itself says that it holds another file, nothing is downloaded.

    Raises:
        QuantArtError: in one line, why this carrier brings nothing.
    """
    stale = is_cached(carrier)
    if stale:
        path = _download(carrier, size, offline=True, progress=progress)
        if sha256_of(path, progress) == sha256:
            _tidy(path)
            return path
        if offline:
            raise QuantArtError("its file in the Hub's cache is damaged: run without --offline")
    elif offline:
        raise QuantArtError(_OFFLINE)
    said = _metadata(carrier)
    if _SHA256.fullmatch(said.checksum) and said.checksum != sha256:
        raise QuantArtError(f"it holds another file ({other_bytes(said.checksum, sha256)})")
    return _checked(carrier, sha256, said.size, stale, progress)


def bring_reference(reference: HubReference, *, offline: bool = False, progress: Progress | None = None) -> Brought:
    """The file of a reference, checked against the Hub's own checksum of it.

    Raises:
        QuantArtError: in one line, why not.
    """
    carrier = reference.hub
    if offline:
        path = _download(carrier, None, offline=True, progress=progress)
        checksum = Path(os.path.realpath(path)).name  # the client names its files so
        if not _is_checksum(checksum):
            raise QuantArtError("the Hub's cache has no checksum of it: run once without --offline")
        if not _matches(path, checksum, progress):
            raise QuantArtError("its file in the Hub's cache is damaged: run without --offline")
        return Brought(path, _commit_of(path))
    said = _metadata(carrier)
    if not _is_checksum(said.checksum):
        raise QuantArtError("the Hub names no checksum of it, so its bytes cannot be verified")
    path = _checked(carrier, said.checksum, said.size, False, progress)
    if _commit_of(path) != said.commit:
        raise QuantArtError("it changed on the Hub just now: try again")
    return Brought(path, said.commit)


def _checked(carrier: Hub, checksum: str, size: int | None, force: bool, progress: Progress | None) -> Path:
    """Download; go on when the connection breaks off; once more if the bytes are wrong, and then remove them."""
    wrong = False
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            path = _download(carrier, size, force=force or wrong, progress=progress)
        except _BrokeOff:  # newer versions of the client have resumed some times themselves
            if attempt == _ATTEMPTS:
                raise
            continue
        if _matches(path, checksum, progress):
            _tidy(path)
            return path
        if wrong or force:
            break
        wrong = True
    found = sha256_of(path) if len(checksum) == 64 else git_sha1_of(path)
    _discard(path)
    raise QuantArtError(f"it brought other bytes ({other_bytes(found, checksum)}): thrown away")


def _is_checksum(text: str) -> bool:
    return _SHA256.fullmatch(text) is not None or _SHA1.fullmatch(text) is not None


def _matches(path: Path, checksum: str, progress: Progress | None) -> bool:
    return (sha256_of(path, progress) if len(checksum) == 64 else git_sha1_of(path)) == checksum


@dataclass(frozen=True)
class _Said:
    """What the Hub says of a file: sha256, or git's sha1 for a small one; commit; size."""

    checksum: str
    commit: str
    size: int | None


def _metadata(carrier: Hub) -> _Said:
    """One request; unlike a download by the client it is not repeated for half a minute when nobody answers."""
    from huggingface_hub import constants, get_hf_file_metadata, hf_hub_url

    with _calm(carrier):
        url = hf_hub_url(
            carrier.repo_id,
            carrier.filename,
            repo_type=carrier.repo_type,
            revision=carrier.revision,
            endpoint=constants.ENDPOINT,
        )
        said = get_hf_file_metadata(url)
    if not said.commit_hash or not _SHA1.fullmatch(said.commit_hash) or not said.etag:
        raise QuantArtError("its answer names neither commit nor checksum: check HF_ENDPOINT and the proxy")
    return _Said(said.etag, said.commit_hash, said.size)


def _download(
    carrier: Hub, size: int | None, *, offline: bool = False, force: bool = False, progress: Progress | None
) -> Path:
    """The client's own download, or with ``offline`` what its cache has."""
    from huggingface_hub import constants, hf_hub_download
    from huggingface_hub.file_download import repo_folder_name

    folder = cache_dir()
    blobs = folder / repo_folder_name(repo_id=carrier.repo_id, repo_type=carrier.repo_type) / "blobs"
    start = time.time() - 2  # clocks of file systems are coarse

    def arrived() -> int:
        found = [path.stat() for path in blobs.glob("*.incomplete")]
        return max((each.st_size for each in found if each.st_mtime > start), default=0)

    with _calm(carrier), watching(arrived, size, "downloading", progress):
        return Path(
            hf_hub_download(
                carrier.repo_id,
                carrier.filename,
                repo_type=carrier.repo_type,
                revision=carrier.revision,
                cache_dir=folder,
                endpoint=constants.ENDPOINT,
                force_download=force,
                local_files_only=offline,
            )
        )


def _commit_of(path: Path) -> str:
    """Commit of a file in the client's cache, …/snapshots/<commit>/…"""
    parts = path.parts
    return parts[parts.index("snapshots") + 1]


def _tidy(path: Path) -> None:
    """Remove what killed downloads of this very file left in the client's cache."""
    blob = Path(os.path.realpath(path))
    for left in blob.parent.glob(f"{blob.name}.*incomplete"):
        with contextlib.suppress(OSError):
            left.unlink()


def _discard(path: Path) -> None:
    """Remove a file from the client's cache: the pointer, and every file or link it leads to."""
    while True:
        leads = path.parent / os.readlink(path) if path.is_symlink() else None
        with contextlib.suppress(OSError):
            path.unlink()
        if leads is None:
            return
        path = Path(os.path.normpath(leads))


@contextmanager
def _calm(carrier: Hub) -> Iterator[None]:
    """The client without its bars, log lines and warnings, its exceptions as one sentence."""
    from huggingface_hub.utils import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars, logging

    verbosity, bars = logging.get_verbosity(), not are_progress_bars_disabled()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            logging.set_verbosity(logging.CRITICAL)
            disable_progress_bars()
            yield
    except Exception as error:  # of the client alone: nothing of ours runs inside
        said = explain(error, carrier)
        raise (_BrokeOff if said == _BROKE_OFF else QuantArtError)(said) from error
    finally:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            logging.set_verbosity(verbosity)
            if bars:
                enable_progress_bars()


_BY_STATUS = {
    401: "HTTP 401: there is no such repository, or it is private: check the name, or set HF_TOKEN",
    403: "HTTP 403: it may not be read with this token: accept its terms on the Hub, or set another HF_TOKEN",
    404: "HTTP 404: there is no such repository or file",
    429: "HTTP 429: the Hub asks for fewer requests: wait some minutes, or set HF_TOKEN",
}
_BY_NAME = (
    ("GatedRepo", "it is gated: accept its terms on the Hub and set HF_TOKEN"),
    ("RevisionNotFound", "it has no revision {revision}"),
    ("Offline", _OFFLINE),
    ("NewConnection", _NO_CONNECTION),  # that urllib3 derives from its timeout
    ("Timeout", "no answer in time: try again, or give HF_HUB_DOWNLOAD_TIMEOUT more seconds"),
    ("Proxy", "the proxy does not answer: check HTTPS_PROXY"),
    ("SSL", "its certificate is not accepted: check SSL_CERT_FILE and the clock"),
    ("RemoteProtocol", _BROKE_OFF),
    ("ChunkedEncoding", _BROKE_OFF),
    ("IncompleteRead", _BROKE_OFF),
    ("Connect", _NO_CONNECTION),
    ("FileMetadata", "its answer is not that of a Hub: check HF_ENDPOINT and the proxy"),
)


def explain(error: BaseException, carrier: Hub) -> str:
    """What an exception of the client means, and what to do, in one line."""
    chain = list(_causes(error))
    status = next((code for code in map(_status, chain) if code is not None), None)
    names = [kind.__name__ for each in chain for kind in type(each).__mro__]
    if status == 404 and any("EntryNotFound" in name for name in names):
        return f"HTTP 404: it has no file {carrier.filename}"
    for part, sentence in _BY_NAME[:2]:
        if any(part in name for name in names):
            return sentence.format(revision=carrier.revision)
    if status is not None:
        server = f"HTTP {status}: the Hub has trouble: try again later"
        return _BY_STATUS.get(status) or (server if status >= 500 else f"HTTP {status}")
    for each in chain:
        if isinstance(each, OSError) and each.errno == errno.ENOSPC:
            return f"the disk of the Hub's cache {cache_dir()} is full: free some space, or set HF_HUB_CACHE"
        if isinstance(each, OSError) and each.filename and each.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            return f"the Hub's cache {cache_dir()} cannot be written ({each.strerror}): set HF_HUB_CACHE"
    for part, sentence in _BY_NAME[2:]:
        if any(part in name for name in names):
            return sentence.format(revision=carrier.revision)
    if "Consistency check failed" in str(error):
        return "the file came incomplete: try again"
    if any("LocalEntryNotFound" in name for name in names):
        return _OFFLINE
    first = (str(error).strip() or type(error).__name__).splitlines()[0]
    return f"{type(error).__name__}: {first}"


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def _status(error: BaseException) -> int | None:
    response: Any = getattr(error, "response", None)
    code = getattr(response, "status_code", None)
    return code if isinstance(code, int) else None
