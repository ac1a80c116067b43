"""A studio with two small methods of tests/quantart_toy.py beside those of quantart, and the page on a free port."""

from __future__ import annotations

import threading
from dataclasses import replace
from types import SimpleNamespace

import PIL.Image
import pytest

from quantart_cli import registry
from quantart_cli.web.order import File, Order
from quantart_cli.web.studio import Studio
from tests.conftest import scene
from tests.quantart_toy import FADE, TINT

MACHINE = {"device": "cpu", "precision": "fp32", "backend": "torch"}


@pytest.fixture(scope="package")
def _toys():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(registry, "_BUILT_IN", (TINT, replace(FADE, optimises=True), *registry._BUILT_IN))
        registry.methods.cache_clear()
        yield
    registry.methods.cache_clear()


@pytest.fixture
def studio(tmp_path, _toys):
    return Studio(tmp_path, dict(MACHINE), {}, max_pixels=100_000)


def picture_file(folder, name, size=(72, 48), seed=1) -> File:
    path = folder / name
    PIL.Image.fromarray(scene(*size, seed)).save(path)
    return File(str(path), name)


@pytest.fixture
def order(tmp_path):
    """To paint a small photograph with the method ``tint``."""
    content = picture_file(tmp_path, "a photo.png")
    return Order("tint", content, (picture_file(tmp_path, "ink.png", seed=2),), (1.0,), {"amount": 0.25})


@pytest.fixture(scope="package")
def served(_toys):
    """The page, served by a thread of this process without a password."""
    with serving() as found:
        yield found


class serving:
    """Serve the page in a thread: a context manager of its address, its folder, its page and its events."""

    def __init__(self, password: str | None = None) -> None:
        self.password = password

    def __enter__(self) -> SimpleNamespace:
        pytest.importorskip("gradio", reason="the extra ui is not installed")
        from quantart_cli.web.server import Address, gallery, make_page, make_server, private_folder

        self.folder = private_folder()
        folder = self.folder.__enter__()
        address = Address(port=0, password=self.password)
        listening = address.listen()
        events = make_page(Studio(folder, dict(MACHINE), {}, max_pixels=2_000_000), gallery(folder))
        self.server = make_server(events.page.blocks, address)
        self.thread = threading.Thread(target=self.server.run, args=([listening],), daemon=True)
        self.thread.start()
        while not self.server.started:
            self.thread.join(0.02)
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        return SimpleNamespace(url=url, folder=folder, page=events.page, events=events)

    def __exit__(self, *error: object) -> None:
        self.server.should_exit = True
        self.thread.join(20)
        self.folder.__exit__(*error)
