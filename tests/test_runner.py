"""The runner with stages made for the test: halos, weights, sums, maps of several strides, numbers that overflow."""

from dataclasses import replace
from typing import ClassVar

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from quantart_cli.backends.torch_backend import TorchBackend
from quantart_cli.device import DeviceSpec
from quantart_cli.nets.statistics import moments
from quantart_cli.runner import Image, MapOf, NotFinite, Runner
from quantart_cli.stages import Map, Pixels, Stage, Summed
from quantart_cli.tiling import Tiler
from tests.conftest import EXACT, scene


class Measure(nn.Module):
    """A mean over 11 × 11 pixels, its average over 4 and over 16 pixels, and moments."""

    parts: ClassVar[dict[str, type[nn.Module]]] = {}

    def forward(self, image: Tensor, weight: Tensor) -> tuple[Tensor, ...]:
        blurred = F.conv2d(F.pad(image, (5, 5, 5, 5), mode="reflect"), torch.full((3, 1, 11, 11), 1 / 121), groups=3)
        return moments(blurred, weight), blurred, pooled(blurred, 4), pooled(blurred, 16)


class Paint(nn.Module):
    """A weighted sum of three maps of different strides, a colour, and a number."""

    parts: ClassVar[dict[str, type[nn.Module]]] = {}

    def forward(self, x1: Tensor, x4: Tensor, x16: Tensor, colour: Tensor, amount: float) -> tuple[Tensor]:
        size = x1.shape[2:]
        parts = [x1, *(F.interpolate(x, scale_factor=n)[:, :, : size[0], : size[1]] for x, n in ((x4, 4), (x16, 16)))]
        return (sum(parts) / 3 * (1 - amount) + colour.view(1, -1, 1, 1) * amount,)


class Rounded(nn.Module):
    """A map of stride 2 that ends at a multiple of 8 pixels, as pooling that rounds up asks for."""

    parts: ClassVar[dict[str, type[nn.Module]]] = {}

    def forward(self, image: Tensor) -> tuple[Tensor]:
        height, width = image.shape[2:]
        padded = F.pad(image, (0, -width % 8, 0, -height % 8), mode="replicate")
        return (F.avg_pool2d(padded, 2),)


class Own(nn.Module):
    """Has numbers of its own, outside its parts."""

    parts: ClassVar[dict[str, type[nn.Module]]] = {}

    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(3, 1, 1))
        self.register_buffer("shift", torch.zeros(3, 1, 1))

    def forward(self, image: Tensor) -> tuple[Tensor]:
        return (image * self.gain + self.shift,)


class Broken(nn.Module):
    """Returns what overflowed."""

    parts: ClassVar[dict[str, type[nn.Module]]] = {}

    def forward(self, image: Tensor, weight: Tensor) -> tuple[Tensor, ...]:
        return moments(image, weight * torch.inf), image / 0


HERE = __name__
MEASURE = Stage(
    "measure",
    f"{HERE}:Measure",
    parts=(),
    maps={"image": (1, 3), "weight": (1, 1)},
    outputs={"moments": Summed(), "x1": Map(1), "x4": Map(4), "x16": Map(16)},
    halo=5,
)
PAINT = Stage(
    "paint",
    f"{HERE}:Paint",
    parts=(),
    maps={"x1": (1, 3), "x4": (4, 3), "x16": (16, 3)},
    whole={"colour": (3,)},
    scalars=("amount",),
    outputs={"image": Pixels()},
)


def pooled(x: Tensor, side: int) -> Tensor:
    return F.avg_pool2d(x, side, ceil_mode=True, count_include_pad=False)


def runner(side=None, progress=lambda *_: None, told=None):
    return Runner(TorchBackend(EXACT, {}), Tiler(side, ([] if told is None else told).append), progress)


def image(height, width, opacity=False):
    alpha = np.uint8(np.linspace(0, 255, width) * np.ones((height, 1))) if opacity else None
    return Image.of(scene(width, height), alpha)


@pytest.mark.parametrize("opacity", [False, True])
@pytest.mark.parametrize(("size", "side"), [((100, 150), 64), ((97, 131), 48), ((16, 200), 64), ((130, 33), 80)])
def test_tiles_are_the_whole(size, side, opacity):
    content, found = image(*size, opacity), []
    for each in (None, side):
        run = runner(each)
        c = run(MEASURE, content)
        painted = run(PAINT, x1=c["x1"], x4=c["x4"], x16=c["x16"], colour=c["moments"].mean, amount=0.3)["image"]
        assert painted.shape == (*size, 3)
        found.append((c, painted))
    (whole, painted), (tiled, painted_in_tiles) = found
    for name in ("x1", "x4", "x16"):
        torch.testing.assert_close(tiled[name].values, whole[name].values, atol=1e-6, rtol=0)
        assert tiled[name].stride == whole[name].stride == int(name[1:])
    np.testing.assert_allclose(tiled["moments"].mean, whole["moments"].mean, rtol=1e-5)
    np.testing.assert_allclose(tiled["moments"].std, whole["moments"].std, rtol=1e-5)
    assert np.abs(painted.astype(int) - painted_in_tiles).max() <= 1
    assert (painted != painted_in_tiles).mean() < 0.01


