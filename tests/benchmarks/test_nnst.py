"""The plain script of NNST matches and paints as the paper says."""

import torch

from benchmarks import baseline, plain_nnst
from benchmarks.materials import make_pictures, make_weights


def test_the_plain_script_paints(tmp_path):
    make_weights(tmp_path)
    make_pictures(tmp_path, ["64x64-1.png", "64x64-2.png"])
    network = baseline.vgg19()
    network.load_state_dict(torch.load(tmp_path / "vgg_normalised.pth", weights_only=True))
    network.requires_grad_(False)
    content, style = (baseline.read(tmp_path / f"64x64-{i}.png", "cpu") for i in (1, 2))
    image = plain_nnst.paint(network, content, style, [2], 1)
    assert image.shape == content.shape
    assert 0 < (image - content).abs().mean() < 0.3


def test_matches_are_by_centred_cosine():
    keys = torch.tensor([[3.0, 1], [-1, 5], [-2, -6]])
    assert plain_nnst.nearest(keys + 100, keys).tolist() == [0, 1, 2]
    assert torch.allclose(plain_nnst.collapse(plain_nnst.decompose(image := torch.rand(1, 3, 9, 14))), image, atol=1e-6)
