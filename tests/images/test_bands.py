"""Large pictures some rows at a time: the same pixels, the same file, and memory that does not follow the picture."""

import io
import itertools
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from quantart_cli.errors import QuantArtError
from quantart_cli.images import Picture, bands, encode_picture, read_picture, save_picture
from tests.images import samples
from tests.images.samples import encoded, noise, smooth

SIZES = [(1, 1), (1, 90), (90, 1), (37, 53), (64, 64), (200, 31)]


@pytest.fixture
def narrow(monkeypatch):
    """Everything is large, and a band a few hundred pixels."""

    def switch() -> None:
        monkeypatch.setattr(bands, "LARGE", 1)
        monkeypatch.setattr(bands, "BAND", 300)

    return switch


def files(height: int, width: int) -> dict[str, bytes]:
    """By a name, files whose rows can be had one after the other."""
    found = {}
    pixels = {
        "L": noise(height, width, 1)[..., 0],
        "RGB": noise(height, width),
        "RGBA": noise(height, width, 4),
        "LA": noise(height, width, 2),
        "CMYK": noise(height, width, 4),
    }
    images = {mode: Image.fromarray(array, mode) for mode, array in pixels.items()}
    images["P"] = images["RGB"].quantize(40)
    images["waves"] = Image.fromarray(smooth(height, width))  # for which Pillow chooses other filters
    for name, image in images.items():
        if image.mode != "CMYK":
            found[f"png {name}"] = encoded(image, "PNG")
        if image.mode != "LA":
            found[f"tiff {name}"] = encoded(image, "TIFF", compression="tiff_lzw", strip_size=500)
            found[f"tiff {name}, not compressed"] = encoded(image, "TIFF")
    found["tiff jpeg"] = encoded(images["waves"], "TIFF", compression="jpeg", strip_size=800)
    found["tiff bits"] = encoded(images["L"].convert("1"), "TIFF", compression="group4", strip_size=8)
    found["tiff tiles"] = tiles(images["RGB"])
    found["our tiff"] = encode_picture(read_picture(pixels["RGBA"]), "tiff")
    return found


def tiles(image: Image.Image) -> bytes:
    """A TIFF of tiles of 32 x 16, big-endian."""
    from quantart_cli.images.tiff import LONG, SHORT, append, directory

    file, offsets = io.BytesIO(), []
    file.write(b"MM\0*\0\0\0\0")
    for top, left in itertools.product(range(0, image.height, 16), range(0, image.width, 32)):
        offsets.append(append(file, image.crop((left, top, left + 32, top + 16)).tobytes()))
    entries = {256: image.width, 257: image.height, 259: 1, 262: 2, 277: 3, 322: 32, 323: 16}
    several = {258: (SHORT, [8] * 3), 324: (LONG, offsets), 325: (LONG, [32 * 16 * 3] * len(offsets))}
    directory(file, ">", {tag: (LONG, [value]) for tag, value in entries.items()} | several)
    return file.getvalue()


def same(one: Picture, other: Picture) -> bool:
    if one.alpha is None or other.alpha is None:
        alike = one.alpha is other.alpha
    else:
        alike = np.array_equal(one.alpha, other.alpha)
    return alike and np.array_equal(one.rgb, other.rgb) and (one.metadata, one.notes) == (other.metadata, other.notes)


@pytest.mark.parametrize("size", SIZES)
def test_rows_are_those_of_the_whole(size, narrow):
    made = files(*size)
    wholes = {name: read_picture(data) for name, data in made.items()}
    narrow()
    for name, data in made.items():
        assert same(read_picture(data), wholes[name]), name


def test_rows_are_read_and_not_the_whole(narrow, monkeypatch):
    made = files(64, 64)
    narrow()
    monkeypatch.setattr(bands, "LARGE", 64 * 64)  # strips are not larger than that
    monkeypatch.setattr(bands, "_crops", lambda _: pytest.fail("decoded whole"))
    for data in made.values():
        read_picture(data)


@pytest.mark.parametrize("depth", [1, 2, 4, 16])
def test_other_depths_of_a_png_are_decoded_whole(depth, narrow):
    data = samples.png(32, 40, depth, 0, noise(40, 4 * depth, 1).tobytes())
    whole = read_picture(data)
    narrow()
    assert same(read_picture(data), whole)


