"""Servers on loopback for the tests of downloads: a Hub, a package index, and a cache and manifest of a test's own."""

from __future__ import annotations

import hashlib
import http.server
import io
import os
import tarfile
import threading
import time
import urllib.parse
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from quantart_cli.checkpoints import manifest as manifest_module

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def wait(seconds: float) -> None:
    """Sleep truly, also where a fixture lets time.sleep return at once."""
    threading.Event().wait(seconds)


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@dataclass
class Served:
    """A file of the loopback Hub, and what goes wrong with it."""

    data: bytes
    etag: str = ""  # what the Hub says the sha256 is
    size: int | None = None  # what it says the size is
    status: list[int] = field(default_factory=list)  # answered instead, one a request; the last one for ever
    error_code: str | None = None  # X-Error-Code, as the Hub sends it
    cut: list[int] = field(default_factory=list)  # a GET breaks off after so many bytes, one a request
    garbled: int = 0  # so many GETs have a wrong byte
    redirect: bool = False  # to another path, as to a CDN
    pause: float = 0.0  # seconds between the pieces of a GET
    large: bool = True  # in large file storage: the Hub's etag is its sha256

    def __post_init__(self) -> None:
        if not self.etag:
            git = hashlib.sha1(b"blob %d\0" % len(self.data) + self.data, usedforsecurity=False).hexdigest()
            self.etag = sha256(self.data) if self.large else git


class HubServer:
    """As much of a Hub as the client needs. ``files`` by path: owner/name/file, datasets/owner/name/file."""

    def __init__(self) -> None:
        self.files: dict[str, Served] = {}
        self.requests: list[str] = []
        self.tokens: set[str | None] = set()
        self.point_at: Callable[[str], None] = lambda address: None  # makes the client of this process ask there

    def downloads(self) -> int:
        """How often bytes of files were asked for."""
        return sum(line.startswith("GET") and ("/resolve/" in line or "cdn/" in line) for line in self.requests)

    def answer(self, request: http.server.BaseHTTPRequestHandler) -> None:
        path = urllib.parse.unquote(urllib.parse.urlsplit(request.path).path).lstrip("/")
        self.requests.append(f"{request.command} {path}")
        self.tokens.add(request.headers.get("Authorization"))
        cdn = path.startswith("cdn/")
        name = path.removeprefix("cdn/")
        if not cdn:
            repo, _, rest = path.partition("/resolve/")
            name = f"{repo}/{rest.partition('/')[2]}"
        found = self.files.get(name)
        if found is None:
            return _refuse(request, 404, "EntryNotFound")
        if found.status:
            status = found.status.pop(0) if len(found.status) > 1 else found.status[0]
            if status != 200:
                return _refuse(request, status, found.error_code)
        headers = {"X-Repo-Commit": COMMIT, "Accept-Ranges": "bytes"}
        headers["X-Linked-Etag" if found.large else "ETag"] = f'"{found.etag}"'
        headers["X-Linked-Size"] = str(len(found.data) if found.size is None else found.size)
        if found.redirect and not cdn:
            host = request.headers["Host"]
            return _head(request, 302, {**headers, "Location": f"http://{host}/cdn/{name}", "Content-Length": "0"})
        self._send(request, found, headers)

    @staticmethod
    def _send(request: http.server.BaseHTTPRequestHandler, found: Served, headers: dict[str, str]) -> None:
        begin = 0
        if wanted := request.headers.get("Range"):
            begin = int(wanted.removeprefix("bytes=").rstrip("-"))
        data = found.data[begin:]
        if request.command == "GET" and found.garbled:
            found.garbled -= 1
            data = data[:-1] + bytes([data[-1] ^ 1])
        if wanted:
            headers["Content-Range"] = f"bytes {begin}-{len(found.data) - 1}/{len(found.data)}"
        _head(request, 206 if wanted else 200, {**headers, "Content-Length": str(len(data))})
        if request.command != "GET":
            return
        if found.cut:
            request.wfile.write(data[: found.cut.pop(0)])
            request.close_connection = True
            return
        for first in range(0, len(data), 4096):
            request.wfile.write(data[first : first + 4096])
            wait(found.pause)


class IndexServer:
    """A simple package index: ``archives`` by file name, all of one package."""

    def __init__(self) -> None:
        self.archives: dict[str, bytes] = {}
        self.served: dict[str, bytes] = {}  # other bytes than those of ``archives``, by file name
        self.requests: list[str] = []

    def answer(self, request: http.server.BaseHTTPRequestHandler) -> None:
        path = urllib.parse.unquote(request.path)
        self.requests.append(f"{request.command} {path}")
        if path.startswith("/simple/"):
            links = "".join(f'<a href="/files/{name}">{name}</a>' for name in self.archives)
            body = f"<!DOCTYPE html><html><body>{links}</body></html>".encode()
            kind = "text/html"
        else:
            name = path.rpartition("/")[2]
            if name not in self.archives:
                return _refuse(request, 404, None)
            body, kind = self.served.get(name, self.archives[name]), "application/octet-stream"
        _head(request, 200, {"Content-Type": kind, "Content-Length": str(len(body))})
        request.wfile.write(body)


