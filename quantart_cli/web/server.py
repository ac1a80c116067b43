"""The server of the page: private folder, guard of requests, and the address it listens on."""

from __future__ import annotations

import hmac
import ipaddress
import os
import shutil
import socket
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from quantart_cli.errors import QuantArtError

MAX_BYTES = 100_000_000
"""Largest file that is taken, and largest other request."""
PORT = 7860
_POLICY = (
    "default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:; frame-ancestors 'none'; form-action 'self'; "
    "base-uri 'self'; object-src 'none'"
)
_HEADERS = [
    (b"content-security-policy", _POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
]
_REFUSED = ("/gradio_api/proxy=", "/gradio_api/file=http", "/gradio_api/file/http")
"""Addresses at which Gradio would fetch others for the browser."""


@dataclass(frozen=True)
class Address:
    """Where the page is served.

    Attributes:
        host: name or IP address to listen on.
        port: None: 7860, or a free one where that is taken.
        password: asked for before the page; None: nothing is asked for.
    """

    host: str = "127.0.0.1"
    port: int | None = None
    password: str | None = None

    @property
    def local(self) -> bool:
        """Whether only this machine can reach it."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"

    def check(self) -> None:
        """Raises QuantArtError if others could use the page without a password."""
        if not self.local and not self.password:
            raise QuantArtError(
                f"host {self.host} lets everybody in the network use this page and this machine: give a password too"
            )

    def listen(self) -> socket.socket:
        """The socket to serve on.

        Raises:
            QuantArtError: the port is taken, or there is no such address here.
        """
        for port in (self.port,) if self.port is not None else (PORT, 0):
            try:
                family = socket.getaddrinfo(self.host, port, type=socket.SOCK_STREAM)[0][0]
                return socket.create_server((self.host, port), family=family)
            except OSError as error:
                reason = error.strerror
        raise QuantArtError(f"cannot listen on {self.host}, port {self.port or PORT}: {reason}: give another port")


@contextmanager
def private_folder() -> Iterator[Path]:
    """A folder that only this user can read, for uploads and results. Gradio stores its files there, too.

    It is removed at the end.
    """
    folder = Path(tempfile.mkdtemp(prefix="quantart-ui-")).resolve()
    ours = {"GRADIO_TEMP_DIR": str(folder), "GRADIO_EXAMPLES_CACHE": str(folder), "GRADIO_ANALYTICS_ENABLED": "False"}
    before = {name: os.environ.get(name) for name in ours}
    os.environ.update(ours)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


class Guard:
    """ASGI middleware: refuses what a page on this machine never asks for, and adds headers.

    * Other names of this host, when it is local: a foreign page could give its own name our address (DNS rebinding).
    * Requests that another site's page sends.
    * Requests to fetch other addresses, and too large ones.

    The headers let the browser load nothing from elsewhere.
    """

    def __init__(self, app: Any, local: bool) -> None:
        self.app, self.local = app, local

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        status = self._refusal(scope)
        if status:
            await send({"type": "http.response.start", "status": status, "headers": _HEADERS})
            await send({"type": "http.response.body", "body": b"refused"})
            return
        left = float("inf") if scope["path"].startswith("/gradio_api/upload") else MAX_BYTES

        async def limited() -> Any:
            nonlocal left
            message = await receive()
            left -= len(message.get("body", b""))
            return message if left >= 0 else {"type": "http.disconnect"}

        async def with_headers(message: Any) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", []), *_HEADERS]
            await send(message)

        await self.app(scope, limited, with_headers)

    def _refusal(self, scope: Any) -> int:
        """The status to answer with; 0: the request is fine."""
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        host = headers.get("host", "")
        if self.local and urlsplit(f"//{host}").hostname not in ("127.0.0.1", "localhost", "::1"):
            return 403
        origin = headers.get("origin")
        if origin is not None and urlsplit(origin).netloc != host:
            return 403
        return 404 if scope["path"].lower().startswith(_REFUSED) else 0


def make_server(page: Any, address: Address) -> Any:
    """The server of a page, not yet running: a ``uvicorn.Server``."""
    import gradio as gr
    import uvicorn
    from fastapi import FastAPI

    from quantart_cli.web.page import CSS

    def is_right(name: str, password: str) -> bool:
        return hmac.compare_digest(password.encode(), str(address.password).encode())

    _fetch_nothing()
    page.has_launched = True  # or Gradio checks no paths
    app = gr.mount_gradio_app(
        FastAPI(openapi_url=None),
        page,
        path="/",
        server_name=address.host,
        auth=is_right if address.password else None,
        auth_message="quantart: any name, and the password.",
        allowed_paths=[],
        blocked_paths=[],
        max_file_size=MAX_BYTES,
        show_error=False,
        ssr_mode=False,
        enable_monitoring=False,
        run_history=False,
        mcp_server=False,
        pwa=False,
        footer_links=["api", "settings"],
        theme=gr.themes.Soft(font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"]),
        css=CSS,
    )
    # Browsers keep a connection open: at the end nobody waits for them.
    return uvicorn.Server(uvicorn.Config(Guard(app, address.local), log_level="error", timeout_graceful_shutdown=1))


def _fetch_nothing() -> None:
    """Gradio downloads inputs that a client names by URL. Here nothing is fetched."""
    from gradio import processing_utils

    async def refuse(url: str, *_: Any, **__: Any) -> Any:
        raise QuantArtError(f"addresses are not fetched: upload the file, not {url[:200]}")

    processing_utils.async_ssrf_protected_get = refuse
    processing_utils.async_ssrf_protected_download = refuse


def gallery(folder: Path) -> list[Any]:
    """The presets, as files in the folder ``styles`` of the private folder."""
    from quantart_cli.presets import presets
    from quantart_cli.web.order import File

    found = []
    for name, preset in sorted(presets().items()):
        if preset.path.suffix.lower() not in (".jpg", ".jpeg", ".png", ".webp"):  # browsers show no others
            continue
        copy = folder / "styles" / f"{name}{preset.path.suffix}"
        copy.parent.mkdir(exist_ok=True)
        shutil.copyfile(preset.path, copy)
        found.append(File(str(copy), f"@{name}"))
    return found


def make_page(studio: Any, styles: list[Any]) -> Any:
    """The page with its events and calls: :class:`~quantart_cli.web.events.Events`."""
    from quantart_cli.web.api import add_calls
    from quantart_cli.web.events import Events
    from quantart_cli.web.page import Page

    events = Events(Page(studio, styles))
    add_calls(events)
    return events


def serve(
    address: Address, machine: dict[str, Any], models: dict[str, str], max_pixels: int, ready: Callable[[str], None]
) -> None:
    """Serve the page until the process is interrupted.

    Args:
        machine, models, max_pixels: as of :class:`~quantart_cli.web.studio.Studio`.
        ready: called with the address of the page.

    Raises:
        QuantArtError: Gradio is not installed, or the address cannot be listened on.
    """
    address.check()
    if find_spec("gradio") is None:
        raise QuantArtError("the page needs Gradio: pip install 'quantart-cli[ui]'")
    with private_folder() as folder, address.listen() as listening:
        from quantart_cli.web.studio import Studio

        events = make_page(Studio(folder, machine, models, max_pixels), gallery(folder))
        server = make_server(events.page.blocks, address)
        host, port = listening.getsockname()[:2]
        shown = f"[{host}]" if ":" in host else host
        ready(f"http://{shown}:{port}")
        server.run([listening])
