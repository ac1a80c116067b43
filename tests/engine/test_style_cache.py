"""Styles remembered: the same statistics, other ones for anything else, and nothing believed that is damaged."""

import numpy as np
import pytest

from quantart_cli.api import Model
from quantart_cli.engine import style_cache
from quantart_cli.images import read_picture
from quantart_cli.methods.controls import AdaINControls
from tests.conftest import EXACT, scene

STYLE = read_picture(scene(70, 60, 5))


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("QUANTART_CACHE", str(tmp_path))
    return tmp_path / "styles"


def test_a_style_is_encoded_once(folder, monkeypatch):
    first, second = (Model("adain", EXACT, remember_styles=True) for _ in range(2))
    encoded = first.encode_style(STYLE)
    assert len(list(folder.iterdir())) == 1
    monkeypatch.setattr(second._networks, "encode_style", lambda *_: pytest.fail("encoded again"))
    again = second.encode_style([STYLE, STYLE], weights=[0.25, 0.75])
    assert np.array_equal(encoded.encoded.mean, again.encoded.mean)
    assert np.array_equal(encoded.encoded.std, again.encoded.std)
    content = read_picture(scene(50, 40, 6))
    pictures = [model.paint(content, model.encode_style(STYLE), AdaINControls()).picture for model in (first, second)]
    assert np.array_equal(pictures[0].rgb, pictures[1].rgb)


def test_the_library_writes_nothing_unless_told(folder):
    Model("adain", EXACT).encode_style(STYLE)
    assert not folder.exists()


def test_anything_else_is_another_key():
    alpha = read_picture(np.dstack([STYLE.rgb, np.full(STYLE.rgb.shape[:2], 9, np.uint8)]))
    other = read_picture(scene(70, 60, 6))
    keys = {
        style_cache.key_of(STYLE, "weights", "fp32"),
        style_cache.key_of(STYLE, "weights", "bf16"),
        style_cache.key_of(STYLE, "other", "fp32"),
        style_cache.key_of(alpha, "weights", "fp32"),
        style_cache.key_of(other, "weights", "fp32"),
    }
    assert len(keys) == 5


@pytest.mark.parametrize(
    "damage", [lambda data: data[:-1], lambda data: bytes([data[0] ^ 1]) + data[1:], lambda _: b""]
)
def test_what_is_damaged_counts_as_not_there(folder, damage):
    mean, std = np.ones((1, 512, 1, 1), np.float32), np.full((1, 512, 1, 1), 2, np.float32)
    style_cache.remember("key", mean, std)
    found = style_cache.recall("key")
    assert np.array_equal(found[0], mean)
    assert np.array_equal(found[1], std)
    (folder / "key").write_bytes(damage((folder / "key").read_bytes()))
    assert style_cache.recall("key") is None


def test_the_oldest_go(folder, monkeypatch):
    monkeypatch.setattr(style_cache, "_MOST", 3)
    numbers = np.ones((1, 512, 1, 1), np.float32)
    for name in "abcde":
        style_cache.remember(name, numbers, numbers)
    assert len(list(folder.iterdir())) == 3
    assert style_cache.recall("e") is not None


def test_a_cache_that_cannot_be_written_is_silent(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("QUANTART_CACHE", str(tmp_path / "file"))
    numbers = np.ones((1, 512, 1, 1), np.float32)
    style_cache.remember("key", numbers, numbers)
    assert style_cache.recall("key") is None
