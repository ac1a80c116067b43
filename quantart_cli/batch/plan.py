"""The plan of a run: which pictures are painted in which styles into which files, made before any picture is read."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Container, Sequence
from dataclasses import dataclass

from quantart_cli.batch.inputs import find_pictures, missing
from quantart_cli.batch.naming import Wish, distinct_names, encoded, parse_template, split_name, style_names
from quantart_cli.batch.walking import Findings, identity
from quantart_cli.errors import QuantArtError
from quantart_cli.files import printable
from quantart_cli.images.formats import SUFFIXES
from quantart_cli.masks import ALPHA, NOT, mask_files, split_mask

STYLES_AT_ONCE = 32
"""Each picture is painted in up to so many styles before the next picture: as many encoded styles are in memory."""


@dataclass(frozen=True)
class Request:
    """What a person asked for.

    Attributes:
        inputs: folders, patterns and files.
        styles: files, blended into one style; with ``each_style`` files, folders and patterns, each file one style.
        output: the folder that everything is written into; need not exist.
        lists: text files of one path a line; ``"-"`` is stdin.
        recursive: whether subfolders are walked.
        each_style: whether every picture is painted in every style.
        needs_style: whether the method takes pictures of styles; False: there are none.
        name: the template for names of outputs, see ``naming.parse_template``.
        format: of all outputs; None: the source's own.
        shard: (k, n), k from 1: the k-th of n parts of the plan.
        masks: a region of every content each, as of ``masks.read_masks``, with a folder of masks instead of a file.
    """

    inputs: Sequence[str]
    styles: Sequence[str]
    output: str
    lists: Sequence[str] = ()
    recursive: bool = True
    each_style: bool = False
    needs_style: bool = True
    name: str | None = None
    format: str | None = None
    shard: tuple[int, int] | None = None
    masks: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class WorkItem:
    """One picture in one style.

    Attributes:
        output: below the output folder, with / between its parts.
        style: index into ``Plan.styles``.
        format: of the output, normalised; set when the item is due.
        fingerprint: of its settings, see :meth:`quantart_cli.batch.job.PaintJob.fingerprint`; set likewise.
        masks: its regions, as of ``masks.read_masks``.
    """

    source: str
    output: str
    style: int
    format: str = ""
    fingerprint: str = ""
    masks: tuple[str, ...] = ()


@dataclass(frozen=True)
class Plan:
    """Everything to be painted; equal for equal requests and files.

    Attributes:
        items: in the order they are painted.
        styles: each: the files blended into one style.
        contents: number of pictures to paint, in all shards.
        found: what was passed over, cannot be read or listed.
    """

    items: list[WorkItem]
    styles: list[tuple[str, ...]]
    contents: int
    found: Findings


def make_plan(request: Request, own: Container[str] = ()) -> Plan:
    """Choose every picture, style and output. Nothing is written, and no picture is decoded.

    With several styles the order is: for every 32 styles, for every picture, each of these styles.

    Args:
        own: absolute real paths of files that quantart painted into ``request.output``: they are not painted again.

    Raises:
        QuantArtError: an input or style that does not exist, a template that cannot work, no picture at all, an
            output that is an input.
    """
    styles, among_styles = _find_styles(request, own)
    template = parse_template(request.name, request.format, several_styles=len(styles) > 1)
    found = find_pictures(request.inputs, request.lists, recursive=request.recursive, own=own, output=request.output)
    if not found.pictures:
        raise _nothing("pictures", [*request.inputs, *request.lists], found)
    names = style_names(styles)
    parts = []
    for picture in found.pictures:
        folder, slash, name = picture.place.rpartition("/")
        parts.append((picture.path, folder + slash, *split_name(name)))
    wishes, order = [], []
    for start in range(0, len(styles), STYLES_AT_ONCE):
        block = range(start, min(start + STYLES_AT_ONCE, len(styles)))
        for path, folder, stem, suffix in parts:
            written = template.suffix_for(suffix)
            for style in block:
                wishes.append(Wish(folder, stem, names[style], written, suffix[1:], path))
                order.append(style)
    outputs = distinct_names(template, wishes)
    masks = _find_masks(request.masks, found)
    items = [
        WorkItem(wish.source, output, style, masks=masks.get(wish.source, ()))
        for wish, output, style in zip(wishes, outputs, order, strict=True)
    ]
    _refuse_overwriting(items, request.output, styles)
    if request.shard is not None:
        items = [item for item in items if in_shard(item.output, *request.shard)]
    count, found.pictures = len(found.pictures), []
    found.passed_over.update({f"{why} among the styles": n for why, n in among_styles.passed_over.items()})
    found.unreadable.update(among_styles.unreadable)
    found.troubles[:0] = among_styles.troubles
    return Plan(items, styles, count, found)


def parse_shard(text: str) -> tuple[int, int]:
    """``"3/16"`` as (3, 16). Raises QuantArtError for anything that is not a part of a whole."""
    match = re.fullmatch(r"([0-9]{1,9})/([0-9]{1,9})", text)
    k, n = map(int, match.groups()) if match else (0, 0)
    if not 1 <= k <= n:
        raise QuantArtError(f"--shard {printable(text)} is no part of a whole: 3/16 is the third of sixteen")
    return k, n


def in_shard(output: str, k: int, n: int) -> bool:
    """Whether an output belongs to the k-th of n parts (k from 1); depends on its name alone."""
    return int.from_bytes(hashlib.sha256(encoded(output)).digest()[:8], "big") % n == k - 1


def _find_styles(request: Request, own: Container[str]) -> tuple[list[tuple[str, ...]], Findings]:
    if not request.needs_style:
        return [()], Findings()
    if not request.styles:
        raise QuantArtError("there is no style: give a picture to paint like")
    if request.each_style:
        found = find_pictures(request.styles, recursive=request.recursive, own=own, output=request.output)
        if not found.pictures:
            raise _nothing("styles", request.styles, found)
        return [(picture.path,) for picture in found.pictures], found
    for style in request.styles:
        if os.path.isdir(style):
            swapped = not request.lists and not any(map(os.path.isdir, request.inputs))
            order = "the order may be swapped, photographs come before the style; " if swapped else ""
            each = "--each-style paints in every style in it, one after the other"
            raise QuantArtError(f"{printable(style)} is a folder: {order}{each}")
        if not os.path.exists(style):
            raise missing(style)
    return [tuple(request.styles)], Findings()


def _find_masks(given: Sequence[str], contents: Findings) -> dict[str, tuple[str, ...]]:
    """The masks of each content by its path. In a folder, that of the same place and name, or of the same name."""
    if not given:
        return {}
    columns = []
    for text in given:
        folder, inverted = split_mask(text)
        if folder == ALPHA:
            columns.append([text] * len(contents.pictures))
            continue
        if not os.path.isdir(folder):
            raise QuantArtError(f"mask {printable(folder)} is no folder: give a folder of masks, or {ALPHA}")
        by_place = {os.path.splitext(each.place)[0]: each.path for each in find_pictures([folder]).pictures}
        places = [os.path.splitext(each.place)[0] for each in contents.pictures]
        paths = [by_place.get(place) or by_place.get(place.rpartition("/")[2]) for place in places]
        if None in paths:
            first, count = contents.pictures[paths.index(None)].path, paths.count(None)
            more = f" and {count - 1:,} more" if count > 1 else ""
            raise QuantArtError(
                f"{printable(folder)} has no mask for {printable(first)}{more}: name masks as the pictures"
            )
        columns.append([(NOT if inverted else "") + str(path) for path in paths])
    return dict(zip((each.path for each in contents.pictures), zip(*columns, strict=True), strict=True))


def _nothing(what: str, given: Sequence[str], found: Findings) -> QuantArtError:
    """The error when there is nothing to paint, or no style."""
    where = ", ".join("stdin" if name == "-" else printable(name, 80) for name in given[:3])
    where += f" and {len(given) - 3} more" if len(given) > 3 else ""
    described = found.describe()
    why = [f"passed over {described}"] if described else []
    why += found.troubles[:1] or [f"quantart looks for {', '.join(sorted(SUFFIXES))}"]
    return QuantArtError(f"no {what} in {where or 'nothing'}: {'; '.join(why)}")


def _refuse_overwriting(items: Sequence[WorkItem], folder: str, styles: Sequence[Sequence[str]]) -> None:
    """Raise QuantArtError when an output is a file that is read, or another output, through any link or spelling."""
    if not os.path.isdir(folder):
        return
    existing: dict[object, str] = {}
    for item in items:
        path = os.path.join(folder, item.output)
        file = _identity(path)
        if file is None:
            continue
        other = existing.setdefault(file, path)
        if other is not path and os.path.realpath(other) == os.path.realpath(path):
            same = f"{printable(path)} and {printable(other)} are the same file, by a link"
            raise QuantArtError(f"{same}: choose another output folder or --name")
    if not existing:
        return
    read = [file for item in items for file in (item.source, *mask_files(item.masks))]
    for given in dict.fromkeys([*read, *(file for style in styles for file in style)]):
        path = existing.get(_identity(given), "")
        if path:
            also = (
                ""
                if os.path.normpath(given) == os.path.normpath(path)
                else f" is the same file as {printable(given)}, which"
            )
            message = f"{printable(path)}{also} is an input and would be overwritten"
            raise QuantArtError(f"{message}: choose another output folder or --name")


def _identity(path: str) -> object:
    """What distinguishes the file at ``path``, or a link that leads nowhere, from others; None: it does not exist."""
    try:
        return identity(path)
    except OSError:
        try:
            facts = os.lstat(path)
        except OSError:
            return None
        return (facts.st_dev, facts.st_ino)
