"""Saving a picture, and refusing what cannot be written before anything is computed."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from functools import partial
from typing import Any

from quantart_cli.errors import QuantArtError
from quantart_cli.files import check_target, is_stream, printable, write_all, write_atomically
from quantart_cli.images import large
from quantart_cli.images.encoding import (
    check_size,
    check_transparency,
    encode_picture,
    parse_background,
    write_picture,
)
from quantart_cli.images.formats import format_for
from quantart_cli.images.picture import Picture


def save_picture(
    picture: Picture,
    target: str | os.PathLike[str],
    *,
    format: str | None = None,
    background: str | None = None,
    quality: int = 95,
    strip_metadata: bool = False,
) -> None:
    """Encode a picture and write it, whole or not at all (see :func:`quantart_cli.files.write_atomically`).

    Args:
        target: a path, or ``"-"`` for stdout.
        format: a name such as "png"; by default the suffix of ``target`` decides, and stdout gets a PNG.
        background, quality, strip_metadata: as in :func:`write_picture`.

    Raises:
        QuantArtError: in one line, when it cannot be encoded or written.
    """
    path = os.fsdecode(target)
    name = format_for(path, format)
    options: dict[str, Any] = {"background": background, "quality": quality, "strip_metadata": strip_metadata}
    if large.is_large(*picture.size) and not is_stream(target):
        write_atomically(path, partial(write_picture, picture=picture, format=name, **options))
        return
    data = encode_picture(picture, name, **options)
    if is_stream(target):
        write_all(_stdout(), data)
    else:
        write_atomically(path, data)


def check_output(
    target: str | os.PathLike[str],
    inputs: Iterable[object],
    *,
    format: str | None = None,
    has_alpha: bool = False,
    background: str | None = None,
    size: tuple[int, int] | None = None,
) -> str:
    """Find out before any computing whether ``target`` can be written; returns the normalised format name.

    Checks that the format is known and holds the picture, that ``background`` is a colour and is set when alpha needs
    it, and what :func:`quantart_cli.files.check_target` checks.

    Args:
        target: a path, or ``"-"`` for stdout.
        inputs: what is read; paths are compared with the target, anything else (``"-"``, bytes, arrays) is not.
        format: as in :func:`save_picture`; a suffix of ``target`` that names another format is refused.
        has_alpha: whether the picture to be written has transparent parts.
        background: as in :func:`write_picture`.
        size: (width, height) of the picture to be written, when it is known.
    """
    path = os.fsdecode(target)
    if not path:
        raise QuantArtError("the name of the output is empty: give a file such as out.png")
    if path.endswith(("/", os.sep)) or (not is_stream(target) and os.path.isdir(path)):
        example = printable(os.path.join(path, "picture.png"))
        raise QuantArtError(f"{printable(path)} is a folder: give a file name, for instance {example}")
    name = format_for(path, format)
    parse_background(background)
    check_transparency("the picture", name, has_alpha, background)
    if size is not None:
        check_size(name, size)
    if is_stream(target):
        _stdout()
    else:
        check_target(path, inputs)
    return name


def _stdout() -> Any:
    """The binary stdout. Raises QuantArtError when there is none or a person would get a picture on the screen."""
    stdout = getattr(sys.stdout, "buffer", None)
    if stdout is None or sys.stdout.closed:
        raise QuantArtError("stdout is closed: give an output file instead of -")
    if sys.stdout.isatty():
        raise QuantArtError("stdout is a terminal: redirect it, as in quantart … -o - > picture.png")
    return stdout
