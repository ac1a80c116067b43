"""Every mode, orientation, profile and depth to upright 8-bit sRGB."""

import io
import re
import sys
import types
import warnings

import numpy as np
import pytest
from PIL import Image, ImageCms
from PIL.PngImagePlugin import PngInfo

from quantart_cli.errors import QuantArtError
from quantart_cli.images import Picture, formats, read_picture
from quantart_cli.images.exif import orientation_of
from quantart_cli.images.profiles import srgb_profile
from quantart_cli.images.reading import picture_size
from tests.images import samples
from tests.images.samples import chunk, encoded, noise, png, smooth


def close(picture: Picture, expected: np.ndarray, tolerance: int = 0) -> bool:
    return picture.rgb.shape == expected.shape and np.abs(picture.rgb.astype(int) - expected).max() <= tolerance


def grey(values: np.ndarray) -> np.ndarray:
    return np.repeat(values[..., None], 3, axis=2)


def test_sources_give_the_same_picture(tmp_path, monkeypatch):
    pixels = noise(5, 7)
    data = encoded(Image.fromarray(pixels), "PNG")
    path = tmp_path / "photo.png"
    path.write_bytes(data)
    (tmp_path / "link.png").symlink_to(path)
    stdin = types.SimpleNamespace(buffer=io.BytesIO(data), closed=False, isatty=lambda: False)
    monkeypatch.setattr(sys, "stdin", stdin)
    names = {}
    for source in (
        path,
        str(path),
        tmp_path / "link.png",
        "-",
        data,
        Image.fromarray(pixels),
        Image.open(path),
        pixels,
    ):
        picture = read_picture(source)
        assert close(picture, pixels)
        assert picture.alpha is None
        assert picture.rgb.flags.c_contiguous
        assert picture.rgb.flags.writeable
        names[picture.name] = picture
    assert set(names) == {"photo.png", "link.png", "<stdin>", "<bytes>", "<image>", "<array>"}
    assert (picture.size, picture.width, picture.height) == ((7, 5), 7, 5)


def test_arrays_of_every_shape():
    rgba = noise(4, 3, 4)
    one = rgba[..., 0]
    assert close(read_picture(one), grey(one))
    assert close(read_picture(one[..., None]), grey(one))
    two = read_picture(rgba[..., :2])
    assert close(two, grey(one))
    assert (two.alpha == rgba[..., 1]).all()
    four = read_picture(rgba)
    assert close(four, rgba[..., :3])
    assert (four.alpha == rgba[..., 3]).all()
    rgba[...] = 0
    assert four.rgb.any()  # a copy


def test_float_arrays():
    values = np.array([[[0, 0.5, 1], [0.001, 0.002, 0.996]]])
    for dtype in (np.float16, np.float32, np.float64):
        assert read_picture(values.astype(dtype)).rgb.tolist() == [[[0, 128, 255], [0, 1, 254]]]
    four = read_picture(np.full((2, 3, 4), 0.2))
    assert (four.alpha == 51).all()
    whole = read_picture(noise(4, 5).astype(np.float32) / 255)
    assert close(whole, noise(4, 5))


def test_tensors():
    torch = pytest.importorskip("torch")
    pixels = noise(6, 5)
    tensor = torch.from_numpy(pixels.transpose(2, 0, 1).copy())
    for given in (
        tensor,
        tensor[None],
        tensor.permute(1, 2, 0),
        tensor.float() / 255,
        (tensor.double() / 255).requires_grad_()[None],
    ):
        picture = read_picture(given)
        assert close(picture, pixels)
        assert picture.name == "<tensor>"
    assert close(read_picture(tensor[0]), grey(pixels[..., 0]))
    assert close(read_picture(torch.ones(1, 2, 2, dtype=torch.bfloat16)), np.full((2, 2, 3), 255))
    for wrong, words in ((tensor.float(), "outside [0, 1]"), (tensor.int(), "int32"), (tensor[None, None], "shape")):
        with pytest.raises(QuantArtError, match=r"the tensor .*" + re.escape(words)):
            read_picture(wrong)


