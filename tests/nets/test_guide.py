"""Style-guided attention: nothing at first, one position at a time, tokens by their weights."""

import pytest
import torch

from quantart_cli.checkpoints.loading import fill_strictly
from quantart_cli.errors import QuantArtError
from quantart_cli.nets.autoencoder import ArtCodebook
from quantart_cli.nets.guide import StyleGuide
from tests.conftest import awake


@pytest.fixture
def guide():
    return awake(StyleGuide(2, 24, 64, 16), 1)


@pytest.fixture
def inputs():
    torch.manual_seed(0)
    return torch.randn(2, 24, 5, 7), torch.randn(2, 9, 24), torch.randn(2, 9)


def test_a_new_one_changes_nothing_and_learns_at_once(inputs):
    new = StyleGuide(2, 24, 64, 16)
    change = new(*inputs)
    assert torch.equal(change, torch.zeros_like(inputs[0]))
    (change - 1).square().sum().backward()
    assert all(block.out.weight.grad.abs().max() > 0 for block in new.blocks)


def test_its_formula_by_hand(guide, inputs):
    x, tokens, log_weights = inputs
    found = guide(*inputs)[1, :, 2, 3]
    start = y = x[1, :, 2, 3]
    for block in guide.blocks:
        q, k, v = (
            block.q(block.norm_content(y)),
            block.k(block.norm_style(tokens[1])),
            block.v(block.norm_style(tokens[1])),
        )
        heads = []
        for part in (slice(0, 32), slice(32, 64)):
            logits = k[:, part] @ q[part] / 32**0.5 + log_weights[1]
            heads.append(logits.softmax(0) @ v[:, part])
        y = y + block.out(torch.cat(heads))
        y = y + block.down(torch.nn.functional.gelu(block.up(block.norm_mlp(y)), approximate="tanh"))
    torch.testing.assert_close(found, y - start, rtol=1e-4, atol=1e-5)


def test_a_position_sees_the_style_and_itself(guide, inputs):
    x, tokens, log_weights = inputs
    part = guide(x[:, :, 1:3, 4:], tokens, log_weights)
    torch.testing.assert_close(guide(*inputs)[:, :, 1:3, 4:], part, rtol=1e-5, atol=1e-6)
    assert (guide(x, tokens.flip(2), log_weights) - guide(*inputs)).abs().max() > 1e-3


def test_weights_count_tokens(guide, inputs):
    x, tokens, _ = inputs
    # A token that counts twice is one that is there twice; one without weight is not there.
    twice = guide(x, tokens, torch.tensor([2.0] + 8 * [1.0]).log().expand(2, -1))
    both = guide(x, torch.cat([tokens[:, :1], tokens], 1), torch.zeros(2, 10))
    torch.testing.assert_close(twice, both, rtol=1e-5, atol=1e-5)
    without = guide(x, tokens, torch.tensor([0.0] + 8 * [1.0]).log().expand(2, -1))
    torch.testing.assert_close(without, guide(x, tokens[:, 1:], torch.zeros(2, 8)), rtol=1e-5, atol=1e-5)


def test_a_file_has_both_or_one_or_none_and_nothing_else():
    book = ArtCodebook(4, 3, 24)
    torch.nn.init.zeros_(book.entries)
    book.transfer = torch.nn.ModuleDict({"continuous": StyleGuide(3, 24, 64, 16)})
    tensors = book.state_dict()
    read = fill_strictly(ArtCodebook.like, tensors, "it")
    assert read.guide("quantized") is None
    assert len(read.guide("continuous").blocks) == 3
    assert (
        fill_strictly(
            ArtCodebook.like, {name: value for name, value in tensors.items() if "transfer" not in name}, "it"
        ).guide("continuous")
        is None
    )
    with pytest.raises(QuantArtError, match=r"lacks the tensor transfer\.continuous\.blocks\.2\.down\.bias"):
        fill_strictly(ArtCodebook.like, {n: v for n, v in tensors.items() if not n.endswith("2.down.bias")}, "it")
    with pytest.raises(QuantArtError, match=r"a tensor too many, transfer\.other\.x"):
        fill_strictly(ArtCodebook.like, {**tensors, "transfer.other.x": torch.zeros(1)}, "it")
