"""MicroAST: recorded parity with filled weights, the published layout, tiles, alpha, and the weights that are here."""

import json

import numpy as np
import pytest
import safetensors.torch
import torch

import quantart_cli as quantart
from quantart_cli.backends.torch_backend import TorchBackend
from quantart_cli.checkpoints.convert import convert
from quantart_cli.checkpoints.models import ModelFile
from quantart_cli.errors import QuantArtError
from quantart_cli.methods.microast import ENCODE, MicroAST, MicroASTSettings
from quantart_cli.runner import Image, Runner
from quantart_cli.tiling import Tiler
from tests.conftest import DATA, EXACT, scene
from tests.exact import encode, paint
from tests.fill import fill

FILES = ("content_encoder", "style_encoder", "modulator", "decoder")


def filled(name):
    case = json.loads((DATA / f"microast_{name}_keys.json").read_text())
    state = fill(case["state_dict"], case["salt"])
    for tensor, gain in case["gain"].items():
        state[tensor] *= gain
    return state


def published(folder):
    """The authors' four files."""
    paths = [folder / f"{name}_iter_160000.pth.tar" for name in FILES]
    for name, path in zip(FILES, paths, strict=True):
        torch.save(filled(name), path)
    return paths


@pytest.fixture(scope="module")
def backend(tmp_path_factory):
    folder = tmp_path_factory.mktemp("microast")
    first, *more = published(folder)
    model = folder / "microast.safetensors"
    assert convert(first, model, more=more).kind == "microast"
    return TorchBackend(EXACT, {"microast": ModelFile("microast", model, "microast")})


@pytest.fixture(scope="module")
def recorded():
    return safetensors.torch.load_file(DATA / "microast.safetensors")


def image_of(picture):
    return Image.of(np.ascontiguousarray(picture[0].permute(1, 2, 0).numpy()), multiple=4)


def close(found, expected):
    assert np.abs(np.asarray(found) - np.asarray(expected)).max() < 1e-4 * max(1, float(expected.abs().max()))


def test_parity(backend, recorded):
    content, style = image_of(recorded["content"]), image_of(recorded["style"])
    s = encode(backend, MicroAST(), MicroASTSettings(), style)
    for i, name in enumerate(("weight1", "bias1", "weight2", "bias2")):
        close(s.mean[128 + 64 * i : 192 + 64 * i], recorded[name])
    close(Runner(backend, Tiler())(ENCODE, content)["z"].values[..., ::2, ::2], recorded["content_deep"])
    close(paint(backend, MicroAST(), content, s, MicroASTSettings()), recorded["output"])


@pytest.mark.parametrize("alpha", [0.4, 1.0])
def test_tiles_do_not_change_the_picture(backend, recorded, alpha):
    found, content, settings = [], image_of(recorded["content"]), MicroASTSettings(alpha=alpha)
    for side in (None, 32):
        style = encode(backend, MicroAST(), settings, image_of(recorded["style"]), tiler=Tiler(side))
        found.append(paint(backend, MicroAST(), content, style, settings, tiler=Tiler(side)))
    close(found[0], found[1])


def test_alpha_goes_to_the_content_and_styles_are_averaged(backend):
    content, *styles = (image_of(torch.from_numpy(scene(32, 32, i)).permute(2, 0, 1)[None]) for i in range(3))
    method = MicroAST()
    own = paint(backend, method, content, encode(backend, method, MicroASTSettings(), content), MicroASTSettings())
    s = encode(backend, method, MicroASTSettings(), styles[0])
    close(paint(backend, method, content, s, MicroASTSettings(alpha=0)), own)
    both = encode(backend, method, MicroASTSettings(), *styles, weights=[0.25, 0.75])
    other = encode(backend, method, MicroASTSettings(), styles[1])
    np.testing.assert_allclose(both.mean, 0.25 * s.mean + 0.75 * other.mean, atol=1e-5)


def test_the_published_layout_loads_strictly(tmp_path):
    def change(name, tensor, value):
        files = published(tmp_path)
        path = next(path for path in files if path.name.startswith(name))
        state = torch.load(path, weights_only=True)
        state[tensor] = value
        torch.save({key: each for key, each in state.items() if each is not None}, path)
        return convert(files[0], tmp_path / "out.safetensors", more=files[1:])

    with pytest.raises(QuantArtError, match=r"lacks the tensor style_encoder\.enc2\.0\.conv1\.conv_layer\.bias"):
        change("style_encoder", "enc2.0.conv1.conv_layer.bias", None)
    with pytest.raises(QuantArtError, match=r"decoder\.dec1\.conv1\.conv_layer\.bias has shape \[5\], not \[64\]"):
        change("decoder", "dec1.conv1.conv_layer.bias", torch.zeros(5))
    with pytest.raises(QuantArtError, match=r"too many, modulator\.weight3"):
        change("modulator", "weight3", torch.zeros(1))
    with pytest.raises(QuantArtError, match="lacks the tensor"):
        convert(published(tmp_path)[0], tmp_path / "out.safetensors")


def test_the_precision_does_not_change_the_picture():
    """The weights that come with quantart; all stages are exact."""
    found = []
    for precision in ("fp32", "bf16"):
        model = quantart.load("microast", device="cpu", precision=precision)
        found.append(np.int16(model.stylize(scene(64, 48, 1), scene(40, 40, 2))))
    assert np.abs(found[0] - found[1]).max() <= 1
    assert np.abs(found[0] - scene(64, 48, 1)).mean() > 10
