"""A picture file opened by Pillow and checked, not yet decoded: format, size, frame, and kinds that it gets wrong."""

from __future__ import annotations

import contextlib
import importlib
import logging
import re
import threading
import warnings
from collections.abc import Iterator
from typing import IO

from PIL import Image, UnidentifiedImageError

from quantart_cli.errors import QuantArtError, counted
from quantart_cli.files import printable, reason
from quantart_cli.images import formats
from quantart_cli.images.sources import Origin

# Image.open reads its limit from a module variable, and warning filters belong to the process: one file at a time.
_PILLOW = threading.RLock()
_PLUGINS = {name: f"PIL.{name.title()}ImagePlugin" for name in ("JPEG", "PNG", "TIFF", "BMP", "GIF", "AVIF")}
_PLUGINS |= {"WEBP": "PIL.WebPImagePlugin", "HEIF": "pillow_heif"}
_UNSUPPORTED = re.compile(
    r"unknown|unsupported|not supported|not implemented|cannot handle|unrecognized", re.IGNORECASE
)
_ONE_FRAME = ("MPO", "HEIF")  # the second picture is a preview or the other eye
logging.getLogger("PIL").addHandler(logging.NullHandler())  # else Python prints its errors to stderr


@contextlib.contextmanager
def open_header(stream: IO[bytes], origin: Origin, max_pixels: int) -> Iterator[tuple[Image.Image, bytes]]:
    """A picture file opened by Pillow and not yet decoded, of a size that is allowed; and its first bytes."""
    with refusing(origin):
        head = stream.read(formats.HEAD_BYTES)
    format = format_of(head, origin)
    size = _webp_size(head) if format == "WEBP" else None  # its decoder allocates the canvas on opening
    if size:
        check_pixels(size, origin, max_pixels)
    plugin = importlib.import_module(_PLUGINS[format])
    if format == "HEIF":
        plugin.register_heif_opener()
    with refusing(origin), pillow_settings(limit=None):
        try:
            image = Image.open(stream, formats=(format,))
        except UnidentifiedImageError:  # it hides what the decoder said: ask that again
            stream.seek(0)
            Image.OPEN[format][0](stream, "")
            raise
    with image:
        check_pixels(image.size, origin, max_pixels)
        if image.format == "TIFF":  # a tile may be larger than the picture
            check_pixels((first_value(image, 322), first_value(image, 323)), origin, max_pixels)
        yield image, head


def format_of(head: bytes, origin: Origin) -> str:
    """Pillow's name of the format, or "RAW". Raises QuantArtError when it is none that is read here."""
    if formats.HAS_RAW and formats.is_raw_file(head, origin.name):
        return "RAW"
    format = formats.sniff(head)
    if format is not None and not (format == "TIFF" and formats.is_raw(origin.name)):
        return format
    if not head:
        raise QuantArtError(f"{origin.shown} is empty (0 bytes): get the file again")
    what = "a camera raw file" if format else formats.describe_foreign(head)
    if what == formats.FILM:
        raise QuantArtError(f"{origin.shown} is a film: quantart video paints films")
    is_what = f"is {what} and cannot be read" if what else "is no picture that can be read"
    to_do = formats.HINTS.get(what or "", f"convert it to one of {', '.join(formats.readable_formats())}")
    raise QuantArtError(f"{origin.shown} {is_what}: {to_do}")


def first_value(image: Image.Image, tag: int, default: int = 1) -> int:
    """The first value of a TIFF's tag, as a whole number."""
    value = image.tag_v2.get(tag, default)  # type: ignore[attr-defined]
    value = value[0] if isinstance(value, tuple) and value else value
    return value if isinstance(value, int) else default


@contextlib.contextmanager
def pillow_settings(limit: int | None) -> Iterator[None]:
    """Around Pillow's decoding: one thread at a time, without warnings, with ``limit`` as its limit on pixels."""
    with _PILLOW, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        before, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, limit
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = before


@contextlib.contextmanager
def refusing(origin: Origin) -> Iterator[None]:
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


def check_pixels(size: tuple[int, int], origin: Origin, max_pixels: int) -> None:
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
    chunk = head[12:16]
    if chunk == b"VP8X" and len(head) >= 30:
        return 1 + int.from_bytes(head[24:27], "little"), 1 + int.from_bytes(head[27:30], "little")
    if chunk == b"VP8L" and len(head) >= 25:
        bits = int.from_bytes(head[21:25], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    if chunk == b"VP8 " and len(head) >= 30:
        return int.from_bytes(head[26:28], "little") & 0x3FFF, int.from_bytes(head[28:30], "little") & 0x3FFF
    return None


def choose_frame(image: Image.Image, frame: int | None, origin: Origin) -> list[str]:
    """Go to the frame; a note when there are more pages. Done before loading: looking ahead may drop pixels."""
    try:
        count = 1 if image.format in _ONE_FRAME else getattr(image, "n_frames", 1)
    except MemoryError:
        raise
    except Exception:  # damage behind the first frame does not concern us
        count = 1
    if frame is not None:
        if not 0 <= frame < count:
            last = f" to {count - 1}" if count > 1 else ""
            raise QuantArtError(f"{origin.shown} has {counted(count, 'frame')}: frame must be 0{last}")
        if frame:
            image.seek(frame)
        return []
    if count > 1 and image.format != "TIFF":
        raise QuantArtError(
            f"{origin.shown} is animated ({count} frames): quantart video paints all of them, "
            "quantart stylize --frame 0 the first"
        )
    return [f"{count} pages: the first is used"] if count > 1 else []


def check_tiff(image: Image.Image, origin: Origin) -> None:
    """Refuse the kinds of TIFF that Pillow decodes to wrong colours without an error."""
    tiles = image.tile  # type: ignore[attr-defined]
    if not tiles:  # decoded already
        return
    bits, sample_format, photometric = first_value(image, 258), first_value(image, 339), first_value(image, 262)
    planar, raw = first_value(image, 284) == 2, tiles[0][0] == "raw"
    form = None
    if planar and (image.mode in ("LA", "LAB") or (raw and bits > 8)):
        form = f"{bits}-bit {image.mode} in separate planes"
    elif bits == 12:
        form = "12-bit samples"
    elif sample_format == 2 and bits < 32:
        form = f"signed {bits}-bit samples"
    elif sample_format == 1 and bits == 32:
        form = "unsigned 32-bit samples"
    elif photometric == 0 and image.mode in ("I", "F"):
        form = "32-bit samples from white to black"
    elif image.mode in ("I", "F") and not raw and image.tag_v2.prefix == b"MM":  # type: ignore[attr-defined]
        form = "compressed big-endian 32-bit samples"
    elif photometric == 6 and raw and image.tag_v2.get(530, (2, 2)) != (1, 1):  # type: ignore[attr-defined]
        form = "subsampled YCbCr without compression"
    if form:
        raise QuantArtError(f"{origin.shown} is of a kind that is not read (TIFF with {form}): save it as PNG")
