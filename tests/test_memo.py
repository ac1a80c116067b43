"""Kept outputs of stages: painting again computes only what changes, and changes nothing."""

import numpy as np
import PIL.Image
import pytest

import quantart_cli as quantart
from quantart_cli.memo import Memo
from quantart_cli.runner import MapOf, Runner
from quantart_cli.stages import Map, Pixels, Stage
from tests.conftest import scene

MAPS = Stage("maps", "m:Maps", (), {"image": (1, 3)}, {"z": Map(8)})


def kept(memo, number=1, **inputs):
    """Whether the memo had the outputs for these inputs."""
    calls = []

    def compute():
        calls.append(1)
        return {"z": MapOf(np.zeros((1, 1, 1, number), np.uint8), 8)}

    memo.get_or_compute(MAPS, None, inputs, compute)
    return not calls


def test_arrays_are_compared_by_value_and_maps_by_identity():
    memo, z = Memo(100), MapOf(np.zeros(3), 8)
    assert not kept(memo, a=np.arange(3), z=z, s=1.5)
    assert kept(memo, a=np.arange(3), z=MapOf(z.values, 8), s=1.5)
    assert not kept(memo, a=np.arange(3) * 2, z=z, s=1.5)
    assert not kept(memo, a=np.arange(3), z=MapOf(np.zeros(3), 8), s=1.5)
    assert not kept(memo, a=np.arange(3), z=z, s=2.5)


def test_the_limit_holds_and_what_was_used_last_stays():
    memo = Memo(10)
    kept(memo, 4, s=1)
    kept(memo, 4, s=2)
    assert kept(memo, 4, s=1)
    kept(memo, 4, s=3)  # 12 bytes: the second goes
    assert memo.bytes == 8
    assert kept(memo, 4, s=1)
    assert not kept(memo, 4, s=2)
    assert not kept(memo, 11, s=9)
    assert not kept(memo, 11, s=9)  # larger than the limit: never kept
    assert not kept(Memo(0), s=1)


def test_nothing_is_kept_after_clear():
    memo = Memo(10)
    kept(memo, 4, s=1)
    assert (memo.clear(), memo.clear(), memo.bytes) == (4, 0, 0)
    assert not kept(memo, 4, s=1)


def test_pixels_are_not_kept():
    stage = Stage("pixels", "m:Pixels", (), {"z": (8, 1)}, {"image": Pixels()})
    memo, calls = Memo(1000), []
    for _ in range(2):
        memo.get_or_compute(stage, None, {"s": 1}, lambda: calls.append(1) or {"image": np.zeros(3)})
    assert len(calls) == 2


@pytest.mark.parametrize("name", ["quantart", "adain"])
def test_another_strength_decodes_only(name, request, monkeypatch):
    """And the picture is that of a model that keeps nothing."""
    exact = request.getfixturevalue(f"{name}_model")
    model = quantart.load(name, device="cpu", precision="fp32", backend="torch", memo_bytes=1 << 28)
    monkeypatch.setattr(model, "backend", exact.backend)  # the same networks: nothing is loaded twice
    content, style = PIL.Image.fromarray(scene(48, 40, 1)), PIL.Image.fromarray(scene(40, 48, 2))
    ran, compute = [], Runner._compute
    monkeypatch.setattr(Runner, "_compute", lambda self, stage, *rest: ran.append(stage) or compute(self, stage, *rest))
    encoded = model.encode_style(style)
    model.stylize(content, encoded)
    ran.clear()
    again = model.stylize(content, encoded, **{model.method.settings.STRENGTH: 0.4})
    assert [isinstance(each, Pixels) for stage in ran for each in stage.outputs.values()] == [True]
    expected = exact.stylize(content, style, **{model.method.settings.STRENGTH: 0.4})
    assert np.array_equal(again, expected)
