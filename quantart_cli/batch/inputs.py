"""From what a person names (folders, patterns, files, lists) to the pictures, each once, in a fixed order."""

from __future__ import annotations

import difflib
import fnmatch
import os
import re
import sys
from collections import Counter
from collections.abc import Callable, Container, Iterator, Sequence
from dataclasses import dataclass

from quantart_cli.errors import QuantArtError
from quantart_cli.images.formats import SUFFIXES
from quantart_cli.images.names import is_stream, near_file, printable, reason

HIDDEN = "hidden"
NOT_PICTURES = "not pictures"
SUBFOLDERS = "in subfolders"
SEEN = "seen before by another link"
TWICE = "given twice"
OWN = "made by quantart itself"

Own = Container[str] | Callable[[str], bool]
_WILDCARDS = re.compile(r"[*?\[]")


@dataclass(frozen=True, slots=True)
class Found:
    """One picture: the path to open, and the place it has below the output folder, with / between its parts."""

    path: str
    place: str


@dataclass(frozen=True)
class Findings:
    """What a search came to."""

    pictures: list[Found]
    passed_over: dict[str, int]
    """Why, and how many files or folders for that reason."""
    troubles: list[str]
    """One line for each folder that could not be listed."""


def find_pictures(
    inputs: Sequence[str],
    lists: Sequence[str] = (),
    *,
    recursive: bool = True,
    own: Own = (),
    output: str | None = None,
) -> Findings:
    """Find the pictures, in the order of ``inputs`` and then of ``lists``; in a folder its files come first, by name.

    A path that exists is never taken as a pattern. In folders and patterns pictures are told by their suffix, and what
    begins with a dot is passed over; a file named by itself or in a list is taken as it is. Real folders are walked
    first and links to folders after them, unless what they point at was walked already.

    Args:
        inputs: folders, patterns (``*``, ``?``, ``[]``, and ``**`` for any folders between) and files.
        lists: text files of one path a line in UTF-8, ``"-"`` for stdin. What they name need not exist.
        recursive: whether the folders in ``inputs`` are walked with their subfolders; a pattern says that itself.
        own: absolute real paths of files that were painted before, or a function that knows them: passed over.
        output: a folder that is not walked when it lies inside an input.

    Raises:
        QuantArtError: an input that does not exist, a pattern that matches nothing, a list that cannot be read.
    """
    search = _Search(own, output)
    lines = list(_lines(lists))
    kinds = [_kind(given) for given in inputs]
    trees = {os.path.normpath(given) for given, kind in zip(inputs, kinds, strict=True) if kind != "file"}
    parts: list[_Walk | list[Found]] = []
    for given, kind in zip(inputs, kinds, strict=True):
        if kind == "file":
            parts.append(search.named(given, os.path.basename(given)))
        else:
            parts.append(_walk(search, given, kind, recursive, named=len(trees) > 1))
            parts[-1].walk()
    for line, place in zip(lines, _places(lines), strict=True):
        parts.append(search.named(line, place))
    for part in parts:  # only now, so that a link never takes a picture away from the folder it lies in
        if isinstance(part, _Walk):
            part.follow_links()
    found = [picture for part in parts for picture in (part.found if isinstance(part, _Walk) else part)]
    return Findings(found, dict(search.passed_over), search.troubles)


def missing(path: str) -> QuantArtError:
    """The error for a path that is not there, with the nearest name that is."""
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
    near = near_file(bare) or _near_folder(bare)
    if near is None:
        return QuantArtError(f"{shown} does not exist: check the path")
    return QuantArtError(f"{shown} does not exist: did you mean {printable(os.path.join(folder, near))}?")


def visible(part: str) -> str:
    """A name that is neither empty nor hidden: leading dots become one underscore."""
    return part if part and part[0] != "." else "_" + part.lstrip(".")


def _near_folder(path: str) -> str | None:
    folder, wanted = os.path.split(path)
    try:
        by_folded = {entry.name.casefold(): entry.name for entry in os.scandir(folder or ".") if entry.is_dir()}
    except OSError:
        return None
    near = difflib.get_close_matches(wanted.casefold(), by_folded, n=1, cutoff=0.6)
    return by_folded[near[0]] if near else None


def _kind(given: str) -> str:
    """What an input is: "folder", "file" or "pattern"."""
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


# ---- lists ----


