"""Which picture formats are read and written, and telling what a file is from its first bytes."""

from __future__ import annotations

import functools

from quantart_cli.errors import QuantArtError, check_choice, suggest
from quantart_cli.images.names import printable

HEAD_BYTES = 4096  # enough to recognise everything below, an SVG behind its preamble included

# Pillow's format name: the name a person reads.
_READ = {"JPEG": "JPEG", "PNG": "PNG", "WEBP": "WebP", "TIFF": "TIFF", "BMP": "BMP", "GIF": "GIF", "AVIF": "AVIF"}
SUFFIXES = {
    ".jpg": "jpeg",
    ".jpeg": "jpeg",
    ".png": "png",
    ".webp": "webp",
    ".tif": "tiff",
    ".tiff": "tiff",
    ".bmp": "bmp",
    ".gif": "gif",
    ".avif": "avif",
}
WITHOUT_ALPHA = frozenset({"jpeg", "bmp"})

# First bytes of what people try and Pillow, or we, do not read.
_FOREIGN = (
    (b"8BPS", "a Photoshop document"),
    (b"%PDF", "a PDF"),
    (b"%!PS", "a PostScript file"),
    (b"\xff\x0a", "a JPEG XL picture"),
    (b"\x00\x00\x00\x0cJXL ", "a JPEG XL picture"),
    (b"\x00\x00\x00\x0cjP  ", "a JPEG 2000 picture"),
    (b"\xff\x4f\xff\x51", "a JPEG 2000 picture"),
    (b"FUJIFILMCCD-RAW", "a camera raw file"),
    (b"IIRO", "a camera raw file"),
    (b"IIRS", "a camera raw file"),
    (b"MMOR", "a camera raw file"),
    (b"IIU\x00", "a camera raw file"),
    (b"FOVb", "a camera raw file"),
    (b"\x76\x2f\x31\x01", "an OpenEXR picture"),
    (b"#?RADIANCE", "a Radiance HDR picture"),
    (b"\x00\x00\x01\x00", "an icon file"),
    (b"gimp xcf", "a GIMP document"),
    (b"qoif", "a QOI picture"),
    (b"DDS ", "a DDS texture"),
    (b"PK\x03\x04", "a ZIP archive or a document"),
    (b"\x1a\x45\xdf\xa3", "a film"),
    (b"version https://git-lfs", "a Git LFS pointer, not the picture itself (run git lfs pull)"),
)
_RAW_SUFFIXES = (".dng", ".nef", ".nrw", ".cr2", ".arw", ".srf", ".sr2", ".pef", ".srw", ".3fr", ".iiq", ".erf", ".kdc")
_BMP_HEADERS = tuple(bytes([size, 0, 0, 0]) for size in (12, 16, 40, 52, 56, 64, 108, 124))
_HEIC_BRANDS = frozenset({b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1"})


@functools.cache
def _available(pillow_name: str) -> bool:
    """Whether this Pillow has the decoder; JPEG, PNG, TIFF, BMP and GIF always count as there."""
    if pillow_name not in ("WEBP", "AVIF"):
        return True
    from PIL import features

    module = pillow_name.lower()
    return module in features.modules and bool(features.check(module))


def readable_formats() -> tuple[str, ...]:
    """Names of the formats that are read here, as a person writes them: JPEG, PNG, WebP, TIFF, BMP, GIF, AVIF."""
    return tuple(shown for name, shown in _READ.items() if _available(name))


def writable_formats() -> tuple[str, ...]:
    """Normalised names of the formats that are written here: jpeg, png, webp, tiff, bmp, gif, avif."""
    return tuple(dict.fromkeys(name for name in SUFFIXES.values() if _available(name.upper())))


def format_name(given: str) -> str:
    """The normalised name for what a person may call a format: "JPG", ".jpg" and "jpeg" are "jpeg".

    Raises QuantArtError when it is not known or this Pillow cannot write it.
    """
    known = {suffix[1:]: name for suffix, name in SUFFIXES.items() if _available(name.upper())}
    folded = given.lower().removeprefix(".")
    check_choice("format", folded, known)
    return known[folded]


def format_for(target: str, format: str | None) -> str:
    """The normalised format name for writing to ``target``: ``format`` when given, by its suffix otherwise.

    ``-`` (stdout) without ``format`` is "png". Raises QuantArtError when neither says.
    """
    if format is not None:
        return format_name(format)
    if target == "-":
        return "png"
    base = target.replace("\\", "/").rpartition("/")[2]
    suffix = "." + base.rpartition(".")[2].lower() if "." in base.lstrip(".") else ""
    valid = [known for known, name in SUFFIXES.items() if _available(name.upper())]
    if not suffix:
        raise QuantArtError(f"{printable(target)} has no suffix that names a picture format: {suggest('', valid)}")
    if suffix not in valid:
        shown = printable(suffix)
        raise QuantArtError(f"{printable(target)}: {shown} pictures cannot be written: {suggest(suffix, valid)}")
    return SUFFIXES[suffix]


def sniff(head: bytes) -> str | None:
    """Pillow's name of the readable format a file with these first bytes has; None when it has none of them."""
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
    elif _brands(head) & {b"avif", b"avis"}:
        found = "AVIF"
    return found if found and _available(found) else None


def is_raw(name: str) -> bool:
    """Whether the suffix is one of a camera raw format built on TIFF: such a file opens as its thumbnail."""
    return name.lower().endswith(_RAW_SUFFIXES)


def describe_foreign(head: bytes) -> str | None:
    """What a file that is not readable is instead, with its article ("a PDF"); None when unknown."""
    for magic, what in _FOREIGN:
        if head.startswith(magic):
            return what
    brands = _brands(head)
    if brands:
        if brands & {b"avif", b"avis"}:
            return "an AVIF picture, which this Pillow does not read,"
        if brands & _HEIC_BRANDS:
            return "a HEIC picture"
        return "a camera raw file" if b"crx " in brands else "a film"
    if head[8:10] == b"CR" and head[:4] == b"II*\0":
        return "a camera raw file"
    if head[:4] == b"RIFF":
        return "a WebP picture, which this Pillow does not read," if head[8:12] == b"WEBP" else "a film or a sound"
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if start.startswith((b"<svg", b"<?xml", b"<!doctype svg")) and b"<svg" in start:
        return "an SVG drawing"
    if start.startswith((b"<!doctype html", b"<html", b"<head")):
        return "a web page"
    if head[:1] == b"P" and head[1:2] in b"1234567" and head[2:3] in b" \t\r\n":
        return "a Netpbm picture"
    if head and all(byte >= 32 or byte in b"\t\r\n\f" for byte in head):
        return "a text file"
    return None


def _brands(head: bytes) -> set[bytes]:
    """The brands in the ftyp box of an ISO base media file (HEIC, AVIF, CR3, MP4); empty when there is no box."""
    if head[4:8] != b"ftyp":
        return set()
    end = min(int.from_bytes(head[:4], "big"), len(head), 256)
    return {head[8:12]} | {head[at : at + 4] for at in range(16, end - 3, 4)}
