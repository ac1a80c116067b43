"""EXIF and XMP edited in place: types, maker notes and everything not understood stay as the camera wrote them.

Pillow would read the tags and write them anew, which guesses types and breaks maker notes; a directory entry is
twelve bytes, so what has to change can be changed in place.
"""

from __future__ import annotations

import html
import re
import struct
from collections.abc import Iterator

EXIF_IFD, GPS_IFD, INTEROP_IFD = 0x8769, 0x8825, 0xA005
_ORIENTATION, _COLOR_SPACE = 0x0112, 0xA001
_WIDTHS, _HEIGHTS = (0x0100, 0xA002), (0x0101, 0xA003)  # ImageWidth/Length in IFD0, PixelX/YDimension in Exif
_THUMBNAIL_OFFSET, _THUMBNAIL_LENGTH = 0x0201, 0x0202
_RESOLUTIONS, _RESOLUTION_UNIT = (0x011A, 0x011B), 0x0128
_SHORT, _LONG, _RATIONAL = 3, 4, 5
_TYPE_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}


class Block:
    """A TIFF block in a bytearray. Raises ValueError wherever its structure does not hold."""

    def __init__(self, data: bytes) -> None:
        self.data = bytearray(data)
        self.order = {b"II*\0": "<", b"MM\0*": ">"}.get(data[:4], "")
        if not self.order:
            raise ValueError("no TIFF header")

    def number(self, at: int, code: str) -> int:
        """An unsigned number: code H (2 bytes) or I (4 bytes)."""
        if at < 0 or at + struct.calcsize(code) > len(self.data):
            raise ValueError("a number is outside the block")
        return int(struct.unpack_from(self.order + code, self.data, at)[0])

    def put(self, at: int, code: str, value: int) -> None:
        struct.pack_into(self.order + code, self.data, at, value)

    def entries(self, ifd: int) -> list[int]:
        """Where each twelve-byte entry of the directory at ``ifd`` starts."""
        count = self.number(ifd, "H")
        if ifd < 8 or ifd + 2 + 12 * count > len(self.data):
            raise ValueError("a directory is outside the block")
        return [ifd + 2 + 12 * index for index in range(count)]

    def find(self, ifd: int, tag: int) -> int | None:
        """Where the entry of ``tag`` starts, or None."""
        return next((at for at in self.entries(ifd) if self.number(at, "H") == tag), None)

    def value(self, at: int) -> int | None:
        """The one SHORT or LONG in the entry at ``at``; None when it holds something else."""
        code = {_SHORT: "H", _LONG: "I"}.get(self.number(at + 2, "H"))
        return self.number(at + 8, code) if code and self.number(at + 4, "I") == 1 else None

    def span(self, at: int) -> tuple[int, int] | None:
        """(start, end) of the values of the entry at ``at``; None when they are in the entry itself."""
        size = _TYPE_SIZES.get(self.number(at + 2, "H"), 1) * self.number(at + 4, "I")
        start = self.number(at + 8, "I")
        return (start, start + size) if size > 4 else None

    def directories(self) -> Iterator[int]:
        """IFD0, then the Exif, Interoperability and GPS directories as far as they are there."""
        first = self.number(4, "I")
        yield first
        for tag in (EXIF_IFD, GPS_IFD):
            at = self.find(first, tag)
            if at is not None:
                child = self.number(at + 8, "I")
                yield child
                nested = self.find(child, INTEROP_IFD)
                if nested is not None:
                    yield self.number(nested + 8, "I")

    def remove(self, ifd: int, doomed: set[int]) -> None:
        """Take the entries that start at ``doomed`` out of the directory at ``ifd``."""
        entries = self.entries(ifd)
        kept = b"".join(self.data[at : at + 12] for at in entries if at not in doomed)
        end = ifd + 2 + 12 * len(entries)
        follow = bytes(self.data[end : end + 4])
        body = kept + follow
        self.put(ifd, "H", len(kept) // 12)
        self.data[ifd + 2 : end + len(follow)] = body + bytes(end + len(follow) - ifd - 2 - len(body))

    def follower(self, ifd: int) -> int:
        """Where the pointer to the directory after ``ifd`` is; 0 when the block ends before it."""
        at = ifd + 2 + 12 * self.number(ifd, "H")
        return at if at + 4 <= len(self.data) else 0


def strip_prefix(exif: bytes) -> bytes:
    """The TIFF block without the ``Exif\\0\\0`` that JPEG puts before it (some writers twice)."""
    while exif.startswith(b"Exif\0\0"):
        exif = exif[6:]
    return exif


def orientation_of(exif: bytes) -> int | None:
    """The orientation 1 to 8 in a TIFF block; None when it says nothing valid. Raises ValueError when malformed."""
    block = Block(exif)
    at = block.find(block.number(4, "I"), _ORIENTATION)
    value = block.value(at) if at is not None else None
    return value if value in range(1, 9) else None


def cleaned(exif: bytes) -> bytes | None:
    """The TIFF block of a picture that has been turned upright and converted to sRGB.

    Without orientation, without the thumbnail and its directory, without entries whose values are outside the block;
    ColorSpace says sRGB. None when nothing is left. Raises ValueError when the block is malformed.
    """
    block = Block(exif)
    for ifd in list(block.directories()):
        doomed = set()
        for at in block.entries(ifd):
            tag, span = block.number(at, "H"), block.span(at)
            if tag == _ORIENTATION or (span is not None and span[1] > len(block.data)):
                doomed.add(at)
            elif tag == _COLOR_SPACE and block.value(at) is not None:
                block.put(at + 8, {_SHORT: "H", _LONG: "I"}[block.number(at + 2, "H")], 1)
        block.remove(ifd, doomed)
    _drop_thumbnail(block)
    clean = bytes(block.data)
    with_size(clean, 1, 1)  # directories that overlap may have spoilt each other: find out now, not on writing
    return clean if block.entries(block.number(4, "I")) else None


def _drop_thumbnail(block: Block) -> None:
    """Unlink the second directory and take the bytes of its JPEG out, or blank them where other data follow."""
    first = block.number(4, "I")
    pointer = block.follower(first)
    second = block.number(pointer, "I") if pointer else 0
    if not second:
        return
    block.put(pointer, "I", 0)
    used = [(0, 8)]
    for ifd in block.directories():
        entries = block.entries(ifd)
        used.append((ifd, ifd + 6 + 12 * len(entries)))
        used += [span for at in entries if (span := block.span(at))]
    try:
        places = [block.find(second, tag) for tag in (_THUMBNAIL_OFFSET, _THUMBNAIL_LENGTH)]
        start, length = (block.number(at + 8, "I") for at in places if at is not None)
    except ValueError:  # no thumbnail there, or a directory that cannot be read: it is unlinked all the same
        start = length = 0
    end = min(start + length, len(block.data))
    if all(stop <= start or end <= begin for begin, stop in used):
        block.data[start:end] = bytes(max(end - start, 0))
    del block.data[max(stop for _, stop in used) :]


def with_size(exif: bytes, width: int, height: int) -> bytes:
    """The TIFF block with the pixel dimensions it states, where it states any, set to ``width`` and ``height``."""
    block = Block(exif)
    for ifd in block.directories():
        for at in block.entries(ifd):
            tag, field_type = block.number(at, "H"), block.number(at + 2, "H")
            if tag not in _WIDTHS + _HEIGHTS or field_type not in (_SHORT, _LONG) or block.number(at + 4, "I") != 1:
                continue
            value = width if tag in _WIDTHS else height
            if field_type == _LONG or value > 0xFFFF:
                block.put(at + 2, "H", _LONG)
                block.put(at + 8, "I", value)
            else:
                block.put(at + 8, "H", value)
    return bytes(block.data)


def resolution_of(exif: bytes) -> tuple[float, float] | None:
    """(horizontal, vertical) pixels an inch in a TIFF block; None when it says nothing valid."""
    block = Block(exif)
    first = block.number(4, "I")
    unit = block.find(first, _RESOLUTION_UNIT)
    to_inches = {2: 1.0, 3: 2.54}.get(2 if unit is None else block.value(unit) or 0)
    places = [_rational(block, block.find(first, tag)) for tag in _RESOLUTIONS]
    if to_inches is None or None in places:
        return None
    values = [(block.number(at, "I"), block.number(at + 4, "I")) for at in places if at is not None]
    across, down = (top / bottom * to_inches if bottom else 0.0 for top, bottom in values)
    return (across, down) if across > 0 and down > 0 else None


def _rational(block: Block, at: int | None) -> int | None:
    """Where the one RATIONAL of the entry at ``at`` is; None when it holds something else."""
    if at is None or block.number(at + 2, "H") != _RATIONAL or block.number(at + 4, "I") != 1:
        return None
    return block.number(at + 8, "I")


def with_resolution(exif: bytes, dpi: tuple[float, float]) -> bytes:
    """The TIFF block with the resolution it states, where it states any in inches or centimetres, set to ``dpi``."""
    if resolution_of(exif) is None:
        return exif
    block = Block(exif)
    first = block.number(4, "I")
    unit = block.find(first, _RESOLUTION_UNIT)
    for tag, value in zip(_RESOLUTIONS, dpi, strict=True):
        place = _rational(block, block.find(first, tag))
        assert place is not None
        block.put(place, "I", round(value * 1000))
        block.put(place + 4, "I", 1000)
    if unit is not None:
        block.put(unit + 8, "H", 2)
    return bytes(block.data)


def _property(names: bytes) -> re.Pattern[bytes]:
    """One XMP property, written as an attribute or as an element."""
    return re.compile(
        rb"""\s(?:%b)\s*=\s*(?:"[^"]*"|'[^']*')|<(%b)\b[^>]*/>|<(%b)\b[^>]*>.*?</(?:%b)\s*>"""
        % (names, names, names, names),
        re.DOTALL,
    )


# Orientation is applied; thumbnails show the picture before; the others point at depth maps, gain maps and films
# that follow the original JPEG and are not written.
_STALE_XMP = (
    _property(rb"tiff:Orientation"),
    _property(rb"xmp:Thumbnails"),
    _property(rb"Container:Directory"),
    _property(rb"(?:hdrgm|GCamera|GDepth|GImage|HDRGainMap|Camera):\w+"),
)


def xmp_orientation(xmp: bytes) -> int | None:
    """The orientation 1 to 8 in an XMP packet; None when it says nothing valid."""
    found = re.search(rb"""tiff:Orientation\s*(?:=\s*["']|>)\s*([1-8])\b""", xmp)
    return int(found[1]) if found else None


def cleaned_xmp(xmp: bytes) -> bytes:
    """The XMP packet without orientation, thumbnails and references to parts that are not written."""
    for pattern in _STALE_XMP:
        xmp = pattern.sub(b"", xmp)
    return xmp


_RECIPE_NAMESPACE = b"urn:quantart:recipe#"
_RECIPE = re.compile(
    rb"""<rdf:Description\b[^>]*\bxmlns:quantart="%b"[^>]*\bquantart:recipe="([^"]*)"[^>]*/>""" % _RECIPE_NAMESPACE
)


def xmp_recipe(xmp: bytes) -> tuple[str | None, bytes]:
    """The recipe that quantart wrote into an XMP packet, or None, and the packet without it."""
    found = _RECIPE.search(xmp)
    if found is None:
        return None, xmp
    return html.unescape(found[1].decode("utf-8", "replace")), _RECIPE.sub(b"", xmp)


def xmp_with_recipe(xmp: bytes | None, recipe: str) -> bytes:
    """An XMP packet, given or new, with the recipe as a property of its own namespace."""
    quoted = html.escape(recipe).encode("utf-8")
    part = b'<rdf:Description rdf:about="" xmlns:quantart="%b" quantart:recipe="%b"/>' % (_RECIPE_NAMESPACE, quoted)
    if xmp is not None and (end := xmp.rfind(b"</rdf:RDF>")) >= 0:
        return xmp[:end] + part + xmp[end:]
    return (
        b'<?xpacket begin="\xef\xbb\xbf" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">'
        b'<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">%b</rdf:RDF></x:xmpmeta><?xpacket end="w"?>'
        % part
    )


def xmp_with_size(xmp: bytes, width: int, height: int) -> bytes:
    """The XMP packet with the pixel dimensions it states, where it states any, set to ``width`` and ``height``."""
    for names, value in (
        (rb"tiff:ImageWidth|exif:PixelXDimension", width),
        (rb"tiff:ImageLength|exif:PixelYDimension", height),
    ):
        pattern = re.compile(rb"""((?:%b)\s*(?:=\s*["']|>)\s*)\d+""" % names)
        xmp = pattern.sub(rb"\g<1>%d" % value, xmp)
    return xmp
