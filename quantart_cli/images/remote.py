"""Pictures by ``https://`` addresses, with limits, and from public addresses only.

A name may stand for an address of the local network (server-side request forgery). So the name is resolved here, all
its addresses must be public, and the connection goes to the very address that was checked. The same holds for each
redirect. Proxies are not used.
"""

from __future__ import annotations

import contextlib
import http.client
import io
import ipaddress
import os
import socket
import ssl
from typing import IO
from urllib.parse import urljoin, urlsplit

from quantart_cli.errors import QuantArtError
from quantart_cli.files import printable

MOST_BYTES = 200_000_000
_REDIRECTS = 5
_SECONDS = 20.0
_DOWNLOAD = "download the picture, and give the file"


def is_address(source: object) -> bool:
    """Whether a source is an address that is read over the network."""
    return isinstance(source, str) and source[:8].lower() == "https://"


def fetch(address: str, most_bytes: int = MOST_BYTES) -> IO[bytes]:
    """The bytes at an address.

    Raises:
        QuantArtError: it is not public, cannot be reached, is too large, or says anything but 200.
    """
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "TRUE", "YES", "ON"):
        raise QuantArtError(f"{printable(address)} is not read, as HF_HUB_OFFLINE is set: {_DOWNLOAD}")
    url = address
    for _ in range(_REDIRECTS + 1):
        try:
            answer, further = _get(url, address, most_bytes)
        except (OSError, http.client.HTTPException, ValueError) as error:
            why = printable(error, 120) or type(error).__name__
            raise QuantArtError(f"{printable(address)} cannot be read ({why}): {_DOWNLOAD}") from error
        if further is None:
            return io.BytesIO(answer)
        url = urljoin(url, further)
        if not is_address(url):
            raise QuantArtError(f"{printable(address)} leads to {printable(url)}, which is not https: {_DOWNLOAD}")
    raise QuantArtError(f"{printable(address)} leads from one address to the next, over and over: {_DOWNLOAD}")


def _get(url: str, given: str, most_bytes: int) -> tuple[bytes, str | None]:
    """The bytes at an address, or where it leads to."""
    parts = urlsplit(url)
    if not parts.hostname:
        raise QuantArtError(f"{printable(given)} has no name of a server: check the address")
    connection = _connect(parts.hostname, parts.port or 443, given)
    with contextlib.closing(connection):
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        # The path of an address may have letters that HTTP does not have.
        connection.request("GET", _quoted(target), headers={"User-Agent": "quantart", "Accept": "image/*"})
        answer = connection.getresponse()
        if answer.status in (301, 302, 303, 307, 308) and (further := answer.headers.get("Location")):
            return b"", further
        if answer.status != 200:
            raise QuantArtError(f"{printable(given)} answers {answer.status} {printable(answer.reason)}: check it")
        data = answer.read(most_bytes + 1)
        if len(data) > most_bytes:
            raise QuantArtError(f"{printable(given)} has more than {most_bytes / 1e6:.0f} MB: {_DOWNLOAD}")
        if answer.length:
            raise QuantArtError(f"{printable(given)} ended too early: try again")
        return data, None


def _quoted(target: str) -> str:
    from urllib.parse import quote

    return quote(target, safe="/?&=%:;@!$'()*+,~-._[]")


def _connect(host: str, port: int, given: str) -> http.client.HTTPConnection:
    """A connection to a server, at a public address of it."""
    return _Pinned(host, port, _public_address(host, port, given))


def _public_address(host: str, port: int, given: str) -> str:
    """An address of a host, if all of them are public.

    Raises:
        QuantArtError: one of them is not.
        OSError: the name is not known.
    """
    found = [entry[4][0] for entry in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]
    for each in found:
        address = ipaddress.ip_address(str(each).partition("%")[0])
        mapped = getattr(address, "ipv4_mapped", None) or getattr(address, "sixtofour", None) or address
        if not (address.is_global and mapped.is_global) or address.is_multicast:
            raise QuantArtError(f"{printable(given)} is at {each}, a local address, which is not read: {_DOWNLOAD}")
    return str(found[0])


class _Pinned(http.client.HTTPSConnection):
    """A connection to an address that was checked; the certificate must be of the name."""

    def __init__(self, host: str, port: int, address: str) -> None:
        super().__init__(host, port, timeout=_SECONDS)
        self._address, self._tls = address, ssl.create_default_context()

    def connect(self) -> None:
        plain = socket.create_connection((self._address, self.port), self.timeout)
        self.sock = self._tls.wrap_socket(plain, server_hostname=self.host)
