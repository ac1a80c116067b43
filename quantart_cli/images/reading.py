"""From files, bytes, PIL images, arrays and tensors to a Picture: upright, in sRGB, with every refusal in one line."""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
import re
import sys
import threading
import warnings
from collections.abc import Iterator
from dataclasses import replace
from typing import IO, Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from quantart_cli.errors import QuantArtError
from quantart_cli.files import printable, reason
from quantart_cli.images import formats, large
from quantart_cli.images.metadata import collect
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

# Image.open reads its limit from a module variable, and warning filters belong to the process: one file at a time.
_PILLOW = threading.RLock()
_PLUGINS = {name: f"PIL.{name.title()}ImagePlugin" for name in ("JPEG", "PNG", "TIFF", "BMP", "GIF", "AVIF")}
_PLUGINS |= {"WEBP": "PIL.WebPImagePlugin", "HEIF": "pillow_heif"}
_UNSUPPORTED = re.compile(
    r"unknown|unsupported|not supported|not implemented|cannot handle|unrecognized", re.IGNORECASE
)
_TURNED = (5, 6, 7, 8)  # orientations that swap width and height
_muted = False
logging.getLogger("PIL").addHandler(logging.NullHandler())  # else Python prints its errors where nobody logs


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
                _check_pixels((array.shape[1], array.shape[0]), origin, max_pixels)
            return picture_of_array(array, origin)
        if isinstance(source, Image.Image):
            _check_pixels(source.size, origin, max_pixels)
            return _to_picture(source, None, origin, max_pixels, frame)
        with open_source(source, origin) as stream, _header(stream, origin, max_pixels) as (image, head):
            depth = head[24] if image.format == "PNG" else 8
            return _to_picture(image, stream, origin, max_pixels, frame, depth)


def read_file(path: str) -> tuple[bytes, os.stat_result]:
    """The bytes of a picture file, for :func:`read_picture`, and its status when it was opened.

    Raises:
        QuantArtError: as :func:`read_picture` before it decodes; what is not a picture is refused by its first bytes.
    """
    origin = origin_of_path(path)
    with _enough_memory(origin), open_file(path, origin) as file:
        with _refusing(origin):
            head = file.read(formats.HEAD_BYTES)
        _format_of(head, origin)
        with _refusing(origin):
            return head + file.read(), os.fstat(file.fileno())


def picture_size(path: str, *, max_pixels: int = DEFAULT_MAX_PIXELS) -> tuple[int, int]:
    """(width, height) of a picture file, upright, by its header alone.

    Raises:
        QuantArtError: as :func:`read_picture` before it decodes; damage further on is not found.
    """
    origin = origin_of_path(path)
    with open_file(path, origin) as file, _header(file, origin, max_pixels) as (image, _), _refusing(origin):
        orientation = collect(large.png_header(file) if image.format == "PNG" else image).orientation
        size = image.size
        if image.format == "TIFF":  # Pillow may have swapped the sides already
            size = _first(image, 256), _first(image, 257)
        return size[::-1] if orientation in _TURNED else size


def mute_libtiff() -> None:
    """Keep libtiff's own lines about damaged files off stderr, for a command line.

    While a TIFF is decoded the process's file descriptor 2 leads nowhere: not for a program with other threads.
    """
    global _muted
    _muted = sys.stderr is not None


@contextlib.contextmanager
def _enough_memory(origin: Origin) -> Iterator[None]:
    try:
        yield
    except MemoryError as error:
        message = f"there is not enough memory to read {origin.shown}: make the picture smaller first"
        raise QuantArtError(message) from error