def test_binary_streams(tmp_path):
    pixels = noise(5, 7)
    data = encoded(Image.fromarray(pixels), "PNG")
    picture = read_picture(io.BytesIO(data))
    assert close(picture, pixels)
    assert picture.name == "<stream>"
    (tmp_path / "a.png").write_bytes(data)
    with open(tmp_path / "a.png", "rb") as file:
        assert read_picture(file).name == "a.png"
    with pytest.raises(QuantArtError, match="the stream given gives str, not bytes: open it in binary mode"):
        read_picture(io.StringIO("text"))


@pytest.mark.parametrize("suffix", [".jpe", ".jfif", ".apng", ".dib", ".tif"])
def test_suffixes_that_pillow_registers(suffix):
    Image.init()
    assert formats.SUFFIXES[suffix] == Image.EXTENSION[suffix].lower().replace("dib", "bmp")


def test_every_suffix_of_a_format_that_is_read_is_known():
    Image.init()
    ours = {"JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF", "AVIF", "MPO", "DIB"}
    assert {suffix for suffix, name in Image.EXTENSION.items() if name in ours} <= set(formats.SUFFIXES)


def test_avif_with_alpha():
    if "avif" not in formats.writable_formats():
        pytest.skip("this Pillow has no AVIF")
    rgba = np.dstack([smooth(40, 40), np.tile(np.arange(40, dtype=np.uint8) * 6, (40, 1))])
    picture = read_picture(encoded(Image.fromarray(rgba), "AVIF", quality=95))
    assert np.abs(picture.alpha.astype(int) - rgba[..., 3]).max() <= 8


def test_heic():
    pillow_heif = pytest.importorskip("pillow_heif")
    pillow_heif.register_heif_opener()
    picture = read_picture(encoded(Image.fromarray(smooth(64, 64)), "HEIF", quality=95))
    assert close(picture, smooth(64, 64), tolerance=20)


@pytest.mark.parametrize(
    ("mode", "pixel", "rgb", "alpha"),
    [
        ("1", 1, (255, 255, 255), None),
        ("L", 77, (77, 77, 77), None),
        ("LA", (77, 100), (77, 77, 77), 100),
        ("La", (50, 100), (128, 128, 128), 100),
        ("RGB", (1, 2, 3), (1, 2, 3), None),
        ("RGBA", (1, 2, 3, 4), (1, 2, 3, 4)[:3], 4),
        ("RGBA", (1, 2, 3, 255), (1, 2, 3), None),
        ("RGBa", (50, 25, 100, 100), (128, 64, 255), 100),
        ("RGBX", (1, 2, 3, 0), (1, 2, 3), None),
        ("CMYK", (255, 0, 0, 0), (0, 255, 255), None),
        ("CMYK", (0, 0, 0, 255), (0, 0, 0), None),
        ("YCbCr", (76, 85, 255), (254, 0, 0), None),
        ("HSV", (85, 255, 255), (0, 255, 0), None),
        ("I", 25700, (100, 100, 100), None),
        ("I", 200, (200, 200, 200), None),
        ("I", 2**31 - 1, (255, 255, 255), None),
        ("F", 0.5, (128, 128, 128), None),
        ("F", 200.0, (200, 200, 200), None),
        ("F", 1e9, (255, 255, 255), None),
        ("F", -3.0, (0, 0, 0), None),
        ("F", float("nan"), (0, 0, 0), None),
        ("I;16", 25700, (100, 100, 100), None),
        ("I;16L", 25700, (100, 100, 100), None),
        ("I;16B", 25700, (100, 100, 100), None),
        ("I;16N", 65535, (255, 255, 255), None),
    ],
)
def test_modes(mode, pixel, rgb, alpha):
    image = Image.new(mode, (3, 2), pixel)
    picture = read_picture(image)
    assert close(picture, np.full((2, 3, 3), rgb), tolerance=1)
    assert (picture.alpha is None) if alpha is None else (picture.alpha == alpha).all()
    assert image.mode == mode  # untouched


