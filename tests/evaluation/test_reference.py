"""Features of artworks: computed once, and again when anything has changed."""

import os

import numpy as np
import PIL.Image
import pytest

from quantart_cli.checkpoints import cache
from quantart_cli.errors import QuantArtError
from quantart_cli.evaluation.inception import FEATURES
from quantart_cli.evaluation.reference import features_of
from tests.conftest import scene


@pytest.fixture
def art(tmp_path):
    paths = [tmp_path / f"{number}.png" for number in range(3)]
    for number, path in enumerate(paths):
        PIL.Image.fromarray(scene(40, 30, number)).save(path)
    return paths


@pytest.fixture
def ask(tmp_path):
    """Features, how many pictures they were computed of, and what was told."""

    def call(paths, size=64, checksum="a"):
        seen, told = [], []

        def network(rgb):
            assert rgb.shape == (size, size, 3)
            seen.append(rgb)
            return np.full(FEATURES, rgb.mean(), np.float32)

        with cache.using(tmp_path / "cache"):
            features = features_of(paths, size, network, checksum, lambda done, total: None, told.append)
        return features, len(seen), told

    return call


def test_remembered_until_something_changes(art, ask, tmp_path):
    first, computed, _ = ask(art)
    assert (computed, first.shape) == (3, (3, FEATURES))
    again, computed, _ = ask(art)
    assert computed == 0
    assert np.array_equal(first, again)
    assert ask(art, size=72)[1] == ask(art, checksum="b")[1] == 3
    assert ask(art[:2])[1] == 2
    os.utime(art[0], (1, 1))
    assert ask(art)[1] == 3


@pytest.mark.parametrize("damage", [b"", b"\x93NUMPY nonsense", None])
def test_a_damaged_memory_is_none(art, ask, tmp_path, damage):
    first, _, _ = ask(art)
    (kept,) = (tmp_path / "cache" / "evaluation").iterdir()
    if damage is None:
        np.save(kept, np.full_like(first, np.nan))
    else:
        kept.write_bytes(damage)
    again, computed, _ = ask(art)
    assert computed == 3
    assert np.array_equal(first, again)


def test_unreadable_pictures_are_left_out(art, ask, tmp_path):
    art[1].write_bytes(b"no picture")
    features, computed, told = ask(art)
    assert (len(features), computed, len(told)) == (2, 2, 1)
    assert "1.png" in told[0]
    assert ask(art)[2] == told  # and told again: nothing was remembered
    art[2].unlink()
    with pytest.raises(QuantArtError, match="at least 2"):
        ask(art)
