"""The Hub carrier: a thin client around ``huggingface_hub``, and our own check of every byte.

The client honours HF_HOME, HF_HUB_CACHE, HF_ENDPOINT, HF_TOKEN and HF_HUB_OFFLINE, resumes and locks. It compares sizes
only, so the sha256 is checked here. Its exceptions differ between versions: they are recognised by HTTP status and by
name, and become one line.
"""

from __future__ import annotations

import errno
import hashlib
import inspect
import logging
import os
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from quantart_cli.checkpoints.hashing import Progress, difference, git_sha1_of, sha256_of
from quantart_cli.checkpoints.manifest import Hub
from quantart_cli.errors import QuantArtError

_REFERENCE = re.compile(
    r"hf://(?:(?P<type>models|datasets|spaces)/)?(?P<repo>[^/@]+/[^/@]+)(?:@(?P<revision>[^/@]+))?/(?P<file>[^@]+)"
)
_NAME = re.compile(r"(?!.*\.\.)[A-Za-z0-9][\w.-]{0,95}")
_PART = re.compile(r"(?!\.{1,2}$)[^\\:\x00-\x1f]+")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_CHECKSUM = re.compile(r"[0-9a-f]{64}|[0-9a-f]{40}")
_BROKE_OFF = "the connection broke off: try again"
_ATTEMPTS = 5
_OFFLINE = "it is not in the Hub's cache, and the network is not used (--offline or HF_HUB_OFFLINE)"


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
        """Its name in the cache: readable, and different for every reference on any file system."""
        readable = re.sub(r"[^a-z0-9]+", "-", self.repo_id.lower())
        return f"hub-{readable}-{hashlib.sha256(str(self).encode()).hexdigest()[:16]}"

    @property
    def hub(self) -> Hub:
        return Hub(self.repo_id, self.filename, self.repo_type, self.revision)


def parse_reference(text: str) -> HubReference:
    """``hf://owner/repo[@revision]/file.safetensors``; also ``hf://datasets/…`` and ``hf://spaces/…``.

    Raises:
        QuantArtError: it has another form, or names another kind of file.
    """
    match = _REFERENCE.fullmatch(text)
    file, revision = (match["file"], unquote(match["revision"] or "main")) if match else ("", "")
    names = [*match["repo"].split("/"), *revision.split("/")] if match else []
    if not match or not all(map(_NAME.fullmatch, names)) or not all(map(_PART.fullmatch, file.split("/"))):
        form = "hf://owner/repo/file.safetensors or hf://owner/repo@revision/file.safetensors"
        raise QuantArtError(f"{text!r} is not a file of the Hub: write {form}")
    if not file.endswith(".safetensors"):
        raise QuantArtError(f"{text!r} must end in .safetensors: quantart convert makes one of a checkpoint")
    return HubReference(match["repo"], file, (match["type"] or "models").removesuffix("s"), revision)


def cache_dir() -> Path:
    """Folder of the client's own cache."""
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE)


def forced_offline() -> bool:
    """Whether HF_HUB_OFFLINE is set."""
    from huggingface_hub import constants

    return bool(constants.HF_HUB_OFFLINE)


def is_cached(carrier: Hub) -> bool:
    """Whether the file is in the client's cache, so that it will not be downloaded."""
    from huggingface_hub import try_to_load_from_cache

    return isinstance(try_to_load_from_cache(filename=carrier.filename, cache_dir=cache_dir(), **_where(carrier)), str)


