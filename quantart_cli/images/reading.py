"""From files, bytes, PIL images and arrays to a Picture: upright, in sRGB, alpha apart, every refusal in one line."""

from __future__ import annotations

import contextlib
import importlib
import io
import logging
import os
import stat
import sys
import threading
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import IO

import numpy as np
from PIL import Image

from quantart_cli.errors import QuantArtError
from quantart_cli.images import bands, formats
from quantart_cli.images.metadata import collect
from quantart_cli.images.modes import to_rgb_alpha
from quantart_cli.images.names import is_stream, near_file, printable, reason
from quantart_cli.images.picture import Metadata, Picture

DEFAULT_MAX_PIXELS = 200_000_000
Source = str | bytes | os.PathLike | Image.Image | np.ndarray

# Image.open reads its limit from a module variable, and warning filters belong to the process: one file at a time.
_PILLOW = threading.RLock()
_PLUGINS = {name: f"PIL.{name.title()}ImagePlugin" for name in ("JPEG", "PNG", "TIFF", "BMP", "GIF", "AVIF")}
_PLUGINS["WEBP"] = "PIL.WebPImagePlugin"
_CHUNK = 1 << 20
logging.getLogger("PIL").addHandler(logging.NullHandler())  # else Python prints its errors where nobody logs


@dataclass(frozen=True)
class _Origin:
    """Where a picture comes from: ``shown`` in errors (a path as given), ``name`` for the Picture (its last part)."""

    shown: str
    name: str


def read_picture(source: Source, *, max_pixels: int = DEFAULT_MAX_PIXELS, path: str | None = None) -> Picture:
    """Read one still picture: upright by its EXIF orientation, converted to sRGB by its ICC profile, in 8 bits.

    Of an animation the first frame is read, of a document the first page. Files are opened only when they are regular
    files (or symbolic links to such) whose first bytes are those of a format in ``readable_formats()``; no other
    decoder of Pillow ever runs. Modes and 16-bit values: see ``modes.to_rgb_alpha``.

    Args:
        source: a path; ``"-"`` for stdin (a file of that name is ``./-``); the bytes of a file; a PIL image of any
            mode (its orientation, profile and metadata count as if from a file); or a uint8 array (H, W), (H, W, 1)
            grey, (H, W, 2) grey and alpha, (H, W, 3) sRGB or (H, W, 4) sRGB and alpha.
        max_pixels: refuse anything with more, by the size in its header, before decoding.
        path: where the source was read from, for errors and the picture's name; default the source itself.

    Raises:
        QuantArtError: in one line that names the file and says what to do.
    """
    origin = _origin(source) if path is None else _origin_of(path)
    try:
        if isinstance(source, np.ndarray):
            return _from_array(source, origin, max_pixels)
        if isinstance(source, Image.Image):
            _check_pixels(source.size, origin, max_pixels)
            return _to_picture(source, origin, max_pixels)
        with _stream(source, origin) as stream:
            return _decode(stream, origin, max_pixels)
    except MemoryError as error:
        message = f"there is not enough memory to read {origin.shown}: make the picture smaller first"
        raise QuantArtError(message) from error


def read_file(path: str) -> tuple[bytes, os.stat_result]:
    """The bytes of a picture file, for :func:`read_picture`, and its status as it was opened.

    Raises:
        QuantArtError: as :func:`read_picture` before it decodes; what is no picture is told by its first bytes.
    """
    origin = _origin_of(path)
    try:
        with _opened(path, origin) as file:
            with _refusing(origin):
                head = file.read(formats.HEAD_BYTES)
            _format_of(head, origin)
            with _refusing(origin):
                return head + file.read(), os.fstat(file.fileno())
    except MemoryError as error:
        raise QuantArtError(f"there is not enough memory to read {origin.shown}: make the picture smaller") from error


