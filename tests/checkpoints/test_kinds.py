"""Kinds by names and shapes, and headers that tell the truth."""

import subprocess
import sys

import pytest
import safetensors.torch
import torch

from quantart_cli.checkpoints.kinds import KINDS, SHAPES, identify, parse_header, read_header
from quantart_cli.checkpoints.manifest import artefact
from quantart_cli.errors import QuantArtError
from tests.checkpoints.makers import codebook, entry, safetensors_bytes, style_vqgan, vqgan


def shapes(tensors, prefix=""):
    return {prefix + name: tuple(value.shape) for name, value in tensors.items()}


@pytest.mark.parametrize(
    ("kind", "found"),
    [
        ("quantart-vgg19", shapes(codebook())),
        ("quantart-vqgan", shapes(style_vqgan("quantized"), "quantized.")),
        ("quantart-vqgan", shapes(style_vqgan("continuous"), "continuous.")),
        ("vqgan", shapes(vqgan())),
        ("vgg19", SHAPES["vgg19"]),
        ("vgg16", SHAPES["vgg16"]),
        ("lpips-vgg16", SHAPES["lpips-vgg16"]),
        ("lpips-alexnet", SHAPES["lpips-alexnet"]),
        (None, {"weight": (2, 3)}),
        (None, {}),
        (None, {"features.0.weight": (64, 3, 3, 3), "features.3.weight": (128, 64, 3, 3)}),  # VGG-11
        (None, shapes(style_vqgan("quantized"))),  # the authors' own names: to be converted
    ],
)
def test_a_kind_is_told_by_names_and_shapes(kind, found):
    assert identify(found) == kind
    assert kind is None or kind in KINDS


@pytest.mark.parametrize("name", ["vgg19-normalised", "adain-decoder", "quantart-vgg19"])
def test_the_embedded_files_are_of_the_kinds_they_are_named_after(name):
    assert identify(read_header(artefact(name).path).shapes) == name


def test_sizes_of_the_published_networks():
    def parameters(kind):
        return sum(torch.Size(shape).numel() for shape in SHAPES[kind].values())

    assert parameters("vgg19") == 20_024_384
    assert parameters("vgg16") == 14_714_688
    assert parameters("lpips-vgg16") == 14_714_688 + 1472
    assert parameters("lpips-alexnet") == 2_469_696 + 1152


def test_a_header_is_read_without_torch(tmp_path):
    safetensors.torch.save_file(codebook(), tmp_path / "m.safetensors", {"kind": "quantart-vgg19"})
    code = (
        "import sys; from pathlib import Path; from quantart_cli.checkpoints.kinds import *;"
        f"h = read_header(Path({str(tmp_path / 'm.safetensors')!r}));"
        "print(identify(h.shapes), h.dtypes['entries'], h.metadata, 'torch' in sys.modules)"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert told == "quantart-vgg19 F32 {'kind': 'quantart-vgg19'} False\n"


def test_headers_of_all_dtypes_and_shapes_are_read(tmp_path):
    tensors = {
        "scalar": torch.tensor(1.0, dtype=torch.float64),
        "none": torch.zeros(0, 3),
        "halves": torch.zeros(5, dtype=torch.bfloat16),
        "ä": torch.zeros(2, 2, dtype=torch.uint8),
        "flags": torch.tensor([True]),
    }
    path = tmp_path / "m.safetensors"
    safetensors.torch.save_file(tensors, path)
    header = read_header(path)
    assert header.shapes == shapes(tensors)
    assert header.bytes == path.stat().st_size


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "is empty"),
        (b"\x08\0\0\0", "too short"),
        (safetensors_bytes(b"{}", length=100 << 30), "says its header has 107374182400 bytes, the whole file has 10"),
        (safetensors_bytes(b"{" + b" " * 30), "header is not JSON"),
        (safetensors_bytes(b"[1, 2]"), "not a JSON object"),
        (safetensors_bytes(b"\xff\xfe{}"), "header is not JSON"),
        (safetensors_bytes(b'{"a":' * 50_000), "header is not JSON"),
        (safetensors_bytes(b'{"a":' + b"9" * 5000 + b"}"), "."),
        (safetensors_bytes(b'{"a":1,"a":2}'), "a is there twice"),
        (safetensors_bytes({"a": 1}), "not described by"),
        (safetensors_bytes({"a": {**entry([1], 0, 4), "more": 1}}, bytes(4)), "not described by"),
        (safetensors_bytes({"a": entry([1], 0, 4, "F99")}, bytes(4)), "dtype F99, which quantart does not read"),
        (safetensors_bytes({"a": entry([-1], 0, 4)}, bytes(4)), "no valid shape"),
        (safetensors_bytes({"a": entry([True], 0, 4)}, bytes(4)), "no valid shape"),
        (safetensors_bytes({"a": entry([1], 4, 0)}, bytes(4)), "no valid data_offsets"),
        (safetensors_bytes({"a": entry([3], 0, 8)}, bytes(8)), r"F32 of shape \[3\] but has 8 bytes"),
        (safetensors_bytes({"a": entry([2**61, 2**61], 0, 8)}, bytes(8)), "but has 8 bytes"),
        (safetensors_bytes({"a": entry([2], 0, 8), "b": entry([2], 4, 12)}, bytes(12)), "b shares bytes with another"),
        (safetensors_bytes({"a": entry([1], 0, 4), "b": entry([1], 8, 12)}, bytes(12)), "b leaves bytes before it"),
        (safetensors_bytes({"a": entry([2], 0, 8)}, bytes(4)), "8 bytes of tensors are declared, 4 are there"),
        (safetensors_bytes({"a": entry([2**40], 0, 2**42)}, bytes(4)), "are declared, 4 are there; was it cut"),
        (safetensors_bytes({"a": entry([1], 0, 4)}, bytes(8)), "4 bytes of tensors are declared, 8 are there"),
        (safetensors_bytes({"__metadata__": {"a": 1}}), "metadata is not text"),
        (safetensors_bytes({"__metadata__": []}), "metadata is not text"),
        (safetensors_bytes({"a\n\x1b[31m": 1}), r"a\\n\\x1b\[31m is not described"),
    ],
)
def test_malformed_headers_are_refused_in_one_sentence(tmp_path, data, message):
    path = tmp_path / "m.safetensors"
    path.write_bytes(data)
    with pytest.raises(QuantArtError, match=message) as refused:
        read_header(path)
    assert str(path) in str(refused.value)
    assert "\n" not in str(refused.value)
    with pytest.raises(QuantArtError, match=message):
        parse_header(data, len(data), "x")