def _lines(lists: Sequence[str]) -> Iterator[str]:
    """The paths in all lists; a file called - is spelled so that nobody takes it for stdin."""
    if sum(map(is_stream, lists)) > 1:
        raise QuantArtError("stdin holds one list: give --from-file - once")
    for source in lists:
        text = _read_list(source).removeprefix("\ufeff")
        if "\0" in text:
            shown = "stdin" if is_stream(source) else printable(source)
            raise QuantArtError(f"{shown} is no list of pictures: write one path a line, in UTF-8")
        for line in text.split("\n"):
            line = line.removesuffix("\r")
            if line.strip():
                yield os.path.join(".", line) if is_stream(line) else line


def _read_list(source: str) -> str:
    try:
        if is_stream(source):
            if getattr(sys.stdin, "buffer", None) is None or sys.stdin.closed:
                raise QuantArtError("stdin is closed: give --from-file a file instead of -")
            data = sys.stdin.buffer.read()
        else:
            with open(source, "rb") as file:
                data = file.read()
    except (FileNotFoundError, ValueError) as error:
        raise missing(source) from error
    except OSError as error:
        raise QuantArtError(f"the list {printable(source)} cannot be read: {reason(error)}") from error
    return data.decode("utf-8", "surrogateescape")


def _places(lines: Sequence[str]) -> Iterator[str]:
    """Where the lines of lists belong: relative ones where they say, others as seen from the folder they share."""
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


# ---- folders and patterns ----


class _Pattern:
    """The parts of a pattern, matched name by name on the way down, so that no folder is entered in vain.

    A state is the set of parts that may match the next name; as a set it stays small whatever the pattern.
    """

    def __init__(self, parts: Sequence[str]) -> None:
        self._matches = [
            None if part == "**" else re.compile(fnmatch.translate(os.path.normcase(part))).match for part in parts
        ]

    def start(self) -> frozenset[int]:
        return self._reach({0})

    def enter(self, state: frozenset[int], name: str) -> frozenset[int]:
        """The state inside a folder; empty when nothing in there can match."""
        return self._reach({i if self._matches[i] is None else i + 1 for i in state if self._fits(i, name)})

    def takes(self, state: frozenset[int], name: str) -> bool:
        """Whether a file of this name matches."""
        last = len(self._matches) - 1
        return last in state and self._fits(last, name)

    def _fits(self, part: int, name: str) -> bool:
        match = self._matches[part]
        return match is None or match(os.path.normcase(name)) is not None

    def _reach(self, state: set[int]) -> frozenset[int]:
        reached = set()
        for part in state:
            reached.add(part)
            while part < len(self._matches) and self._matches[part] is None:  # ** may stand for no folder at all
                part += 1
                reached.add(part)
        return frozenset(part for part in reached if part < len(self._matches))


def _walk(search: _Search, given: str, kind: str, recursive: bool, named: bool) -> _Walk:
    """The walk for a folder or a pattern; ``named`` puts what it finds under the folder's own name."""
    base, parts = given, ["**" if recursive else "*"]
    if kind == "pattern":
        parts = []
        while _WILDCARDS.search(base):
            base, part = os.path.split(base)
            if part not in ("", "."):
                parts.insert(0, part)
        if not os.path.isdir(base or "."):
            raise missing(base)
    try:
        pattern = _Pattern(parts)
    except re.error as error:  # [z-a]
        raise QuantArtError(f"{printable(given)} is neither a file nor a pattern: {error}") from error
    own_name = os.path.basename(os.path.abspath(base)) if named and os.path.normpath(base or ".") != "." else ""
    return _Walk(search, given, base, visible(own_name) + "/" if own_name else "", pattern, kind == "pattern")


