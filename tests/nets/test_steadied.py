"""The moments by which a content is standardised."""

import numpy as np
import pytest

from quantart_cli.nets.steadied import steadied


@pytest.mark.parametrize(
    ("variance", "share"), [(0.0, 1.0), (0.1, 0.5), (0.2, 0.2), (0.9, 0.05**2 / (0.05**2 + 0.45**2))]
)
def test_the_share_of_the_style_falls_with_the_variance_of_the_content(variance, share):
    mean, found = steadied(np.full(3, 1.0), np.full(3, variance), np.full(3, 5.0), np.full(3, 2.0))
    assert mean == pytest.approx(1 + share * 4)
    assert found == pytest.approx(variance + share * (2 - variance))
