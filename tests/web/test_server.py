"""What the server gives out, and what it refuses."""

import io
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time

import numpy as np
import PIL.Image
import pytest

from quantart_cli.checkpoints.manifest import artefact
from quantart_cli.errors import QuantArtError
from quantart_cli.web import server
from quantart_cli.web.server import Address, private_folder, serve
from tests.conftest import scene
from tests.web.conftest import serving

pytest.importorskip("gradio", reason="the extra ui is not installed")
httpx = pytest.importorskip("httpx")


@pytest.fixture
def http(served):
    with httpx.Client(base_url=served.url, timeout=60) as client:
        yield client


def upload(http, data, name="photo.png") -> str:
    answer = http.post("/gradio_api/upload", files={"files": (name, data)})
    assert answer.status_code == 200, answer.text
    return answer.json()[0]


def png(width=64, height=48) -> bytes:
    file = io.BytesIO()
    PIL.Image.fromarray(scene(64, 48, 1)).resize((width, height)).save(file, "png")
    return file.getvalue()


def sent(path) -> dict:
    return {"path": str(path), "meta": {"_type": "gradio.FileData"}}


def ask(http, event, data, session="s"):
    """Start an event of the page as the browser does, and return all that comes back."""
    joined = http.post("/gradio_api/queue/join", json={"data": data, "fn_index": event, "session_hash": session})
    if joined.status_code != 200:
        return joined.text
    with http.stream("GET", f"/gradio_api/queue/data?session_hash={session}") as lines:
        return "\n".join(lines.iter_lines())


def event_of(served, name):
    """The number of an event, and its inputs."""
    for number, fn in served.page.blocks.fns.items():
        if getattr(fn.fn, "__name__", "") == name:
            return number, fn.inputs
    raise AssertionError(name)


def values(served, inputs, **changes):
    """Values of the inputs of an event as a browser sends them at first."""
    page = served.page
    found = []
    for each in inputs:
        name = next((key for key in ("content", "method", "moment", "editor") if getattr(page, key) is each), "")
        name = name or ("style" if each is page.uploads[0] else "")
        value = None if each in (page.content, *page.uploads) else getattr(each, "value", None)
        found.append(changes.get(name, time.time() * 1000 if name == "moment" else value))
    return found


SECRETS = [__file__, "/etc/passwd", artefact("adain-decoder").path, os.path.join(os.getcwd(), "pyproject.toml")]


@pytest.mark.parametrize("path", SECRETS, ids=os.path.basename)
def test_no_path_of_the_machine_can_be_read(http, served, path):
    known = open(path, "rb").read()[:40]  # noqa: SIM115
    roots = ("/gradio_api/file=", "/file=", "/gradio_api/file/", "/static/", "/assets/", "/gradio_api/proxy=file://")
    for root in (*roots, f"/gradio_api/file={served.folder}/../.."):
        for form in (str(path), str(path).lstrip("/"), f"../../../../../..{path}", str(path).replace("/", "%2f")):
            answer = http.get(f"{root}{form}")
            assert answer.status_code >= 400, (root, form)
            assert known not in answer.content
    # Named as a file that was uploaded: by the events, and by the calls of programs.
    event, inputs = event_of(served, "_look")
    for given in (sent(path), {"path": str(path)}, {**sent(path), "url": f"file://{path}"}):
        before = set(served.folder.rglob("*"))
        found = ask(http, event, values(served, inputs, content=given, style=given))
        assert 'success":true' not in found.replace(" ", "") or "was not uploaded" in found
        call = http.post("/gradio_api/run/paint", json={"data": [given, [given], "tint", {}, [], 0, "none"]})
        assert call.status_code >= 400
        assert set(served.folder.rglob("*")) == before


@pytest.mark.parametrize("event", ["_show_regions", "_batch", "_film", "_keep_regions"])
def test_other_events_read_no_path_either(http, served, event):
    number, inputs = event_of(served, event)
    before = set(served.folder.rglob("*"))
    given = sent(SECRETS[0])
    data = values(served, inputs, content=given, style=given)
    page = served.page
    instead = {page.contents: [given], page.editor: given, page.clip: given}
    data = [instead.get(each, value) for each, value in zip(inputs, data, strict=True)]
    ask(http, number, data)
    assert set(served.folder.rglob("*")) == before


