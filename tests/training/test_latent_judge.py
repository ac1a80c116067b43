"""The discriminator of latents: what it sees, and how steep it can be."""

import torch

from quantart_cli.training.latent_judge import SMALLEST, LatentJudge, spectral_norm


def test_a_score_sees_five_positions_a_side():
    judge, z = LatentJudge(8, 4), torch.randn(2, 8, SMALLEST + 2, SMALLEST)
    scores = judge(z)
    assert scores.shape == (2, 1, 3, 1)
    torch.testing.assert_close(judge(z[:, :, 1:-1])[:, :, 0], scores[:, :, 1])
    moved = z.clone()
    moved[:, :, -1] += 1
    changed = (judge(moved) - scores).abs().amax((0, 1, 3)) > 0
    assert changed.tolist() == [False, False, True]


def test_the_norm_is_the_largest_singular_value_and_learns():
    torch.manual_seed(0)
    u, v = torch.linalg.qr(torch.randn(6, 6))[0], torch.linalg.qr(torch.randn(18, 6))[0]
    weight = (u @ torch.diag(torch.tensor([3.0, 1, 0.5, 0.2, 0.1, 0.1])) @ v.T).unflatten(1, (2, 3, 3)).requires_grad_()
    norm = spectral_norm(weight)
    assert abs(norm.item() - 3) < 1e-3
    norm.backward()
    torch.testing.assert_close(weight.grad.flatten(1), torch.outer(u[:, 0], v[:, 0]), rtol=0, atol=1e-2)