def test_lab():
    middle = Image.merge("LAB", [Image.new("L", (2, 2), value) for value in (128, 128, 128)])
    lab = ImageCms.profileToProfile(
        Image.fromarray(smooth(20, 20)), ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), outputMode="LAB"
    )
    assert close(read_picture(lab), smooth(20, 20), tolerance=6)  # 8 bits of a* and b*
    grey_pixel = read_picture(encoded(lab, "TIFF")).rgb.astype(int) - smooth(20, 20)
    assert np.abs(grey_pixel).max() <= 6
    assert close(read_picture(middle), np.full((2, 2, 3), 120), tolerance=1)  # L* = 50.2


def test_palettes():
    image = Image.new("P", (3, 1))
    image.putpalette([10, 20, 30, 40, 50, 60, 70, 80, 90])
    image.putdata([0, 1, 2])
    colours = np.array([[[10, 20, 30], [40, 50, 60], [70, 80, 90]]])
    assert close(read_picture(image), colours)
    by_index = read_picture(encoded(image, "PNG", transparency=1))
    assert close(by_index, colours)
    assert by_index.alpha.tolist() == [[255, 0, 255]]
    by_bytes = read_picture(encoded(image, "PNG", transparency=bytes([7, 255, 128])))
    assert close(by_bytes, colours)
    assert by_bytes.alpha.tolist() == [[7, 255, 128]]
    rgba = Image.new("P", (2, 1))
    rgba.putpalette([1, 2, 3, 4, 5, 6, 7, 8], "RGBA")
    rgba.putdata([0, 1])
    assert read_picture(rgba).rgb.tolist() == [[[1, 2, 3], [5, 6, 7]]]
    assert read_picture(rgba).alpha.tolist() == [[4, 8]]
    with_alpha = image.convert("PA")
    with_alpha.putalpha(Image.new("L", (3, 1), 9))
    assert close(read_picture(with_alpha), colours)
    assert (read_picture(with_alpha).alpha == 9).all()
    assert read_picture(encoded(image, "GIF", transparency=2)).alpha.tolist() == [[255, 255, 0]]


def test_sixteen_bits():
    values = np.array([[0, 128, 129, 257, 32896, 65535]], np.uint16)
    expected = np.array([[0, 0, 1, 1, 128, 255]], np.uint8)
    assert close(read_picture(png(6, 1, 16, 0, values.astype(">u2").tobytes())), grey(expected))
    assert close(read_picture(encoded(Image.fromarray(values), "TIFF")), grey(expected))
    rgb = np.random.default_rng(1).integers(0, 65536, (4, 5, 3), dtype=np.uint16)
    eight = np.round(rgb / 257).astype(np.uint8)
    picture = read_picture(png(5, 4, 16, 2, rgb.astype(">u2").tobytes()))
    assert close(picture, eight, tolerance=1)
    rgba = np.concatenate([rgb, rgb[..., :1]], axis=2)
    picture = read_picture(png(5, 4, 16, 6, rgba.astype(">u2").tobytes()))
    assert close(picture, eight, tolerance=1)
    assert np.abs(picture.alpha.astype(int) - eight[..., 0]).max() <= 1
    dark = png(2, 1, 16, 0, np.array([[200, 0]], ">u2").tobytes())
    assert read_picture(dark).rgb.max() == 1  # a dark picture in 16 bits, not a bright one in 8
    image = Image.new("I", (2, 1), 200)  # how Pillow before 11 opens it
    image.format = "PNG"
    assert read_picture(image).rgb.max() == 1


@pytest.mark.parametrize(
    ("depth", "colour_type", "row", "key", "alpha"),
    [
        (1, 0, b"\x40", b"\0\1", [255, 0]),
        (2, 0, b"\x60", b"\0\2", [255, 0]),
        (4, 0, b"\x3a", b"\0\x0a", [255, 0]),
        (8, 0, b"\x03\x0a", b"\0\x0a", [255, 0]),
        (16, 0, b"\x01\x02\x03\x04", b"\x03\x04", [255, 0]),
        (8, 2, b"abcdef", b"\0d\0e\0f", [255, 0]),
        (16, 2, b"aAbBcCdDeEfF", b"dDeEfF", [255, 0]),
    ],
)
def test_transparent_colour_of_a_png(depth, colour_type, row, key, alpha):
    picture = read_picture(png(2, 1, depth, colour_type, row, chunk(b"tRNS", key)))
    assert picture.alpha.tolist() == [alpha]