def download(
    carrier: Hub, sha256: str | None = None, *, offline: bool = False, progress: Progress | None = None
) -> tuple[Path, str]:
    """The file in the client's cache, verified, and its commit.

    A correct file that is already there needs no network when its sha256 is known. Wrong bytes are downloaded once
    again, and deleted if they are still wrong; when the Hub names another sha256, nothing is downloaded.

    Args:
        carrier: where the file is.
        sha256: of the file; None takes the Hub's own checksum.
        offline: use only the client's cache.
        progress: called with bytes.

    Raises:
        QuantArtError: why this carrier does not have the file, in one line.
    """
    cached = (offline or sha256 is not None) and is_cached(carrier)
    if cached:
        path = _client_download(carrier, offline=True)
        expected = sha256 or Path(os.path.realpath(path)).name  # the client names its files by their checksums
        if _checksum_of(path, expected, progress) == expected:
            _remove_partial(path)
            return path, _commit_of(path)
    if offline:
        raise QuantArtError("its file in the Hub's cache is damaged: run without --offline" if cached else _OFFLINE)
    checksum = _checksum_of_hub(carrier)
    if sha256 is not None and _SHA256.fullmatch(checksum) and checksum != sha256:
        raise QuantArtError(f"it holds another file ({difference(checksum, sha256)})")
    expected = sha256 or checksum
    if not _CHECKSUM.fullmatch(expected):
        raise QuantArtError("the Hub names no checksum of it, so its bytes cannot be verified")
    for force in (cached, True):
        path = _client_download(carrier, force=force, progress=progress)
        found = _checksum_of(path, expected, progress)
        if found == expected:
            _remove_partial(path)
            return path, _commit_of(path)
    for each in {path, Path(os.path.realpath(path))}:
        with suppress(OSError):
            each.unlink()
    raise QuantArtError(f"it has other bytes ({difference(found, expected)}): deleted")


def _checksum_of(path: Path, like: str, progress: Progress | None) -> str:
    """sha256, or git's sha1 for a file that the Hub does not keep in large file storage."""
    return sha256_of(path, progress) if len(like) == 64 else git_sha1_of(path)


def _checksum_of_hub(carrier: Hub) -> str:
    """What the Hub names as the checksum, by one request, which fails at once when there is no connection."""
    from huggingface_hub import constants, get_hf_file_metadata, hf_hub_url

    with _client_errors(carrier):
        url = hf_hub_url(filename=carrier.filename, endpoint=constants.ENDPOINT, **_where(carrier))
        found = get_hf_file_metadata(url)
    if not found.commit_hash or not found.etag:
        raise QuantArtError("its answer names neither commit nor checksum: check HF_ENDPOINT and the proxy")
    return str(found.etag)


def _client_download(
    carrier: Hub, *, offline: bool = False, force: bool = False, progress: Progress | None = None
) -> Path:
    """The client's own download, or with ``offline`` what its cache has."""
    from huggingface_hub import constants, hf_hub_download

    options: dict[str, Any] = {"force_download": force, "local_files_only": offline, "endpoint": constants.ENDPOINT}
    if progress is not None and "tqdm_class" in inspect.signature(hf_hub_download).parameters:  # from 1.2 on
        options["tqdm_class"] = _bar(progress)
    for attempt in range(_ATTEMPTS):
        try:
            with _client_errors(carrier):
                where = _where(carrier)
                return Path(hf_hub_download(filename=carrier.filename, cache_dir=cache_dir(), **where, **options))
        except QuantArtError as error:  # versions before 1.2 do not go on by themselves
            if str(error) != _BROKE_OFF or attempt == _ATTEMPTS - 1:
                raise
            options["force_download"] = False
    raise AssertionError


def _where(carrier: Hub) -> dict[str, Any]:
    return {"repo_id": carrier.repo_id, "repo_type": carrier.repo_type, "revision": carrier.revision}


def _bar(progress: Progress) -> type[Any]:
    """A tqdm class that draws nothing and calls ``progress``."""
    from tqdm import tqdm

    class Bar(tqdm):  # type: ignore[type-arg,misc,unused-ignore]
        def __init__(self, *arguments: Any, **options: Any) -> None:
            options.pop("name", None)
            super().__init__(*arguments, **{**options, "disable": True})
            self.bytes, self.bytes_total = options.get("initial") or 0, options.get("total")

        def update(self, n: float | None = 1) -> bool | None:
            self.bytes += n or 0
            progress(int(self.bytes), self.bytes_total, "downloading")
            return None

    return Bar


