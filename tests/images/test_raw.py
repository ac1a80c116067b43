"""Camera raw files: a small DNG made here, developed where LibRaw is installed; otherwise what to do is said."""

import struct

import numpy as np
import pytest

from quantart_cli.errors import QuantArtError
from quantart_cli.images import formats, read_picture
from quantart_cli.images.reading import picture_size, read_file


def dng(width: int, height: int, orientation: int = 1) -> bytes:
    """An uncompressed Bayer picture, red left and blue right, as a DNG."""
    sensor = np.full((height, width), 1000, np.uint16)
    sensor[::2, : width // 2 : 2] = 12000  # red
    sensor[1::2, width // 2 + 1 :: 2] = 12000  # blue
    matrix = [10000, 10000, 0, 10000, 0, 10000, 0, 10000, 10000, 10000, 0, 10000, 0, 10000, 0, 10000, 10000, 10000]
    entries = [
        (254, 4, [0]), (256, 4, [width]), (257, 4, [height]), (258, 3, [16]), (259, 3, [1]), (262, 3, [32803]),
        (271, 2, b"Made\0"), (272, 2, b"Here\0"), (273, 4, [0]), (274, 3, [orientation]), (277, 3, [1]),
        (278, 4, [height]), (279, 4, [sensor.nbytes]), (33421, 3, [2, 2]), (33422, 1, bytes([0, 1, 1, 2])),
        (50706, 1, bytes([1, 4, 0, 0])), (50708, 2, b"Made Here\0"), (50717, 4, [16383]), (50721, 10, matrix),
        (50728, 5, [1, 1, 1, 1, 1, 1]), (50778, 3, [21]),
    ]  # fmt: skip
    start = 8 + 2 + 12 * len(entries) + 4
    extra, directory = b"", b""
    for tag, kind, values in entries:
        code = {1: "B", 2: "s", 3: "H", 4: "I", 5: "I", 10: "i"}[kind]
        data = values if isinstance(values, bytes) else struct.pack(f"<{len(values)}{code}", *values)
        count = len(values) // (2 if kind in (5, 10) else 1)
        if tag == 273:
            data = b"AAAA"
        if len(data) > 4:
            data, extra = struct.pack("<I", start + len(extra)), extra + data + b"\0" * (len(data) % 2)
        directory += struct.pack("<HHI", tag, kind, count) + data.ljust(4, b"\0")
    directory = directory.replace(b"AAAA", struct.pack("<I", start + len(extra)))
    return b"II*\0\x08\0\0\0" + struct.pack("<H", len(entries)) + directory + bytes(4) + extra + sensor.tobytes()


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "a.dng"
    path.write_bytes(dng(64, 48, 6))
    return str(path)


def test_it_is_developed_upright_and_in_colour(file):
    pytest.importorskip("rawpy")
    picture = read_picture(file)
    assert picture.size == picture_size(file) == (48, 64)
    top, bottom = picture.rgb[8:24, 8:40].mean((0, 1)), picture.rgb[40:56, 8:40].mean((0, 1))
    assert top[0] > top[2]
    assert bottom[2] > bottom[0]
    assert picture.sha256 is not None
    assert len(read_file(file)[0]) == len(dng(64, 48))


def test_what_cannot_be_developed_is_one_line(tmp_path, file):
    pytest.importorskip("rawpy")
    (tmp_path / "b.dng").write_bytes(b"II*\0\x08\0\0\0" + bytes(200))
    with pytest.raises(QuantArtError, match="LibRaw cannot develop"):
        read_picture(tmp_path / "b.dng")
    with pytest.raises(QuantArtError, match="above the limit"):
        read_picture(file, max_pixels=100)


def test_without_libraw_the_extra_is_named(file, monkeypatch):
    monkeypatch.setattr(formats, "HAS_RAW", False)
    for read in (read_picture, picture_size, read_file):
        with pytest.raises(QuantArtError, match=r"camera raw .* pip install 'quantart-cli\[raw\]' or develop it"):
            read(file)