def _as_meant(stored: np.ndarray, orientation: int) -> np.ndarray:
    """EXIF's words: the 0th row of what is stored is the visual ..., the 0th column the visual ..."""
    row, column = {
        1: ("top", "left"),
        2: ("top", "right"),
        3: ("bottom", "right"),
        4: ("bottom", "left"),
        5: ("left", "top"),
        6: ("right", "top"),
        7: ("right", "bottom"),
        8: ("left", "bottom"),
    }[orientation]
    height, width = stored.shape[:2]
    tall = row in ("left", "right")
    meant = np.empty((width, height, 3) if tall else stored.shape, np.uint8)
    for y in range(height):
        for x in range(width):
            down = {"top": y, "bottom": height - 1 - y} if not tall else {"top": x, "bottom": width - 1 - x}
            across = {"left": x, "right": width - 1 - x} if not tall else {"left": y, "right": height - 1 - y}
            where = down | across
            meant[where[row if not tall else column], where[column if not tall else row]] = stored[y, x]
    return meant


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation(orientation, order):
    stored = noise(3, 5)
    exif = samples.camera_exif(orientation, order)
    for format in ("PNG", "WEBP"):
        data = encoded(Image.fromarray(stored), format, exif=b"Exif\0\0" + exif, lossless=True)
        picture = read_picture(data)
        assert close(picture, _as_meant(stored, orientation))
        assert orientation_of(picture.metadata.exif) is None
    tiff = encoded(Image.fromarray(stored), "TIFF", tiffinfo={274: orientation, 271: "Maker"})
    assert close(read_picture(tiff), _as_meant(stored, orientation))
    assert b"Maker" in read_picture(tiff).metadata.exif
    jpeg = encoded(Image.fromarray(np.repeat(np.repeat(stored, 8, 0), 8, 1)), "JPEG", exif=b"Exif\0\0" + exif)
    assert read_picture(jpeg).size == ((24, 40) if orientation > 4 else (40, 24))


def test_alpha_turns_with_the_picture():
    rgba = noise(3, 5, 4)
    data = encoded(Image.fromarray(rgba), "PNG", exif=samples.camera_exif(6))
    assert (read_picture(data).alpha == np.rot90(rgba[..., 3], -1)).all()


def test_display_p3():
    steps = np.linspace(0, 255, 8).round().astype(np.uint8)
    lattice = np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(16, 32, 3)
    expected = samples.p3_to_srgb(lattice)
    assert np.abs(expected - lattice).max() > 20  # the test can fail
    data = encoded(Image.fromarray(lattice), "PNG", icc_profile=samples.p3_profile())
    picture = read_picture(data)
    assert close(picture, expected, tolerance=2)
    assert picture.notes == ()
    with_alpha = Image.fromarray(np.dstack([lattice, noise(16, 32, 1)]))
    picture = read_picture(encoded(with_alpha, "PNG", icc_profile=samples.p3_profile()))
    assert close(picture, expected, tolerance=2)
    assert (picture.alpha == noise(16, 32, 1)[..., 0]).all()
    image = Image.fromarray(lattice[..., 0])  # grey tagged as RGB
    picture = read_picture(encoded(image, "PNG", icc_profile=samples.p3_profile()))
    assert close(picture, grey(lattice[..., 0]), tolerance=1)
    assert picture.notes == ()


def test_grey_and_cmyk_profiles():
    ramp = np.arange(256, dtype=np.uint8)[None]
    picture = read_picture(encoded(Image.fromarray(ramp), "PNG", icc_profile=samples.linear_grey_profile()))
    expected = samples.from_linear(ramp / 255) * 255
    assert np.abs(picture.rgb[..., 0].astype(int) - expected)[:, 2:].max() <= 2
    inks = Image.new("CMYK", (16, 16), (255, 200, 100, 0))
    naive = read_picture(encoded(inks, "JPEG", quality=100))
    assert close(naive, np.full((16, 16, 3), (0, 55, 155)), tolerance=3)
    managed = read_picture(encoded(inks, "JPEG", quality=100, icc_profile=samples.odd_cmyk_profile()))
    assert close(managed, np.full((16, 16, 3), 119), tolerance=3)  # L* = 50, whatever magenta and yellow say