def picture_size(path: str, *, max_pixels: int = DEFAULT_MAX_PIXELS) -> tuple[int, int]:
    """(width, height) of a picture file, upright, by its header alone.

    Raises:
        QuantArtError: as :func:`read_picture` before it decodes; damage further on is not found.
    """
    origin = _origin_of(path)
    with _opened(path, origin) as file, _header(file, origin, max_pixels) as (image, _):
        with _refusing(origin):
            turned = image.getexif().get(0x0112, 1) in (5, 6, 7, 8)
        width, height = image.size
        return (height, width) if turned else (width, height)


def _origin_of(path: str) -> _Origin:
    return _Origin(printable(path), printable(os.path.basename(path)) or printable(path))


def _origin(source: Source) -> _Origin:
    if isinstance(source, np.ndarray):
        return _Origin("the array", "<array>")
    if isinstance(source, (bytes, bytearray, memoryview)):
        return _Origin("the bytes given", "<bytes>")
    if isinstance(source, Image.Image):
        path = getattr(source, "filename", "")
        name = printable(os.path.basename(os.fsdecode(path))) if path else ""
        return _Origin(name or "the image given", name or "<image>")
    if is_stream(source):
        return _Origin("stdin", "<stdin>")
    if isinstance(source, (str, os.PathLike)):
        return _origin_of(os.fsdecode(source))
    raise TypeError(f"a picture is a path, bytes, a PIL image or a uint8 array, not {type(source).__name__}")


@contextlib.contextmanager
def _stream(source: Source, origin: _Origin) -> Iterator[IO[bytes]]:
    """The source as a binary stream that can seek. Raises QuantArtError when it cannot be opened."""
    if isinstance(source, (bytes, bytearray, memoryview)):
        yield io.BytesIO(source)
    elif is_stream(source):
        yield _stdin(origin)
    else:
        with _opened(os.fsdecode(source), origin) as file:
            yield file


def _opened(path: str, origin: _Origin) -> IO[bytes]:
    """Open a regular file, and nothing else: a FIFO would block and a device may never end."""
    try:
        kind = os.stat(path).st_mode
        if stat.S_ISDIR(kind):
            raise QuantArtError(f"{origin.shown} is a folder: give the picture files in it")
        if stat.S_ISREG(kind):
            flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
            file = os.fdopen(os.open(path, flags), "rb")
            if stat.S_ISREG(os.fstat(file.fileno()).st_mode):  # still, now that it is open
                return file
            file.close()
        raise QuantArtError(f"{origin.shown} is no regular file: to read from a pipe, give - and use stdin")
    except FileNotFoundError as error:
        raise QuantArtError(_missing(path, origin)) from error
    except OSError as error:
        raise QuantArtError(f"{origin.shown} cannot be read: {reason(error)}") from error
    except ValueError as error:  # a NUL in the path
        raise QuantArtError(f"{origin.shown} is not a path: it has a character that no file name can have") from error


def _missing(path: str, origin: _Origin) -> str:
    if not path:
        return "the name of a picture is empty: give a file"
    if "://" in path:
        return f"{origin.shown} is an address, not a file: download the picture first"
    folder = os.path.dirname(path) or "."
    if not os.path.isdir(folder):
        return f"{origin.shown} does not exist, nor does the folder {printable(folder)}: check the path"
    near = near_file(path)
    if near is None:
        return f"{origin.shown} does not exist: check the path"
    return f"{origin.shown} does not exist: did you mean {printable(os.path.join(os.path.dirname(path), near))}?"


def _stdin(origin: _Origin) -> IO[bytes]:
    """All of stdin, unless its first bytes already show that it is no picture (it may have no end)."""
    stdin = getattr(sys.stdin, "buffer", None)
    if stdin is None or sys.stdin.closed:
        raise QuantArtError("stdin is closed: give a picture file instead of -")
    if sys.stdin.isatty():
        raise QuantArtError("stdin is a terminal: send a picture into it, as in quantart … - < photo.jpg")
    try:
        data = bytearray(stdin.read(formats.HEAD_BYTES))
        if formats.sniff(bytes(data)) is not None:
            while chunk := stdin.read(_CHUNK):
                data += chunk
    except OSError as error:
        raise QuantArtError(f"{origin.shown} cannot be read: {reason(error)}") from error
    return io.BytesIO(data)


