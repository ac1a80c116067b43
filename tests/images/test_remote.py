"""Pictures by address: limits, redirects, and nothing that is not public."""

import http.client
import socket
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from quantart_cli.errors import QuantArtError
from quantart_cli.images import Picture, encode_picture, read_picture, remote
from tests.conftest import scene

PNG = encode_picture(Picture(scene(12, 9, 1)), "png")


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        kind, _, rest = self.path.partition("?")
        self.server.asked.append(self.path)
        if kind == "/to":
            self.send_response(302)
            self.send_header("Location", rest)
            self.end_headers()
            return
        self.send_response(404 if kind == "/none" else 200)
        self.send_header("Content-Length", str(len(PNG) + (99 if kind == "/short" else 0)))
        self.end_headers()
        self.wfile.write(PNG)

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def server():
    made = HTTPServer(("127.0.0.1", 0), Handler)
    made.asked = []
    threading.Thread(target=made.serve_forever, args=(0.01,), daemon=True).start()
    yield made
    made.shutdown()
    made.server_close()


@pytest.fixture
def public(server, monkeypatch):
    """The name public.test is at a public address; connections go to the server of this test, without TLS."""

    def addresses(host, port, **_):
        known = {"public.test": "93.184.216.34", "inside.test": "10.0.0.7", "both.test": "93.184.216.34"}
        found = [known.get(host, host)] + ["127.0.0.1"] * (host == "both.test")
        if not found[0][0].isdigit() and ":" not in found[0]:
            raise socket.gaierror(-2, "Name or service not known")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (each, port)) for each in found]

    real = remote._public_address

    def connect(host, port, given):
        assert real(host, port, given) == "93.184.216.34"
        connection = http.client.HTTPConnection("127.0.0.1", server.server_port)
        connection.sock = socket.socket()
        connection.sock.settimeout(5)
        connection.sock.connect(("127.0.0.1", server.server_port))
        return connection

    monkeypatch.setattr(remote.socket, "getaddrinfo", addresses)
    monkeypatch.setattr(remote, "_connect", connect)
    server.asked.clear()
    return server


def test_a_picture_is_read(public):
    picture = read_picture("https://public.test/räume/a b.png?x=1")
    assert picture.size == (12, 9)
    assert picture.sha256 is not None
    assert public.asked == ["/r%C3%A4ume/a%20b.png?x=1"]


def test_a_redirect_is_followed(public):
    assert read_picture("https://public.test/to?https://public.test/b.png").size == (12, 9)
    assert read_picture("https://public.test/to?/b.png").size == (12, 9)


@pytest.mark.parametrize(
    "address",
    [
        "https://inside.test/a.png",
        "https://both.test/a.png",
        "https://127.0.0.1/a.png",
        "https://169.254.169.254/latest/meta-data",
        "https://[::1]/a.png",
        "https://[::ffff:127.0.0.1]/a.png",
        "https://[2002:7f00:1::]/a.png",
        "https://100.64.0.1/a.png",
        "https://0.0.0.0/a.png",
        "https://224.0.0.1/a.png",
    ],
)
@pytest.mark.parametrize("start", ["", "https://public.test/to?"], ids=["at once", "by redirect"])
def test_local_addresses_are_refused(public, address, start):
    with pytest.raises(QuantArtError, match="a local address, which is not read: download the picture"):
        read_picture(start + address)
    assert [each for each in public.asked if not each.startswith("/to")] == []


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("https://public.test/none", "answers 404"),
        ("https://public.test/to?http://public.test/a.png", "which is not https"),
        ("https://public.test/to?file:///etc/passwd", "which is not https"),
        ("https://public.test/to?/to?/to?/to?/to?/to?/to?/to", "over and over"),
        ("https://nowhere.test/a.png", "Name or service not known"),
        ("https:///a.png", "no name of a server"),
        ("https://public.test:x/a.png", "cannot be read"),
        ("https://public.test/short", "(cannot be read|ended too early)"),
        ("http://public.test/a.png", "give https://"),
        ("ftp://public.test/a.png", "give https://"),
    ],
)
def test_what_cannot_be_read_is_one_line(public, address, message):
    with pytest.raises(QuantArtError, match=message) as caught:
        read_picture(address)
    assert "\n" not in str(caught.value)


def test_limits(public, monkeypatch):
    with pytest.raises(QuantArtError, match="above the limit"):
        read_picture("https://public.test/a.png", max_pixels=100)
    monkeypatch.setattr(remote.fetch, "__defaults__", (len(PNG) - 1,))
    with pytest.raises(QuantArtError, match="has more than"):
        read_picture("https://public.test/a.png")


def test_offline_means_offline(public, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(QuantArtError, match="HF_HUB_OFFLINE"):
        read_picture("https://public.test/a.png")
    assert public.asked == []


def test_the_connection_goes_to_the_address_that_was_checked(monkeypatch):
    """The name is not resolved a second time, and the certificate is compared with the name."""
    asked = []
    monkeypatch.setattr(remote.socket, "create_connection", lambda place, timeout: asked.append(place) or "plain")
    pinned = remote._Pinned("public.test", 443, "93.184.216.34")
    pinned._tls = type("Tls", (), {"wrap_socket": staticmethod(lambda plain, **names: (plain, names))})()
    pinned.connect()
    assert asked == [("93.184.216.34", 443)]
    assert pinned.sock == ("plain", {"server_hostname": "public.test"})
