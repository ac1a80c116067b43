"""The discriminator: what it takes, and that its slopes are bounded."""

import torch

from quantart_cli.nets.discriminator import LAYERS, SMALLEST, Discriminator


def seen(vgg, size):
    image = torch.rand(2, 3, size, size, generator=torch.Generator().manual_seed(0))
    return {"pixels": image, **vgg(image, LAYERS)}


@torch.no_grad()
def test_every_head_judges_patches_of_the_smallest_picture(vgg):
    scores = Discriminator()(seen(vgg, SMALLEST))
    assert len(scores) == 4
    assert all(score.shape[:2] == (2, 1) and score.dtype == torch.float32 for score in scores)
    assert scores[-1].shape[2:] == (1, 1)


@torch.no_grad()
def test_a_patch_is_judged_alike_wherever_it_lies():
    """Nothing is padded: the pixels' head has stride 8, and eight pixels on its scores are those of the next patch."""
    network = Discriminator().eval()
    image = torch.rand(1, 3, 80, 72)
    pixels = network.heads["pixels"]
    network.heads = torch.nn.ModuleDict({"pixels": pixels})
    whole, lower = (network({"pixels": part})[0] for part in (image, image[:, :, 8:]))
    assert torch.allclose(whole[:, :, 1:], lower, atol=1e-5)


def test_weights_before_the_last_have_spectral_norm_one():
    torch.manual_seed(0)
    head = Discriminator().heads["relu3_1"]
    for _ in range(100):  # the power iteration makes one step whenever a weight is asked for
        weight = head[0].weight
    assert abs(torch.linalg.matrix_norm(weight.flatten(1), 2).item() - 1) < 1e-2
