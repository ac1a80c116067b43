"""LPIPS: numbers of the reference implementation, and what holds without its weights."""

import pytest
import torch

from quantart_cli.checkpoints import cache
from quantart_cli.checkpoints.layouts import KINDS
from quantart_cli.evaluation.lpips import LPIPS, MIN_SIDE
from quantart_cli.evaluation.networks import load_lpips
from tests.conftest import PERSONS_CACHE, scene


def picture(seed, width=64, height=64):
    return torch.tensor(scene(width, height, seed)).permute(2, 0, 1)[None].float() / 255


@pytest.mark.parametrize(
    ("kind", "black_white", "two_scenes", "brighter"),
    # Recorded from lpips 0.1.4, the authors' package, with its own linear layers.
    [
        ("lpips-vgg16", 0.4538372, 0.6360309, 0.0077604),
        ("lpips-alexnet", 0.8139544, 0.3265832, 0.0080945),
    ],
)
@torch.inference_mode()
def test_parity_with_the_authors_package(kind, black_white, two_scenes, brighter, monkeypatch):
    monkeypatch.setenv("QUANTART_CACHE", PERSONS_CACHE)
    if cache.find(kind) is None:
        pytest.skip(f"quantart download-weights {kind} was not run")
    network = load_lpips(kind, "cpu")
    black = torch.zeros(1, 3, 64, 64)
    assert network(black, black + 1).item() == pytest.approx(black_white, abs=1e-5)
    assert network(picture(1), picture(2)).item() == pytest.approx(two_scenes, abs=1e-5)
    odd = picture(4, 97, 80)
    assert network(odd, (odd + 0.1).clamp(0, 1)).item() == pytest.approx(brighter, abs=1e-5)


@pytest.mark.parametrize("kind", ["lpips-vgg16", "lpips-alexnet"])
def test_has_the_tensors_of_its_file(kind):
    with torch.device("meta"):
        network = LPIPS(kind)
    assert {name: tuple(value.shape) for name, value in network.state_dict().items()} == KINDS[kind].shapes


@torch.inference_mode()
def test_formula_by_hand():
    """Features of unit length: with all linear weights 1, a tap of one position is |a - b|² of unit vectors."""
    network = LPIPS("lpips-alexnet").eval()
    for linear in network.linear:
        linear.weight.fill_(1)
    a, b = torch.tensor([3.0, 4.0]).view(1, 2, 1, 1), torch.tensor([4.0, 3.0]).view(1, 2, 1, 1)
    network.linear = torch.nn.ModuleList(torch.nn.Conv2d(2, 1, 1, bias=False).requires_grad_(False) for _ in range(1))
    network.linear[0].weight.fill_(1)
    # (0.6, 0.8) and (0.8, 0.6): 0.2² twice.
    assert network.distance([a / 5], [b / 5]).item() == pytest.approx(0.08)


@torch.inference_mode()
def test_same_picture_and_smallest_picture():
    torch.manual_seed(0)
    network = LPIPS("lpips-alexnet").eval()
    one, other = torch.rand(2, 3, MIN_SIDE, MIN_SIDE), torch.rand(2, 3, MIN_SIDE, MIN_SIDE)
    assert torch.equal(network(one, one), torch.zeros(2))
    assert network(one, other).shape == (2,)
    assert torch.allclose(network(one, other), network(other, one))
    assert all(torch.allclose(tap.square().sum(1).max(), torch.tensor(1.0)) for tap in network.features(one))
