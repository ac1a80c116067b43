"""What is written: pixels, tags and bytes; the same bytes every time."""

import io
import re
import subprocess
import sys
import types
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image, ImageCms

from quantart_cli.errors import QuantArtError
from quantart_cli.images import Metadata, Picture, encode_picture, read_picture, save_picture, writable_formats
from quantart_cli.images.profiles import srgb_profile
from tests.images import samples
from tests.images.samples import encoded, noise, smooth

LOSSY = {"jpeg": 6, "webp": 12, "avif": 12, "gif": 60}
FORMATS = writable_formats()


def opened(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


@pytest.fixture
def camera() -> Picture:
    """A photograph with everything that can ride along, read from a JPEG stored on its side."""
    pixels = np.rot90(smooth(40, 30))  # 30 high, 40 wide as stored
    data = encoded(
        Image.fromarray(pixels),
        "JPEG",
        exif=b"Exif\0\0" + samples.camera_exif(6),
        extra=b"\xff\xe1"
        + (len(samples.XMP) + 31).to_bytes(2, "big")
        + b"http://ns.adobe.com/xap/1.0/\0"
        + samples.XMP,
        dpi=(300, 300),
        comment="grüße".encode(),
    )
    return read_picture(data)


def test_every_format_is_known():
    assert set(FORMATS) >= {"jpeg", "png", "webp", "tiff", "bmp", "gif"}


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("with_alpha", [False, True])
def test_pixels_come_back(format, with_alpha):
    rgb = smooth(48, 64)
    alpha = np.where(np.indices((48, 64)).sum(axis=0) % 40 < 20, 255, 90).astype(np.uint8) if with_alpha else None
    picture = Picture(rgb, alpha)
    background = "black" if with_alpha and format in ("jpeg", "bmp") else None
    again = read_picture(encode_picture(picture, format, background=background))
    assert again.notes == ()
    expected = rgb
    if background:
        expected = np.round(rgb * (alpha[..., None] / 255))
        assert again.alpha is None
    elif with_alpha:
        assert (again.alpha == (np.where(alpha < 128, 0, 255) if format == "gif" else alpha)).all()
    seen = ... if again.alpha is None else again.alpha > 100
    difference = np.abs(again.rgb.astype(int) - expected)[seen]
    limit = LOSSY.get(format, 1 if background else 0) + (10 if background and format == "jpeg" else 0)
    assert np.percentile(difference, 99) <= limit


@pytest.mark.parametrize("size", [(1, 1), (1, 70), (70, 1), (2, 3), (17, 70), (69, 70), (70, 70)])
def test_sizes_round_trip(size):
    rgba = noise(*size, 4)
    picture = read_picture(rgba)
    for format in ("png", "tiff"):
        again = read_picture(encode_picture(picture, format))
        assert (again.rgb == rgba[..., :3]).all()
        assert (again.alpha == rgba[..., 3]).all()
        opaque = Picture(picture.rgb)
        assert (read_picture(encode_picture(opaque, format)).rgb == rgba[..., :3]).all()
    for format in ("jpeg", "webp", "bmp", "gif"):
        assert read_picture(encode_picture(opaque, format)).size == size[::-1]


@pytest.mark.parametrize("format", FORMATS)
def test_same_bytes_twice(format, camera):
    first = encode_picture(camera, format)
    assert first == encode_picture(camera, format)
    assert first != encode_picture(camera.with_rgb(255 - camera.rgb), format)


def test_same_bytes_in_another_process_on_another_day(camera, tmp_path):
    program = (
        "import time, sys; time.time = lambda: 86400.0; from quantart_cli.images import *;"
        "sys.stdout.buffer.write(encode_picture(read_picture(sys.argv[1]), 'png'))"
    )
    path = tmp_path / "a.png"
    save_picture(camera, path)
    outcome = subprocess.run([sys.executable, "-c", program, path], capture_output=True, check=True)
    assert outcome.stdout == encode_picture(read_picture(path), "png")


@pytest.mark.parametrize("format", sorted(set(FORMATS) - {"bmp", "gif"}))
def test_tagged_srgb(format):
    assert opened(encode_picture(Picture(noise(4, 4)), format)).info["icc_profile"] == srgb_profile()
    bare = encode_picture(Picture(noise(4, 4)), format, strip_metadata=True)
    assert opened(bare).info["icc_profile"] == srgb_profile()


def test_the_profile_is_srgb():
    profile = ImageCms.ImageCmsProfile(io.BytesIO(srgb_profile()))
    assert profile.profile.profile_description == "sRGB"
    lattice = noise(64, 64)
    for source, target in ((profile, ImageCms.createProfile("sRGB")), (ImageCms.createProfile("sRGB"), profile)):
        converted = ImageCms.profileToProfile(Image.fromarray(lattice), source, target, renderingIntent=1)
        assert np.abs(np.asarray(converted).astype(int) - lattice).max() <= 1
    assert len(srgb_profile()) == int.from_bytes(srgb_profile()[:4], "big")


@pytest.mark.parametrize("format", sorted(set(FORMATS) - {"bmp", "gif"}))
def test_exif_and_xmp_ride_along(format, camera):
    assert camera.size == (30, 40)
    resized = replace(camera, rgb=smooth(80, 60))
    image = opened(encode_picture(resized, format))
    exif = image.getexif()
    assert 0x0112 not in exif
    assert exif[0x010F] == "Tester X"
    fields = exif.get_ifd(0x8769)
    assert (fields[0xA002], fields[0xA003], fields[0xA001]) == (60, 80, 1)
    assert fields[0x927C].startswith(b"NOTE")
    assert exif.get_ifd(0x8825)[1] == "N"
    assert exif.get_ifd(0x014A) == {}
    data = encode_picture(resized, format)
    assert b"THUMBNAIL" not in data
    for words in (b'dc:creator="me"', b'PixelXDimension="60"', b"<tiff:ImageLength>80<"):
        assert words in data
        assert words in read_picture(data).metadata.xmp
    for words in (b"tiff:Orientation", b"MotionPhoto"):
        assert words not in data
    assert read_picture(data).size == (60, 80)  # and nothing turns it again


def test_maker_notes_stay_where_they_were(camera):
    """A maker note may point at absolute offsets in its block: it must not move."""
    for format in ("jpeg", "png", "webp"):
        exif = opened(encode_picture(camera, format)).info["exif"].removeprefix(b"Exif\0\0")
        at = exif.index(b"NOTE")
        assert int.from_bytes(exif[at + 4 : at + 8], "little") == at
    tiff = encode_picture(camera, "tiff")
    at = tiff.index(b"NOTE")
    assert int.from_bytes(tiff[at + 4 : at + 8], "little") == at


def test_big_endian_tiff():
    data = encoded(Image.fromarray(noise(5, 6)), "PNG", exif=samples.camera_exif(1, ">"))
    tiff = encode_picture(read_picture(data), "tiff")
    assert tiff[:4] == b"MM\0*"
    assert (read_picture(tiff).rgb == noise(5, 6)).all()
    assert opened(tiff).getexif()[0x010F] == "Tester X"


def test_tiff_of_many_strips_with_alpha():
    picture = read_picture(noise(700, 900, 4))
    again = read_picture(encode_picture(picture, "tiff"))
    assert (again.rgb == picture.rgb).all()
    assert (again.alpha == picture.alpha).all()
    assert len(opened(encode_picture(picture, "tiff")).tag_v2[273]) > 1


def test_resolution_and_comments(camera):
    for format in ("jpeg", "png", "tiff", "bmp"):
        again = read_picture(encode_picture(camera, format))
        assert again.metadata.dpi == pytest.approx((300, 300), abs=0.01)
    for format in ("jpeg", "gif"):
        assert read_picture(encode_picture(camera, format)).metadata.comment == "grüße".encode()
    as_png = read_picture(encode_picture(camera, "png"))
    assert as_png.metadata.text == (("Comment", "grüße", "", ""),)
    assert read_picture(encode_picture(as_png, "jpeg")).metadata.comment == "grüße".encode()
    assert read_picture(encode_picture(as_png, "png")).metadata.text == as_png.metadata.text
    assert read_picture(encode_picture(Picture(noise(3, 3)), "tiff")).metadata.dpi is None


def test_png_text():
    from PIL.PngImagePlugin import PngInfo

    info = PngInfo()
    info.add_text("Author", "me")
    info.add_itxt("Title", "Zürich ☃", "de", "Titel")
    info.add_text("Long", "x" * 5000, zip=True)
    picture = read_picture(encoded(Image.fromarray(noise(3, 3)), "PNG", pnginfo=info))
    assert picture.metadata.text == (
        ("Author", "me", "", ""),
        ("Title", "Zürich ☃", "de", "Titel"),
        ("Long", "x" * 5000, "", ""),
    )
    assert read_picture(encode_picture(picture, "png")).metadata == picture.metadata


@pytest.mark.parametrize("format", FORMATS)
def test_strip_metadata(format, camera):
    full, bare = encode_picture(camera, format), encode_picture(camera, format, strip_metadata=True)
    assert (b"Tester X" in full) == (format not in ("bmp", "gif"))
    for words in (b"Tester X", b"creator", "grüße".encode()):
        assert words not in bare
    plain = read_picture(bare).metadata
    assert replace(plain, dpi=None) == Metadata()


def test_metadata_too_large_for_a_jpeg_is_left_out():
    exif = samples.camera_exif(1) + bytes(70000)
    large = Picture(noise(3, 3), metadata=Metadata(exif=exif, xmp=b"<x>" + b" " * 70000, comment=b"c" * 70000))
    again = read_picture(encode_picture(large, "jpeg"))
    assert again.metadata.exif is None
    assert again.metadata.xmp is None
    assert again.metadata.comment is None
    assert len(read_picture(encode_picture(large, "webp")).metadata.xmp) > 70000


def test_noise_in_every_quality(capfd):
    """Pillow's buffer for optimised JPEG is too small for noise; libjpeg would say so on stderr."""
    picture = Picture(noise(300, 300))
    sizes = [len(encode_picture(picture, "jpeg", quality=quality)) for quality in (1, 50, 95, 100)]
    assert sizes == sorted(sizes)
    assert capfd.readouterr().err == ""
    assert opened(encode_picture(picture, "jpeg")).layer[1][1:3] == (1, 1)  # 4:4:4


def test_lossless_webp_at_100():
    picture = Picture(noise(9, 9))
    assert (read_picture(encode_picture(picture, "webp", quality=100)).rgb == picture.rgb).all()


def test_background():
    rgba = np.zeros((1, 3, 4), np.uint8)
    rgba[0, :, 3] = (0, 128, 255)
    picture = read_picture(rgba)
    for colour, expected in [("white", 255), ("#ffffff", 255), ("#808080", 128)]:
        flat = read_picture(encode_picture(picture, "bmp", background=colour)).rgb[0, :, 0]
        assert flat.tolist() == [expected, round(expected * 127 / 255), 0]
    assert read_picture(encode_picture(picture, "png", background="red")).alpha is None
    for format in ("jpeg", "bmp"):
        with pytest.raises(QuantArtError, match=r"transparent.*background=white.*\.png"):
            encode_picture(picture, format)
    for colour in ("whitee", "#ff000080", "transparent", ""):
        with pytest.raises(QuantArtError, match=r"background .* is not an opaque colour"):
            encode_picture(picture, "jpeg", background=colour)


def test_gif_keeps_black_opaque_and_hides_what_is_hidden():
    rgba = np.zeros((8, 8, 4), np.uint8)
    rgba[:4, :, 3] = 255  # two colours only: black, and a blue that must not become transparent
    rgba[:2, :, 2] = 200
    again = read_picture(encode_picture(read_picture(rgba), "gif"))
    assert (again.alpha == rgba[..., 3]).all()
    assert (again.rgb[:4] == rgba[:4, :, :3]).all()


def test_refused():
    picture = Picture(noise(2, 2))
    with pytest.raises(QuantArtError, match="did you mean jpeg"):
        encode_picture(picture, "jpegg")
    for quality in (0, 101):
        with pytest.raises(QuantArtError, match=r"quality .* 1 to 100"):
            encode_picture(picture, "jpeg", quality=quality)
    long = Picture(np.zeros((1, 16384, 3), np.uint8))
    with pytest.raises(QuantArtError, match="at most 16383"):
        encode_picture(long, "webp")
    assert read_picture(encode_picture(long, "png")).width == 16384


def test_format_names_and_stdout(monkeypatch):
    picture = Picture(noise(3, 4))
    assert encode_picture(picture, ".TIF") == encode_picture(picture, "tiff")
    buffer = io.BytesIO()
    stdout = types.SimpleNamespace(buffer=buffer, closed=False, isatty=lambda: False)
    monkeypatch.setattr(sys, "stdout", stdout)
    save_picture(picture, "-")
    assert buffer.getvalue() == encode_picture(picture, "png")
    save_picture(picture, "-", format="jpg")
    assert buffer.getvalue().endswith(encode_picture(picture, "jpeg"))
    stdout.isatty = lambda: True
    with pytest.raises(QuantArtError, match="terminal"):
        save_picture(picture, "-")
    stdout.isatty = lambda: False
    stdout.buffer = types.SimpleNamespace(write=lambda data: (_ for _ in ()).throw(BrokenPipeError(32, "Broken pipe")))
    with pytest.raises(QuantArtError, match=re.compile("stdout cannot be written: broken pipe", re.IGNORECASE)):
        save_picture(picture, "-")
