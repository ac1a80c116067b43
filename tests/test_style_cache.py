"""The cache of styles: the same moments, other ones for anything else, and damaged files count as missing."""

import os

import numpy as np
import pytest

import quantart_cli as quantart
from quantart_cli import style_cache
from quantart_cli.checkpoints import cache
from quantart_cli.images import read_picture
from quantart_cli.methods.adain import AdaINSettings
from quantart_cli.methods.quantart import QuantArtSettings
from quantart_cli.stages import Moments
from tests.conftest import scene

STYLE = read_picture(scene(70, 60, 5))
MOMENTS = Moments(np.ones(512, np.float32), np.full(512, 2, np.float32))


def load(method, **options):
    return quantart.load(method, device="cpu", precision="fp32", backend="torch", **options)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("QUANTART_CACHE", str(tmp_path))
    return tmp_path / cache._COMPUTED / "styles"


def test_a_style_is_encoded_once(folder, monkeypatch):
    first, second = (load("adain", cache_styles=True) for _ in range(2))
    encoded = first.encode_style(STYLE)
    assert len(list(folder.iterdir())) == 1
    monkeypatch.setattr(second.program, "encode_style", lambda *_: pytest.fail("encoded again"))
    again = second.encode_style([STYLE, STYLE], weights=[0.25, 0.75])
    assert np.array_equal(encoded.encoded["moments"].mean, again.encoded["moments"].mean)
    assert np.array_equal(encoded.encoded["moments"].std, again.encoded["moments"].std)
    content = read_picture(scene(50, 40, 6))
    pictures = [model.paint(content, model.encode_style(STYLE), AdaINSettings()).picture for model in (first, second)]
    assert np.array_equal(pictures[0].rgb, pictures[1].rgb)


def test_the_library_writes_nothing_by_default(folder):
    load("adain").encode_style(STYLE)
    assert not folder.exists()


def test_only_moments_are_stored(folder):
    model = load("quantart", cache_styles=True)
    model.encode_style(STYLE, settings=QuantArtSettings())
    assert not folder.exists()
    style = model.encode_style(STYLE, settings=QuantArtSettings(codebook="art"))
    assert len(list(folder.iterdir())) == 1
    assert model.caches("moments")
    assert not model.caches("entries")
    assert np.array_equal(style_cache.get(next(folder.iterdir()).name).mean, style.encoded["moments"].mean)


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
def test_damaged_files_count_as_missing(folder, damage):
    style_cache.put("key", MOMENTS)
    found = style_cache.get("key")
    assert np.array_equal(found.mean, MOMENTS.mean)
    assert np.array_equal(found.std, MOMENTS.std)
    (folder / "key").write_bytes(damage((folder / "key").read_bytes()))
    assert style_cache.get("key") is None


def test_a_cache_that_cannot_be_written_is_silent(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("QUANTART_CACHE", str(tmp_path / "file"))
    style_cache.put("key", MOMENTS)
    assert style_cache.get("key") is None


def test_the_oldest_styles_are_removed(folder, monkeypatch):
    monkeypatch.setattr(cache, "_SMALL_RESULTS", 20)
    for number in range(21):
        style_cache.put(f"{number}", MOMENTS)
        os.utime(folder / f"{number}", (1e9 + number, 1e9 + number))
    assert sorted(int(path.name) for path in folder.iterdir()) == list(range(3, 21))
