"""Walks folders and patterns, and tells pictures from other files."""

from __future__ import annotations

import fnmatch
import os
import re
import stat
from collections import Counter
from collections.abc import Container, Sequence
from dataclasses import dataclass, field

from quantart_cli.errors import QuantArtError
from quantart_cli.files import printable, reason
from quantart_cli.images.formats import HEAD_BYTES, SUFFIXES, describe_unreadable, sniff

HIDDEN = "hidden"
NOT_PICTURES = "not pictures"
SUBFOLDERS = "in subfolders"
SEEN = "seen before by another link"
TWICE = "given twice"
OWN = "made by quantart itself"


@dataclass(frozen=True, slots=True)
class Found:
    """One picture: the path to open, and its place below the output folder, with / between its parts."""

    path: str
    place: str


@dataclass
class Findings:
    """The result of a search.

    Attributes:
        passed_over: reason -> number of files or folders.
        unreadable: path -> what it is and what to do, for pictures and films that quantart does not read.
        troubles: one line for each folder that could not be listed.
    """

    pictures: list[Found] = field(default_factory=list)
    passed_over: Counter[str] = field(default_factory=Counter)
    unreadable: dict[str, str] = field(default_factory=dict)
    troubles: list[str] = field(default_factory=list)

    def describe(self) -> str:
        """The counts in words: "3 hidden, 5 not pictures, 2 unreadable (HEIC picture: 2)"; may be empty."""
        parts = [f"{count:,} {why}" for why, count in self.passed_over.items() if count]
        if self.unreadable:
            formats = Counter(what.partition(":")[0].partition(" ")[2] for what in self.unreadable.values())
            listed = ", ".join(f"{name}: {count:,}" for name, count in formats.items())
            parts.append(f"{len(self.unreadable):,} unreadable ({listed})")
        return ", ".join(parts)


def unreadable_format(path: str) -> str | None:
    """What a picture or film is that a folder has under a suffix quantart does not read, and what to do; None for
    anything else."""
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            return None
        with open(path, "rb") as file:
            readable = sniff(file.read(HEAD_BYTES))
    except OSError:
        return None
    found = describe_unreadable(path)
    return f"a {readable} picture with another suffix: rename it" if found is None and readable else found


def visible(part: str) -> str:
    """A name that is neither empty nor hidden: leading dots become one underscore."""
    return part if part and part[0] != "." else "_" + part.lstrip(".")


def identity(path: str) -> object:
    """What distinguishes a file or folder from every other, through any link or spelling. Raises OSError."""
    facts = os.stat(path)
    return (facts.st_dev, facts.st_ino) if facts.st_ino else os.path.realpath(path)  # some file systems have no inodes


def visible_place(place: str) -> str:
    return "/".join(map(visible, place.split("/")))


class Pattern:
    """A pattern, matched name by name on the way down.

    A state is the set of parts that may match the next name, so the cost does not grow with the number of ``**``.
    """

    def __init__(self, parts: Sequence[str]) -> None:
        self._matches = [
            None if part == "**" else re.compile(fnmatch.translate(os.path.normcase(part))).match for part in parts
        ]

    def start(self) -> frozenset[int]:
        return self._reach({0})

    def enter(self, state: frozenset[int], name: str) -> frozenset[int]:
        """The state inside a folder; empty when nothing in it can match."""
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
            while part < len(self._matches) and self._matches[part] is None:  # ** may stand for no folder
                part += 1
                reached.add(part)
        return frozenset(part for part in reached if part < len(self._matches))