@pytest.mark.parametrize(
    "address", ["http://example.com/x.png", "https://127.0.0.1/x", "HTTP://localhost", "http:%2f%2fexample.com"]
)
def test_nothing_is_fetched(http, served, address):
    for form in ("/gradio_api/file=", "/gradio_api/proxy=", "/gradio_api/file/"):
        assert http.get(f"{form}{address}").status_code in (403, 404)
    event, inputs = event_of(served, "_look")
    assert "true" not in re.findall(
        r'"success": ?(\w+)', ask(http, event, values(served, inputs, content=sent(address)))
    )
    call = http.post("/gradio_api/run/paint", json={"data": [sent(address), [], "tint", {}, [], 0, "none"]})
    assert call.status_code >= 400


def test_the_page_loads_nothing_from_elsewhere(http):
    page = http.get("/")
    policy = page.headers["content-security-policy"]
    assert "default-src 'self'" in policy
    assert "http" not in policy
    theme = http.get("/theme.css").text
    assert "googleapis" not in page.text + theme
    assert not re.findall(r"(?:src|stylesheet\"[^>]*href)=\"(https?:[^\"]*)", page.text)
    assert not re.findall(r"url\(['\"]?(https?:[^)]*)", theme)
    config = json.loads(re.search(r"window.gradio_config = (.*?);</script>", page.text)[1])
    assert config["analytics_enabled"] is False


def test_the_configuration_names_no_folder_of_the_machine(http, served):
    found = http.get("/config").text.replace(str(served.folder), "")
    assert os.getcwd() not in found
    assert os.path.expanduser("~") + "/" not in found


def test_only_the_calls_of_programs_are_open(http):
    events = http.get("/config").json()["dependencies"]
    open_to_all = {each["api_name"] for each in events if each["api_visibility"] == "public"}
    assert open_to_all == {"paint", "methods"}


@pytest.mark.parametrize(
    "headers",
    [{"host": "evil.example"}, {"host": "evil.example:7860"}, {"origin": "https://evil.example"}, {"origin": "null"}],
)
def test_foreign_pages_are_refused(http, headers):
    assert http.get("/config", headers=headers).status_code == 403
    assert http.post("/gradio_api/upload", headers=headers, files={"files": b"x"}).status_code == 403


def test_uploads_are_limited_in_bytes(http, served, monkeypatch):
    monkeypatch.setattr(served.page.blocks, "max_file_size", 1000)
    assert http.post("/gradio_api/upload", files={"files": ("x.png", b"x" * 5000)}).status_code == 413
    monkeypatch.setattr(server, "MAX_BYTES", 1000)
    answer = http.post("/gradio_api/run/methods", content=b'{"data": ["' + b"x" * 5000 + b'"]}')
    assert answer.status_code >= 400


def test_uploads_are_limited_in_pixels(http, served):
    path = upload(http, png(2000, 1100))
    event, inputs = event_of(served, "_look")
    found = ask(http, event, values(served, inputs, content=sent(path), style=sent(path)))
    assert "megapixels" in found
    assert "Traceback" not in found


def test_a_picture_is_painted_and_downloaded(http, served):
    path = upload(http, png(), "my photo.png")
    event, inputs = event_of(served, "_paint")
    data = values(served, inputs, content=sent(path), style=sent(path), method="tint")
    found = ask(http, event, data, "painter")
    files = re.findall(r'"path": ?"([^"]*photo--[^"]*\.png)"', found)
    picture = PIL.Image.open(io.BytesIO(http.get(f"/gradio_api/file={files[0]}").content))
    assert picture.size == (64, 48)
    assert "quantart tint" in found
    history = served.events.sessions["painter"].history
    assert [each.order.method for each in history] == ["tint"]


def test_formats_that_gradio_cannot_open_are_lines(http, served):
    for name, data in (("x.svg", b"<svg/>"), ("x.heic", b"\0\0\0\x18ftypheic" + bytes(90)), ("x.png", b"no")):
        event, inputs = event_of(served, "_look")
        found = ask(
            http, event, values(served, inputs, content=sent(upload(http, data, name)), style=sent(upload(http, png())))
        )
        assert re.search(f"polite..>{name}", found)
        assert "Traceback" not in found
        assert set(re.findall(r'"success": ?(\w+)', found)) == {"true"}


