"""The adversary: when it learns, and how much of its gradient counts."""

import pytest
import torch

from quantart_cli.training.adversary import HEAD_START, Adversary


def adversary(lead=0.0, weight=0.5):
    made = Adversary(torch.nn.Conv2d(1, 1, 1), torch.float32, 1e-3, (0.5, 0.9), weight, after=10)
    made.lead = made._next_lead = torch.tensor(lead, dtype=torch.float64)
    return made


def test_it_learns_first_and_contributes_later():
    made = adversary()
    assert [made.learns(number) for number in (9, 10)] == [False, True]
    assert [made.contributes(number) for number in (9 + HEAD_START, 10 + HEAD_START)] == [False, True]
    assert not adversary(weight=0.0).learns(1000)


def test_its_gradient_is_scaled_by_weight_and_lead():
    at = torch.full((1, 1, 8, 8), 0.5, requires_grad=True)
    others = 2 * at.detach()

    def gradient(lead):
        made = adversary(lead)
        both = torch.zeros(2, 1, 8, 8)  # a loss of 2: no lead over the generator
        scores = made.optimizer(both) * 0
        found, values = made.backward(200, at, others, lambda: [scores], lambda: [made.optimizer(at)])
        assert set(values) == {"discriminator", "adversary", "balance", "lead"}
        return found

    assert torch.equal(gradient(0.0), others)  # one that guesses contributes nothing
    expected = 0.5 * 0.95 * 0.5  # the weight, and a lead of 0.5 that has fallen by a twentieth
    assert ((gradient(0.5) - others).norm() / others.norm()).item() == pytest.approx(expected, rel=1e-4)


def test_before_it_learns_nothing_is_computed():
    others = torch.ones(1)
    found, values = adversary().backward(9, others, others, lambda: [], lambda: [])
    assert found is others
    assert values == {}


def test_the_lead_follows_the_loss_when_the_update_is_made():
    made = adversary()
    scale = made.optimizer.network.weight
    real, fake = (scale * sign for sign in (3.0, -3.0))
    loss = made.loss([real.abs()], [-fake.abs()])
    assert 0 <= loss.item() < 2
    assert made.lead == 0  # an update that is skipped changes nothing
    made.step(10)
    assert made.lead.item() == pytest.approx(0.05 * (1 - loss.item() / 2), rel=1e-4)
    again = adversary()
    again.load_state(made.state())
    assert again.lead == made.lead