@dataclass
class Walk:
    """The walk through one folder or pattern: :meth:`descend`, and after all other walks :meth:`follow_links`."""

    search: Search
    given: str
    base: str
    pattern: Pattern
    is_pattern: bool
    found: list[Found] = field(default_factory=list)
    _visited: set[object] = field(default_factory=set)
    _links: list[tuple[str, str, frozenset[int]]] = field(default_factory=list)
    _matched: bool = False

    def follow_links(self) -> None:
        """Walk the links to folders that were met, then the links met in those, and so on."""
        while self._links:
            links, self._links = sorted(self._links, key=lambda link: link[0]), []
            for link in links:
                self.descend(*link)
        if self.is_pattern and not self._matched and not self.search.findings.troubles:
            raise QuantArtError(f"{printable(self.given)} matches no file: check the pattern")

    def descend(self, path: str, place: str, state: frozenset[int]) -> None:
        """Take the pictures in a folder and then in its real subfolders."""
        waiting = [(path, place, state)]
        while waiting:
            waiting.extend(reversed(self._take(*waiting.pop())))

    def _take(self, path: str, place: str, state: frozenset[int]) -> list[tuple[str, str, frozenset[int]]]:
        """Take the pictures in a folder, and note its links to folders; returns its real subfolders."""
        findings, inside = self.search.findings, list[tuple[str, str, frozenset[int]]]()
        try:
            folder = identity(path or ".")
            if folder == self.search.output and path != self.base:
                return []
            if folder in self._visited:
                findings.passed_over[SEEN] += 1
                return []
            self._visited.add(folder)
            with os.scandir(path or ".") as entries:
                listed = sorted(entries, key=lambda entry: entry.name)
        except OSError as error:
            findings.troubles.append(f"{printable(path or '.')} cannot be listed: {reason(error)}")
            return []
        for entry in listed:
            name, entry_path = entry.name, os.path.join(path, entry.name)
            if name[0] == ".":
                findings.passed_over[HIDDEN] += 1
            elif _is_folder(entry):
                if entered := self.pattern.enter(state, name):
                    (self._links if entry.is_symlink() else inside).append((entry_path, f"{place}{name}/", entered))
                elif not self.is_pattern:
                    findings.passed_over[SUBFOLDERS] += 1
            elif self.pattern.takes(state, name):
                self._matched = True
                if os.path.splitext(name)[1].lower() in SUFFIXES:
                    if self.search.is_new(folder, path, name, entry.is_symlink()):
                        self.found.append(Found(entry_path, place + name))
                elif (what := unreadable_format(entry_path)) is not None:
                    findings.unreadable[entry_path] = what
                else:
                    findings.passed_over[NOT_PICTURES] += 1
        return inside


class Search:
    """What all inputs of a run share: the pictures seen, and the findings."""

    def __init__(self, own: Container[str], output: str | None) -> None:
        self.findings = Findings()
        self.output = identity(output) if output is not None and os.path.isdir(output) else None
        self._own = own
        self._seen: set[tuple[object, str]] = set()
        self._folders: dict[str, object] = {}
        self._real: dict[str, str] = {}

    def file(self, path: str, place: str) -> list[Found]:
        """A file that was given directly, unless it was seen."""
        folder, name = os.path.split(path)
        if folder not in self._folders:
            try:
                self._folders[folder] = identity(folder or ".")
            except OSError:  # the folder does not exist: the picture fails later, by its name
                self._folders[folder] = os.path.abspath(folder)
        new = self.is_new(self._folders[folder], folder, name, os.path.islink(path))
        return [Found(path, visible_place(place))] if new else []

    def is_new(self, folder: object, path: str, name: str, is_link: bool) -> bool:
        """Whether the file ``name`` in the folder ``path`` is painted; counts the reason when it is not."""
        if path not in self._real:
            self._real[path] = os.path.realpath(path or ".")
        real = os.path.join(self._real[path], name)
        if (os.path.realpath(real) if is_link else real) in self._own:
            self.findings.passed_over[OWN] += 1
            return False
        if (folder, name) in self._seen:
            self.findings.passed_over[TWICE] += 1
            return False
        self._seen.add((folder, name))
        return True


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a circle of links, or a link into a closed folder: reading it will say which
        return False
