"""The discriminator of latents: its field of view and its slope."""

import torch

from quantart_cli.training.discriminators import LATENT_FIELD, LatentDiscriminator


def test_a_score_sees_five_positions_a_side():
    network, z = LatentDiscriminator(8, 4).eval(), torch.randn(2, 8, LATENT_FIELD + 2, LATENT_FIELD)
    scores = network(z)
    assert scores.shape == (2, 1, 3, 1)
    torch.testing.assert_close(network(z[:, :, 1:-1])[:, :, 0], scores[:, :, 1])
    moved = z.clone()
    moved[:, :, -1] += 1
    changed = (network(moved) - scores).abs().amax((0, 1, 3)) > 0
    assert changed.tolist() == [False, False, True]


def test_hidden_layers_have_spectral_norm_one():
    torch.manual_seed(0)
    network = LatentDiscriminator(8, 4)
    for _ in range(50):  # one power iteration each
        network(torch.randn(1, 8, 5, 5))
    for layer in network.hidden:
        assert abs(torch.linalg.matrix_norm(layer.weight.flatten(1), 2).item() - 1) < 1e-3
