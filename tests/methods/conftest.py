"""Fixtures of the methods' tests."""

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def shared():
    """Recorded numbers and weights that are too large to come along; tests that need them are skipped elsewhere."""
    folder = Path(__file__).resolve().parents[3] / "shared"
    if not folder.is_dir():
        pytest.skip("../shared is not here")
    return folder
