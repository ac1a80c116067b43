"""From files, bytes, PIL images, arrays and tensors to a Picture: upright, in sRGB, with every refusal in one line."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterator
from dataclasses import replace
from typing import IO, Any

import numpy as np
from PIL import Image

from quantart_cli import files
from quantart_cli.errors import QuantArtError
from quantart_cli.images import formats, large
from quantart_cli.images.metadata import collect
from quantart_cli.images.opening import (
    check_pixels,
    check_tiff,
    choose_frame,
    first_value,
    format_of,
    open_header,
    pillow_settings,
    refusing,
)
from quantart_cli.images.picture import Picture
from quantart_cli.images.sources import (
    DEFAULT_MAX_PIXELS,
    Origin,
    is_tensor,
    open_file,
    open_source,
    origin_of,
    origin_of_path,
    picture_of_array,
    tensor_to_array,
)

_SIDEWAYS = (5, 6, 7, 8)  # orientations that swap width and height


def read_picture(
    source: Any, *, frame: int | None = None, max_pixels: int = DEFAULT_MAX_PIXELS, path: str | None = None
) -> Picture:
    """Read one still picture: upright by its orientation, converted to sRGB by its ICC profile, in 8 bits.

    Files are opened only when they are regular files (or symbolic links to such) whose first bytes are those of a
    format in ``readable_formats()``; no other decoder of Pillow ever runs. Modes and 16-bit values: see
    :func:`quantart_cli.images.modes.to_rgb_alpha`.

    Args:
        source: a path; ``"-"`` for stdin (a file of that name is ``./-``); the bytes of a file; a binary stream; a PIL
            image of any mode (its orientation, profile and metadata count as if from a file); an array (H, W), (H, W,
            1) grey, (H, W, 2) grey and alpha, (H, W, 3) sRGB or (H, W, 4) sRGB and alpha, uint8 or float in [0, 1]; a
            torch tensor of such values, (C, H, W), (1, C, H, W) or (H, W, C).
        frame: which frame of an animation or page of a TIFF to read, counted from 0. Without it an animation is
            refused, and of several pages the first is read, with a note.
        max_pixels: refuse anything with more, by the size in its header, before decoding.
        path: where the source was read from, for errors and the picture's name; default the source itself.

    Raises:
        QuantArtError: in one line that names the file and says what to do.
        TypeError: ``source`` is none of these.
    """
    origin = origin_of(source) if path is None else origin_of_path(path)
    with _enough_memory(origin):
        if isinstance(source, np.ndarray) or is_tensor(source):
            array = source if isinstance(source, np.ndarray) else tensor_to_array(source)
            if array.ndim >= 2 and array.size:
                check_pixels((array.shape[1], array.shape[0]), origin, max_pixels)
            return picture_of_array(array, origin)
        if isinstance(source, Image.Image):
            check_pixels(source.size, origin, max_pixels)
            return _to_picture(source, None, origin, max_pixels, frame)
        with open_source(source, origin) as stream:
            if _is_raw(stream, origin):
                from quantart_cli.images.raw import read_raw

                return replace(read_raw(stream, origin, max_pixels), sha256=_checksum(stream, origin))
            with open_header(stream, origin, max_pixels) as (image, head):
                depth = head[24] if image.format == "PNG" else 8
                picture = _to_picture(image, stream, origin, max_pixels, frame, depth)
            return replace(picture, sha256=_checksum(stream, origin))


def _is_raw(stream: IO[bytes], origin: Origin) -> bool:
    """Whether it is a camera raw file and these are read; the stream stays at its beginning."""
    if not formats.HAS_RAW:
        return False
    with refusing(origin):
        head = stream.read(formats.HEAD_BYTES)
        stream.seek(0)
    return formats.is_raw_file(head, origin.name)


def _checksum(stream: IO[bytes], origin: Origin) -> str:
    """sha256 of a whole stream."""
    digest = hashlib.sha256()
    with refusing(origin):
        stream.seek(0)
        while chunk := stream.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def read_file(path: str) -> tuple[bytes, os.stat_result]:
    """The bytes of a picture file, for :func:`read_picture`, and its status when it was opened.

    Raises:
        QuantArtError: as :func:`read_picture` before it decodes; what is not a picture is refused by its first bytes.
    """
    origin = origin_of_path(path)
    with _enough_memory(origin), open_file(path, origin) as file:
        with refusing(origin):
            head = file.read(formats.HEAD_BYTES)
        format_of(head, origin)
        with refusing(origin):
            return head + file.read(), os.fstat(file.fileno())


def picture_size(path: str, *, max_pixels: int = DEFAULT_MAX_PIXELS) -> tuple[int, int]:
    """(width, height) of a picture file, upright, by its header alone.

    Raises:
        QuantArtError: as :func:`read_picture` before it decodes; damage further on is not found.
    """
    origin = origin_of_path(path)
    with open_file(path, origin) as file:
        if _is_raw(file, origin):
            from quantart_cli.images.raw import raw_size

            return raw_size(file, origin, max_pixels)
        return _size_by_header(file, origin, max_pixels)


def _size_by_header(file: IO[bytes], origin: Origin, max_pixels: int) -> tuple[int, int]:
    with open_header(file, origin, max_pixels) as (image, _), refusing(origin):
        orientation = collect(large.png_header(file) if image.format == "PNG" else image).orientation
        size = image.size
        if image.format == "TIFF":  # Pillow may have swapped the sides already
            size = first_value(image, 256), first_value(image, 257)
        return size[::-1] if orientation in _SIDEWAYS else size


@contextlib.contextmanager
def _enough_memory(origin: Origin) -> Iterator[None]:
    try:
        yield
    except MemoryError as error:
        message = f"there is not enough memory to read {origin.shown}: make the picture smaller first"
        raise QuantArtError(message) from error


@contextlib.contextmanager
def _mute(format: str | None) -> Iterator[None]:
    """While a TIFF is decoded by a command line, file descriptor 2 is the null device: libtiff writes there itself."""
    try:
        kept = os.dup(2) if files.stderr_may_be_muted and format == "TIFF" else None
    except OSError:  # stderr was closed
        kept = None
    if kept is None:
        yield
        return
    try:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 2)
        os.close(nowhere)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def _to_picture(
    image: Image.Image, stream: IO[bytes] | None, origin: Origin, max_pixels: int, frame: int | None, depth: int = 8
) -> Picture:
    """A PIL image, perhaps not yet loaded, as a Picture."""
    white_is_zero = False
    with refusing(origin), pillow_settings(limit=max_pixels), _mute(image.format):
        notes = choose_frame(image, frame, origin)
        check_pixels(image.size, origin, max_pixels)
        if image.format == "TIFF" and hasattr(image, "tag_v2"):
            check_tiff(image, origin)
            white_is_zero = first_value(image, 262) == 0
    is_large = large.is_large(*image.size)
    if is_large and stream is not None and not frame:
        with pillow_settings(limit=max_pixels):
            found = large.read_with_vips(image, stream, origin.name, depth)
        if found is not None:
            return replace(found, notes=(*notes, *found.notes))
    with refusing(origin), pillow_settings(limit=max_pixels), _mute(image.format):
        image.load()
        if image.im.size != image.size:  # a TIFF whose two statements of its orientation disagree
            raise ValueError("two sizes stated")
        header = collect(image)
    # The modes whose meaning depends on their largest value are converted whole.
    bands = large.crops(image) if is_large and image.mode not in ("I", "F") else iter([image])
    found = large.assemble(bands, image.size, header, origin.name, depth, white_is_zero)
    return replace(found, notes=(*notes, *found.notes))
