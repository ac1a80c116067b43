"""``--model`` and ``--download``: other weights, by name, by file and by reference."""

import io
import json
import shutil

import numpy as np
import PIL.Image
import pytest
import safetensors.torch
import torch

import quantart_cli as quantart
from quantart_cli.checkpoints.convert import convert
from quantart_cli.checkpoints.manifest import weights_folder
from quantart_cli.errors import QuantArtError
from tests.conftest import DATA


@pytest.fixture(autouse=True)
def _empty_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("QUANTART_CACHE", str(tmp_path / "cache"))


@pytest.fixture(autouse=True)
def _no_network(monkeypatch):
    def refuse(*_):
        raise AssertionError("the network was asked")

    monkeypatch.setattr("socket.socket.connect", refuse)
    monkeypatch.setattr("socket.getaddrinfo", refuse)


@pytest.fixture
def recorded(tmp_path):
    """Content and style of the recorded case as 16-bit-exact files, and its pictures."""
    numbers = safetensors.torch.load_file(DATA / "quantart_tiny.safetensors")
    for name in ("content", "style"):
        pixels = np.rint(numbers[name][0].permute(1, 2, 0).numpy() * 255).astype(np.uint8)
        PIL.Image.fromarray(pixels).save(tmp_path / f"{name}.png")
    return numbers


@pytest.mark.parametrize(("alpha", "beta"), [("0", "1"), ("0.7", "1"), ("1", "0.5")])
def test_the_authors_own_model_paints_the_recorded_pictures(run, recorded, tiny_model, tmp_path, alpha, beta):
    out = tmp_path / "out.png"
    arguments = ("--model", tiny_model, "--alpha", alpha, "--beta", beta, "--precision", "fp32", "--json")
    status, report, err = run("stylize", tmp_path / "content.png", tmp_path / "style.png", "-o", out, *arguments)
    assert status == 0, err
    painted = np.asarray(PIL.Image.open(out), dtype=np.float32) / 255
    expected = recorded[f"image_alpha{alpha}_beta{beta}"][0].permute(1, 2, 0).clamp(0, 1).numpy()
    # The recorded inputs had more than 8 bits; quantization answers the difference with a few other entries.
    assert np.median(np.abs(painted - expected)) < 0.01
    assert json.loads(report)["weights"].keys() == {str(tiny_model)}


def test_one_end_paints_at_its_own_fidelity_alone(run, tiny_checkpoints, content_file, style_file, tmp_path):
    model, out = tmp_path / "one.safetensors", tmp_path / "out.png"
    convert(tiny_checkpoints["quantized"], model)
    status, _, err = run("stylize", content_file, style_file, "-o", out, "--model", model)
    assert status == 2
    assert "needs the continuous one too" in err
    assert "set --fidelity to 1" in err
    assert not out.exists()
    status, _, err = run("stylize", content_file, style_file, "-o", out, "--model", model, "--fidelity", 1)
    assert status == 0, err
    assert PIL.Image.open(out).size == (96, 64)


def test_a_codebook_file_takes_the_place_of_the_embedded_one(run, content_file, style_file, tmp_path):
    own = tmp_path / "own.safetensors"
    shutil.copy(weights_folder() / "quantart-vgg19.safetensors", own)
    embedded, other = tmp_path / "a.png", tmp_path / "b.png"
    assert run("stylize", content_file, style_file, "-o", embedded, "--codebook", "art")[0] == 0
    assert run("stylize", content_file, style_file, "-o", other, "--model", own)[0] == 0
    assert PIL.Image.open(embedded).tobytes() == PIL.Image.open(other).tobytes()  # their recipes differ
    tensors = safetensors.torch.load_file(own)
    tensors["entries"] = tensors["entries"].roll(1, -2) * 0.5
    safetensors.torch.save_file(tensors, own)
    assert run("stylize", content_file, style_file, "-o", other, "--model", own)[0] == 0
    assert embedded.read_bytes() != other.read_bytes()


def test_an_embedded_name_is_the_default(run, content_file, style_file, tmp_path):
    outs = []
    for extra in ((), ("--model", "adain-decoder")):
        _, out, _ = run("adain", content_file, style_file, "-o", "-", "--quiet", "--format", "png", *extra)
        outs.append(out)
    assert outs[0] == outs[1]
    assert PIL.Image.open(io.BytesIO(outs[0])).size == (96, 64)


