"""What a person can give wrong: refused in one line that names it, before anything is decoded."""

import io
import os
import struct
import sys
import threading
import time
import types

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from quantart_cli import files
from quantart_cli.errors import QuantArtError
from quantart_cli.files import printable
from quantart_cli.images import (
    DEFAULT_MAX_PIXELS,
    describe_unreadable,
    formats,
    read_picture,
    readable_formats,
)
from tests.images.samples import chunk, encoded, noise, png, tiff


@pytest.fixture(autouse=True)
def _without_libraw(monkeypatch):
    monkeypatch.setattr(formats, "HAS_RAW", False)


def refusal(source, **options) -> str:
    """The message with which a source is refused; checked to be one printable line."""
    with pytest.raises(QuantArtError) as caught:
        read_picture(source, **options)
    message = str(caught.value)
    assert message.isprintable()
    assert len(message) < 700
    return message


def put(folder, name: str, data: bytes):
    path = folder / name
    path.write_bytes(data)
    return path


def bomb(width: int, height: int) -> bytes:
    return png(1, 1, 8, 2, b"abc").replace(struct.pack(">II", 1, 1), struct.pack(">II", width, height), 1)


def test_too_many_pixels(tmp_path, monkeypatch):
    monkeypatch.setattr(PngImagePlugin.PngImageFile, "load", lambda self: pytest.fail("decoded"))
    header = struct.pack(">IIBBBBB", 60000, 60000, 8, 2, 0, 0, 0)
    huge = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"x" * 50) + chunk(b"IEND", b"")
    message = refusal(put(tmp_path, "huge.png", huge))
    assert "huge.png is 60000 x 60000 = 3600 megapixels, above the limit of 200" in message
    assert message.endswith("raise max_pixels")
    assert DEFAULT_MAX_PIXELS == 200_000_000


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP", "TIFF", "GIF", "BMP", "MPO"])
def test_limit_in_every_format(format):
    data = encoded(Image.fromarray(noise(10, 20)), format)
    assert "is 20 x 10 = 0.0002 megapixels, above the limit of 0.000199" in refusal(data, max_pixels=199)
    assert read_picture(data, max_pixels=200).size == (20, 10)


def test_limit_on_images_and_arrays():
    assert "20 x 10" in refusal(Image.new("RGB", (20, 10)), max_pixels=199)
    assert "20 x 10" in refusal(noise(10, 20), max_pixels=199)


def test_limit_before_webp_allocates_its_canvas(monkeypatch):
    monkeypatch.setattr(Image, "open", lambda *_, **__: pytest.fail("opened"))
    for options in ({}, {"lossless": True}, {"exif": b"II*\0\x08\0\0\0\0\0\0\0\0\0"}):
        assert "20 x 10" in refusal(encoded(Image.fromarray(noise(10, 20)), "WEBP", **options), max_pixels=199)


def test_huge_tile_of_a_small_tiff():
    data = encoded(Image.fromarray(noise(2, 2)), "TIFF", tiffinfo={322: 50000, 323: 50000})
    assert Image.open(io.BytesIO(data)).size == (2, 2)
    tags = {322: (4, 50000), 323: (4, 50000)}
    entries = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, (kind, value) in tags.items())
    tiff = b"II*\0\x08\0\0\0" + struct.pack("<H", 9)
    for tag, value in ((256, 2), (257, 2), (258, 8), (259, 1), (262, 1), (277, 1)):
        tiff += struct.pack("<HHII", tag, 3, 1, value)
    tiff += entries + struct.pack("<HHII", 324, 4, 1, 0) + bytes(4)
    assert "50000 x 50000" in refusal(tiff)


def test_missing_files(tmp_path, monkeypatch):
    put(tmp_path, "photo.jpg", b"x")
    assert "did you mean" in refusal(tmp_path / "phto.jpg")
    assert str(tmp_path / "photo.jpg") in refusal(tmp_path / "phto.jpg")
    assert "photo.jpg?" in refusal(tmp_path / "photo.png")
    assert "did you mean" not in refusal(tmp_path / "zzz.webp")
    assert "nor does the folder" in refusal(tmp_path / "nowhere" / "a.jpg")
    assert "download" in refusal("http://example.org/a.jpg")
    assert "empty" in refusal("")
    assert "no file name" in refusal("a\0b.png")
    monkeypatch.chdir(tmp_path)
    assert "did you mean photo.jpg?" in refusal("photo.jpgg")


