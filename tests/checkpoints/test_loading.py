"""Strict loading: the first offender is named, damaged bytes are refused."""

import dataclasses
import hashlib

import pytest
import safetensors.torch
import torch
from torch import nn

from quantart_cli.checkpoints import cache
from quantart_cli.checkpoints.loading import all_finite, fill_strictly, load_tensors, open_tensors, read_verified
from quantart_cli.checkpoints.manifest import Embedded, artefact
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
    (tmp_path / item.embedded.file).write_bytes(data)
    monkeypatch.setattr("quantart_cli.checkpoints.manifest.weights_folder", lambda: tmp_path)
    with pytest.raises(QuantArtError, match="quantart-vgg19 are damaged"):
        read_verified(item)
    with pytest.raises(QuantArtError, match="are missing"):
        read_verified(dataclasses.replace(item, carriers=(Embedded("other.safetensors"),)))


def test_a_downloaded_file_is_verified_against_its_record(tmp_path, monkeypatch):
    monkeypatch.setenv("QUANTART_CACHE", str(tmp_path / "cache"))
    item = artefact("lpips-alexnet")
    with pytest.raises(QuantArtError, match=r"lpips-alexnet are not here yet .* quantart download-weights lpips-al"):
        read_verified(item)
    (tmp_path / "m.safetensors").write_bytes(b"whatever it was converted to")
    sha256 = hashlib.sha256(b"whatever it was converted to").hexdigest()
    with cache.writing(item.key):
        entry = cache.install(
            item.key, tmp_path / "m.safetensors", "m.safetensors", sha256=sha256, kind=item.kind, source={}
        )
    assert read_verified(item) == b"whatever it was converted to"
    entry.path.write_bytes(b"something else")
    with pytest.raises(
        QuantArtError, match=r"lpips-alexnet are damaged .* run quantart download-weights lpips-alexnet"
    ):
        read_verified(item)


def test_a_file_of_a_person_is_mapped(tmp_path):
    safetensors.torch.save_file(GOOD, tmp_path / "m.safetensors")
    found = open_tensors(tmp_path / "m.safetensors")
    assert all(torch.equal(found[name], GOOD[name]) for name in GOOD)
    (tmp_path / "m.safetensors").write_bytes((tmp_path / "m.safetensors").read_bytes()[:-4])
    with pytest.raises(QuantArtError, match=r"m.safetensors is not a valid safetensors file"):
        open_tensors(tmp_path / "m.safetensors")


def test_sizes_no_network_can_have():
    tensors = {"entries": torch.zeros(2**62, 0), "project.weight": torch.zeros(0, 2**62)}
    with pytest.raises(QuantArtError, match=r"impossible sizes|has shape|lacks"):
        fill_strictly(Codebook.like, tensors, "x")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("position", [0, 37, 99])
def test_one_number_that_is_not_finite_is_found(dtype, number, position):
    value = torch.full((100,), torch.finfo(dtype).max, dtype=dtype)
    assert all_finite(value)
    value[position] = number
    assert not all_finite(value)
    assert all_finite(value[:0])


def test_embedded_weights_are_halves():
    tensors = safetensors.torch.load_file(artefact("adain-decoder").path)
    assert {value.dtype for value in tensors.values()} == {torch.float16}