def test_paper_is_white_and_ink_is_black():
    """Relative colorimetric with black point compensation."""
    icc = samples.odd_cmyk_profile(darkest=0.2, paper=0.7)
    for inks, expected in [((0, 0, 0, 0), 255), ((255, 255, 255, 255), 0)]:
        data = encoded(Image.new("CMYK", (8, 8), inks), "TIFF", icc_profile=icc)
        assert close(read_picture(data), np.full((8, 8, 3), expected), tolerance=2)


def test_profiles_that_cannot_be_used_are_ignored_with_a_note():
    pixels = noise(6, 6)
    for icc, word in [
        (b"garbage", "damaged"),
        (samples.p3_profile()[:300], "damaged"),
        (samples.odd_cmyk_profile(), "CMYK"),
        (samples.linear_grey_profile(), "GRAY"),
    ]:
        picture = read_picture(encoded(Image.fromarray(pixels), "PNG", icc_profile=icc))
        assert close(picture, pixels)
        assert len(picture.notes) == 1
        assert "profile ignored" in picture.notes[0]
        assert word in picture.notes[0]


def test_an_srgb_profile_changes_no_pixel():
    pixels = noise(30, 30)
    cms = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for icc in (cms, srgb_profile()):
        picture = read_picture(encoded(Image.fromarray(pixels), "PNG", icc_profile=icc))
        assert close(picture, pixels)
        assert picture.notes == ()


def test_frames_and_pages():
    colours = {"red": (255, 0, 0), "lime": (0, 255, 0), "blue": (0, 0, 255)}
    frames = [Image.new("RGB", (4, 4), colour) for colour in colours]
    for format in ("GIF", "WEBP", "PNG", "TIFF"):
        options = {"lossless": True} if format == "WEBP" else {}
        data = encoded(frames[0], format, save_all=True, append_images=frames[1:], **options)
        if format == "TIFF":
            picture = read_picture(data)
            assert close(picture, np.full((4, 4, 3), (255, 0, 0)))
            assert picture.notes == ("3 pages: the first is used",)
        else:
            with pytest.raises(QuantArtError, match=r"animated \(3 frames\): quantart video"):
                read_picture(data)
        for index, colour in enumerate(colours.values()):
            picture = read_picture(data, frame=index)
            assert close(picture, np.full((4, 4, 3), colour))
            assert picture.notes == ()
        for index in (-1, 3):
            with pytest.raises(QuantArtError, match="has 3 frames: frame must be 0 to 2"):
                read_picture(data, frame=index)
    with pytest.raises(QuantArtError, match=r"has 1 frame: frame must be 0$"):
        read_picture(encoded(frames[0], "PNG"), frame=1)
    phone = encoded(frames[0], "MPO", save_all=True, append_images=frames[1:2])
    assert Image.open(io.BytesIO(phone)).format == "MPO"
    assert read_picture(phone).notes == ()
    assert read_picture(encoded(frames[0], "GIF"), frame=0).size == (4, 4)


def test_orientation_in_xmp_alone(tmp_path):
    """As macOS writes it when a PNG is turned in Quick Look."""
    packet = '<x:xmpmeta><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
    info = PngInfo()
    info.add_itxt("XML:com.adobe.xmp", packet)
    stored = noise(3, 5)
    path = tmp_path / "turned.png"
    Image.fromarray(stored).save(path, pnginfo=info)
    picture = read_picture(path)
    assert close(picture, _as_meant(stored, 6))
    assert picture_size(path) == (3, 5)
    assert b"Orientation" not in picture.metadata.xmp
    upright = encoded(Image.fromarray(stored), "PNG", pnginfo=info, exif=samples.camera_exif(1))
    assert close(read_picture(upright), stored)  # EXIF comes first
    exif = Image.Exif()
    exif[0x112] = 6
    Image.fromarray(stored).save(tmp_path / "turned.tif", exif=exif)
    assert picture_size(tmp_path / "turned.tif") == read_picture(tmp_path / "turned.tif").size == (3, 5)


