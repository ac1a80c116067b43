"""The plan of a run: which pictures are painted in which styles into which files, decided before the first is read."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass

from quantart_cli.batch.inputs import Findings, Found, Own, describe, find_pictures, identity, missing
from quantart_cli.batch.naming import Wish, encoded, parse_template, split_name, style_names, tell_apart
from quantart_cli.errors import QuantArtError
from quantart_cli.images.formats import SUFFIXES
from quantart_cli.images.names import printable

STYLES_AT_ONCE = 32
"""Each picture is painted in so many styles before the next picture: as many encoded styles as are held at a time."""


@dataclass(frozen=True)
class Request:
    """What a person asked for."""

    inputs: Sequence[str]
    """Folders, patterns and files."""
    styles: Sequence[str]
    """Files, blended into one style; with ``each_style`` files, folders and patterns, each file a style of its own."""
    output: str
    """The folder that everything is written into; need not exist."""
    lists: Sequence[str] = ()
    """Text files of one path a line; ``"-"`` is stdin."""
    recursive: bool = True
    each_style: bool = False
    name: str | None = None
    """The template for names of outputs, see ``naming.parse_template``."""
    format: str | None = None
    """The format to write; None: the source's own."""
    shard: tuple[int, int] | None = None
    """(k, n), k from 1: the k-th of n parts of the plan."""


@dataclass(frozen=True, slots=True)
class Job:
    """One picture in one style."""

    source: str
    """The path to open."""
    output: str
    """Below the output folder, with / between its parts."""
    style: int
    """Index into ``Plan.styles``."""


@dataclass(frozen=True)
class Plan:
    """Everything to be painted; the same for the same request and the same files."""

    jobs: list[Job]
    """In the order they are painted."""
    styles: list[tuple[str, ...]]
    """Each: the files blended into one style."""
    passed_over: dict[str, int]
    """Why, and how many files or folders for that reason."""
    troubles: list[str]
    """One line for each folder that could not be listed."""


def make_plan(request: Request, own: Own = ()) -> Plan:
    """Decide on every picture, style and output. Nothing is written, and no picture is opened.

    With several styles the order is: for every 32 styles, for every picture, each of these styles.

    Args:
        request: what to paint.
        own: absolute real paths of files that quantart itself painted into ``request.output``, or a function that
            knows them: never painted again.

    Raises:
        QuantArtError: in one line, whatever makes the whole request impossible: an input or style that does not
            exist, a template that cannot work, no picture at all, an output that is an input.
    """
    styles, among_styles = _find_styles(request, own)
    template = parse_template(request.name, request.format, several_styles=len(styles) > 1)
    found = find_pictures(request.inputs, request.lists, recursive=request.recursive, own=own, output=request.output)
    if not found.pictures:
        raise _nothing("pictures", [*request.inputs, *request.lists], found)
    parts = [(picture.path, *_place_parts(picture)) for picture in found.pictures]
    names = style_names(styles)
    wishes, order = [], []
    for start in range(0, len(styles), STYLES_AT_ONCE):
        block = range(start, min(start + STYLES_AT_ONCE, len(styles)))
        for path, folder, stem, suffix in parts:
            written = template.suffix_for(suffix)
            for style in block:
                wishes.append(Wish(folder, stem, names[style], written, suffix[1:], path))
                order.append(style)
    outputs = tell_apart(template, wishes)
    jobs = [Job(wish.source, output, style) for wish, output, style in zip(wishes, outputs, order, strict=True)]
    _refuse_overwriting(jobs, request.output, styles)
    if request.shard is not None:
        jobs = [job for job in jobs if in_shard(job.output, *request.shard)]
    passed_over = found.passed_over | {f"{why} among the styles": n for why, n in among_styles.passed_over.items()}
    return Plan(jobs, styles, passed_over, among_styles.troubles + found.troubles)


def parse_shard(text: str) -> tuple[int, int]:
    """``"3/16"`` as (3, 16). Raises QuantArtError for anything that is not a part of a whole."""
    match = re.fullmatch(r"([0-9]{1,9})/([0-9]{1,9})", text)
    k, n = map(int, match.groups()) if match else (0, 0)
    if not 1 <= k <= n:
        raise QuantArtError(f"--shard {printable(text)} is no part of a whole: 3/16 is the third of sixteen")
    return k, n


def in_shard(output: str, k: int, n: int) -> bool:
    """Whether an output belongs to the k-th of n parts (k from 1): a matter of its name alone."""
    return int.from_bytes(hashlib.sha256(encoded(output)).digest()[:8], "big") % n == k - 1


def _find_styles(request: Request, own: Own) -> tuple[list[tuple[str, ...]], Findings]:
    """The styles, and what finding them came to."""
    if not request.styles:
        raise QuantArtError("there is no style: give a picture to paint like")
    if request.each_style:
        found = find_pictures(request.styles, recursive=request.recursive, own=own, output=request.output)
        if not found.pictures:
            raise _nothing("styles", request.styles, found)
        return [(picture.path,) for picture in found.pictures], found
    for style in request.styles:
        if os.path.isdir(style):
            shown = printable(style)
            raise QuantArtError(f"{shown} is a folder: --each-style paints in every style in it, one after the other")
        if not os.path.exists(style):
            raise missing(style)
    return [tuple(request.styles)], Findings([], {}, [])


def _place_parts(picture: Found) -> tuple[str, str, str]:
    """The folder (with / at its end), stem and suffix of a picture's place."""
    folder, slash, name = picture.place.rpartition("/")
    return folder + slash, *split_name(name)


def _nothing(what: str, given: Sequence[str], found: Findings) -> QuantArtError:
    """The error for when there is nothing to paint, or nothing to paint like."""
    where = ", ".join("stdin" if name == "-" else printable(name, 80) for name in given[:3])
    where += f" and {len(given) - 3} more" if len(given) > 3 else ""
    why = [f"passed over {describe(found.passed_over)}"] if found.passed_over else []
    why += found.troubles[:1] or [f"quantart looks for {', '.join(sorted(SUFFIXES))}"]
    return QuantArtError(f"no {what} in {where or 'nothing'}: {'; '.join(why)}")


def _refuse_overwriting(jobs: Sequence[Job], folder: str, styles: Sequence[Sequence[str]]) -> None:
    """Raise QuantArtError when an output is a file that is read, or another output, by whatever link or spelling."""
    if not os.path.isdir(folder):
        return
    there: dict[object, str] = {}
    for job in jobs:
        path = os.path.join(folder, job.output)
        file = _identity(path)
        if file is None:
            continue
        other = there.setdefault(file, path)
        if other is not path and os.path.realpath(other) == os.path.realpath(path):
            same = f"{printable(path)} and {printable(other)} are the same file, by a link"
            raise QuantArtError(f"{same}: choose another output folder or --name")
    if not there:
        return
    for given in dict.fromkeys([*(job.source for job in jobs), *(file for style in styles for file in style)]):
        path = there.get(_identity(given))
        if path is not None:
            shown = printable(path)
            also = (
                ""
                if os.path.normpath(given) == os.path.normpath(path)
                else f" is the same file as {printable(given)}, which"
            )
            raise QuantArtError(
                f"{shown}{also} is an input and would be overwritten: choose another output folder or --name"
            )


def _identity(path: str) -> object:
    """What tells the file at ``path`` from others, of a link that leads nowhere the link itself; None: not there."""
    try:
        return identity(path)
    except OSError:
        try:
            facts = os.lstat(path)
        except OSError:
            return None
        return (facts.st_dev, facts.st_ino)
