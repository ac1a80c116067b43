"""EXIF, XMP, resolution, comments and text: collected on reading, given to Pillow's writers on writing."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any

from PIL import Image

from quantart_cli.images import exif as exif_block
from quantart_cli.images.picture import Metadata, Picture

# Tags of a TIFF's first directory that describe the picture rather than the layout of its file: ImageDescription,
# Make, Model, Software, DateTime, Artist, HostComputer, Copyright.
DESCRIPTIVE_TAGS = (270, 271, 272, 305, 306, 315, 316, 33432)
_NO_TEXT = ("XML:com.adobe.xmp", "Raw profile type ")
_APP1_BYTES = 65533  # what one marker segment of a JPEG holds
_RECIPE_KEY, _RECIPE_COMMENT = "quantart", b"quantart recipe: "
_XMP_NAMESPACE = b"http://ns.adobe.com/xap/1.0/\0"
DAMAGED_EXIF = "damaged EXIF data dropped"


@dataclass(frozen=True)
class Header:
    """What a file says besides its pixels.

    Attributes:
        metadata: cleaned.
        orientation: 1 to 8 as in EXIF, still to be applied.
        notes: for the person.
    """

    metadata: Metadata
    orientation: int
    profile: bytes | None
    notes: tuple[str, ...] = ()


def collect(image: Image.Image) -> Header:
    """Gather what a file says besides its pixels; a PNG must be loaded."""
    notes: list[str] = []
    orientation, exif, packet, dpi = None, None, _xmp(image), _dpi(image)
    recipe = None
    if packet:
        recipe, packet = exif_block.xmp_recipe(packet)
    try:
        # A TIFF has no EXIF block of its own, and Pillow turns it upright when it is loaded.
        block = _tiff_exif(image) if image.format == "TIFF" else _exif_bytes(image)
        if image.format == "TIFF":
            orientation = image.getexif().get(274, 1)
        elif block:
            orientation = exif_block.orientation_of(block)
        exif = exif_block.cleaned(block) if block else None
        dpi = dpi or (exif_block.resolution_of(exif) if exif else None)
    except MemoryError:
        raise
    except Exception:  # ours raises ValueError; Pillow's TIFF directories may raise anything
        notes.append(DAMAGED_EXIF)
    if orientation is None and packet:  # macOS writes it there alone when a PNG is turned
        orientation = exif_block.xmp_orientation(packet)
    xmp = exif_block.cleaned_xmp(packet) if packet else None
    comment, text = _comment(image), _text(image)
    if image.format == "PNG":
        recipe = next((value for key, value, *_ in text if key == _RECIPE_KEY), recipe)
        text = tuple(each for each in text if each[0] != _RECIPE_KEY)
    elif comment and comment.startswith(_RECIPE_COMMENT):  # of a GIF
        recipe, comment = comment[len(_RECIPE_COMMENT) :].decode("utf-8", "replace"), None
    metadata = Metadata(exif=exif, xmp=xmp, dpi=dpi, comment=comment, text=text, recipe=recipe)
    if orientation is None or not 1 <= orientation <= 8:
        orientation = 1
    return Header(metadata, orientation, image.info.get("icc_profile"), tuple(notes))


def _exif_bytes(image: Image.Image) -> bytes | None:
    info = image.info
    if isinstance(info.get("exif"), bytes):
        return exif_block.strip_prefix(info["exif"]) or None
    for key in ("Raw profile type exif", "Raw profile type APP1"):  # how PNG carried EXIF before eXIf
        if isinstance(info.get(key), str):
            lines = info[key].strip("\n").split("\n")
            block = exif_block.strip_prefix(bytes.fromhex("".join(lines[2:])))
            if block[:2] in (b"II", b"MM"):
                return block
    return None


def _tiff_exif(image: Image.Image) -> bytes | None:
    """An EXIF block with the descriptive tags of a TIFF's first directory and its Exif and GPS directories."""
    found, made = image.getexif(), Image.Exif()
    for tag in DESCRIPTIVE_TAGS:
        if tag in found:
            made[tag] = found[tag]
    for tag in (exif_block.EXIF_IFD, exif_block.GPS_IFD):
        directory = found.get_ifd(tag) if tag in found else {}
        if directory:
            made[tag] = dict(directory)
    return exif_block.strip_prefix(made.tobytes()) if len(made) else None


def _xmp(image: Image.Image) -> bytes | None:
    xmp = image.info.get("xmp") or image.info.get("XML:com.adobe.xmp")
    if not xmp and image.format == "TIFF":  # Pillow before 11 leaves it in the tag, or in the JPEG's segment
        xmp = image.tag_v2.get(700)  # type: ignore[attr-defined]
    elif not xmp:
        segments = (data for marker, data in getattr(image, "applist", ()) if marker == "APP1")
        xmp = next((data[len(_XMP_NAMESPACE) :] for data in segments if data.startswith(_XMP_NAMESPACE)), None)
    if isinstance(xmp, str):
        xmp = xmp.encode("utf-8", "replace")
    return xmp if isinstance(xmp, bytes) else None


