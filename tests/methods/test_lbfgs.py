"""L-BFGS and Adam on functions whose minimum is known, and on some that would lead them astray."""

import pytest
import torch

from quantart_cli.memory import STEP_BYTES
from quantart_cli.methods.adam import Adam, Plateau
from quantart_cli.methods.lbfgs import LBFGS


def of(function):
    def evaluate(x, _):
        x = x.detach().requires_grad_()
        value = function(x)
        (gradient,) = torch.autograd.grad(value, x)
        return value.item(), gradient

    return evaluate


def minimise(function, start, steps):
    descent = LBFGS(start, of(function))
    values = [descent.value]
    while len(values) <= steps and descent.step():
        values.append(descent.value)
    return descent.x, values


def test_a_badly_scaled_quadratic():
    scale = torch.logspace(0, 4, 30, dtype=torch.float64)
    target = torch.linspace(-1, 1, 30, dtype=torch.float64)
    x, values = minimise(lambda x: (scale * (x - target).square()).sum(), torch.zeros(30, dtype=torch.float64), 300)
    assert (x - target).abs().max() < 1e-3
    assert values == sorted(values, reverse=True)


def test_rosenbrock():
    def rosenbrock(x):
        return (100 * (x[1:] - x[:-1].square()).square() + (1 - x[:-1]).square()).sum()

    x, values = minimise(rosenbrock, torch.zeros(4, dtype=torch.float64), 400)
    assert (x - 1).abs().max() < 1e-2
    assert values == sorted(values, reverse=True)


def test_a_cliff_into_nan_is_not_stepped_over():
    # Minimum at 0.5, nothing beyond 0.6.
    x, values = minimise(lambda x: ((x - 0.5).square() - 1e-3 * torch.log(0.6 - x)).sum(), torch.zeros(3), 100)
    assert x.isfinite().all()
    assert (x - 0.495).abs().max() < 0.02
    assert values == sorted(values, reverse=True)


def test_no_step_is_longer_than_a_tenth_on_average():
    descent = LBFGS(torch.zeros(10), of(lambda x: (x - 100).square().sum()))
    before = descent.x
    for _ in range(20):
        descent.step()
        assert (descent.x - before).abs().mean() <= 0.1 + 1e-6
        before = descent.x


def test_at_a_minimum_it_says_so():
    descent = LBFGS(torch.zeros(5), of(lambda x: x.square().sum()))
    assert descent.step() is False


def test_within_bounds_it_finds_the_corner():
    # Without bounds the minimum lies at (2, 0.3, -1); within the unit cube at (1, 0.3, 0), and x - y is coupled.
    target = torch.tensor([2.0, 0.3, -1.0], dtype=torch.float64)
    scale = torch.tensor([1.0, 50.0, 3.0], dtype=torch.float64)
    descent = LBFGS(
        torch.full((3,), 0.5, dtype=torch.float64), of(lambda x: (scale * (x - target) ** 2).sum()), 0.0, 1.0
    )
    while descent.step():
        assert 0 <= descent.x.min() <= descent.x.max() <= 1
    assert descent.x.tolist() == pytest.approx([1, 0.3, 0], abs=1e-5)


def test_of_large_tensors_fewer_steps_are_remembered(monkeypatch):
    monkeypatch.setattr("quantart_cli.memory._STEPS_BYTES", 7 * 4 * STEP_BYTES)  # ten numbers: four pixels
    descent = LBFGS(torch.zeros(10), of(lambda x: (torch.arange(1, 11) * (x - 1).pow(4)).sum()))
    for _ in range(12):
        descent.step()
    assert [name for name in descent.state()[0] if name.startswith("s")] == [f"s{i}" for i in range(7)]


@pytest.mark.parametrize("kind", [LBFGS, Adam])
def test_restored_it_goes_on_the_same(kind):
    function = of(lambda x: (torch.arange(1.0, 21) * (x - 1).square()).sum() + x.pow(4).sum())
    straight, first, second = (kind(torch.linspace(-1, 1, 20), function, -2.0, 2.0) for _ in range(3))
    for _ in range(12):
        straight.step()
    for _ in range(5):
        first.step()
    second.restore(*first.state())
    for _ in range(7):
        second.step()
    assert torch.equal(second.x, straight.x)
    assert second.value == straight.value


def test_adam_averages_away_what_is_noise():
    torch.manual_seed(0)
    target = torch.linspace(0.2, 0.8, 50)
    descent = Adam(torch.full((50,), 0.5), lambda x, _: (0.0, 2 * (x - target) + 0.2 * torch.randn(50)), 0.0, 1.0)
    for _ in range(300):
        descent.step()
    last = descent.state()[0]["x"]
    assert (descent.x - target).abs().mean() < 0.02
    assert (descent.x - target).abs().mean() < 0.7 * (last - target).abs().mean()


def test_adam_without_a_step_is_where_it_started():
    assert torch.equal(Adam(torch.full((3,), 2.0), of(lambda x: x.sum()), 0.0, 1.0).x, torch.ones(3))


def test_a_plateau_is_twenty_steps_that_bring_too_little():
    falling, flat, never = Plateau(0.01), Plateau(0.01), Plateau(0.0)
    for i in range(40):
        assert not flat.reached
        falling.note(0.99**i)
        flat.note(1 - 1e-4 * i)
        never.note(1.0)
    assert (falling.reached, flat.reached, never.reached) == (False, True, False)