def test_orientation_alpha_profile_and_tags():
    rgba = noise(40, 24, 4)
    rgba[:30, :, 3] = 255  # opaque but for the last bands
    for orientation in range(1, 9):
        exif = samples.camera_exif(orientation)
        options = {"exif": exif, "dpi": (300, 300), "icc_profile": samples.profile(b"RGB ", {})}
        png = encoded(Image.fromarray(rgba), "PNG", **options)
        jpeg = encoded(Image.fromarray(rgba[..., :3]), "JPEG", exif=b"Exif\0\0" + exif)
        tiff = encoded(Image.fromarray(rgba), "TIFF", tiffinfo={274: orientation, 271: "Maker"})
        wholes = [read_picture(data) for data in (png, jpeg, tiff)]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(bands, "LARGE", 1)
            patch.setattr(bands, "BAND", 100)
            for whole, data in zip(wholes, (png, jpeg, tiff), strict=True):
                assert same(read_picture(data), whole)


@pytest.mark.parametrize("cut", [0.3, 0.9])
def test_damage_far_down_is_told(cut, narrow):
    narrow()
    for name, data in files(64, 64).items():
        if name.startswith("png") or name == "tiff RGB":
            with pytest.raises(QuantArtError, match="damaged, cut short"):
                read_picture(data[: int(len(data) * cut)])
    broken = bytearray(files(64, 64)["png RGB"])
    broken[len(broken) // 2] ^= 0xFF
    with pytest.raises(QuantArtError, match="damaged, cut short"):
        read_picture(bytes(broken))


@pytest.mark.parametrize("format", ["png", "tiff", "jpeg"])
@pytest.mark.parametrize("size", SIZES)
def test_files_written_in_bands_are_those_written_whole(format, size, tmp_path):
    exif = samples.camera_exif(1)
    rgba = encoded(Image.fromarray(noise(*size, 4)), "PNG", exif=exif, dpi=(300, 300))
    for picture in (read_picture(rgba), Picture(smooth(*size))):
        whole = encode_picture(picture, format, background="teal")
        kept = None if format == "jpeg" else encode_picture(picture, format)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(bands, "LARGE", 1)
            patch.setattr(bands, "BAND", 300)
            save_picture(picture, tmp_path / "a", format=format, background="teal")
            again = encode_picture(picture, format) if kept else None
        written = (tmp_path / "a").read_bytes()
        assert same(read_picture(written), read_picture(whole)), "other pixels or tags"
        assert Image.open(io.BytesIO(written)).info["icc_profile"] == Image.open(io.BytesIO(whole)).info["icc_profile"]
        if kept:
            assert same(read_picture(again), read_picture(kept))


def test_what_fails_in_the_middle_leaves_no_file(narrow, tmp_path, monkeypatch):
    narrow()
    target = tmp_path / "a.png"
    target.write_bytes(b"before")

    def fails(*_):
        yield slice(0, 3)
        raise KeyboardInterrupt

    monkeypatch.setattr(bands, "slices", fails)
    with pytest.raises(KeyboardInterrupt):
        save_picture(Picture(noise(9, 9)), target)
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]
    assert target.read_bytes() == b"before"


_PROGRAM = """
import resource, sys
from quantart_cli.images import read_picture, save_picture
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
save_picture(read_picture(sys.argv[1]), sys.argv[2])
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere large arrays lie in memory")
@pytest.mark.parametrize("format", ["png", "tif"])
def test_memory_is_flat(format, tmp_path):
    tile, taken = smooth(256, 8192), []
    for height in (2304, 6144):  # 19 and 50 megapixels: 57 and 151 MB
        path = tmp_path / f"{height}.{format}"
        options = {"compress_level": 1} if format == "png" else {"compression": "tiff_lzw"}
        Image.fromarray(np.tile(tile, (height // 256, 1, 1))).save(path, **options)
        command = [sys.executable, "-c", _PROGRAM, path, tmp_path / f"out.{format}"]
        taken.append(int(subprocess.run(command, capture_output=True, text=True, check=True).stdout) / 1024)
        assert np.array_equal(read_picture(tmp_path / f"out.{format}").rgb[-256:], tile)
    small, large = taken
    assert large < max(small, 100), taken
