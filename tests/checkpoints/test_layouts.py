"""Kinds by names and shapes, and headers that tell the truth."""

import subprocess
import sys
import types

import pytest
import safetensors.torch
import torch

from quantart_cli.checkpoints.convert import convert
from quantart_cli.checkpoints.formats import read_header
from quantart_cli.checkpoints.layouts import KINDS, Layout, Published, has, identify, recognise, renamed
from quantart_cli.checkpoints.loading import load_tensors, open_tensors
from quantart_cli.checkpoints.manifest import artefact
from quantart_cli.checkpoints.models import find_model
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
        ("vgg19", KINDS["vgg19"].shapes),
        ("vgg16", KINDS["vgg16"].shapes),
        ("lpips-vgg16", KINDS["lpips-vgg16"].shapes),
        ("lpips-alexnet", KINDS["lpips-alexnet"].shapes),
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
        return sum(torch.Size(shape).numel() for shape in KINDS[kind].shapes.values())

    assert parameters("vgg19") == 20_024_384
    assert parameters("vgg16") == 14_714_688
    assert parameters("lpips-vgg16") == 14_714_688 + 1472
    assert parameters("lpips-alexnet") == 2_469_696 + 1152


def test_a_header_is_read_without_torch(tmp_path):
    safetensors.torch.save_file(codebook(), tmp_path / "m.safetensors", {"kind": "quantart-vgg19"})
    code = (
        "import sys; from pathlib import Path; from quantart_cli.checkpoints.formats import *;"
        "from quantart_cli.checkpoints.layouts import *;"
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


@pytest.mark.parametrize(
    "data",
    [
        b"\x08\0\0\0",
        safetensors_bytes(b"{}", length=100 << 30),
        safetensors_bytes(b"{" + b" " * 30),
        safetensors_bytes(b"[1, 2]"),
        safetensors_bytes(b"\xff\xfe{}"),
        safetensors_bytes(b'{"a":' * 50_000),
        safetensors_bytes(b'{"a":' + b"9" * 5000 + b"}"),
        safetensors_bytes(b'{"a":1,"a":2}'),
        safetensors_bytes({"a": 1}),
        safetensors_bytes({"a": entry([1], 0, 4, "F99")}, bytes(4)),
        safetensors_bytes({"a": entry([-1], 0, 4)}, bytes(4)),
        safetensors_bytes({"a": entry([True], 0, 4)}, bytes(4)),
        safetensors_bytes({"a": entry([1], 4, 0)}, bytes(4)),
        safetensors_bytes({"a": entry([3], 0, 8)}, bytes(8)),
        safetensors_bytes({"a": entry([2**61, 2**61], 0, 8)}, bytes(8)),
        safetensors_bytes({"a": entry([2], 0, 8), "b": entry([2], 4, 12)}, bytes(12)),
        safetensors_bytes({"a": entry([1], 0, 4), "b": entry([1], 8, 12)}, bytes(12)),
        safetensors_bytes({"a": entry([2], 0, 8)}, bytes(4)),
        safetensors_bytes({"a": entry([2**40], 0, 2**42)}, bytes(4)),
        safetensors_bytes({"a": entry([1], 0, 4)}, bytes(8)),
        safetensors_bytes({"__metadata__": {"a": 1}}),
        safetensors_bytes({"__metadata__": []}),
        safetensors_bytes({"a\n\x1b[31m": entry([1], 0, 9)}, bytes(9)),
    ],
)
def test_malformed_headers_are_refused_in_one_sentence(tmp_path, data):
    path = tmp_path / "m.safetensors"
    path.write_bytes(data)
    for read in (read_header, open_tensors, lambda path: load_tensors(path.read_bytes(), str(path))):
        with pytest.raises(QuantArtError, match="is not a valid safetensors file") as refused:
            read(path)
        assert str(path) in str(refused.value)
        assert str(refused.value).isprintable()


def test_a_checkpoint_called_safetensors_is_to_be_converted(tmp_path):
    path = tmp_path / "m.safetensors"
    torch.save(codebook(), path)
    with pytest.raises(QuantArtError, match=r"is a PyTorch checkpoint, not safetensors: quantart convert"):
        read_header(path)


class Toy(torch.nn.Module):
    """A network of another package."""

    def __init__(self):
        super().__init__()
        self.mix = torch.nn.Conv2d(3, 4, 1)


class ToyOfAnySize(torch.nn.Linear):
    @classmethod
    def like(cls, tensors):
        return cls(*reversed(tensors["weight"].shape))


TOY = Layout(
    kind="toy",
    description="a toy",
    matches=has("first.mix.weight"),
    network={"first": f"{__name__}:Toy", "second": f"{__name__}:ToyOfAnySize"},
    published=(
        Published(
            matches=has("net.0.weight"),
            convert=renamed({"first.mix": "net.0", "second": "net.1"}),
            drop=r"training\.",
        ),
    ),
)


def test_a_kind_is_added_by_one_entry(tmp_path, monkeypatch, run):
    """Recognised, converted, checked, and found by its own layout, with no edit anywhere else."""
    monkeypatch.setitem(sys.modules, __name__, sys.modules.get(__name__) or types.ModuleType(__name__))
    monkeypatch.setattr(sys.modules[__name__], "Toy", Toy, raising=False)
    monkeypatch.setattr(sys.modules[__name__], "ToyOfAnySize", ToyOfAnySize, raising=False)
    monkeypatch.setitem(KINDS, "toy", TOY)
    state = {"net.0.weight": torch.ones(4, 3, 1, 1), "net.0.bias": torch.ones(4), "net.1.weight": torch.ones(5, 7)}
    torch.save({"state_dict": {**state, "net.1.bias": torch.ones(5), "training.lr": torch.ones(1)}}, tmp_path / "m.pth")
    out = tmp_path / "m.safetensors"
    status, _, err = run("convert", tmp_path / "m.pth", "-o", out)
    assert (status, err.splitlines()[:2]) == (0, [f"{tmp_path / 'm.pth'}: a toy", "dropped: training.lr"])
    assert read_header(out).metadata["kind"] == identify(read_header(out).shapes) == "toy"
    assert find_model(str(out), ("toy",)).kind == "toy"
    assert convert(out, tmp_path / "again.safetensors").kind == "toy"
    with pytest.raises(QuantArtError, match="is a model of another kind, a toy: this method takes an AdaIN decoder"):
        find_model(str(out), ("adain-decoder",))
    torch.save({**state, "net.1.bias": torch.ones(6)}, tmp_path / "m.pth")
    with pytest.raises(QuantArtError, match=r"\(second\): bias has shape \[6\], not \[5\]"):
        convert(tmp_path / "m.pth", out)
    torch.save(state, tmp_path / "m.pth")
    with pytest.raises(QuantArtError, match=r"lacks the tensor net\.1\.bias"):
        convert(tmp_path / "m.pth", out)


def test_a_named_kind_comes_before_one_with_the_same_names(monkeypatch):
    monkeypatch.setitem(KINDS, "toy", Layout("toy", "a toy", published=(Published(has("1.weight")),)))
    shapes = {"1.weight": (256, 512, 3, 3), "1.bias": (256,)}
    assert recognise(shapes)[0].kind == "adain-decoder"
    assert recognise(shapes, "toy")[0].kind == "toy"