def test_plugins_have_controls(served):
    own = served.page.of["tint"].controls["amount"]
    assert (own.minimum, own.maximum, own.value, own.label) == (0, 1, 0.5, "Amount")
    assert set(served.page.of) == set(served.page.methods)


def test_a_password_guards_everything():
    with serving(password="sesame") as served, httpx.Client(base_url=served.url) as http:
        for path in ("/config", "/gradio_api/info", f"/gradio_api/file={served.page.styles[0].path}"):
            assert http.get(path).status_code == 401, path
        assert http.post("/gradio_api/upload", files={"files": b"x"}).status_code == 401
        assert (
            http.post("/gradio_api/queue/join", json={"data": [], "fn_index": 0, "session_hash": "s"}).status_code
            == 401
        )
        assert http.post("/login", data={"username": "x", "password": "open"}).status_code == 400
        assert http.post("/login", data={"username": "x", "password": "sesame"}).status_code == 200
        assert http.get("/config").status_code == 200


def test_an_open_address_needs_a_password():
    with pytest.raises(QuantArtError, match="give a password"):
        Address("0.0.0.0").check()
    with pytest.raises(QuantArtError, match="give a password"):
        Address("my-host").check()
    Address("0.0.0.0", password="x").check()
    for host in ("127.0.0.1", "localhost", "::1"):
        Address(host).check()


def test_a_port_that_is_taken():
    with Address(port=0).listen() as taken:
        port = taken.getsockname()[1]
        with pytest.raises(QuantArtError, match=f"port {port}"):
            Address(port=port).listen()


def test_the_folder_is_private_and_goes():
    with private_folder() as folder:
        assert folder.stat().st_mode & 0o77 == 0
        (folder / "x").write_text("x")
    assert not folder.exists()


def test_gradio_is_missing(monkeypatch):
    monkeypatch.setattr(server, "find_spec", lambda name: None)
    with pytest.raises(QuantArtError, match=r"pip install 'quantart-cli\[ui\]'"):
        serve(Address(), {}, {}, 1, print)


def test_programs_paint(served, tmp_path):
    from gradio_client import Client, handle_file
    from gradio_client.exceptions import AppError

    PIL.Image.fromarray(scene(64, 48, 1)).save(tmp_path / "photo.png")
    PIL.Image.fromarray(np.full((20, 20, 3), (255, 0, 0), np.uint8)).save(tmp_path / "red.png")
    client = Client(served.url, verbose=False, download_files=str(tmp_path / "got"))
    methods = client.predict(api_name="/methods")
    assert methods["tint"]["settings"]["amount"] == {
        "default": 0.5, "help": "How far the mean colour moves to the style's.", "low": 0, "high": 1
    }  # fmt: skip
    photo, styles = handle_file(tmp_path / "photo.png"), [handle_file(tmp_path / "red.png")]
    path = client.predict(photo, styles, "tint", {"amount": 1}, size=32, api_name="/paint")
    picture = np.asarray(PIL.Image.open(path))
    assert picture.shape == (24, 32, 3)
    assert picture[..., 0].mean() > 200
    with pytest.raises(AppError, match="amount must be between 0 and 1"):
        client.predict(photo, styles, "tint", {"amount": 3}, api_name="/paint")


def test_the_command_ends_with_ctrl_c_and_leaves_nothing(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "quantart_cli", "ui", "--no-browser", "--json", "--port", str(port)]
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment) as run:
        url = json.loads(run.stdout.readline())["url"]
        assert url == f"http://127.0.0.1:{port}"
        answer = next(filter(None, (reach(url) for _ in range(100))))
        assert "quantart" in answer.text
        assert [path.name[:12] for path in tmp_path.iterdir()] == ["quantart-ui-"]
        run.send_signal(signal.SIGINT)
        _, said = run.communicate(timeout=60)
    assert run.returncode in (0, 130)
    assert "Traceback" not in said
    assert list(tmp_path.iterdir()) == []


def reach(url):
    try:
        return httpx.get(url, timeout=30)
    except httpx.ConnectError:
        time.sleep(0.1)
        return None
