"""Which picture formats are read and written, and what a file is by its first bytes or its suffix."""

from __future__ import annotations

import codecs
import contextlib
import functools
import importlib.util
import os

from quantart_cli.errors import QuantArtError, check_choice, suggest
from quantart_cli.files import open_regular, printable

HEAD_BYTES = 4096  # enough to recognise everything below, an SVG behind its preamble included

# Pillow's format name: the name a person reads.
_READ = {"JPEG": "JPEG", "PNG": "PNG", "WEBP": "WebP", "TIFF": "TIFF", "BMP": "BMP", "GIF": "GIF", "AVIF": "AVIF"}
_HAS_HEIF = importlib.util.find_spec("pillow_heif") is not None
HAS_RAW = importlib.util.find_spec("rawpy") is not None
"""Whether camera raw files are read: LibRaw is installed, by the extra ``raw``."""
_RAW_ON_TIFF = (".dng", ".nef", ".nrw", ".cr2", ".arw", ".srf", ".sr2", ".pef", ".srw", ".3fr", ".iiq", ".erf", ".kdc")
_RAW_SUFFIXES = (*_RAW_ON_TIFF, ".cr3", ".crw", ".raf", ".orf", ".rw2", ".x3f", ".raw")
_BY_NAME = {
    "jpeg": (".jpg", ".jpeg", ".jpe", ".jfif", ".mpo"),
    "png": (".png", ".apng"),
    "webp": (".webp",),
    "tiff": (".tif", ".tiff"),
    "bmp": (".bmp", ".dib"),
    "gif": (".gif",),
    "avif": (".avif", ".avifs"),
    **({"heif": (".heic", ".heif", ".hif")} if _HAS_HEIF else {}),
    **({"raw": _RAW_SUFFIXES} if HAS_RAW else {}),
}
SUFFIXES = {suffix: name for name, suffixes in _BY_NAME.items() for suffix in suffixes}
"""By suffix, the normalised name of the format that is read."""
WITHOUT_ALPHA = frozenset({"jpeg", "bmp"})
_READ_ONLY = frozenset(
    {".mpo", ".apng", ".avifs", ".heic", ".heif", ".hif", *_RAW_SUFFIXES}
)  # several pictures in one, or no writer

