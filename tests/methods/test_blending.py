"""VQGAN in tiles: what is exact of it, and how far the rest may be off."""

import pytest
import torch

from quantart_cli.methods.blending import _Sums, decode_in_tiles, encode_in_tiles, encode_whole, reduced
from quantart_cli.methods.quantart import QuantArtSettings
from quantart_cli.methods.quantart_vqgan import QuantArtVQGAN
from quantart_cli.nets.norm import GroupNorm, fixed, keeping
from quantart_cli.tiling import Tiler
from tests.conftest import scene


def picture(width, height, seed=1):
    return torch.from_numpy(scene(width, height, seed)).permute(2, 0, 1)[None]


def test_overlapping_tiles_of_one_picture_are_that_picture():
    whole = torch.rand(1, 2, 150, 210)
    sums = _Sums((2, 150, 210), whole.device)

    def work(tile):
        outer = tile.grown(16, 150, 210)
        rows, columns = outer.slices
        sums.add(tile, outer, whole[:, :, rows, columns])

    Tiler(64).run(150, 210, work)
    torch.testing.assert_close(sums.mean(), whole)


def test_a_norm_with_kept_statistics_does_to_a_part_what_it_did_to_the_whole():
    torch.manual_seed(0)
    norm = GroupNorm(64).requires_grad_(False)
    norm.weight.copy_(torch.randn(64))
    x = (torch.randn(1, 64, 30, 40) * 3 + 5).to(memory_format=torch.channels_last)
    with torch.inference_mode():
        with keeping(norm):
            whole = norm(x, silu=True)
        with fixed(norm):
            part = norm(x[:, :, :10, 7:20], silu=True)
        torch.testing.assert_close(part, whole[:, :, :10, 7:20], atol=1e-5, rtol=1e-5)
        alone = norm(x[:, :, :10, 7:20], silu=True)  # forgotten: its own statistics again
    assert (alone - part).abs().max() > 1e-3


@torch.inference_mode()
def test_one_tile_that_holds_everything_is_the_whole(tiny_ends):
    network = tiny_ends["continuous"]
    image = picture(64, 48) / 255.0 * 2 - 1
    expected = network.encode_content(image)
    torch.testing.assert_close(encode_whole(network, image), expected)
    z = encode_in_tiles(network, image, Tiler(256))
    torch.testing.assert_close(z, expected, atol=1e-4, rtol=1e-4)
    with keeping(network.decoder):
        whole = network(z)
    torch.testing.assert_close(decode_in_tiles(network, network, z, Tiler(256)), whole, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("alpha", [0, 0.5, 1])
@torch.inference_mode()
def test_tiles_keep_size_and_come_close(tiny_ends, alpha):
    method = QuantArtVQGAN(**tiny_ends)
    content, style = picture(150, 102), [(picture(60, 50, 3), None)]
    settings = QuantArtSettings(fidelity=alpha)
    whole = method.stylize(content, method.encode_style(style, [1.0]), settings)
    tiled = method.stylize(content, method.encode_style(style, [1.0]), settings, tiler=Tiler(96))
    assert tiled.shape == whole.shape == content.shape
    assert tiled.isfinite().all()
    # These networks have random weights, which make the most of every difference; entries flip, colours stay.
    assert (tiled.mean((2, 3)) - whole.mean((2, 3))).abs().max() < 0.5 * whole.std()


@torch.inference_mode()
def test_a_tile_that_does_not_fit_is_cut(tiny_ends, monkeypatch):
    network = tiny_ends["continuous"]
    real = network.encode_content

    def small_only(image):
        if image.shape[2] > 200:
            raise MemoryError
        return real(image)

    image = picture(256, 256) / 255.0 * 2 - 1
    encode_whole(network, reduced(image, 96))
    monkeypatch.setattr(network, "encode_content", small_only)
    told = []
    assert encode_in_tiles(network, image, Tiler(192, told.append)).shape == (1, 32, 64, 64)
    assert len(told) == 1