def test_sums_are_over_pixels_of_the_picture_weighted_by_opacity():
    content = image(60, 90, opacity=True)
    for side in (None, 32):
        c = runner(side)(MEASURE, content)
        rows = c["x1"].values.numpy()[0].reshape(3, -1).astype(np.float64)
        w = content.opacity.ravel() / 255
        mean = rows @ w / w.sum()
        np.testing.assert_allclose(c["moments"].mean, mean, rtol=1e-5)
        variance = (rows - mean[:, None]) ** 2 @ w / (w.sum() - 1)
        np.testing.assert_allclose(c["moments"].std, np.sqrt(variance + 1e-5), rtol=1e-5)


def test_a_tile_that_ran_out_of_memory_counts_once(monkeypatch):
    """Memory runs out while the map is stored, after the sums of the tile were computed."""
    content, calls, told = image(100, 150), iter(range(100)), []
    expected = runner()(MEASURE, content)
    run = runner(96, told=told)
    allocate = run.backend.allocate

    def short(*arguments):
        if next(calls) == 1:
            raise MemoryError
        return allocate(*arguments)

    monkeypatch.setattr(run.backend, "allocate", short)
    found = run(MEASURE, content)
    assert len(told) == 1
    np.testing.assert_allclose(found["moments"].std, expected["moments"].std, rtol=1e-5)
    np.testing.assert_allclose(found["moments"].mean, expected["moments"].mean, rtol=1e-5)


@pytest.mark.parametrize("size", [(96, 128), (97, 131)])
def test_a_map_that_ends_at_a_multiple(size):
    stage = Stage("rounded", f"{HERE}:Rounded", (), {"image": (1, 3)}, {"x": Map(2, multiple=8)})
    whole, tiled = (runner(side)(stage, image(*size))["x"] for side in (None, 48))
    assert whole.size == tiled.size == (-(-size[0] // 8) * 4, -(-size[1] // 8) * 4)
    assert torch.equal(whole.values, tiled.values)


def test_a_stage_that_is_not_tiled_sees_the_whole_picture():
    seen = []
    run = runner(64, lambda *step: seen.append(step))
    whole = replace(MEASURE, name="whole", tiled=False)
    assert torch.equal(run(whole, image(100, 150))["x1"].values, runner()(MEASURE, image(100, 150))["x1"].values)
    assert seen == [("whole", 1, 1)]


def test_numbers_of_a_stages_own_are_on_the_device():
    """The meta device stands for a GPU: it refuses numbers of the CPU."""
    stage = Stage("own", f"{HERE}:Own", (), {"image": (1, 3)}, {"x": Map(1)})
    for device in ("cpu", "meta"):
        backend = TorchBackend(DeviceSpec(device, "fp32", "tests"), {})
        assert {each.device.type for each in backend.build(stage.net).state_dict().values()} == {device}
        (x,) = backend.prepare(stage)(torch.ones(1, 3, 4, 5, device=device))
        assert x.device.type == device


def test_selected_positions_of_a_map():
    values = np.arange(2 * 5 * 7, dtype=np.float32).reshape(1, 2, 5, 7)
    places = np.array([[34, 0, 6], [7, 7, 20]])
    found = runner().select(MapOf(torch.from_numpy(values), 8), places)
    assert found.stride == 8
    assert np.array_equal(found.values, values.reshape(1, 2, 35)[:, :, places])


def test_progress_counts_the_tiles_of_each_stage():
    seen = []
    run = runner(64, lambda *step: seen.append(step))
    run(MEASURE, image(100, 150))
    assert seen == [("measure", n, 6) for n in range(1, 7)]


def test_the_grain_of_a_tiler_is_its_own_again():
    run = runner(64)
    run(MEASURE, image(100, 150))
    assert run.tiler.grain == 8


@pytest.mark.parametrize("output", ["moments", "image"])
def test_what_is_not_finite_is_raised(output):
    outputs = {"moments": Summed() if output == "moments" else Map(1), "image": Pixels()}
    stage = Stage("broken", f"{HERE}:Broken", (), {"image": (1, 3), "weight": (1, 1)}, outputs)
    with pytest.raises(NotFinite, match=f"broken: {'moments' if output == 'moments' else 'a pixel'} is not finite"):
        runner()(stage, image(20, 20))


def test_floats_and_bytes_are_one_picture():
    content = scene(40, 30)
    whole, floats = (
        runner()(MEASURE, Image.of(each))["x1"].values for each in (content, content.astype(np.float32) / 255)
    )
    torch.testing.assert_close(whole, floats, atol=1e-6, rtol=0)


def test_pictures_that_cannot_be_written_to():
    """As Pillow returns them; torch would warn."""
    content = scene(40, 30)
    content.flags.writeable = False
    runner()(MEASURE, Image.of(content))


def test_maps_are_not_changed_by_the_next_stage():
    z = MapOf(torch.rand(1, 3, 30, 40), 1)
    before = z.values.clone()
    run = runner(16)
    small = {f"x{n}": MapOf(pooled(z.values, n), n) for n in (4, 16)}
    run(PAINT, x1=z, **small, colour=np.zeros(3, np.float32), amount=1.0)
    assert torch.equal(z.values, before)


def test_an_exact_stage_is_computed_in_float32_whatever_the_precision(monkeypatch):
    backend, seen = TorchBackend(DeviceSpec("cpu", "bf16", "tests"), {}), []
    monkeypatch.setattr(backend, "build", lambda net, exact=False: seen.append(exact) or Measure())
    for exact in (False, True):
        stage = Stage(f"measure {exact}", MEASURE.net, (), MEASURE.maps, MEASURE.outputs, exact=exact)
        Runner(backend, Tiler())(stage, image(20, 20))
    assert seen == [False, True]