def _dpi(image: Image.Image) -> tuple[float, float] | None:
    if image.format == "TIFF" and 282 not in getattr(image, "tag_v2", {}):  # Pillow makes 1 dpi of none
        return None
    try:
        across, down = (float(value) for value in image.info["dpi"])
    except (KeyError, TypeError, ValueError, ZeroDivisionError):
        return None
    return (across, down) if all(math.isfinite(v) and 0 < v < 65536 for v in (across, down)) else None


def _comment(image: Image.Image) -> bytes | None:
    if image.format == "PNG":  # a text chunk of that name: it stays one
        return None
    comment = image.info.get("comment")
    if isinstance(comment, str):
        comment = comment.encode("utf-8", "replace")
    return comment if isinstance(comment, bytes) and comment else None


def _text(image: Image.Image) -> tuple[tuple[str, str, str, str], ...]:
    chunks = getattr(image, "text", {})
    return tuple(
        (key, str(value), getattr(value, "lang", None) or "", getattr(value, "tkey", None) or "")
        for key, value in (chunks.items() if isinstance(chunks, dict) else ())
        if not key.startswith(_NO_TEXT) and not re.search(r"[\x00-\x1f]", key)
    )


def exif_of(picture: Picture) -> bytes | None:
    """The picture's EXIF block with the pixel dimensions and the resolution it has now."""
    exif, dpi = picture.metadata.exif, picture.metadata.dpi
    if exif and dpi:
        exif = exif_block.with_resolution(exif, dpi)
    return exif_block.with_size(exif, *picture.size) if exif else None


def xmp_of(picture: Picture, with_recipe: bool = True) -> bytes | None:
    """The picture's XMP packet with the pixel dimensions it has now, and its recipe unless that goes elsewhere."""
    xmp, recipe = picture.metadata.xmp, picture.metadata.recipe
    if xmp:
        xmp = exif_block.xmp_with_size(xmp, *picture.size)
    return exif_block.xmp_with_recipe(xmp, recipe) if recipe is not None and with_recipe else xmp


def comment_of(picture: Picture, format: str) -> bytes | None:
    """The comment for a format that holds one: the file's own, or a PNG's text chunk named Comment. Of a GIF, which
    holds nothing else, its recipe if it has one."""
    if picture.metadata.recipe is not None and format == "gif":
        return _RECIPE_COMMENT + picture.metadata.recipe.encode()
    chunk = next((value for key, value, *_ in picture.metadata.text if key.casefold() == "comment"), None)
    return picture.metadata.comment or (chunk.encode("utf-8", "replace") if chunk else None)


def save_options(picture: Picture, format: str) -> dict[str, Any]:
    """Keyword arguments for Pillow's writer of ``format`` that carry as much of the metadata as it can hold.

    What does not fit into a JPEG's segments (64 KB each) is left out.
    """
    exif, xmp, dpi = exif_of(picture), xmp_of(picture, format != "png"), picture.metadata.dpi
    if format == "jpeg" and xmp and len(xmp) + len(_XMP_NAMESPACE) > _APP1_BYTES:
        xmp = xmp_of(picture, False)  # a recipe that does not fit beside the picture's own packet
    comment = comment_of(picture, format)
    options: dict[str, Any] = {}
    if dpi and format in ("jpeg", "png", "bmp"):
        options["dpi"] = dpi
    if format == "jpeg":
        if exif and len(exif) + 6 <= _APP1_BYTES:
            options["exif"] = b"Exif\0\0" + exif
        if xmp and len(xmp) + len(_XMP_NAMESPACE) <= _APP1_BYTES:  # Pillow takes xmp= only from version 11 on
            segment = _XMP_NAMESPACE + xmp
            options["extra"] = b"\xff\xe1" + (len(segment) + 2).to_bytes(2, "big") + segment
        if comment and len(comment) <= _APP1_BYTES:
            options["comment"] = comment
    elif format == "png":
        options |= {"exif": exif} if exif else {}
        options["pnginfo"] = _png_text(picture, xmp)
    elif format in ("webp", "avif"):
        options |= ({"exif": exif} if exif else {}) | ({"xmp": xmp} if xmp else {})
    elif format == "gif" and comment:
        options["comment"] = comment
    return options


def _png_text(picture: Picture, xmp: bytes | None) -> Any:
    from PIL.PngImagePlugin import PngInfo

    chunks = PngInfo()
    if xmp:
        chunks.add_itxt("XML:com.adobe.xmp", xmp.decode("utf-8", "replace"))
    text = picture.metadata.text
    if picture.metadata.comment and not any(key == "Comment" for key, *_ in text):
        comment = picture.metadata.comment
        try:
            text += (("Comment", comment.decode("utf-8"), "", ""),)
        except UnicodeDecodeError:
            text += (("Comment", comment.decode("latin-1"), "", ""),)
    if picture.metadata.recipe is not None:
        chunks.add_itxt(_RECIPE_KEY, picture.metadata.recipe)
    for key, value, language, translated in text:
        long = len(value) > 1024
        try:
            if language or translated:
                chunks.add_itxt(key, value, language, translated, zip=long)
            else:
                chunks.add_text(key, value, zip=long)
        except (UnicodeError, ValueError):  # a key or a value that no text chunk holds
            continue
    return chunks