@contextlib.contextmanager
def _header(stream: IO[bytes], origin: Origin, max_pixels: int) -> Iterator[tuple[Image.Image, bytes]]:
    """A picture file opened by Pillow and not yet decoded, of a size that is allowed; and its first bytes."""
    with _refusing(origin):
        head = stream.read(formats.HEAD_BYTES)
    format = _format_of(head, origin)
    size = _webp_size(head) if format == "WEBP" else None  # its decoder allocates the canvas on opening
    if size:
        _check_pixels(size, origin, max_pixels)
    plugin = importlib.import_module(_PLUGINS[format])
    if format == "HEIF":
        plugin.register_heif_opener()
    with _refusing(origin), _pillow(limit=None):
        try:
            image = Image.open(stream, formats=(format,))
        except UnidentifiedImageError:  # it hides what the decoder said: ask that again
            stream.seek(0)
            Image.OPEN[format][0](stream, "")
            raise
    with image:
        _check_pixels(image.size, origin, max_pixels)
        if image.format == "TIFF":  # a tile may be larger than the picture
            _check_pixels((_first(image, 322), _first(image, 323)), origin, max_pixels)
        yield image, head


def _format_of(head: bytes, origin: Origin) -> str:
    """Pillow's name of the format. Raises QuantArtError when it is none that is read here."""
    format = formats.sniff(head)
    if format is not None and not (format == "TIFF" and formats.is_raw(origin.name)):
        return format
    if not head:
        raise QuantArtError(f"{origin.shown} is empty (0 bytes): get the file again")
    what = "a camera raw file" if format else formats.describe_foreign(head)
    listing = ", ".join(formats.readable_formats())
    is_what = f"is {what} and cannot be read" if what else "is no picture that can be read"
    raise QuantArtError(f"{origin.shown} {is_what}: convert it to one of {listing}")


def _first(image: Image.Image, tag: int, default: int = 1) -> int:
    """The first value of a TIFF's tag, as a whole number."""
    value = image.tag_v2.get(tag, default)  # type: ignore[attr-defined]
    value = value[0] if isinstance(value, tuple) and value else value
    return value if isinstance(value, int) else default


@contextlib.contextmanager
def _pillow(limit: int | None) -> Iterator[None]:
    """Around Pillow's decoding: one thread at a time, without warnings, with ``limit`` as its limit on pixels."""
    with _PILLOW, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        before, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, limit
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = before


@contextlib.contextmanager
def _mute(format: str | None) -> Iterator[None]:
    """While a TIFF is decoded, lead file descriptor 2 nowhere, if :func:`mute_libtiff` was called."""
    if not _muted or format != "TIFF":
        yield
        return
    kept = os.dup(2)
    try:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 2)
        os.close(nowhere)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


@contextlib.contextmanager
def _refusing(origin: Origin) -> Iterator[None]:
    """Around Pillow's decoding: whatever goes wrong becomes one line."""
    try:
        yield
    except (MemoryError, QuantArtError):
        raise
    except Exception as error:  # Pillow's decoders let nearly anything through
        said = reason(error) if isinstance(error, OSError) and error.errno else printable(error, 120)
        if isinstance(error, NotImplementedError) or _UNSUPPORTED.search(said):
            message = f"{origin.shown} is of a kind that is not read ({said}): save it as PNG"
        else:
            detail = "" if not said or "cannot identify image" in said or "object at 0x" in said else f" ({said})"
            message = f"{origin.shown} is damaged or cut short{detail}: get the file again"
        raise QuantArtError(message) from error


def _check_pixels(size: tuple[int, int], origin: Origin, max_pixels: int) -> None:
    width, height = size
    if width < 1 or height < 1:
        raise QuantArtError(f"{origin.shown} is {width} x {height} pixels: there is nothing in it")
    if width * height > max_pixels:
        raise QuantArtError(
            f"{origin.shown} is {width} x {height} = {width * height / 1e6:.6g} megapixels, "
            f"above the limit of {max_pixels / 1e6:.6g}: raise max_pixels"
        )


