"""Resizing and filling: hidden colour has no influence on what is seen."""

import time

import numpy as np
import pytest
from PIL import Image

from quantart_cli.errors import QuantArtError
from quantart_cli.images import Metadata, Picture, encode_picture, fill_transparent, read_picture, resize
from tests.images.samples import noise, smooth


@pytest.mark.parametrize(
    ("size", "long_side", "enlarge", "expected"),
    [
        ((40, 30), 20, False, (20, 15)),
        ((30, 40), 20, False, (15, 20)),
        ((40, 30), 80, True, (80, 60)),
        ((40, 30), 80, False, (40, 30)),
        ((40, 30), 40, True, (40, 30)),
        ((1000, 3), 100, False, (100, 1)),
        ((1000, 7), 500, False, (500, 4)),
        ((1000, 1), 7, False, (7, 1)),
        ((40, 40), 1, False, (1, 1)),
    ],
)
@pytest.mark.parametrize("channels", [3, 4])
def test_sizes(size, long_side, enlarge, expected, channels):
    picture = read_picture(noise(size[1], size[0], channels))
    resized = resize(picture, long_side, enlarge=enlarge)
    assert resized.size == expected
    assert (resized is picture) == (expected == size)
    assert (resized.alpha is not None) == (channels == 4)


def test_lanczos():
    pixels = smooth(60, 90)
    expected = np.asarray(Image.fromarray(pixels).resize((45, 30), Image.Resampling.LANCZOS))
    assert (resize(Picture(pixels), 45, enlarge=False).rgb == expected).all()
    opaque = Picture(pixels, np.full((60, 90), 255, np.uint8))
    assert np.abs(resize(opaque, 45, enlarge=False).rgb.astype(int) - expected).max() <= 1


def test_hidden_colour_does_not_bleed():
    rgb = np.zeros((32, 32, 3), np.uint8)
    rgb[:] = (0, 200, 0)
    alpha = np.full((32, 32), 255, np.uint8)
    alpha[:, 15:] = 0
    rgb[:, 15:] = (255, 0, 255)
    for long_side in (10, 50):
        resized = resize(Picture(rgb, alpha), long_side, enlarge=True)
        seen = resized.rgb[resized.alpha > 0]
        assert np.abs(seen.astype(int) - (0, 200, 0)).max() <= 1
        assert resized.alpha.min() == 0


def test_nothing_is_no_size():
    with pytest.raises(QuantArtError, match="at least 1"):
        resize(Picture(noise(2, 2)), 0, enlarge=True)


def test_fill_ignores_hidden_colour_and_keeps_the_visible():
    rgb, alpha = noise(37, 53), noise(37, 53, 1)[..., 0].copy()
    alpha[5:25, 10:40] = 0
    alpha[alpha > 150] = 255
    other = np.where((alpha == 0)[..., None], noise(37, 53, seed=9), rgb)
    filled = fill_transparent(Picture(rgb, alpha))
    assert (filled == fill_transparent(Picture(other, alpha))).all()
    assert (filled[alpha > 0] == rgb[alpha > 0]).all()
    assert (filled[alpha == 0] != rgb[alpha == 0]).any()
    assert (filled.shape, filled.dtype) == (rgb.shape, np.uint8)


def test_fill_continues_its_surroundings_smoothly():
    rgb = np.zeros((64, 96, 3), np.uint8)
    rgb[:, :32], rgb[:, 64:] = (200, 40, 0), (0, 40, 200)
    alpha = np.full((64, 96), 255, np.uint8)
    alpha[:, 32:64] = 0
    rgb[:, 32:64] = 255
    filled = fill_transparent(Picture(rgb, alpha)).astype(int)
    assert np.abs(np.diff(filled, axis=1)).max() <= 15  # 200 levels are bridged without a hard border
    assert np.abs(filled[:, 33] - (200, 40, 0)).max() <= 20
    assert np.abs(filled[:, 62] - (0, 40, 200)).max() <= 25
    assert (filled[..., 1] == 40).all()  # what is the same on all sides stays so


def test_fill_weighs_by_alpha():
    rgb = np.zeros((2, 4, 3), np.uint8)
    rgb[0, 0], rgb[1, 0] = 250, 50
    alpha = np.zeros((2, 4), np.uint8)
    alpha[0, 0], alpha[1, 0] = 255, 1
    assert fill_transparent(Picture(rgb, alpha))[0, 3, 0] >= 245


def test_fill_extremes():
    rgb = noise(5, 5)
    assert fill_transparent(Picture(rgb)) is rgb
    assert (fill_transparent(Picture(rgb, np.zeros((5, 5), np.uint8))) == 128).all()
    one = np.zeros((5, 5), np.uint8)
    one[2, 3] = 1  # a single, faint pixel: its colour everywhere
    assert (fill_transparent(Picture(rgb, one)) == rgb[2, 3]).all()
    for size in ((1, 1), (1, 9), (9, 1), (2, 2)):
        alpha = np.zeros(size, np.uint8)
        alpha[0, 0] = 255
        assert (fill_transparent(Picture(noise(*size), alpha)) == noise(*size)[0, 0]).all()


def test_fill_is_fast():
    rgb = np.zeros((1500, 2000, 3), np.uint8)
    alpha = np.zeros((1500, 2000), np.uint8)
    alpha[400:1000, 500:1500] = 255
    start = time.process_time()
    fill_transparent(Picture(rgb, alpha))
    assert time.process_time() - start < 3  # 3 megapixels; about 0.2 s on an idle core


@pytest.mark.parametrize("border", range(29, 37))
def test_fill_meets_every_border(border):
    rgb = np.zeros((64, 64, 3), np.uint8)
    rgb[:, : border // 2], rgb[:, border // 2 : border] = 0, 240
    alpha = np.zeros((64, 64), np.uint8)
    alpha[:, :border] = 255
    filled = fill_transparent(Picture(rgb, alpha)).astype(int)
    assert filled[:, border].min() >= 225


def test_fill_carries_texture_across_a_curved_edge():
    """Blocks count as opaque from one opaque pixel on: with their mean alpha instead the step would be 62."""
    y, x = np.mgrid[0:200, 0:300]
    checks = np.repeat(((x // 8 + y // 8) % 2 * 255).astype(np.uint8)[..., None], 3, axis=2)
    seen = (x - 150) ** 2 + (y - 100) ** 2 < 70**2
    filled = fill_transparent(Picture(checks, np.where(seen, np.uint8(255), np.uint8(0)))).astype(int)[..., 0]
    steps = np.abs(np.diff(filled, axis=1))[seen[:, 1:] != seen[:, :-1]]
    assert steps.mean() < 55


@pytest.mark.parametrize("format", ["png", "jpeg", "tiff", "webp", "bmp"])
def test_a_print_stays_as_large_when_the_size_changes(format):
    """Also where EXIF states the resolution."""
    exif = Image.Exif()
    exif[0x011A], exif[0x011B], exif[0x0128] = 300.0, 300.0, 2
    block = exif.tobytes().removeprefix(b"Exif\0\0")
    picture = Picture(np.zeros((40, 60, 3), np.uint8), metadata=Metadata(dpi=(300, 300), exif=block))
    again = read_picture(encode_picture(resize(picture, 30, enlarge=True), format))
    assert again.metadata.dpi == pytest.approx((150, 150), abs=0.5)
    if again.metadata.exif:
        read = Image.Exif()
        read.load(again.metadata.exif)
        assert float(read[0x011A]) == pytest.approx(150)