def _decode(stream: IO[bytes], origin: _Origin, max_pixels: int) -> Picture:
    with _header(stream, origin, max_pixels) as (image, head):
        return _to_picture(image, origin, max_pixels, depth=head[24] if image.format == "PNG" else 8)


@contextlib.contextmanager
def _header(stream: IO[bytes], origin: _Origin, max_pixels: int) -> Iterator[tuple[Image.Image, bytes]]:
    """A picture file opened by Pillow and not yet decoded, of a size that is allowed; and its first bytes."""
    with _refusing(origin):
        head = stream.read(formats.HEAD_BYTES)
    format = _format_of(head, origin)
    size = _webp_size(head) if format == "WEBP" else None  # its decoder allocates the canvas on opening
    if size:
        _check_pixels(size, origin, max_pixels)
    importlib.import_module(_PLUGINS[format])
    with _refusing(origin), _pillow(limit=None):
        image = Image.open(stream, formats=(format,))
    with image:
        _check_pixels(image.size, origin, max_pixels)
        tags = getattr(image, "tag_v2", {})
        _check_pixels((_one(tags, 322), _one(tags, 323)), origin, max_pixels)  # a TIFF's tile may be larger than it
        yield image, head


def _format_of(head: bytes, origin: _Origin) -> str:
    """Pillow's name of the format. Raises QuantArtError when it is none that is read here."""
    format = formats.sniff(head)
    if format is None or (format == "TIFF" and formats.is_raw(origin.name)):
        raise QuantArtError(_not_readable(head, format, origin))
    return format


def _one(tags: object, tag: int) -> int:
    value = tags.get(tag, 1)  # type: ignore[attr-defined]
    return value if isinstance(value, int) else 1


@contextlib.contextmanager
def _pillow(limit: int | None) -> Iterator[None]:
    """Around Pillow's decoding: one thread at a time, without warnings, with its limit on pixels out of the way."""
    with _PILLOW, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        before, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, limit
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = before


@contextlib.contextmanager
def _mute(format: str | None) -> Iterator[None]:
    """While a TIFF is decoded, send file descriptor 2 nowhere: libtiff, in C, writes its own lines upon damage."""
    try:
        kept = os.dup(2) if format == "TIFF" else None
    except OSError:  # there is no stderr
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


@contextlib.contextmanager
def _refusing(origin: _Origin) -> Iterator[None]:
    """Around Pillow's decoding: whatever goes wrong becomes one line."""
    try:
        yield
    except MemoryError:
        raise
    except OSError as error:
        why = reason(error) if error.errno else _first_words(error)
        raise QuantArtError(_broken(origin, why)) from error
    except Exception as error:  # Pillow's decoders let nearly anything through
        raise QuantArtError(_broken(origin, _first_words(error))) from error


def _first_words(error: Exception) -> str:
    """What Pillow said, unless it only says that it failed."""
    said = printable(error, 120)
    return "" if not said or "cannot identify image" in said or "object at 0x" in said else said


def _broken(origin: _Origin, why: str) -> str:
    detail = f" ({why})" if why else ""
    return f"{origin.shown} is damaged, cut short or of a rare kind{detail}: get the file again or save it as PNG"


def _not_readable(head: bytes, format: str | None, origin: _Origin) -> str:
    if not head:
        return f"{origin.shown} is empty (0 bytes): get the file again"
    what = "a camera raw file" if format else formats.describe_foreign(head)
    listing = ", ".join(formats.readable_formats())
    if what is None:
        return f"{origin.shown} is no picture that can be read: convert it to one of {listing}"
    return f"{origin.shown} is {what} and cannot be read: convert it to one of {listing}"


