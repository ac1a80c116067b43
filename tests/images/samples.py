"""Files made by hand, byte for byte, so that what is read can be judged without the code that reads."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
from PIL import Image

BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
D65, D50 = np.array([0.95047, 1.0, 1.08883]), np.array([0.9642, 1.0, 0.8249])
SRGB_PRIMARIES = ((0.64, 0.33), (0.30, 0.60), (0.15, 0.06))
P3_PRIMARIES = ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060))


def noise(height: int, width: int, channels: int = 3, seed: int = 0) -> np.ndarray:
    """(H, W, channels) uint8."""
    return np.random.default_rng(seed).integers(0, 256, (height, width, channels), dtype=np.uint8)


def smooth(height: int, width: int) -> np.ndarray:
    """(H, W, 3) uint8 that survives lossy coding: three slow waves."""
    y, x = np.mgrid[0:height, 0:width]
    waves = [np.sin(x / 9), np.cos(y / 7), np.sin((x + y) / 11)]
    return np.stack([(wave * 100 + 128).astype(np.uint8) for wave in waves], axis=-1)


def encoded(image: Image.Image, format: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, depth: int, colour_type: int, rows: bytes, *extra: bytes) -> bytes:
    """A PNG from packed rows without filter bytes; ``extra`` chunks go before the pixels."""
    stride = len(rows) // height
    filtered = b"".join(b"\0" + rows[y * stride : (y + 1) * stride] for y in range(height))
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour_type, 0, 0, 0))
    body = header + b"".join(extra) + chunk(b"IDAT", zlib.compress(filtered)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def tiff(
    pixels: np.ndarray,
    *,
    planar: int = 1,
    photometric: int = 2,
    extra: tuple[int, ...] = (),
    sample_format: int = 1,
    order: str = "<",
    compression: int = 1,
) -> bytes:
    """A TIFF of one strip (one a channel where ``planar`` is 2) from (H, W, channels) of any type."""
    height, width, channels = pixels.shape
    stored = pixels.astype(pixels.dtype.newbyteorder(order))
    strips = [stored[..., i].tobytes() for i in range(channels)] if planar == 2 else [stored.tobytes()]
    strips = [zlib.compress(strip) if compression == 8 else strip for strip in strips]
    body, offsets = b"", []
    for strip in strips:
        offsets.append(8 + len(body))
        body += strip + bytes(len(strip) % 2)
    tags: dict[int, tuple[str, list[int]]] = {
        256: ("H", [width]),
        257: ("H", [height]),
        258: ("H", [8 * pixels.dtype.itemsize] * channels),
        259: ("H", [compression]),
        262: ("H", [photometric]),
        273: ("I", offsets),
        277: ("H", [channels]),
        278: ("H", [height]),
        279: ("I", [len(strip) for strip in strips]),
        284: ("H", [planar]),
    }
    tags |= {338: ("H", list(extra))} if extra else {}
    tags |= {339: ("H", [sample_format] * channels)} if sample_format != 1 else {}
    entries = b""
    for tag, (code, values) in sorted(tags.items()):
        data = struct.pack(f"{order}{len(values)}{code}", *values)
        inline = data.ljust(4, b"\0")
        if len(data) > 4:
            inline = struct.pack(order + "I", 8 + len(body))
            body += data + bytes(len(data) % 2)
        entries += struct.pack(order + "HHI", tag, 3 if code == "H" else 4, len(values)) + inline
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", 8 + len(body))
    return head + body + struct.pack(order + "H", len(tags)) + entries + bytes(4)


def rgb_to_xyz(primaries: tuple[tuple[float, float], ...]) -> np.ndarray:
    """(3, 3) linear RGB to CIE XYZ with white D65, from the chromaticities of the primaries."""
    columns = np.array([[x / y, 1.0, (1 - x - y) / y] for x, y in primaries]).T
    return columns * np.linalg.solve(columns, D65)


def to_linear(value: np.ndarray) -> np.ndarray:
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)


def from_linear(value: np.ndarray) -> np.ndarray:
    value = np.clip(value, 0, 1)
    return np.where(value <= 0.0031308, value * 12.92, 1.055 * value ** (1 / 2.4) - 0.055)


def p3_to_srgb(rgb: np.ndarray) -> np.ndarray:
    """Display P3 to sRGB, uint8 to float 0..255, by the primaries alone: no profile, no LittleCMS."""
    matrix = np.linalg.solve(rgb_to_xyz(SRGB_PRIMARIES), rgb_to_xyz(P3_PRIMARIES))
    return from_linear(to_linear(rgb / 255) @ matrix.T) * 255


def profile(space: bytes, tags: dict[bytes, bytes], kind: bytes = b"mntr", pcs: bytes = b"XYZ ") -> bytes:
    """An ICC version 2 profile."""
    tags = {b"desc": b"desc\0\0\0\0" + struct.pack(">I", 2) + b"x\0" + bytes(78), **tags}
    offset = 128 + 4 + 12 * len(tags)
    table, body = struct.pack(">I", len(tags)), b""
    for signature, data in tags.items():
        table += struct.pack(">4sII", signature, offset + len(body), len(data))
        body += data + bytes(-len(data) % 4)
    header = struct.pack(">I4xI4s4s4s", offset + len(body), 0x02100000, kind, space, pcs).ljust(36, b"\0") + b"acsp"
    header = header.ljust(68, b"\0") + struct.pack(">3i", *(int(x * 65536) for x in D50))
    return header.ljust(128, b"\0") + table + body


def xyz_tag(values: np.ndarray) -> bytes:
    return b"XYZ \0\0\0\0" + struct.pack(">3i", *(round(float(value) * 65536) for value in values))


def curve_tag(function) -> bytes:
    values = [round(float(function(np.float64(index / 1023))) * 65535) for index in range(1024)]
    return struct.pack(">4s4xI1024H", b"curv", 1024, *values)


def p3_profile() -> bytes:
    scale = np.diag((BRADFORD @ D50) / (BRADFORD @ D65))
    colorants = np.linalg.inv(BRADFORD) @ scale @ BRADFORD @ rgb_to_xyz(P3_PRIMARIES)
    curve = curve_tag(to_linear)
    tags = {b"wtpt": xyz_tag(D50)}
    for index, letter in enumerate(b"rgb"):
        tags[bytes([letter]) + b"XYZ"] = xyz_tag(colorants[:, index])
        tags[bytes([letter]) + b"TRC"] = curve
    return profile(b"RGB ", tags)


def linear_grey_profile() -> bytes:
    return profile(b"GRAY", {b"wtpt": xyz_tag(D50), b"kTRC": curve_tag(lambda value: value)})


def odd_cmyk_profile(darkest: float = 0, paper: float = 1) -> bytes:
    """A device whose magenta and yellow are invisible: L* = 100 (1 - K) (1 - C / 2), a* = b* = 0.

    Its black is no darker than L* = 100 ``darkest``; its paper, in absolute terms, has the luminance ``paper``.
    """
    ramp = bytes(range(256))
    nodes = b""
    for index in range(16):  # the first channel varies slowest
        cyan, black = index >> 3 & 1, index & 1
        nodes += bytes([round(255 * max(darkest, (1 - black) * (1 - cyan / 2))), 128, 128])
    unit = struct.pack(">9i", *(65536 if i % 4 == 0 else 0 for i in range(9)))
    lut = b"mft1\0\0\0\0" + bytes([4, 3, 2, 0]) + unit + ramp * 4 + nodes + ramp * 3
    return profile(b"CMYK", {b"wtpt": xyz_tag(paper * D50), b"A2B0": lut, b"A2B1": lut}, kind=b"scnr", pcs=b"Lab ")


def camera_exif(orientation: int = 6, order: str = "<", size: tuple[int, int] = (40, 30)) -> bytes:
    """A TIFF block as cameras write it: Make, Orientation, XResolution, Exif (ColorSpace, dimensions, a maker note
    that points at its own absolute offset) and GPS directories, then IFD1 with a JPEG thumbnail."""

    def entry(tag: int, kind: int, count: int, value: bytes) -> bytes:
        return struct.pack(order + "HHI", tag, kind, count) + value.ljust(4, b"\0")

    def short(value: int) -> bytes:
        return struct.pack(order + "H", value)

    def long(value: int) -> bytes:
        return struct.pack(order + "I", value)

    ifd0, exif, gps, ifd1 = 8, 100, 200, 260
    make, ratio, note, thumbnail = 320, 340, 350, 400
    block = bytearray(512)
    block[:8] = (b"II*\0" if order == "<" else b"MM\0*") + long(ifd0)

    def directory(at: int, entries: list[bytes], following: int = 0) -> None:
        data = short(len(entries)) + b"".join(entries) + long(following)
        block[at : at + len(data)] = data

    directory(
        ifd0,
        [
            entry(0x010F, 2, 9, long(make)),
            entry(0x0112, 3, 1, short(orientation)),
            entry(0x011A, 5, 1, long(ratio)),
            entry(0x8769, 4, 1, long(exif)),
            entry(0x8825, 4, 1, long(gps)),
        ],
        ifd1,
    )
    directory(
        exif,
        [
            entry(0x927C, 7, 12, long(note)),
            entry(0xA001, 3, 1, short(65535)),
            entry(0xA002, 3, 1, short(size[0])),
            entry(0xA003, 4, 1, long(size[1])),
        ],
    )
    directory(gps, [entry(0x0001, 2, 2, b"N\0")])
    directory(ifd1, [entry(0x0201, 4, 1, long(thumbnail)), entry(0x0202, 4, 1, long(112))])
    block[make : make + 9] = b"Tester X\0"
    block[ratio : ratio + 8] = long(72) + long(1)
    block[note : note + 12] = b"NOTE" + long(note) + b"tail"
    block[thumbnail:] = b"\xff\xd8THUMBNAIL".ljust(112, b"t")
    return bytes(block)


XMP = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF><rdf:Description tiff:Orientation="6" dc:creator="me" '
    b'exif:PixelXDimension="40" GCamera:MotionPhoto="1"><tiff:ImageLength>30</tiff:ImageLength>'
    b"<tiff:Orientation>6</tiff:Orientation></rdf:Description></rdf:RDF></x:xmpmeta>"
)
