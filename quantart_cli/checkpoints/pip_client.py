"""Download one archive of the package index with pip's own client. A program of its own, run by ``package_index.py``.

    python -I pip_client.py PACKAGE ARCHIVE LIMIT FILE

writes the archive called ARCHIVE of PACKAGE into FILE, which must exist, and never more than LIMIT bytes. pip's
configuration counts: index, proxies, certificates, passwords. ``pip download`` would build an sdist to learn its
metadata; this takes the bytes and nothing else, and no archive is ever opened here.

What went wrong is printed as one line on stdout, with exit status 1. Closing stdin ends the program: it does not
outlive the one that started it. Imports nothing of quantart and, beside pip, only the standard library.
"""

from __future__ import annotations

import errno
import logging
import os
import sys
import threading


def main(package: str, archive: str, limit: int, file: str) -> str | None:
    """What went wrong, or None."""
    try:
        from pip._internal.commands import create_command
        from pip._internal.network.utils import raise_for_status
    except ImportError:
        return "pip is not installed here: python -m ensurepip brings it"
    troubles = _Troubles()
    command = create_command("download")
    with command.main_context():
        try:
            # Wheels and sdists alike, whatever the configuration prefers: neither is built or installed.
            either = ["--only-binary", ":none:", "--no-binary", ":none:"]
            options, _ = command.parse_args(["--no-input", "--no-cache-dir", *either, package])
            session = command.get_default_session(options)
            finder = command._build_package_finder(options, session)
            links = [each.link for each in finder.find_all_candidates(package)]
        except (AttributeError, TypeError) as error:
            return f"this version of pip is not understood ({error}): another one may be"
        link = next((each for each in links if each.filename == archive), None)
        if link is None:
            return troubles.last or f"the index has no {archive}"
        answer = session.get(link.url_without_fragment, stream=True, headers={"Accept-Encoding": "identity"})
        raise_for_status(answer)
        written = 0
        with open(file, "rb+") as target:
            for piece in answer.iter_content(1 << 18):
                written += len(piece)
                if written > limit:
                    return f"{archive} is larger than it should be"
                target.write(piece)
    return None


class _Troubles(logging.Handler):
    """Remembers why pip could not read an index: it goes on without a word."""

    last: str | None = None

    def __init__(self) -> None:
        super().__init__()
        logger = logging.getLogger("pip")
        logger.addHandler(self)
        logger.setLevel(logging.DEBUG)
        logger.propagate = False

    def emit(self, record: logging.LogRecord) -> None:
        words = record.getMessage()
        if "ould not fetch" in words:
            self.last = " ".join(words.split())[:300]


def _end_with_parent() -> None:
    sys.stdin.buffer.read()
    os._exit(1)


def _shortly(error: Exception) -> str:
    said = " ".join(str(error).split())
    return f"{type(error).__name__}: {said[:300]}" if said else type(error).__name__


if __name__ == "__main__":
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        wrong = main(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4])
    except OSError as error:
        full = error.errno == errno.ENOSPC
        wrong = "the disk is full: free some space" if full else _shortly(error)
    except Exception as error:  # of pip: whatever it is, the one who started this program tells it in a line
        wrong = _shortly(error)
    if wrong is not None:
        print(wrong)
    sys.stdout.flush()
    os._exit(1 if wrong is not None else 0)  # the thread that waits for stdin would hold the exit up