_HEIC = "a HEIC picture"
_RAW = "a camera raw file"
FILM = "a film"
_PHOTOSHOP, _PDF, _SVG, _TEXT = "a Photoshop document", "a PDF", "an SVG drawing", "a text file"
HINTS = {
    _HEIC: "pip install 'quantart-cli[heic]' or save it as JPEG",
    _RAW: "pip install 'quantart-cli[raw]' or develop it to JPEG or TIFF",
    FILM: "quantart video paints it",
    _PHOTOSHOP: "save it, or the layer to paint, as PNG",
    _PDF: "save the page to paint as PNG, for example with pdftoppm -png -r 200",
    _TEXT: "give a picture",
    _SVG: "save it as PNG at the size to paint, for example with rsvg-convert -w 2000",
}
"""What to do with files that are not read, by what they are."""
_SAVE_AS = "save it as PNG or JPEG"
# First bytes of files that are not read, and whether they are pictures.
_FOREIGN = (
    (b"8BPS", _PHOTOSHOP, True),
    (b"%PDF", _PDF, False),
    (b"%!PS", "a PostScript file", False),
    (b"\xff\x0a", "a JPEG XL picture", True),
    (b"\x00\x00\x00\x0cJXL ", "a JPEG XL picture", True),
    (b"\x00\x00\x00\x0cjP  ", "a JPEG 2000 picture", True),
    (b"\xff\x4f\xff\x51", "a JPEG 2000 picture", True),
    (b"FUJIFILMCCD-RAW", _RAW, True),
    (b"IIRO", _RAW, True),
    (b"IIRS", _RAW, True),
    (b"MMOR", _RAW, True),
    (b"IIU\x00", _RAW, True),
    (b"FOVb", _RAW, True),
    (b"\x76\x2f\x31\x01", "an OpenEXR picture", True),
    (b"#?RADIANCE", "a Radiance HDR picture", True),
    (b"\x00\x00\x01\x00", "an icon file", True),
    (b"gimp xcf", "a GIMP document", True),
    (b"qoif", "a QOI picture", True),
    (b"DDS ", "a DDS texture", True),
    (b"PK\x03\x04", "a ZIP archive or a document", False),
    (b"\x1a\x45\xdf\xa3", FILM, True),
    (b"version https://git-lfs", "a Git LFS pointer, not the picture itself (run git lfs pull)", False),
)
_FOREIGN_SUFFIXES = {
    _HEIC: (".heic", ".heif", ".hif"),
    _RAW: _RAW_SUFFIXES,
    FILM: (".mp4", ".mov", ".m4v", ".avi", ".mkv", ".webm", ".mts", ".mpg", ".wmv"),
    _PHOTOSHOP: (".psd", ".psb"),
    "a JPEG XL picture": (".jxl",),
    "a JPEG 2000 picture": (".jp2", ".j2k", ".jpx"),
    "an OpenEXR picture": (".exr",),
    "a GIMP document": (".xcf",),
    _SVG: (".svg",),
    "a TGA picture": (".tga",),
}
_BMP_HEADERS = tuple(bytes([size, 0, 0, 0]) for size in (12, 16, 40, 52, 56, 64, 108, 124))
_HEIC_BRANDS = frozenset({b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1"})


@functools.cache
def _available(pillow_name: str) -> bool:
    """Whether this Pillow has the decoder; JPEG, PNG, TIFF, BMP and GIF always count as there."""
    if pillow_name == "HEIF":
        return _HAS_HEIF
    if pillow_name not in ("WEBP", "AVIF"):
        return True
    from PIL import features

    module = pillow_name.lower()
    return module in features.modules and bool(features.check(module))


def readable_formats() -> tuple[str, ...]:
    """Names of the formats that are read, as a person writes them: JPEG, PNG, WebP, TIFF, BMP, GIF, AVIF."""
    more = ("HEIC",) * _HAS_HEIF + ("camera raw",) * HAS_RAW
    return tuple(shown for name, shown in _READ.items() if _available(name)) + more


@functools.cache
def _writable_suffixes() -> dict[str, str]:
    return {s: name for s, name in SUFFIXES.items() if s not in _READ_ONLY and _available(name.upper())}


def writable_formats() -> tuple[str, ...]:
    """Normalised names of the formats that are written: jpeg, png, webp, tiff, bmp, gif, avif."""
    return tuple(dict.fromkeys(_writable_suffixes().values()))


def format_name(given: str) -> str:
    """The normalised name of a format as a person may write it: "JPG", ".jpg" and "jpeg" are "jpeg".

    Raises QuantArtError when it is not known or this Pillow cannot write it.
    """
    known = {suffix[1:]: name for suffix, name in _writable_suffixes().items()}
    folded = given.lower().removeprefix(".")
    check_choice("format", folded, known)
    return known[folded]


def format_for(target: str, format: str | None) -> str:
    """The normalised name of the format to write to ``target``: ``format`` when given, else by its suffix.

    ``-`` (stdout) without ``format`` is "png".

    Raises:
        QuantArtError: neither names a format, or the suffix names another one than ``format``.
    """
    base = target.replace("\\", "/").rpartition("/")[2]
    suffix = "." + base.rpartition(".")[2].lower() if "." in base.lstrip(".") else ""
    shown = printable(target)
    if format is not None:
        name = format_name(format)
        if SUFFIXES.get(suffix, name) != name:
            raise QuantArtError(f"{shown} ends in {suffix} and format={name} contradicts that: leave one of them out")
        return name
    if target == "-":
        return "png"
    valid = _writable_suffixes()
    if not suffix:
        raise QuantArtError(f"{shown} has no suffix that names a picture format: {suggest('', valid)}")
    if suffix not in valid:
        raise QuantArtError(f"{shown}: {printable(suffix)} pictures cannot be written: {suggest(suffix, valid)}")
    return valid[suffix]


def sniff(head: bytes) -> str | None:
    """Pillow's name of the readable format that a file with these first bytes has; None when it has none of them."""
    found = None
    if head.startswith(b"\xff\xd8\xff"):
        found = "JPEG"
    elif head.startswith(b"\x89PNG\r\n\x1a\n"):
        found = "PNG"
    elif head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        found = "WEBP"
    elif head[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+") and head[8:10] != b"CR":
        found = "TIFF"
    elif head[:6] in (b"GIF87a", b"GIF89a"):
        found = "GIF"
    elif head[:2] == b"BM" and head[14:18] in _BMP_HEADERS:
        found = "BMP"
    elif brands := _brands(head):
        found = "AVIF" if brands & {b"avif", b"avis"} else "HEIF" if brands & _HEIC_BRANDS else None
    return found if found and _available(found) else None


def is_raw(name: str) -> bool:
    """Whether the suffix is one of a camera raw format built on TIFF: Pillow would read its thumbnail."""
    return name.lower().endswith(_RAW_ON_TIFF)


def is_raw_file(head: bytes, name: str) -> bool:
    """Whether a file with these first bytes and this name is a camera raw file."""
    if sniff(head) is not None:
        return sniff(head) == "TIFF" and is_raw(name)
    found = _foreign(head)
    return found == (_RAW, True) or (found is None and bool(head) and name.lower().endswith(_RAW_SUFFIXES))


def describe_unreadable(path: str) -> str | None:
    """What a picture or film that is not read is, and what to do: "a HEIC picture: install pillow-heif or ...".

    Judged by the first bytes, or by the suffix where these are unknown. None when it is read here, is neither a
    picture nor a film, or cannot be opened.
    """
    try:
        file = open_regular(path)
        with file if file is not None else open(os.devnull, "rb") as stream:
            head = stream.read(HEAD_BYTES)
    except (OSError, ValueError):
        return None
    raw = is_raw_file(head, path)
    if (HAS_RAW and raw) or (sniff(head) is not None and not raw):
        return None
    found = (_RAW, True) if sniff(head) else _foreign(head)
    if found is None and head:
        suffix = os.path.splitext(path)[1].lower()
        found = next(((what, True) for what, suffixes in _FOREIGN_SUFFIXES.items() if suffix in suffixes), None)
    if found is None or not found[1]:
        return None
    return f"{found[0].rstrip(',')}: {HINTS.get(found[0], _SAVE_AS)}"


def describe_foreign(head: bytes) -> str | None:
    """What a file that is not read is, with its article ("a PDF"); None when unknown."""
    found = _foreign(head)
    return found[0] if found else None


def _foreign(head: bytes) -> tuple[str, bool] | None:
    """What a file that is not read is, and whether that is a picture or a film; None when unknown."""
    for magic, what, is_picture in _FOREIGN:
        if head.startswith(magic):
            return what, is_picture
    brands = _brands(head)
    if brands:
        if brands & {b"avif", b"avis"}:
            return "an AVIF picture, which this Pillow does not read,", True
        return (_HEIC if brands & _HEIC_BRANDS else _RAW if b"crx " in brands else FILM), True
    if head[8:10] == b"CR" and head[:4] == b"II*\0":
        return _RAW, True
    if head[:4] == b"RIFF":
        webp = head[8:12] == b"WEBP"
        return ("a WebP picture, which this Pillow does not read," if webp else "a film or a sound"), True
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if start.startswith((b"<svg", b"<?xml", b"<!doctype svg")) and b"<svg" in start:
        return _SVG, True
    if start.startswith((b"<!doctype html", b"<html", b"<head")):
        return "a web page", False
    if head[:1] == b"P" and head[1:2] in b"1234567" and head[2:3] in b" \t\r\n":
        return "a Netpbm picture", True
    with contextlib.suppress(UnicodeDecodeError):
        text = codecs.getincrementaldecoder("utf-8")().decode(head)  # the last character may be cut
        if head and all(c >= " " or c in "\t\r\n\f" for c in text):
            return _TEXT, False
    return None


def _brands(head: bytes) -> set[bytes]:
    """The brands in the ftyp box of an ISO base media file (HEIC, AVIF, CR3, MP4); empty when there is no box."""
    if head[4:8] != b"ftyp":
        return set()
    end = min(int.from_bytes(head[:4], "big"), len(head), 256)
    return {head[8:12]} | {head[at : at + 4] for at in range(16, end - 3, 4)}