def _webp_size(head: bytes) -> tuple[int, int] | None:
    """(width, height) from the first chunk of a WebP file; None when it has none that is known."""
    kind = head[12:16]
    if kind == b"VP8X" and len(head) >= 30:
        return 1 + int.from_bytes(head[24:27], "little"), 1 + int.from_bytes(head[27:30], "little")
    if kind == b"VP8L" and len(head) >= 25:
        bits = int.from_bytes(head[21:25], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    if kind == b"VP8 " and len(head) >= 30:
        return int.from_bytes(head[26:28], "little") & 0x3FFF, int.from_bytes(head[28:30], "little") & 0x3FFF
    return None


def _to_picture(
    image: Image.Image, stream: IO[bytes] | None, origin: Origin, max_pixels: int, frame: int | None, depth: int = 8
) -> Picture:
    """A PIL image, perhaps not yet loaded, as a Picture."""
    white_is_zero = False
    with _refusing(origin), _pillow(limit=max_pixels), _mute(image.format):
        notes = _choose_frame(image, frame, origin)
        _check_pixels(image.size, origin, max_pixels)
        if image.format == "TIFF" and hasattr(image, "tag_v2"):
            _check_tiff(image, origin)
            white_is_zero = _first(image, 262) == 0
    is_large = large.is_large(*image.size)
    if is_large and stream is not None and not frame:
        with _pillow(limit=max_pixels):
            found = large.read_with_vips(image, stream, origin.name, depth)
        if found is not None:
            return replace(found, notes=(*notes, *found.notes))
    with _refusing(origin), _pillow(limit=max_pixels), _mute(image.format):
        image.load()
        if image.im.size != image.size:  # a TIFF whose two statements of its orientation disagree
            raise ValueError("two sizes stated")
        header = collect(image)
    # The modes whose meaning depends on their largest value are converted whole.
    bands = large.crops(image) if is_large and image.mode not in ("I", "F") else iter([image])
    found = large.assemble(bands, image.size, header, origin.name, depth, white_is_zero)
    return replace(found, notes=(*notes, *found.notes))


def _choose_frame(image: Image.Image, frame: int | None, origin: Origin) -> list[str]:
    """Go to the frame; a note when there are more pages. Done before loading: looking ahead may drop pixels."""
    try:
        # The second picture of an MPO is a preview or the other eye.
        count = 1 if image.format == "MPO" else getattr(image, "n_frames", 1)
    except MemoryError:
        raise
    except Exception:  # damage behind the first frame does not concern us
        count = 1
    if frame is not None:
        if not 0 <= frame < count:
            raise QuantArtError(f"{origin.shown} has {count} frames: frame must be 0 to {count - 1}")
        if frame:
            image.seek(frame)
        return []
    if count > 1 and image.format != "TIFF":
        raise QuantArtError(
            f"{origin.shown} is animated ({count} frames): the `video` command paints all of them, "
            "frame=0 takes the first"
        )
    return [f"{count} pages: the first is used"] if count > 1 else []


def _check_tiff(image: Image.Image, origin: Origin) -> None:
    """Refuse the kinds of TIFF that Pillow decodes to wrong colours without an error."""
    tiles = image.tile  # type: ignore[attr-defined]
    if not tiles:  # decoded already
        return
    bits, sample_format, photometric = _first(image, 258), _first(image, 339), _first(image, 262)
    planar, raw = _first(image, 284) == 2, tiles[0][0] == "raw"
    kind = None
    if planar and (image.mode in ("LA", "LAB") or (raw and bits > 8)):
        kind = f"{bits}-bit {image.mode} in separate planes"
    elif bits == 12:
        kind = "12-bit samples"
    elif sample_format == 2 and bits < 32:
        kind = f"signed {bits}-bit samples"
    elif sample_format == 1 and bits == 32:
        kind = "unsigned 32-bit samples"
    elif photometric == 0 and image.mode in ("I", "F"):
        kind = "32-bit samples from white to black"
    elif image.mode in ("I", "F") and not raw and image.tag_v2.prefix == b"MM":  # type: ignore[attr-defined]
        kind = "compressed big-endian 32-bit samples"
    elif photometric == 6 and raw and image.tag_v2.get(530, (2, 2)) != (1, 1):  # type: ignore[attr-defined]
        kind = "subsampled YCbCr without compression"
    if kind:
        raise QuantArtError(f"{origin.shown} is of a kind that is not read (TIFF with {kind}): save it as PNG")
