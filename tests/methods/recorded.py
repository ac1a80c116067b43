"""Recorded numbers, and how they are compared."""

import safetensors.torch
import torch

from tests.conftest import DATA


def numbers(case):
    """The recorded tensors; pictures that are stored as uint8 are float32 in [0, 1]."""
    tensors = safetensors.torch.load_file(DATA / f"{case}.safetensors")
    return {name: value / 255 if value.dtype == torch.uint8 else value for name, value in tensors.items()}


def close(found, expected):
    assert found.shape == expected.shape
    assert (found - expected).abs().max() < 1e-4 * max(1, float(expected.abs().max()))