def _head(request: http.server.BaseHTTPRequestHandler, status: int, headers: dict[str, str]) -> None:
    request.send_response(status)
    for name, value in headers.items():
        request.send_header(name, value)
    request.end_headers()


def _refuse(request: http.server.BaseHTTPRequestHandler, status: int, code: str | None) -> None:
    named = {"X-Error-Code": code} if code else {}
    _head(request, status, {**named, "X-Repo-Commit": COMMIT, "Content-Length": "0"})


@contextmanager
def serving(server: HubServer | IndexServer) -> Iterator[str]:
    """Run it on a free port; gives its address."""

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            try:
                server.answer(self)
            except ConnectionError:  # the client went away
                self.close_connection = True

        do_HEAD = do_GET

        def log_message(self, *_: object) -> None:
            pass

    listening = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    listening.daemon_threads = True
    thread = threading.Thread(target=listening.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listening.server_address[1]}"
    finally:
        listening.shutdown()
        listening.server_close()
        thread.join()


# Fixtures, made known by the conftest.py of the folders that use them.


@pytest.fixture
def cache_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of the test's own; the Hub client has one too, beside it."""
    from huggingface_hub import constants

    folder = tmp_path / "cache"
    monkeypatch.setenv("QUANTART_CACHE", str(folder))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    for name in ("HF_TOKEN", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hf"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "no-token"))
    return folder


@pytest.fixture
def hub(cache_root: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    """A Hub on loopback that the real client of this process talks to; it does not wait between its attempts."""
    from huggingface_hub import constants, file_download

    sleep = time.sleep
    monkeypatch.setattr(time, "sleep", lambda seconds: sleep(min(seconds, 0.02)))
    server = HubServer()

    def point_at(address: str) -> None:
        for module in (constants, file_download):  # older versions import the names, newer ones look them up
            template = address + "/{repo_id}/resolve/{revision}/{filename}"
            monkeypatch.setattr(module, "ENDPOINT", address, raising=False)
            monkeypatch.setattr(module, "HUGGINGFACE_CO_URL_TEMPLATE", template, raising=False)
            monkeypatch.setattr(module, "DOWNLOAD_CHUNK_SIZE", 8192, raising=False)

    server.point_at = point_at
    with serving(server) as address:
        point_at(address)
        yield server


@pytest.fixture
def index(cache_root: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[IndexServer]:
    """A package index on loopback, the only one pip knows."""
    server = IndexServer()
    with serving(server) as address:
        for name in ("PIP_FIND_LINKS", "PIP_EXTRA_INDEX_URL", "PIP_NO_INDEX", "PIP_ONLY_BINARY"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
        monkeypatch.setenv("PIP_INDEX_URL", f"{address}/simple/")
        monkeypatch.setenv("PIP_RETRIES", "0")
        yield server


@pytest.fixture
def use_manifest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], Path]]:
    """Make a text the manifest: ``use_manifest(text)``."""

    def use(text: str) -> Path:
        path = tmp_path / "manifest.toml"
        path.write_text(text, "utf-8")
        monkeypatch.setattr(manifest_module, "manifest_path", lambda: path)
        manifest_module.manifest.cache_clear()
        return path

    yield use
    manifest_module.manifest.cache_clear()


def entry(name: str, data: bytes, *carriers: str, kind: str | None = None) -> str:
    """An artefact of a test's manifest, with these bytes."""
    converted = "" if kind is None else f'kind = "{kind}"\n'
    return (
        f'[[artefact]]\nname = "{name}"\npurpose = "a test"\nlicence = "none"\nsource = "here"\n{converted}'
        f'bytes = {len(data)}\nsha256 = "{sha256(data)}"\n\n' + "\n".join(carriers)
    )


def hub_carrier(repo_id: str, filename: str = "w.bin", **more: str) -> str:
    rows = {"via": "hub", "repo_id": repo_id, "filename": filename, **more}
    return "[[artefact.carrier]]\n" + "".join(f'{key} = "{value}"\n' for key, value in rows.items())


def index_carrier(archive: str, data: bytes, member: str, package: str = "tiny") -> str:
    return (
        f'[[artefact.carrier]]\nvia = "package-index"\npackage = "{package}"\nversion = "1.0"\n'
        f'archive = "{archive}"\narchive_sha256 = "{sha256(data)}"\narchive_bytes = {len(data)}\nmember = "{member}"\n'
    )


def tar_gz(members: dict[str, bytes | tarfile.TarInfo]) -> bytes:
    """A tar.gz; a member given as TarInfo (a link, say) goes in as it is."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, data in members.items():
            if isinstance(data, tarfile.TarInfo):
                tar.addfile(data)
            else:
                info = tarfile.TarInfo(name)
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def wheel(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def files_in(folder: Path) -> set[str]:
    """Names of all files below a folder, locks aside."""
    return {path.name for path in folder.rglob("*") if not path.is_dir() and path.suffix != ".lock"}
