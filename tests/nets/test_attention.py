"""Attention: the formula, sets of positions, and memory that does not grow with the square."""

import pytest
import torch
import torch.nn.functional as F

from quantart_cli.nets.attention import Attention


@pytest.fixture
def attention():
    torch.manual_seed(0)
    return Attention(32).requires_grad_(False)


def by_the_formula(attention, x, y):
    x_norm, y_norm = attention.norm(x), attention.norm(y)
    q, k, v = (f(z).flatten(2)[0].T for f, z in ((attention.q, x_norm), (attention.k, y_norm), (attention.v, y_norm)))
    seen = (q @ k.T / 32**0.5).softmax(1) @ v  # (n, C)
    return x + attention.proj_out(seen.T.reshape(x.shape))


def test_to_itself(attention):
    x = torch.randn(1, 32, 9, 7)
    torch.testing.assert_close(attention(x), by_the_formula(attention, x, x), atol=1e-5, rtol=1e-5)


def test_to_a_style_of_another_size(attention):
    x, y = torch.randn(1, 32, 6, 5), torch.randn(1, 32, 3, 11)
    torch.testing.assert_close(attention(x, y), by_the_formula(attention, x, y), atol=1e-5, rtol=1e-5)


def test_the_style_is_a_set_of_positions(attention):
    x, y = torch.randn(1, 32, 6, 5), torch.randn(1, 32, 4, 6)
    shuffled = y.flatten(2)[:, :, torch.randperm(24)].view(1, 32, 1, 24)
    torch.testing.assert_close(attention(x, y), attention(x, shuffled), atol=1e-5, rtol=1e-5)


def test_queries_are_asked_a_bounded_number_at_a_time(attention, monkeypatch):
    asked = []
    whole = F.scaled_dot_product_attention

    def count(q, k, v):
        asked.append(q.shape[2])
        return whole(q, k, v)

    x = torch.randn(1, 32, 50, 70)
    expected = by_the_formula(attention, x, x)
    monkeypatch.setattr(F, "scaled_dot_product_attention", count)
    torch.testing.assert_close(attention(x), expected, atol=1e-5, rtol=1e-5)
    assert sum(asked) == 3500
    assert max(asked) <= 1024
