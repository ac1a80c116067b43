"""Moments of a tile against numpy in float64."""

import numpy as np
import pytest
import torch

from quantart_cli.nets.statistics import moments, moments_of_linear


def expected(rows: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Of (n, C) and (n,): total, mean, and sum of squared deviations, (3, C)."""
    rows, weight = rows.astype(np.float64), weight.astype(np.float64)
    mean = weight @ rows / weight.sum()
    return np.stack([np.full(rows.shape[1], weight.sum()), mean, weight @ (rows - mean) ** 2])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("offset", [0.0, 100.0])
def test_weighted_moments(dtype, offset):
    torch.manual_seed(0)
    z = (torch.randn(1, 6, 20, 30) + offset).to(dtype).to(memory_format=torch.channels_last)
    weight = torch.rand(1, 1, 20, 30)
    weight[..., :4] = 0
    found = moments(z, weight)
    assert found.shape == (3, 6)
    assert found.dtype == torch.float32
    rows = z.float()[0].flatten(1).T.numpy()
    np.testing.assert_allclose(found, expected(rows, weight.flatten().numpy()), rtol=1e-4, atol=1e-3)


def test_no_weight_is_finite():
    found = moments(torch.randn(1, 6, 4, 4), torch.zeros(1, 1, 4, 4))
    assert found[0].eq(0).all()
    assert found.isfinite().all()


def test_moments_of_a_linear_map():
    torch.manual_seed(1)
    x, matrix, bias, weight = torch.randn(77, 5) + 3, torch.randn(9, 5), torch.randn(9), torch.rand(1, 1, 7, 11)
    found = moments_of_linear(x, weight, matrix, bias)
    rows = x.double() @ matrix.double().T + bias.double()
    np.testing.assert_allclose(found, expected(rows.numpy(), weight.flatten().numpy()), rtol=1e-4)
    torch.testing.assert_close(found, moments((x @ matrix.T + bias).T.view(1, 9, 7, 11), weight), rtol=1e-4, atol=1e-4)
