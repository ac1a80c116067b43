"""WCT at several levels: recorded parity, the published layout, the formula, and tiles."""

import numpy as np
import pytest
import safetensors.torch
import torch

import quantart_cli as quantart
from quantart_cli.backends.torch_backend import TorchBackend
from quantart_cli.checkpoints.convert import convert
from quantart_cli.checkpoints.models import ModelFile
from quantart_cli.errors import QuantArtError
from quantart_cli.methods.wct import WCTSettings, colouring, parse_levels, whiten_and_colour
from quantart_cli.methods.wct_levels import WCTLevels
from quantart_cli.nets.statistics import products
from quantart_cli.nets.wct_levels import LevelNetworks
from quantart_cli.runner import Image
from quantart_cli.stages import Sums
from quantart_cli.tiling import Tiler
from tests.conftest import EXACT, scene
from tests.exact import encode, paint
from tests.fill import fill


def published(folder, **changes):
    """Ten files of filled weights, in the authors' layout; None leaves a tensor out."""
    shapes = {name: list(value.shape) for name, value in LevelNetworks().state_dict().items()}
    state, files = fill(shapes, "wct-levels"), {}
    for name, value in state.items():
        part, _, own = name.partition(".")
        bright = 2 if part[:-1] == "decoder" and own == "conv11.bias" else 0  # the last ReLU leaves something
        files.setdefault(part, {})[own] = value * 1.4 if value.ndim == 4 else value + bright
    for i, (part, tensors) in enumerate(files.items()):
        tensors |= {name: value for name, value in changes.items() if part == "decoder2"}
        tensors["conv11_aux.weight"] = torch.zeros(1)
        files[part] = folder / f"2019{i:02}-1_E20.pth"
        torch.save({"model": {name: value for name, value in tensors.items() if value is not None}}, files[part])
    return list(files.values())


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("levels")
    first, *more = published(folder)
    done = convert(first, folder / "levels.safetensors", more=more)
    assert (done.kind, done.tensors, len(done.dropped)) == ("wct-levels", 134, 10)
    return folder / "levels.safetensors"


@pytest.fixture(scope="module")
def backend(model):
    return TorchBackend(EXACT, {"model": ModelFile("levels", model, "wct-levels")})


def image_of(picture):
    return Image.of(np.ascontiguousarray(picture[0].permute(1, 2, 0).numpy()), multiple=16)


def test_parity(shared, tmp_path):
    """With the published weights, after each level."""
    first, *more = sorted((shared / "weights" / "raw" / "distilled").glob("*.pth"))
    convert(first, tmp_path / "levels.safetensors", more=more)
    backend = TorchBackend(EXACT, {"model": ModelFile("levels", tmp_path / "levels.safetensors", "wct-levels")})
    recorded = safetensors.torch.load_file(shared / "parity" / "wct_distilled_real.safetensors")
    content, style = image_of(recorded["content"]), image_of(recorded["style"])
    for name, levels, alpha in (
        ("after_level5", "5", 1.0),
        ("after_level3", "5,4,3", 1.0),
        ("after_level1", "auto", 1.0),
        ("output_alpha0.6", "auto", 0.6),
        ("reconstruction4", "4", 0.0),
    ):
        settings = WCTSettings(levels=levels, alpha=alpha)
        found = paint(backend, WCTLevels(), content, encode(backend, WCTLevels(), settings, style), settings)
        assert (found - recorded[name]).abs().max() < 1e-3 * max(1, float(recorded[name].abs().max()))


def test_two_levels_are_the_formula_twice(backend):
    pictures = [torch.from_numpy(scene(48, 32, seed)).permute(2, 0, 1)[None].float() / 255 for seed in (1, 2)]
    settings, net = WCTSettings(levels="2, 3", alpha=0.8), backend.network("model", LevelNetworks)
    style = encode(backend, WCTLevels(), settings, image_of(pictures[1]))
    found = paint(backend, WCTLevels(), image_of(pictures[0]), style, settings)

    def covariance(z):
        sums = Sums()
        sums.add(products(z, torch.ones_like(z[:, :1])).numpy())
        return sums.result()

    image = pictures[0]
    with torch.inference_mode():
        for level in (3, 2):
            encoder, decoder = getattr(net, f"encoder{level}"), getattr(net, f"decoder{level}")
            z = encoder(image)
            matrix, shift = whiten_and_colour(covariance(z), colouring(covariance(encoder(pictures[1]))), 0.8)
            image = decoder((torch.from_numpy(matrix) @ z.flatten(2) + torch.from_numpy(shift)[:, None]).view_as(z))
    assert (found - image).abs().max() < 1e-4 * float(image.abs().max())


def test_tiles_do_not_change_the_picture(backend):
    content, settings = Image.of(scene(160, 96, 1), multiple=16), WCTSettings(levels="4,2,1", alpha=0.6)
    found = []
    for side in (None, 64):
        style = encode(backend, WCTLevels(), settings, Image.of(scene(64, 80, 2), multiple=16), tiler=Tiler(side))
        found.append(paint(backend, WCTLevels(), content, style, settings, tiler=Tiler(side)))
    assert (found[0] - found[1]).abs().max() < 1e-3 * float(found[0].abs().max())
    assert found[0].std() > 0.1


def test_through_the_api(model):
    loaded = quantart.load("wct", model=model, device="cpu")
    assert loaded.stylize(scene(21, 30), [scene(5, 3), scene(9, 9)], levels="2,1").size == (21, 30)


def test_levels():
    assert parse_levels("auto") == parse_levels("1,2,3,4,5") == (5, 4, 3, 2, 1)
    for wrong in ("6", "4,4", "", "4,x"):
        with pytest.raises(QuantArtError, match="levels must be auto"):
            WCTSettings(levels=wrong)
    with pytest.raises(QuantArtError, match="these weights have level 4 only"):
        quantart.load("wct", device="cpu").stylize(scene(16, 16), scene(16, 16), levels="4,3")


def test_the_command_names_the_option(run, content_file, style_file, tmp_path):
    status, _, err = run("wct", content_file, style_file, "-o", tmp_path / "out.png", "--levels", "4,3")
    assert (status, "give --model wct-levels" in err) == (2, True), err


def test_the_published_layout_loads_strictly(tmp_path):
    for changes, message in (
        ({"conv12.bias": None}, r"lacks the tensor decoder2\.conv12\.bias"),
        ({"conv12.bias": torch.zeros(5)}, r"decoder2\.conv12\.bias has shape \[5\], not \[16\]"),
        ({"extra": torch.zeros(1)}, r"too many, decoder2\.extra"),
    ):
        first, *more = published(tmp_path, **changes)
        with pytest.raises(QuantArtError, match=message):
            convert(first, tmp_path / "out.safetensors", more=more)
    with pytest.raises(QuantArtError, match="lacks the tensor"):
        convert(first, tmp_path / "out.safetensors", more=more[:4])
