"""L-BFGS on functions whose minimum is known, and on some that would lead it astray."""

import torch

from quantart_cli.methods.lbfgs import LBFGS


def of(function):
    def evaluate(x):
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
