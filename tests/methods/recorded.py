"""Networks with filled weights, and what the numbers of their reference are compared by."""

import json

import safetensors.torch
import torch

from tests.conftest import DATA
from tests.fill import fill


def filled(case):
    """The tensors of a case, by their published names."""
    case = json.loads((DATA / f"{case}_keys.json").read_text())
    state = fill(case["state_dict"], case["salt"])
    for name, gain in case["gain"].items():
        state[name] *= gain
    for name, more in case.get("add", {}).items():
        state[name] += more
    return state


def numbers(case):
    """The recorded tensors; pictures that are stored as uint8 are float32 in [0, 1]."""
    tensors = safetensors.torch.load_file(DATA / f"{case}.safetensors")
    return {name: value / 255 if value.dtype == torch.uint8 else value for name, value in tensors.items()}


def close(found, expected):
    assert found.shape == expected.shape
    assert (found - expected).abs().max() < 1e-4 * max(1, float(expected.abs().max()))
