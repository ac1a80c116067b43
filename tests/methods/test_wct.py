"""WCT: recorded parity of the operator, its formula, and tiles."""

import numpy as np
import pytest
import safetensors.torch
import torch

from quantart_cli.methods.wct import WCT, Colouring, WCTSettings, colouring, whiten_and_colour
from quantart_cli.nets.statistics import products
from quantart_cli.stages import Covariance, Sums
from quantart_cli.tiling import Tiler
from tests.conftest import DATA, scene
from tests.exact import encode, image_of, paint


@pytest.fixture(scope="module")
def recorded():
    """Numbers of an independent implementation in float64."""
    return safetensors.torch.load_file(DATA / "wct_operator.safetensors")


def covariance(z: torch.Tensor, tiles: int = 1) -> Covariance:
    """Of a map (1, C, h, w), summed over so many tiles."""
    sums = Sums()
    for tile in z.tensor_split(tiles, dim=3):
        sums.add(products(tile, torch.ones_like(tile[:, :1])).numpy())
    return sums.result()


@pytest.mark.parametrize("case", ["wide", "deficient"])
@pytest.mark.parametrize(("name", "alpha"), [("wct", 1.0), ("wct_alpha0.6", 0.6)])
@pytest.mark.parametrize("tiles", [1, 3])
def test_operator(recorded, case, name, alpha, tiles):
    content, style = recorded[f"{case}_content"], recorded[f"{case}_style"]
    matrix, shift = whiten_and_colour(covariance(content, tiles), colouring(covariance(style, tiles)), alpha)
    found = matrix @ content[0].flatten(1).numpy() + shift[:, None]
    expected = recorded[f"{case}_{name}"][0].flatten(1).numpy()
    np.testing.assert_allclose(found, expected, atol=1e-4 * np.abs(expected).max())


def test_covariance_over_tiles_is_that_of_numpy():
    torch.manual_seed(0)
    z, weight = torch.randn(1, 5, 6, 9) + 10, torch.randint(0, 2, (1, 1, 6, 9)).float()
    sums = Sums()
    for rows in (slice(0, 2), slice(2, 3), slice(3, 6)):
        sums.add(products(z[:, :, rows], weight[:, :, rows]).numpy())
    found, counted = sums.result(), z[0].flatten(1)[:, weight.flatten() == 1].double().numpy()
    np.testing.assert_allclose(found.mean, counted.mean(1), atol=1e-5)
    np.testing.assert_allclose(found.matrix, np.cov(counted), atol=1e-4)


def test_a_constant_style_gives_its_mean():
    style = colouring(Covariance(np.arange(4.0), np.zeros((4, 4))))
    matrix, shift = whiten_and_colour(Covariance(np.ones(4), np.eye(4)), style)
    np.testing.assert_allclose(matrix, 0)
    np.testing.assert_allclose(shift, np.arange(4.0))


def test_several_styles_average_the_transformed_features():
    rng = np.random.default_rng(0)
    roots = [Colouring(np.cov(rng.normal(size=(3, 9))), rng.normal(size=3)) for _ in range(2)]
    own = Covariance(rng.normal(size=3), np.eye(3))
    mixed = whiten_and_colour(own, Colouring.lerp(roots, [0.3, 0.7]))
    parts = [whiten_and_colour(own, root) for root in roots]
    for found, first, second in zip(mixed, *parts, strict=True):
        np.testing.assert_allclose(found, 0.3 * first + 0.7 * second, atol=1e-5)


def test_tiles_do_not_change_the_picture(backend):
    content, style = (image_of(torch.from_numpy(scene(*size)).permute(2, 0, 1)[None]) for size in ((150, 90), (70, 50)))
    method, settings = WCT(), WCTSettings(alpha=0.8)
    whole = paint(backend, method, content, encode(backend, method, settings, style), settings)
    tiled = encode(backend, method, settings, style, tiler=Tiler(64))
    found = paint(backend, method, content, tiled, settings, tiler=Tiler(64))
    assert (found - whole).abs().max() < 1e-3
    assert whole.std() > 0.05


def test_alpha_zero_is_the_reconstruction(backend, vgg, decoder, parity):
    method, settings = WCT(), WCTSettings(alpha=0.0)
    found = paint(backend, method, parity["content"], encode(backend, method, settings, parity["style_1"]), settings)
    with torch.inference_mode():
        expected = decoder(vgg(parity["content"])["relu4_1"])
    assert (found - expected).abs().max() < 1e-4