def _commit_of(path: Path) -> str:
    """Commit of a file in the client's cache, …/snapshots/<commit>/…"""
    return path.parts[path.parts.index("snapshots") + 1]


def _remove_partial(path: Path) -> None:
    """Remove what killed downloads of this file left in the client's cache."""
    blob = Path(os.path.realpath(path))
    for left in blob.parent.glob(f"{blob.name}.*incomplete"):
        with suppress(OSError):
            left.unlink()


@contextmanager
def _client_errors(carrier: Hub) -> Iterator[None]:
    """Run the client without its bars, log lines and warnings; its exceptions become one line."""
    utils: Any = import_module("huggingface_hub.utils")

    bars = not utils.are_progress_bars_disabled()
    verbosity = utils.logging.get_verbosity()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            utils.logging.set_verbosity(logging.CRITICAL)
            utils.disable_progress_bars()
            yield
        except Exception as error:
            raise QuantArtError(explain(error, carrier)) from error
        finally:
            utils.logging.set_verbosity(verbosity)
            if bars:
                utils.enable_progress_bars()


_CONNECTION = "no connection: check the network and HF_ENDPOINT"
# The first pattern that is found in "STATUS ERRNO class names: message" decides.
_EXPLANATIONS = (
    ("^404 .*(?<!Local)EntryNotFound", "HTTP 404: it has no file {carrier.filename}"),
    ("GatedRepo", "it is gated: accept its terms on the Hub and set HF_TOKEN"),
    ("RevisionNotFound", "it has no revision {carrier.revision}"),
    ("^401", "HTTP 401: there is no such repository, or it is private: check the name, or set HF_TOKEN"),
    ("^403", "HTTP 403: it may not be read with this token: accept its terms on the Hub, or set another HF_TOKEN"),
    ("^404", "HTTP 404: there is no such repository or file"),
    ("^429", "HTTP 429: the Hub asks for fewer requests: wait some minutes, or set HF_TOKEN"),
    (r"^5\d\d", "HTTP {status}: the Hub has trouble: try again later"),
    (r"^\d", "HTTP {status}"),
    ("^ ENOSPC", "the disk of the Hub's cache {cache} is full: free some space, or set HF_HUB_CACHE"),
    ("^ (EACCES|EPERM|EROFS)", "the Hub's cache {cache} cannot be written: set HF_HUB_CACHE"),
    ("Consistency check failed", "the file is incomplete: try again"),
    ("Offline", _OFFLINE),
    ("NewConnection", _CONNECTION),  # urllib3 derives it from its timeout
    ("Timeout", "no answer in time: try again, or give HF_HUB_DOWNLOAD_TIMEOUT more seconds"),
    ("Proxy", "the proxy does not answer: check HTTPS_PROXY"),
    ("SSL", "its certificate is not accepted: check SSL_CERT_FILE and the clock"),
    ("RemoteProtocol|ChunkedEncoding|IncompleteRead", _BROKE_OFF),
    ("Connect", _CONNECTION),
    ("FileMetadata", "its answer is not that of a Hub: check HF_ENDPOINT and the proxy"),
    ("LocalEntryNotFound", _OFFLINE),
)


def explain(error: BaseException, carrier: Hub) -> str:
    """What an exception of the client means and what to do, in one line."""
    chain: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None and cause not in chain:
        chain.append(cause)
        cause = cause.__cause__ or cause.__context__
    codes = (getattr(getattr(each, "response", None), "status_code", None) for each in chain)
    status = next((str(code) for code in codes if isinstance(code, int)), "")
    numbers = (errno.errorcode.get(each.errno or 0, "") for each in chain if isinstance(each, OSError))
    names = " ".join(kind.__name__ for each in chain for kind in type(each).__mro__)
    message = (str(error).strip() or type(error).__name__).splitlines()[0]
    described = f"{status} {next(filter(None, numbers), '')} {names}: {message}"
    found = next((words for pattern, words in _EXPLANATIONS if re.search(pattern, described)), None)
    if found is None:
        return f"{type(error).__name__}: {message}"
    return found.format(carrier=carrier, status=status, cache=cache_dir())