def test_what_is_no_regular_file(tmp_path):
    assert f"{tmp_path} is a folder: give the picture files in it, or use quantart batch" in refusal(tmp_path)
    os.mkfifo(tmp_path / "pipe.png")
    for path in (tmp_path / "pipe.png", "/dev/zero"):
        assert f"{path} is no regular file" in refusal(path)
    (tmp_path / "loop.png").symlink_to("loop.png")
    assert "circle" in refusal(tmp_path / "loop.png")
    file = put(tmp_path, "file.png", b"x")
    assert "cannot be read" in refusal(file / "inside.png")
    assert "too long" in refusal(tmp_path / ("a" * 300 + ".png"))


def test_permission_denied(tmp_path, monkeypatch):
    path = put(tmp_path, "secret.png", b"x")

    def denied(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", denied)
    assert "secret.png cannot be read: permission denied" in refusal(path)


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("a.jpg", b"", "is empty (0 bytes)"),
        ("a.jpg", b"just some words\n", "is a text file and cannot be read: give a picture"),
        ("a.jpg", b"<!DOCTYPE html><html>", "is a web page"),
        ("a.svg", b'<?xml version="1.0"?>\n<svg/>', "is an SVG drawing"),
        ("a.cr3", b"\0\0\0\x18ftypcrx \0\0\0\0crx isom", "is a camera raw file"),
        ("a.mp4", b"\0\0\0\x18ftypisom\0\0\0\0isommp42", "is a film: quantart video paints films"),
        ("a.psd", b"8BPS\0\1", "is a Photoshop document"),
        ("a.pdf", b"%PDF-1.7", "is a PDF"),
        ("a.jxl", b"\xff\x0a\xfa", "is a JPEG XL picture"),
        ("a.jp2", b"\0\0\0\x0cjP  \r\n\x87\n", "is a JPEG 2000 picture"),
        ("a.raf", b"FUJIFILMCCD-RAW 0201", "is a camera raw file"),
        ("a.cr2", b"II*\0\x10\0\0\0CR\2\0", "is a camera raw file"),
        ("a.ppm", b"P6\n1 1\n255\nabc", "is a Netpbm picture"),
        ("a.avi", b"RIFF\0\0\0\0AVI LIST", "is a film or a sound"),
        ("a.bin", b"\x07\x80\x00\x13\x80", "is no picture that can be read"),
    ],
)
def test_what_is_not_readable(tmp_path, name, data, words):
    message = refusal(put(tmp_path, name, data))
    assert f"{name} {words}" in message
    if data:
        hints = (*formats.HINTS.values(), "quantart video paints films")
        assert message.endswith((", ".join(readable_formats()), *hints))


