"""Maps that numpy computes between two stages."""

import numpy as np
import pytest
import torch

from quantart_cli.backends.openvino_backend import OpenVINOBackend
from quantart_cli.backends.torch_backend import TorchBackend
from quantart_cli.device import DeviceSpec
from quantart_cli.runner import MapOf, Runner
from quantart_cli.tiling import Tiler


def backend_of(name):
    spec = DeviceSpec("cpu", "bf16", "tests")
    return TorchBackend(spec, {}) if name == "torch" else OpenVINOBackend(spec, {})


def map_of(backend, values):
    """In bf16, as both backends store it."""
    half = torch.from_numpy(values).bfloat16()
    return MapOf(half if isinstance(backend, TorchBackend) else half.view(torch.uint16).numpy(), 8)


@pytest.mark.parametrize("name", ["torch", "openvino"])
def test_channels_are_changed_some_at_a_time_and_rounded_to_the_nearest(name):
    backend = backend_of(name)
    values = np.random.default_rng(0).normal(size=(1, 7, 3, 5)).astype(np.float32)
    z, calls = map_of(backend, values), []

    def change(rows, channels):
        calls.append((rows.shape, rows.dtype, channels.start))
        return rows * 1.2345 + np.arange(channels.start, channels.stop, dtype=np.float32)[:, None]

    found = Runner(backend, Tiler()).change_channels(z, change, at_a_time=3)
    half = torch.from_numpy(values).bfloat16().float()
    expected = (half * 1.2345 + torch.arange(7.0)[:, None, None]).bfloat16().float().numpy()
    np.testing.assert_allclose(backend.numpy(found.values), expected)
    assert calls == [((3, 15), np.float32, 0), ((3, 15), np.float32, 3), ((1, 15), np.float32, 6)]
    assert (found.stride, found.size) == (8, (3, 5))


@pytest.mark.parametrize("name", ["torch", "openvino"])
def test_mean_of_maps(name):
    backend = backend_of(name)
    values = np.random.default_rng(0).integers(-8, 8, size=(2, 1, 5, 2, 2)).astype(np.float32)
    maps = [map_of(backend, each) for each in values]
    run = Runner(backend, Tiler())
    found = run.mean_of(maps, [0.25, 0.75])
    np.testing.assert_allclose(backend.numpy(found.values), 0.25 * values[0] + 0.75 * values[1])
    np.testing.assert_array_equal(backend.numpy(maps[0].values), values[0])
    assert run.mean_of(maps[:1], [1.0]) is maps[0]
