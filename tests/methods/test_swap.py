"""Style swap: the picture by its formula, opacity, several styles, and tiles."""

import numpy as np
import pytest
import torch

from quantart_cli.methods.adain import ENCODE
from quantart_cli.methods.swap import MATCH_PATCHES, Swap, SwapSettings, for_patch, scales
from quantart_cli.nets.swap import PatchMatcher, overlapped
from quantart_cli.runner import Image, Runner
from quantart_cli.tiling import Tiler
from tests.conftest import scene
from tests.exact import encode, image_of, paint


def picture(width, height, seed=0):
    return torch.from_numpy(scene(width, height, seed)).permute(2, 0, 1)[None]


@torch.inference_mode()
def test_the_formula(backend, vgg, decoder):
    content, style = picture(64, 48, 1), picture(56, 40, 2)
    method, settings = Swap(), SwapSettings(alpha=0.7)
    found = paint(backend, method, content, encode(backend, method, settings, style), settings)
    c, s = (vgg(each / 255)["relu4_1"] for each in (content, style))
    norm = s[0].square().sum(0).unfold(0, 3, 1).unfold(1, 3, 1).sum((2, 3)).sqrt()
    expected = decoder(0.7 * overlapped(PatchMatcher()(c, s, 1 / norm)[0], s, 3) + 0.3 * c)
    assert (found - expected).abs().max() < 1e-4


@pytest.mark.parametrize("patch", [1, 3, 5])
def test_tiles_do_not_change_the_picture(backend, patch):
    content, style = picture(170, 110, 1), picture(80, 60, 2)
    method, settings = Swap(), SwapSettings(patch=patch)
    encoded = encode(backend, method, settings, style)
    whole = paint(backend, method, content, encoded, settings)
    tiled = paint(backend, method, content, encoded, settings, tiler=Tiler(64))
    assert (tiled - whole).abs().max() < 1e-3


def test_a_content_that_is_the_style_is_reconstructed(backend, vgg, decoder):
    content = picture(64, 48)
    method, settings = Swap(), SwapSettings()
    found = paint(backend, method, content, encode(backend, method, settings, content), settings)
    with torch.inference_mode():
        expected = decoder(vgg(content / 255)["relu4_1"])
    assert (found - expected).abs().max() < 1e-3


def test_a_patch_is_never_larger_than_the_pictures(backend):
    method, settings = Swap(), SwapSettings(patch=7)
    found = paint(backend, method, picture(20, 90), encode(backend, method, settings, picture(9, 5)), settings)
    assert found.shape == (1, 3, 90, 20)
    assert found.isfinite().all()


def test_transparent_patches_are_not_used(backend):
    style = image_of(picture(96, 64))
    opacity = np.full((64, 96), 255, np.uint8)
    opacity[:, :48] = 0
    encoded = encode(backend, Swap(), SwapSettings(), Image.of(style.pixels, opacity))
    scale = scales(encoded, 3)
    assert (scale[:, :6] == -1).all()
    assert (scale[:, 6:] > 0).all()


def test_several_styles_are_one_set_of_patches(backend):
    method, settings = Swap(), SwapSettings()
    styles = [picture(64, 48, 1), picture(40, 56, 2)]
    both = encode(backend, method, settings, *styles)
    scale = scales(both, 3)
    alone = [scales(encode(backend, method, settings, style), 3) for style in styles]
    np.testing.assert_allclose(scale[:4], alone[0], rtol=1e-6)
    np.testing.assert_allclose(scale[7:, :3], alone[1], rtol=1e-6)
    assert (scale[4:7] == -1).all()
    assert (scale[7:, 3:] == -1).all()
    # A weight of 0 leaves the other style.
    one = encode(backend, method, settings, *styles, weights=[0.0, 1.0])
    expected = paint(backend, method, picture(64, 64), encode(backend, method, settings, styles[1]), settings)
    assert torch.equal(paint(backend, method, picture(64, 64), one, settings), expected)


def test_matching_is_the_same_for_each_tile_of_a_run(backend):
    """The index that a tile gives does not depend on where the tile begins."""
    method, settings = Swap(), SwapSettings()
    style = encode(backend, method, settings, picture(80, 60, 2))

    found = []
    for tiler in (Tiler(), Tiler(64)):
        run = Runner(backend, tiler)
        z = run(ENCODE, image_of(picture(170, 110, 1)))["z"]
        found.append(run(for_patch(MATCH_PATCHES, 3), z=z, style=style.values, scale=scales(style, 3))["index"].values)
    assert torch.equal(*found)
