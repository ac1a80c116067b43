"""Strict loading: the first offender is named, damaged bytes are refused."""

import dataclasses

import pytest
import safetensors.torch
import torch
from torch import nn

from quantart_cli.checkpoints.loading import fill_strictly, load_tensors, read_verified
from quantart_cli.checkpoints.manifest import artefact
from quantart_cli.errors import QuantArtError
from quantart_cli.nets.codebook import Codebook


def build(_):
    return nn.Linear(3, 2)


GOOD = {"weight": torch.arange(6.0).view(2, 3), "bias": torch.tensor([1.0, 2.0])}


def test_good_tensors_are_loaded_as_float32_without_gradients():
    module = fill_strictly(build, {key: value.half() for key, value in GOOD.items()}, "x")
    assert torch.equal(module.weight, GOOD["weight"])
    assert module.weight.dtype == torch.float32
    assert not any(parameter.requires_grad for parameter in module.parameters())
    assert not module.training


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"bias": None}, "lacks the tensor bias"),
        ({"more": torch.zeros(1)}, "a tensor too many, more"),
        ({"weight": torch.zeros(3, 2)}, r"weight has shape \[3, 2\], not \[2, 3\]"),
        ({"weight": torch.zeros(2, 3, dtype=torch.int8)}, "weight holds int8, not floats"),
        ({"bias": torch.tensor([1.0, float("nan")])}, "bias holds numbers that are not finite"),
        ({"bias": torch.tensor([1.0, float("inf")])}, "bias holds numbers that are not finite"),
    ],
)
def test_anything_else_is_refused_by_name(change, message):
    tensors = {key: value for key, value in {**GOOD, **change}.items() if value is not None}
    with pytest.raises(QuantArtError, match=message):
        fill_strictly(build, tensors, "x")


def test_a_codebook_without_its_tensors_is_refused():
    with pytest.raises(QuantArtError, match="lacks the tensor entries"):
        fill_strictly(Codebook.like, GOOD, "x")


def test_a_file_that_is_no_safetensors():
    with pytest.raises(QuantArtError, match=r"x is not a valid safetensors file"):
        load_tensors(b"PK\x03\x04 not tensors at all", "x")


def test_changed_bytes_are_refused(tmp_path, monkeypatch):
    item = artefact("quantart-vgg19")
    data = bytearray(item.path.read_bytes())
    data[-1] ^= 1
    (tmp_path / item.file).write_bytes(data)
    monkeypatch.setattr("quantart_cli.checkpoints.manifest.weights_folder", lambda: tmp_path)
    with pytest.raises(QuantArtError, match="quantart-vgg19 are damaged"):
        read_verified(item)
    with pytest.raises(QuantArtError, match="are missing"):
        read_verified(dataclasses.replace(item, file="other.safetensors"))


def test_embedded_weights_are_halves():
    tensors = safetensors.torch.load_file(artefact("adain-decoder").path)
    assert {value.dtype for value in tensors.values()} == {torch.float16}