class _Walk:
    """One folder or pattern on its way to the pictures in it."""

    def __init__(self, search: _Search, given: str, base: str, place: str, pattern: _Pattern, is_pattern: bool) -> None:
        self.found: list[Found] = []
        self._search, self._given, self._base, self._place = search, given, base, place
        self._pattern, self._is_pattern = pattern, is_pattern
        self._visited: set[object] = set()
        self._links: list[tuple[str, str, frozenset[int]]] = []
        self._matched = False

    def walk(self) -> None:
        """Find what lies in real folders."""
        self._descend(self._base, self._place, self._pattern.start())

    def follow_links(self) -> None:
        """Find what only links to folders lead to: each round, the links that the round before came upon."""
        while self._links:
            links, self._links = sorted(self._links, key=lambda link: link[0]), []
            for link in links:
                self._descend(*link)
        if self._is_pattern and not self._matched and not self._search.troubles:
            raise QuantArtError(f"{printable(self._given)} matches no file: check the pattern")

    def _descend(self, path: str, place: str, state: frozenset[int]) -> None:
        waiting = [(path, place, state)]
        while waiting:
            path, place, state = waiting.pop()
            try:
                folder = identity(path or ".")
                if folder == self._search.output and path != self._base:
                    continue
                if folder in self._visited:
                    self._search.passed_over[SEEN] += 1
                    continue
                self._visited.add(folder)
                with os.scandir(path or ".") as entries:
                    listed = sorted(entries, key=lambda entry: entry.name)
            except OSError as error:
                self._search.troubles.append(f"{printable(path or '.')} cannot be listed: {reason(error)}")
                continue
            waiting.extend(reversed(self._sort_out(listed, folder, path, place, state)))

    def _sort_out(
        self, listed: list[os.DirEntry[str]], folder: object, path: str, place: str, state: frozenset[int]
    ) -> list[tuple[str, str, frozenset[int]]]:
        """Take the pictures among a folder's entries and remember its links to folders; returns its real subfolders."""
        inside, passed_over = [], self._search.passed_over
        for entry in listed:
            name = entry.name
            if name[0] == ".":
                passed_over[HIDDEN] += 1
            elif _is_folder(entry):
                entered = self._pattern.enter(state, name)
                if entered:
                    follow = self._links if entry.is_symlink() else inside
                    follow.append((os.path.join(path, name), f"{place}{name}/", entered))
                elif not self._is_pattern:
                    passed_over[SUBFOLDERS] += 1
            elif self._pattern.takes(state, name):
                self._matched = True
                if os.path.splitext(name)[1].lower() not in SUFFIXES:
                    passed_over[NOT_PICTURES] += 1
                elif self._search.is_new(folder, path, name, entry.is_symlink()):
                    self.found.append(Found(os.path.join(path, name), place + name))
        return inside


class _Search:
    """What all inputs of a run share: the pictures seen, the counts, the troubles."""

    def __init__(self, own: Own, output: str | None) -> None:
        self.passed_over: Counter[str] = Counter()
        self.troubles: list[str] = []
        self.output = identity(output) if output is not None and os.path.isdir(output) else None
        self._own = own if callable(own) else own.__contains__
        self._seen: set[tuple[object, str]] = set()
        self._folders: dict[str, object] = {}
        self._real: dict[str, str] = {}

    def named(self, path: str, place: str) -> list[Found]:
        """A file that was named by itself, unless it was seen."""
        folder, name = os.path.split(path)
        if folder not in self._folders:
            try:
                self._folders[folder] = identity(folder or ".")
            except OSError:  # not there: the picture fails later, by its name
                self._folders[folder] = os.path.abspath(folder)
        new = self.is_new(self._folders[folder], folder, name, os.path.islink(path))
        return [Found(path, "/".join(map(visible, place.split("/"))))] if new else []

    def is_new(self, folder: object, path: str, name: str, is_link: bool) -> bool:
        """Whether the file ``name`` in the folder ``path`` is painted; counts why when it is not."""
        if path not in self._real:
            self._real[path] = os.path.realpath(path or ".")
        real = os.path.join(self._real[path], name)
        if self._own(os.path.realpath(real) if is_link else real):
            self.passed_over[OWN] += 1
            return False
        if (folder, name) in self._seen:
            self.passed_over[TWICE] += 1
            return False
        self._seen.add((folder, name))
        return True


def identity(path: str) -> object:
    """What tells a file or folder from every other, by whatever links and spellings. Raises OSError."""
    facts = os.stat(path)
    return (facts.st_dev, facts.st_ino) if facts.st_ino else os.path.realpath(path)  # some file systems count none


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link in a circle, or into a closed folder: painting it will say which
        return False


def describe(passed_over: dict[str, int]) -> str:
    """The counts in words: "3 hidden, 5 not pictures"; empty when nothing was passed over."""
    return ", ".join(f"{count:,} {why}" for why, count in passed_over.items() if count)