@pytest.mark.parametrize(
    ("command", "model", "sentence"),
    [
        ("stylize", "quantart-landscap2art", "did you mean quantart-landscape2art?"),
        ("stylize", "quantart-landscape2art", "cannot be downloaded by quantart"),
        ("stylize", "adain-decoder", "adain-decoder is a model of another kind, an AdaIN decoder"),
        ("stylize", "vqgan-f16-1024", "vqgan-f16-1024 is a model of another kind"),
        ("adain", "adain-decoder-fp32", "are not here yet (14 MB): quantart download-weights adain-decoder-fp32"),
        ("stylize", "hf://owner/repo/model.safetensors", "quantart download-weights hf://owner/repo/model.safetensors"),
        ("stylize", "hf://owner/model.safetensors", "write hf://owner/repo/file.safetensors"),
        ("stylize", "last.ckpt", "quantart convert last.ckpt -o last.safetensors"),
        ("stylize", "missing.safetensors", "missing.safetensors does not exist"),
    ],
)
def test_what_cannot_be_had_is_one_line_before_torch(run, content_file, style_file, tmp_path, command, model, sentence):
    out = tmp_path / "out.png"
    status, _, err = run(command, content_file, style_file, "-o", out, "--model", model)
    assert status == 2
    assert sentence in err
    assert err.count("\n") == 1
    assert not out.exists()


def damaged_models():
    yield "nan", lambda t: t["quantized.decoder.conv_in.weight"].fill_(float("nan")), "not finite"
    yield "inf", lambda t: t["continuous.decoder.conv_in.bias"].fill_(float("inf")), "not finite"
    yield "missing", lambda t: t.pop("continuous.quant_conv.bias"), "lacks the tensor quant_conv.bias"
    yield "extra", lambda t: t.update({"quantized.more": torch.zeros(1)}), "a tensor too many, more"
    yield "stray", lambda t: t.update({"more": torch.zeros(1)}), "a tensor too many, more"
    yield "int8", lambda t: t.update({"quantized.quant_conv.bias": torch.zeros(32, dtype=torch.int8)}), "not floats"

    def transpose(tensors):
        key = "quantized.decoder.up.2.block.0.nin_shortcut.weight"
        key = key if key in tensors else "quantized.decoder.conv_out.weight"
        tensors[key] = tensors[key].transpose(0, 1).contiguous()

    yield "transposed", transpose, "has shape"


@pytest.mark.parametrize(
    ("change", "sentence"), [(c, s) for _, c, s in damaged_models()], ids=[n for n, *_ in damaged_models()]
)
def test_a_model_that_is_not_whole_is_refused_by_name(
    run, tiny_model, content_file, style_file, tmp_path, change, sentence
):
    model, out = tmp_path / "bad.safetensors", tmp_path / "out.png"
    tensors = safetensors.torch.load_file(tiny_model)
    change(tensors)
    safetensors.torch.save_file(tensors, model, {"kind": "quantart-vqgan"})
    status, _, err = run("stylize", content_file, style_file, "-o", out, "--model", model)
    assert status == 2
    assert sentence in err
    assert err.count("\n") == 1
    assert not out.exists()


def test_swapped_ends_are_refused(run, tiny_model, content_file, style_file, tmp_path):
    swap = {"quantized": "continuous", "continuous": "quantized"}
    tensors = {}
    for key, value in safetensors.torch.load_file(tiny_model).items():
        end, rest = key.split(".", 1)
        tensors[f"{swap[end]}.{rest}"] = value
    model = tmp_path / "swapped.safetensors"
    safetensors.torch.save_file(tensors, model)
    status, _, err = run("stylize", content_file, style_file, "-o", tmp_path / "o.png", "--model", model)
    assert status == 2
    assert "the codebooks of its quantized end do not fit" in err


def test_download_without_a_model_is_a_mistake(run, content_file, style_file, tmp_path):
    status, _, err = run("adain", content_file, style_file, "-o", tmp_path / "o.png", "--download")
    assert status == 2
    assert "--download needs --model" in err
    err = run("sanet", content_file, style_file, "-o", tmp_path / "o.png", "--download")[2]
    assert "weights sanet (32 MB" in err


def test_the_api_takes_the_same_names(tiny_model, content_file, style_file):
    model = quantart.load("quantart", model=tiny_model, device="cpu", precision="fp32")
    assert model.stylize(content_file, style_file, fidelity=1).size == (96, 64)
    with pytest.raises(QuantArtError, match="did you mean"):
        quantart.load("quantart", model="quantart-vgg1")
    with pytest.raises(QuantArtError, match="another kind, QuantArt on VQGAN: this method takes an AdaIN decoder"):
        quantart.load("adain", model=tiny_model)
