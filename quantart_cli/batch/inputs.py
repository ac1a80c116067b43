"""Finds the pictures that folders, patterns, files and lists name: each picture once, in a fixed order."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Container, Iterator, Sequence
from pathlib import Path

from quantart_cli.batch.walking import Findings, Found, Pattern, Search, Walk, visible, visible_place
from quantart_cli.errors import QuantArtError
from quantart_cli.files import is_stream, near_name, printable, reason

_WILDCARDS = re.compile(r"[*?\[]")


def find_pictures(
    inputs: Sequence[str],
    lists: Sequence[str] = (),
    *,
    recursive: bool = True,
    own: Container[str] = (),
    output: str | None = None,
) -> Findings:
    """Find the pictures, in the order of ``inputs`` and then of ``lists``; in a folder its files come first, by name.

    A path that exists is never a pattern. In folders and patterns the suffix makes a picture, and names with a leading
    dot are passed over; a file given directly or in a list is taken as it is. Real folders are walked first, links to
    folders after them, each folder once.

    Args:
        inputs: folders, patterns (``*``, ``?``, ``[]``, and ``**`` for any folders between) and files.
        lists: text files of one path a line in UTF-8, ``"-"`` for stdin. Files in them need not exist; folders are
            walked like those in ``inputs``.
        recursive: whether subfolders are walked; a pattern decides that itself.
        own: absolute real paths of files painted before: passed over.
        output: a folder that is not walked when it is inside an input.

    Raises:
        QuantArtError: an input that does not exist, a pattern that matches nothing, a list that cannot be read.
    """
    search = Search(own, output)
    lines = list(_lines(lists))
    forms = [_form(given) for given in inputs]
    several = len({os.path.normpath(given) for given, form in zip(inputs, forms, strict=True) if form != "file"}) > 1
    parts: list[Walk | list[Found]] = []
    whole = Pattern(["**" if recursive else "*"])

    def walk(given: str, base: str, place: str, pattern: Pattern) -> None:
        parts.append(walk := Walk(search, given, base, pattern, pattern is not whole))
        walk.descend(base, place, pattern.start())

    for given, form in zip(inputs, forms, strict=True):
        if form == "file":
            parts.append(search.file(given, os.path.basename(given)))
            continue
        base, pattern = _split_pattern(given) if form == "pattern" else (given, whole)
        named = several and os.path.normpath(base or ".") != "."
        walk(given, base, visible(os.path.basename(os.path.abspath(base))) + "/" if named else "", pattern)
    for line, place in zip(lines, _places(lines), strict=True):
        if os.path.isdir(line):
            walk(line, line, "" if place in ("", ".") else visible_place(place) + "/", whole)
        else:
            parts.append(search.file(line, place))
    for part in parts:  # after all real folders, so that a link never takes a picture from the folder that holds it
        if isinstance(part, Walk):
            part.follow_links()
        search.findings.pictures += part.found if isinstance(part, Walk) else part
    return search.findings


def missing(path: str) -> QuantArtError:
    """The error for a path that does not exist, with the nearest name that does."""
    shown = printable(path)
    if not path:
        return QuantArtError("a name is empty: give a file or a folder")
    if is_stream(path):
        return QuantArtError("- is no file: stdin may hold a list of pictures, given with --from-file -")
    if "://" in path:
        return QuantArtError(f"{shown} is an address, not a file: download the picture first")
    bare = path.rstrip("/" + os.sep) or path
    folder = os.path.dirname(bare)
    if not os.path.isdir(folder or "."):
        return QuantArtError(f"{shown} does not exist, nor does the folder {printable(folder)}: check the path")
    near = near_name(bare)
    if near is None:
        return QuantArtError(f"{shown} does not exist: check the path")
    return QuantArtError(f"{shown} does not exist: did you mean {printable(os.path.join(folder, near))}?")


def _form(given: str) -> str:
    """ "folder", "file" or "pattern"."""
    if os.path.isdir(given):
        return "folder"
    if os.path.lexists(given):
        return "file"
    if _WILDCARDS.search(given) and "://" not in given:
        return "pattern"
    try:
        os.lstat(given)
    except (FileNotFoundError, ValueError):
        pass
    except OSError as error:
        raise QuantArtError(f"{printable(given)} cannot be read: {reason(error)}") from error
    raise missing(given)


def _lines(lists: Sequence[str]) -> Iterator[str]:
    """The paths in all lists; a file called - becomes ./-, so that nothing takes it for stdin."""
    if sum(map(is_stream, lists)) > 1:
        raise QuantArtError("stdin holds one list: give --from-file - once")
    for source in lists:
        text = _read_list(source).decode("utf-8", "surrogateescape").removeprefix("\ufeff")
        if "\0" in text:
            shown = "stdin" if is_stream(source) else printable(source)
            raise QuantArtError(f"{shown} is no list of pictures: write one path a line, in UTF-8")
        for line in text.split("\n"):
            line = line.removesuffix("\r")
            if line.strip():
                yield os.path.join(".", line) if is_stream(line) else line


def _read_list(source: str) -> bytes:
    try:
        if not is_stream(source):
            return Path(source).read_bytes()
        if getattr(sys.stdin, "buffer", None) is None or sys.stdin.closed:
            raise QuantArtError("stdin is closed: give --from-file a file instead of -")
        return sys.stdin.buffer.read()
    except (FileNotFoundError, ValueError) as error:
        raise missing(source) from error
    except OSError as error:
        raise QuantArtError(f"the list {printable(source)} cannot be read: {reason(error)}") from error


def _places(lines: Sequence[str]) -> Iterator[str]:
    """The place of each line: relative paths as written, others relative to the folder that all of them share."""
    elsewhere = {line: os.path.abspath(line) for line in lines if _leads_out(line)}
    try:
        shared = os.path.commonpath([os.path.dirname(path) for path in elsewhere.values()]) if elsewhere else ""
    except ValueError:  # on several drives
        shared = ""
    for line in lines:
        path = elsewhere.get(line)
        if path is None:
            path = os.path.normpath(line)
        else:
            path = os.path.relpath(path, shared) if shared else os.path.splitdrive(path)[1]
        yield "/".join(part for part in path.split(os.sep) if part)


def _leads_out(line: str) -> bool:
    return os.path.isabs(line) or bool(os.path.splitdrive(line)[0]) or ".." in line.replace(os.sep, "/").split("/")


def _split_pattern(given: str) -> tuple[str, Pattern]:
    """The folder a pattern begins in, and the pattern below it."""
    base, parts = given, list[str]()
    while _WILDCARDS.search(base):
        base, part = os.path.split(base)
        if part not in ("", "."):
            parts.insert(0, part)
    if not os.path.isdir(base or "."):
        raise missing(base)
    try:
        return base, Pattern(parts)
    except re.error as error:  # [z-a]
        raise QuantArtError(f"{printable(given)} is neither a file nor a pattern: {error}") from error