def _check_pixels(size: tuple[int, int], origin: _Origin, max_pixels: int) -> None:
    width, height = size
    if width < 1 or height < 1:
        raise QuantArtError(f"{origin.shown} is {width} x {height} pixels: there is nothing in it")
    if width * height > max_pixels:
        raise QuantArtError(
            f"{origin.shown} is {width} x {height} = {width * height / 1e6:.6g} megapixels, "
            f"above the limit of {max_pixels / 1e6:.6g}: raise it with --max-pixels"
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


def _to_picture(image: Image.Image, origin: _Origin, max_pixels: int, depth: int = 8) -> Picture:
    """A PIL image, perhaps not yet loaded, as a Picture."""
    with _refusing(origin), _pillow(limit=max_pixels):
        with _mute(image.format):
            notes = _frames(image)
            parts = bands.cut(image)
            if parts is None:
                image.load()
        if parts is None and image.im.size != image.size:  # a TIFF whose two statements of its orientation disagree
            raise ValueError("two sizes stated")
    if parts is not None:
        found = bands.assemble(image, _guarded(parts, image.format, origin, max_pixels), origin.name, depth)
        return replace(found, notes=(*notes, *found.notes))
    with _pillow(limit=max_pixels):
        metadata, orientation, remarks = collect(image)
    notes += remarks
    rgb, alpha, remarks = to_rgb_alpha(image, image.info.get("icc_profile"), depth)
    rgb = _upright(rgb, orientation)
    alpha = None if alpha is None else _upright(alpha, orientation)
    return Picture(rgb, alpha, metadata, origin.name, tuple(notes + remarks))


def _guarded(
    parts: Iterator[Image.Image], format: str | None, origin: _Origin, max_pixels: int
) -> Iterator[Image.Image]:
    """Bands of a picture, each decoded when it is asked for, whatever goes wrong becoming one line."""
    while True:
        with _refusing(origin), _pillow(limit=max_pixels), _mute(format):
            band = next(parts, None)
        if band is None:
            return
        yield band


def _frames(image: Image.Image) -> list[str]:
    """A note when there is more than one picture in the file. Asked before loading: looking ahead may drop pixels."""
    try:
        if image.format == "TIFF":
            pages = getattr(image, "n_frames", 1)
            return [f"{pages} pages: the first is used"] if pages > 1 else []
        # the second picture of an MPO is a preview or the other eye
        animated = image.format != "MPO" and getattr(image, "is_animated", False)
        return ["animated: the first frame is used"] if animated else []
    except MemoryError:
        raise
    except Exception:  # damage behind the first picture does not concern us
        return []


def _upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Undo an EXIF orientation (CIPA DC-008, 4.6.5.A): (H, W, ...) as stored to (H, W, ...) as meant."""
    if orientation in (5, 6, 7, 8):
        pixels = pixels.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)


def _from_array(array: np.ndarray, origin: _Origin, max_pixels: int) -> Picture:
    if array.dtype != np.uint8:
        raise QuantArtError(f"an array of {array.dtype} is no picture: give uint8 in 0..255")
    if array.ndim not in (2, 3) or array.size == 0 or (array.ndim == 3 and array.shape[2] not in (1, 2, 3, 4)):
        raise QuantArtError(f"an array of shape {array.shape} is no picture: give (H, W), (H, W, 3) or (H, W, 4)")
    _check_pixels((array.shape[1], array.shape[0]), origin, max_pixels)
    planes = array.reshape(*array.shape[:2], -1)
    grey = planes.shape[2] < 3
    rgb = np.repeat(planes[..., :1], 3, axis=2) if grey else np.array(planes[..., :3], order="C")
    alpha = np.array(planes[..., -1], order="C") if planes.shape[2] in (2, 4) else None
    if alpha is not None and alpha.min() == 255:
        alpha = None
    return Picture(np.ascontiguousarray(rgb), alpha, Metadata(), origin.name)