def test_size_of_a_png_is_read_without_its_pixels(tmp_path):
    exif = chunk(b"eXIf", samples.camera_exif(6))
    data = png(5, 3, 8, 2, noise(3, 5).tobytes())
    end = data.index(b"IEND") - 4
    path = tmp_path / "a.png"
    path.write_bytes(data[:end] + exif + data[end:])
    assert picture_size(path) == read_picture(path).size == (3, 5)
    at = data.index(b"IDAT") + 4
    path.write_bytes(data[:at] + bytes(end - at) + exif + data[end:])
    assert picture_size(path) == (3, 5)
    with pytest.raises(QuantArtError, match="damaged"):
        read_picture(path)


def test_bmp_and_old_png_exif():
    pixels = noise(5, 6)
    assert close(read_picture(encoded(Image.fromarray(pixels), "BMP")), pixels)
    block = b"Exif\0\0" + samples.camera_exif(6)
    raw = f"\nexif\n{len(block):8}\n{block.hex()}\n".encode()
    old = png(6, 5, 8, 2, pixels.tobytes(), chunk(b"tEXt", b"Raw profile type exif\0" + raw))
    picture = read_picture(old)
    assert picture.size == (5, 6)
    assert b"Tester X" in picture.metadata.exif
    assert picture.metadata.text == ()


def test_damaged_exif_is_dropped_with_a_note():
    good = samples.camera_exif(6)
    for bad in (b"rubbish", good[:20], b"II*\0" + b"\xff" * 40, good[:8] + b"\xff\xff" + good[10:]):
        picture = read_picture(encoded(Image.fromarray(noise(3, 5)), "PNG", exif=bad))
        assert picture.notes == ("damaged EXIF data dropped",)
        assert picture.metadata.exif is None
        assert picture.size in ((5, 3), (3, 5))


def test_pillow_is_left_as_it_was(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)  # Pillow alone would refuse what follows
    data = encoded(Image.fromarray(noise(20, 20)), "PNG")
    tiff = encoded(Image.fromarray(noise(20, 20)), "TIFF", compression="tiff_lzw")
    plain = encoded(Image.fromarray(noise(20, 20)), "TIFF")
    at = plain.index(b"\0\1\4\0\1\0\0\0")  # ImageWidth, LONG, one of it: now a list of two, of which Pillow warns
    two_widths = plain[:at] + b"\0\1\3\0\2\0\0\0" + plain[at + 8 :]
    with pytest.warns(UserWarning, match="too many entries"), pytest.raises(Image.DecompressionBombError):
        Image.open(io.BytesIO(two_widths))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for source in (data, tiff, two_widths, Image.fromarray(noise(20, 20))):
            assert read_picture(source).size == (20, 20)
            assert Image.MAX_IMAGE_PIXELS == 10
        with pytest.raises(QuantArtError):
            read_picture(data[:-60])
    assert Image.MAX_IMAGE_PIXELS == 10


def test_threads_do_not_disturb_each_other():
    from concurrent.futures import ThreadPoolExecutor

    before = Image.MAX_IMAGE_PIXELS
    files = [encoded(Image.fromarray(noise(40, 50, seed=seed)), "PNG") for seed in range(8)]
    with ThreadPoolExecutor(4) as pool:
        pictures = list(pool.map(read_picture, files * 4))
    assert all(close(picture, noise(40, 50, seed=index % 8)) for index, picture in enumerate(pictures))
    assert before == Image.MAX_IMAGE_PIXELS


def test_to_pil_and_with_rgb():
    rgba = noise(4, 6, 4)
    picture = read_picture(rgba)
    assert (np.asarray(picture.to_pil()) == rgba).all()
    assert read_picture(rgba[..., :3]).to_pil().mode == "RGB"
    other = picture.with_rgb(255 - picture.rgb)
    assert (other.rgb == 255 - rgba[..., :3]).all()
    assert (other.alpha is picture.alpha, other.name) == (True, picture.name)
    for wrong in (picture.rgb[:2], picture.rgb.astype(np.float32)):
        with pytest.raises(ValueError, match="rgb must be"):
            picture.with_rgb(wrong)
