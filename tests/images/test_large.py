"""Large pictures some rows at a time: the same pixels, the same file, and memory that does not follow the picture."""

import io
import itertools
import struct
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from quantart_cli.errors import QuantArtError
from quantart_cli.images import Picture, encode_picture, large, read_picture, save_picture
from tests.images import samples
from tests.images.samples import encoded, noise, smooth, tiff

SIZES = [(1, 1), (1, 90), (90, 1), (37, 53), (64, 64), (200, 31)]
vips = pytest.mark.skipif(not large.HAS_VIPS, reason="pyvips is not installed")


@pytest.fixture(params=[pytest.param(True, marks=vips), False], ids=["vips", "pillow"])
def narrow(request, monkeypatch):
    """Everything is large, and a band a few hundred pixels."""

    def switch() -> None:
        monkeypatch.setattr(large, "LARGE", 1)
        monkeypatch.setattr(large, "BAND", 300)
        monkeypatch.setattr(large, "HAS_VIPS", request.param)

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
    for bits, (colour_type, channels) in itertools.product((8, 16), enumerate((1, 0, 3, 0, 2, 0, 4))):
        if channels:
            rows = noise(height, width * channels * bits // 8, 1).tobytes()
            found[f"png {bits} {colour_type}"] = samples.png(width, height, bits, colour_type, rows)
            key = samples.chunk(b"tRNS", struct.pack(f">{channels}H", *rows[:channels]))
            if colour_type in (0, 2):
                found[f"png {bits} {colour_type} key"] = samples.png(width, height, bits, colour_type, rows, key)
    sixteen = np.random.default_rng(1).integers(0, 65536, (height, width, 4), dtype=np.uint16)
    for order in "<>":
        found[f"tiff 16 RGB {order}"] = tiff(sixteen[..., :3], order=order)
        found[f"tiff 16 RGBA {order}"] = tiff(sixteen, extra=(2,), order=order)
    found["tiff 16 white is zero"] = tiff(sixteen[..., :1], photometric=0)
    found["tiff planes"] = tiff(pixels["RGB"], planar=2)
    found["jpeg"] = encoded(images["waves"], "JPEG", subsampling="4:2:0")
    found["jpeg progressive"] = encoded(images["RGB"], "JPEG", progressive=True, quality=60)
    found["jpeg L"] = encoded(images["L"], "JPEG")
    found["jpeg CMYK"] = encoded(images["CMYK"], "JPEG")
    found["tiff bits"] = encoded(images["L"].convert("1"), "TIFF", compression="group4", strip_size=8)
    found["our tiff"] = encode_picture(read_picture(pixels["RGBA"]), "tiff")
    return found


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


@vips
def test_libvips_decodes_and_not_pillow(narrow, monkeypatch, tmp_path):
    narrow()
    monkeypatch.setattr(large, "HAS_VIPS", True)
    monkeypatch.setattr(large, "crops", lambda _: pytest.fail("decoded whole"))
    for name, data in files(64, 64).items():
        if name not in ("png 16 0 key", "png 16 2 key", "png 16 4"):  # Pillow computes these otherwise
            read_picture(data)
            (tmp_path / "file").write_bytes(data)
            read_picture(tmp_path / "file")


@pytest.mark.parametrize("depth", [1, 2, 4])
def test_few_bits_of_a_png(depth, narrow):
    data = samples.png(32, 40, depth, 0, noise(40, 4 * depth, 1).tobytes())
    whole = read_picture(data)
    narrow()
    assert same(read_picture(data), whole)


def test_orientation_alpha_profile_and_tags(narrow):
    rgba = noise(40, 24, 4)
    rgba[:30, :, 3] = 255  # opaque but for the last bands
    made = []
    for orientation in range(1, 9):
        exif = samples.camera_exif(orientation)
        options = {"exif": exif, "dpi": (300, 300), "icc_profile": samples.p3_profile()}
        made.append(encoded(Image.fromarray(rgba), "PNG", **options))
        made.append(encoded(Image.fromarray(rgba[..., :3]), "JPEG", exif=b"Exif\0\0" + exif, comment="words"))
        made.append(encoded(Image.fromarray(rgba), "TIFF", tiffinfo={274: orientation, 271: "Maker"}))
    end = made[0].index(b"IEND") - 4
    text = samples.chunk(b"tEXt", b"Comment\0behind the pixels")
    made.append(made[0][:end] + text + made[0][end:])
    wholes = [read_picture(data) for data in made]
    assert wholes[-1].metadata.text == (("Comment", "behind the pixels", "", ""),)
    narrow()
    for whole, data in zip(wholes, made, strict=True):
        assert same(read_picture(data), whole)


@pytest.mark.parametrize("cut", [0.3, 0.9])
def test_damage_far_down_is_an_error(cut, narrow):
    narrow()
    for name, data in files(64, 64).items():
        if name.startswith("png") or name == "tiff RGB":
            with pytest.raises(QuantArtError, match="is damaged or cut short"):
                read_picture(data[: int(len(data) * cut)])
    broken = bytearray(files(64, 64)["png RGB"])
    broken[len(broken) // 2] ^= 0xFF
    with pytest.raises(QuantArtError, match="is damaged or cut short"):
        read_picture(bytes(broken))


@pytest.mark.parametrize("format", ["png", "tiff", "jpeg"])
@pytest.mark.parametrize("size", SIZES)
def test_files_written_in_bands_are_those_written_whole(format, size, tmp_path, narrow):
    rgba = encoded(Image.fromarray(noise(*size, 4)), "PNG", exif=samples.camera_exif(1), dpi=(300, 300))
    pictures = [read_picture(rgba), Picture(smooth(*size))]
    wholes = [encode_picture(picture, format, background="teal") for picture in pictures]
    kept = [None if format == "jpeg" else encode_picture(picture, format) for picture in pictures]
    narrow()
    for index, picture in enumerate(pictures):
        save_picture(picture, tmp_path / "a", format=format, background="teal")
        written = (tmp_path / "a").read_bytes()
        assert same(read_picture(written), read_picture(wholes[index])), "other pixels or tags"
        profiles = [Image.open(io.BytesIO(data)).info["icc_profile"] for data in (written, wholes[index])]
        assert profiles[0] == profiles[1]
        if kept[index]:
            assert same(read_picture(encode_picture(picture, format)), read_picture(kept[index]))


@vips
def test_a_full_disk_while_libvips_writes(monkeypatch):
    monkeypatch.setattr(large, "LARGE", 1)

    class Full(io.BytesIO):
        def write(self, data):
            if self.tell() > 5000:
                raise OSError(28, "No space left on device")
            return super().write(data)

    from quantart_cli.images.encoding import write_picture

    with pytest.raises(OSError, match="No space left"):
        write_picture(Full(), Picture(noise(64, 64)), "png")


def test_pyvips_without_libvips(monkeypatch):
    monkeypatch.setattr(large, "LARGE", 1)
    monkeypatch.setattr(large, "HAS_VIPS", True)
    monkeypatch.setitem(sys.modules, "pyvips", None)
    picture = read_picture(encoded(Image.fromarray(noise(20, 30)), "PNG"))
    assert np.array_equal(read_picture(encode_picture(picture, "png")).rgb, noise(20, 30))


def test_a_failure_in_the_middle_leaves_no_file(narrow, tmp_path, monkeypatch):
    narrow()
    target = tmp_path / "a.png"
    target.write_bytes(b"before")

    def fails(*_):
        yield slice(0, 3)
        raise KeyboardInterrupt

    monkeypatch.setattr(large, "row_slices", fails)
    with pytest.raises(KeyboardInterrupt):
        save_picture(Picture(noise(9, 9), noise(9, 9, 1)[..., 0]), target)
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]
    assert target.read_bytes() == b"before"


_PROGRAM = """
import resource, sys
from quantart_cli.images import large, read_picture, save_picture
import pyvips
pyvips.Image.black(1, 1)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
save_picture(read_picture(sys.argv[1]), sys.argv[2])
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@vips
@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere large arrays are in memory")
@pytest.mark.parametrize("format", ["png", "tif", "jpg"])
def test_memory_is_flat(format, tmp_path):
    tile, taken = smooth(256, 8192), []
    for height in (2304, 6144):  # 19 and 50 megapixels: 57 and 151 MB
        path = tmp_path / f"{height}.{format}"
        options = {"png": {"compress_level": 1}, "tif": {"compression": "tiff_lzw"}, "jpg": {}}[format]
        Image.fromarray(np.tile(tile, (height // 256, 1, 1))).save(path, **options)
        command = [sys.executable, "-c", _PROGRAM, path, tmp_path / f"out.{format}"]
        taken.append(int(subprocess.run(command, capture_output=True, text=True, check=True).stdout) / 1024)
        expected = tile if format != "jpg" else read_picture(path).rgb[-256:]
        difference = read_picture(tmp_path / f"out.{format}").rgb[-256:].astype(int) - expected
        assert np.abs(difference).max() <= (12 if format == "jpg" else 0)
    small, most = taken
    assert most < max(small, 100), taken


def test_a_tiff_of_tiles(narrow):
    pixels = noise(40, 70)
    tiles = [pixels[top : top + 16, left : left + 32] for top in range(0, 40, 16) for left in range(0, 70, 32)]
    data = [np.pad(t, [(0, 16 - t.shape[0]), (0, 32 - t.shape[1]), (0, 0)]).tobytes() for t in tiles]
    body, offsets = b"", []
    for tile in data:
        offsets.append(8 + len(body))
        body += tile
    extra = struct.pack(">3H", 8, 8, 8) + struct.pack(f">{len(data)}I", *offsets)
    extra += struct.pack(f">{len(data)}I", *map(len, data))
    at = 8 + len(body)
    entries = [(256, 4, 1, 70), (257, 4, 1, 40), (258, 3, 3, at), (259, 4, 1, 1), (262, 4, 1, 2), (277, 4, 1, 3)]
    entries += [
        (322, 4, 1, 32),
        (323, 4, 1, 16),
        (324, 4, len(data), at + 6),
        (325, 4, len(data), at + 6 + 4 * len(data)),
    ]
    directory = struct.pack(">H", len(entries)) + b"".join(struct.pack(">HHII", *entry) for entry in entries) + bytes(4)
    made = b"MM\0*" + struct.pack(">I", at + len(extra)) + body + extra + directory
    narrow()
    assert np.array_equal(read_picture(made).rgb, pixels)
