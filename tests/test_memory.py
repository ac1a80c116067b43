"""Memory: refused before the work, and one line when it runs out all the same."""

import numpy as np
import pytest
import torch

from quantart_cli import memory
from quantart_cli.device import DeviceSpec
from quantart_cli.errors import QuantArtError
from quantart_cli.images import Picture
from quantart_cli.methods.adain import AdaINSettings
from quantart_cli.methods.lbfgs import LBFGS
from quantart_cli.methods.quantart import QuantArtSettings

SPEC = DeviceSpec("cpu", "fp32", "tests")


def test_too_large_a_picture_is_refused_with_a_way_out(monkeypatch):
    monkeypatch.setattr(memory, "available", lambda _: 10**9)
    memory.check_memory(memory.needed(500_000, SPEC), SPEC, "small.png")
    with pytest.raises(QuantArtError, match=r"huge.png needs about .* GB .* 1.0 GB are free: reduce it with size"):
        memory.check_memory(memory.needed(50_000_000, SPEC), SPEC, "huge.png")


def test_halves_and_no_gradients_need_less():
    half = DeviceSpec("cpu", "bf16", "tests")
    assert memory.needed(1000, half) < memory.needed(1000, SPEC)
    assert memory.needed(1000, SPEC, gradients=True) > memory.needed(1000, SPEC)
    assert memory.needed(1000, SPEC, "vqgan") > memory.needed(1000, SPEC)


def test_unknown_memory_refuses_nothing(monkeypatch):
    monkeypatch.setattr(memory, "available", lambda _: None)
    memory.check_memory(10**15, SPEC, "x")


@pytest.mark.parametrize(
    "error",
    [
        torch.cuda.OutOfMemoryError("CUDA out of memory"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
        MemoryError(),
    ],
)
def test_running_out_is_one_line(error):
    with (
        pytest.raises(QuantArtError, match=r"memory ran out on x\.png: reduce it with size"),
        memory.out_of_memory("x.png"),
    ):
        raise error


def test_a_real_allocation_that_fails_is_one_line():
    with pytest.raises(QuantArtError, match="memory ran out"), memory.out_of_memory("x.png"):
        torch.empty(2**60, dtype=torch.uint8)


def test_bugs_stay_bugs():
    with pytest.raises(RuntimeError, match="shapes"), memory.out_of_memory("x.png"):
        raise RuntimeError("shapes do not match")


@pytest.mark.parametrize("side", [64, 1024, 2048])
def test_what_the_optimiser_remembers_is_counted(side):
    descent = LBFGS(torch.zeros(1, 3, side, side), lambda x, _: (0.0, x))
    bf16 = DeviceSpec("cpu", "bf16", "tests")
    beside = memory.needed(side * side, bf16, gradients=True) + (memory._OPTIMISED + 48) * side * side
    assert memory.needed_to_optimise(side, side, None, bf16) == beside + descent._history * 24 * side * side


def test_levels_and_regions_are_counted(quantart_model, adain_model, monkeypatch):
    content = Picture(np.zeros((1200, 1600, 3), np.uint8))
    levels = quantart_model.needed_beside(content, QuantArtSettings(), 0)
    assert levels >= 9 * 1600 * 1200
    assert quantart_model.needed_beside(content, QuantArtSettings(brush="none"), 0) == 0
    one, two = (adain_model.needed_beside(content, AdaINSettings(), regions) for regions in (1, 2))
    assert 0 < one < two
    needs = memory.needed_in_tiles(1600, 1200, 256, adain_model.spec)
    monkeypatch.setattr(memory, "available", lambda _: needs + one)
    adain_model.tiler(content, 256, beside=one)
    with pytest.raises(memory.NotEnoughMemory, match="reduce it with size"):
        adain_model.tiler(content, 256, beside=two)


def test_the_painter_takes_more_than_adain(quantart_model):
    assert quantart_model.network == "painter"
    # Of the command line in bf16 beside its start and the style, measured: torch, and OpenVINO.
    for backend, side, painter, adain in (("torch", 768, 462e6, 433e6), ("openvino", 512, 345e6, 235e6)):
        size = 2048, 2048, side, DeviceSpec("cpu", "bf16", "tests", backend)
        predicted = [memory.needed_in_tiles(*size, network) for network in ("painter", "vgg19")]
        assert predicted[0] > painter
        assert predicted[1] > adain
        assert max(predicted) < 2 * painter