def test_raw_by_suffix_but_a_wrong_suffix_alone_is_no_matter(tmp_path):
    tiff = encoded(Image.fromarray(noise(4, 4)), "TIFF")
    assert "camera raw" in refusal(put(tmp_path, "a.NEF", tiff))
    jpeg = encoded(Image.fromarray(noise(4, 4)), "JPEG")
    assert read_picture(put(tmp_path, "a.heic", jpeg)).size == (4, 4)


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF", "GIF", "BMP"])
def test_damaged_files(tmp_path, format, capfd, monkeypatch):
    monkeypatch.setattr(files, "stderr_may_be_muted", True)  # as the command line has it
    options = {"compression": "tiff_lzw"} if format == "TIFF" else {}
    data = encoded(Image.fromarray(noise(50, 50)), format, **options)
    for cut in (20, len(data) // 2):
        name = f"cut{cut}.{format.lower()}"
        assert f"{name} is " in refusal(put(tmp_path, name, data[:cut]))
    # the directory of Pillow's TIFF comes last: whole, with its strips spoilt
    if format == "TIFF":
        refusal(data[:9] + bytes(4000) + data[4009:])
    assert capfd.readouterr() == ("", "")


def test_text_bomb_in_a_png():
    import zlib

    itxt = b"bomb\0\1\0\0\0" + zlib.compress(bytes(80_000_000), 9)
    assert len(itxt) < 100_000
    message = refusal(png(1, 1, 8, 2, b"abc", chunk(b"iTXt", itxt)))
    assert "is damaged" in message
    assert read_picture(png(1, 1, 8, 2, b"abc")).size == (1, 1)


def test_no_other_decoder_runs(monkeypatch):
    monkeypatch.setattr(Image, "init", lambda: pytest.fail("every plugin was loaded"))
    for data in (
        b"%!PS-Adobe-3.0 EPSF",
        b"SIMPLE  =                    T",
        b"\x89PNG\r\n\x1a\nrubbish",
        b"BM" + bytes(60),
    ):
        refusal(data)


def test_arrays():
    for array, words in [
        (np.full((3, 3, 3), 1.01, np.float32), "float32 has values outside [0, 1]"),
        (np.full((3, 3, 3), -0.01), "float64 has values outside [0, 1]"),
        (np.full((3, 3, 3), np.nan), "outside [0, 1]"),
        (np.zeros((3, 3), np.int64), "int64"),
        (np.zeros((3, 3, 5), np.uint8), "(3, 3, 5)"),
        (np.zeros(3, np.uint8), "(3,)"),
        (np.zeros((0, 3, 3), np.uint8), "(0, 3, 3)"),
    ]:
        assert words in refusal(array)
    with pytest.raises(TypeError, match="not int"):
        read_picture(3)


def test_stdin(monkeypatch):
    def stdin(data: bytes, **options):
        stream = io.BytesIO(data)
        given = types.SimpleNamespace(**{"buffer": stream, "closed": False, "isatty": lambda: False, **options})
        monkeypatch.setattr(sys, "stdin", given)
        return stream

    stdin(b"")
    assert refusal("-").startswith("stdin is empty")
    endless = stdin(bytes(10_000_000))
    assert refusal("-").startswith("stdin is no picture")
    assert endless.tell() < 10_000  # not read to its end: it may have none
    stdin(b"", isatty=lambda: True)
    assert "terminal" in refusal("-")
    monkeypatch.setattr(sys, "stdin", None)
    assert "closed" in refusal("-")


def test_stdin_with_two_pictures(monkeypatch):
    for format in ("PNG", "JPEG", "WEBP", "BMP"):
        data = encoded(Image.fromarray(noise(20, 20)), format)
        for given, accepted in ((data, True), (data + b"trailing bytes", True), (data * 2, False)):
            stdin = types.SimpleNamespace(buffer=io.BytesIO(given), closed=False, isatty=lambda: False)
            monkeypatch.setattr(sys, "stdin", stdin)
            if accepted:
                assert read_picture("-").size == (20, 20)
            else:
                assert refusal("-") == "stdin has a second picture after the first: send one at a time"


def test_stdin_that_comes_late(monkeypatch):
    data = encoded(Image.fromarray(noise(200, 200)), "PNG")
    read, write = os.pipe()
    os.set_blocking(read, False)

    def slowly():
        for at in range(0, len(data), 10_000):
            time.sleep(0.002)
            os.write(write, data[at : at + 10_000])
        os.close(write)

    with os.fdopen(read, "rb") as buffer:
        stdin = types.SimpleNamespace(buffer=buffer, closed=False, isatty=lambda: False)
        monkeypatch.setattr(sys, "stdin", stdin)
        thread = threading.Thread(target=slowly)
        thread.start()
        assert read_picture("-").size == (200, 200)
        thread.join()


def test_dangling_links(tmp_path):
    (tmp_path / "link.png").symlink_to("no\nwhere.png")
    message = refusal(tmp_path / "link.png")
    assert r"link.png is a symbolic link to no\nwhere.png, which does not exist" in message


SIXTEEN = np.zeros((30, 40, 3), np.uint16)
SIXTEEN[:10, :, 0] = SIXTEEN[10:20, :, 1] = SIXTEEN[20:, :, 2] = 65535


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("compression", [1, 8])
def test_rare_tiffs_are_right_or_refused(order, compression):
    """Each kind comes with the picture it shows; a refusal says that it is the kind, not damage."""
    shown = (SIXTEEN >> 8).astype(np.uint8)
    grey = np.repeat(shown[..., :1], 3, axis=2)
    alpha = np.concatenate([SIXTEEN, SIXTEEN[..., :1]], axis=2)
    two = np.concatenate([SIXTEEN[..., :1]] * 2, axis=2)
    unit = (SIXTEEN / 65535).astype(np.float32)
    options = {"order": order, "compression": compression}
    kinds = {
        "RGB": (shown, tiff(SIXTEEN, **options)),
        "RGB planes": (shown, tiff(SIXTEEN, planar=2, **options)),
        "8-bit RGB planes": (shown, tiff(shown, planar=2, **options)),
        "RGBA": (shown, tiff(alpha, extra=(2,), **options)),
        "RGBA planes": (shown, tiff(alpha, planar=2, extra=(2,), **options)),
        "RGBX planes": (shown, tiff(alpha, planar=2, extra=(0,), **options)),
        "LA": (grey, tiff(two, photometric=1, extra=(2,), **options)),
        "8-bit LA planes": (grey, tiff((two >> 8).astype(np.uint8), photometric=1, planar=2, extra=(2,), **options)),
        "white is zero": (255 - grey, tiff(SIXTEEN[..., :1], photometric=0, **options)),
        "8-bit white is zero": (255 - grey, tiff(shown[..., :1], photometric=0, **options)),
        "float RGB": (shown, tiff(unit, sample_format=3, **options)),
        "half RGB": (shown, tiff(unit.astype(np.float16), sample_format=3, **options)),
        "float": (grey, tiff(unit[..., :1], photometric=1, sample_format=3, **options)),
        "float white is zero": (255 - grey, tiff(unit[..., :1], photometric=0, sample_format=3, **options)),
    }
    for kind, (expected, data) in kinds.items():
        try:
            rgb = read_picture(data).rgb
        except QuantArtError:
            assert kind not in ("RGB", "8-bit RGB planes", "RGBA", "8-bit white is zero")
            assert "is of a kind that is not read" in refusal(data)
        else:
            assert np.array_equal(rgb, expected), kind
    for kind, data in [
        ("signed 8-bit", tiff(shown[..., :1], photometric=1, sample_format=2, **options)),
        ("signed 16-bit", tiff(SIXTEEN[..., :1], photometric=1, sample_format=2, **options)),
        ("32-bit", tiff(SIXTEEN[..., :1].astype(np.uint32), photometric=1, **options)),
        ("Lab", tiff(shown, photometric=8, planar=2, **options)),
    ]:
        assert "is of a kind that is not read" in refusal(data), kind


def test_stderr_of_a_program_is_left_alone(capfd, monkeypatch):
    """libtiff prints about damage in C; only a command line mutes that."""
    broken = bytearray(encoded(Image.fromarray(noise(50, 50)), "TIFF", compression="tiff_lzw"))
    broken[9:4009] = bytes(4000)
    monkeypatch.setattr(files, "stderr_may_be_muted", False)  # a command line of an earlier test has set it
    monkeypatch.setattr(os, "dup2", lambda *_: pytest.fail("stderr was redirected"))
    refusal(bytes(broken))
    monkeypatch.undo()
    capfd.readouterr()
    monkeypatch.setattr(files, "stderr_may_be_muted", True)
    refusal(bytes(broken))
    assert capfd.readouterr().err == ""


def test_describe_unreadable(tmp_path):
    png_data = encoded(Image.fromarray(noise(4, 4)), "PNG")
    tiff_data = encoded(Image.fromarray(noise(4, 4)), "TIFF")
    for name, data, words in [
        ("a.jxl", b"\xff\x0a\xfa", "a JPEG XL picture: save it as PNG or JPEG"),
        ("a.psd", b"8BPS\0\1", "a Photoshop document: save it, or the layer"),
        ("a.mp4", b"\0\0\0\x18ftypisom\0\0\0\0isommp42", "a film: quantart video paints it"),
        ("a.cr3", b"\0\0\0\x18ftypcrx \0\0\0\0crx isom", "a camera raw file: pip install"),
        ("a.nef", tiff_data, "a camera raw file: pip install"),
        ("a.rw2", b"\x07\x80\x00", "a camera raw file: pip install"),  # by its suffix alone
        ("a.jpg", b"8BPS\0\1", "a Photoshop document"),  # by its first bytes
        ("a.txt", b"words", None),
        ("a.mp4", b"words", None),
        ("a.pdf", b"%PDF-1.7", None),
        ("a.png", png_data, None),
        ("a.psd", png_data, None),
        ("a.psd", b"", None),
    ]:
        said = describe_unreadable(str(put(tmp_path, name, data)))
        assert said is None if words is None else said.startswith(words), name
    assert describe_unreadable(str(tmp_path)) is None
    assert describe_unreadable(str(tmp_path / "nothing.heic")) is None


def test_heic_without_pillow_heif(tmp_path, monkeypatch):
    monkeypatch.setattr(formats, "_HAS_HEIF", False)
    formats._available.cache_clear()
    path = put(tmp_path, "a.heic", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic")
    assert describe_unreadable(str(path)) == "a HEIC picture: pip install 'quantart-cli[heic]' or save it as JPEG"
    formats._available.cache_clear()


def test_names_cannot_break_the_line(tmp_path):
    evil = os.fsencode(tmp_path) + b"/a\nb\x1b[31m\xff.png"
    message = refusal(os.fsdecode(evil))
    assert r"a\nb\x1b[31m\udcff.png" in message
    with open(evil, "wb") as file:
        file.write(encoded(Image.fromarray(noise(2, 2)), "PNG"))
    assert read_picture(os.fsdecode(evil)).name == r"a\nb\x1b[31m\udcff.png"
    assert len(printable("x" * 1000)) == 301
    assert printable("Größe ☃.png") == "Größe ☃.png"


def test_memory(monkeypatch):
    def full(self):
        raise MemoryError

    monkeypatch.setattr(PngImagePlugin.PngImageFile, "load", full)
    assert "not enough memory" in refusal(encoded(Image.fromarray(noise(2, 2)), "PNG"))


def test_a_bug_shows_itself(monkeypatch):
    def broken(*_):
        raise KeyError("ours")

    monkeypatch.setattr("quantart_cli.images.large.to_rgb_alpha", broken)
    with pytest.raises(KeyError):
        read_picture(encoded(Image.fromarray(noise(2, 2)), "PNG"))
