"""SANet: recorded parity with filled weights, the published layout, tiles, and weights that are not here."""

import numpy as np
import pytest
import safetensors.torch
import torch

import quantart_cli as quantart
from quantart_cli.backends.torch_backend import TorchBackend
from quantart_cli.checkpoints.convert import convert
from quantart_cli.checkpoints.layouts import vgg19_from_published
from quantart_cli.checkpoints.loading import fill_strictly
from quantart_cli.checkpoints.models import ModelFile
from quantart_cli.errors import QuantArtError
from quantart_cli.methods.attention import Attended
from quantart_cli.methods.sanet import ENCODE_BOTH, KEYS_AND_VALUES, TRANSFER, SANet, SANetSettings
from quantart_cli.nets.sanet import SANet as Networks
from quantart_cli.nets.sanet import from_published
from quantart_cli.nets.vgg import VGG19
from quantart_cli.runner import Image, MapOf, Runner
from quantart_cli.stages import Moments
from quantart_cli.tiling import Tiler
from tests.conftest import DATA, EXACT, scene
from tests.exact import encode, image_of, paint
from tests.fill import filled


@pytest.fixture(scope="module")
def published():
    """Both files of the authors' layout as one."""
    return {**filled("sanet_transform"), **filled("sanet_decoder")}


@pytest.fixture(scope="module")
def model_file(tmp_path_factory):
    """Converted from two files, as they are published."""
    path = tmp_path_factory.mktemp("sanet") / "sanet.safetensors"
    files = [path.with_name(f"{name}.pth") for name in ("transformer", "decoder")]
    for file, case in zip(files, ("sanet_transform", "sanet_decoder"), strict=True):
        torch.save(filled(case), file)
    assert convert(files[0], path, more=files[1:]).kind == "sanet"
    return path


@pytest.fixture(scope="module")
def backend(model_file):
    """With the VGG-19 that the numbers were recorded with."""
    path = model_file.with_name("vgg.safetensors")
    safetensors.torch.save_file(vgg19_from_published(filled("vgg_filled")), path)
    files = {"vgg": ModelFile("vgg", path, "vgg19-normalised"), "sanet": ModelFile("sanet", model_file, "sanet")}
    return TorchBackend(EXACT, files)


@pytest.fixture(scope="module")
def recorded():
    return safetensors.torch.load_file(DATA / "sanet.safetensors")


def close(found, expected):
    assert (found - expected).abs().max() < 1e-4 * max(1, float(expected.abs().max()))


def statistics(z4, z5):
    """Means and deviations of two maps, as stages take them."""
    found = {}
    for level, z in ((4, z4), (5, z5)):
        rows = z[0].flatten(1).double().numpy()
        moments = Moments.of(rows.mean(1), rows.var(1, ddof=1))
        found |= {f"mean{level}": moments.mean, f"std{level}": moments.std}
    return found


@pytest.fixture(scope="module")
def style(backend, recorded):
    """The recorded style, which has an odd number of positions and is not mirrored in the authors' program."""
    maps = {"z4": MapOf(recorded["style_relu4_1"], 8), "z5": MapOf(recorded["style_relu5_1"], 16)}
    moments = statistics(*(each.values for each in maps.values()))
    network = backend.prepare(KEYS_AND_VALUES)
    found = network(*(each.values for each in maps.values()), *map(torch.from_numpy, moments.values()))
    outputs = zip(KEYS_AND_VALUES.outputs.items(), found, strict=True)
    return Attended(((1.0, {name: MapOf(values, output.stride) for (name, output), values in outputs}),))


def test_parity_of_the_features(backend, recorded, style):
    run = Runner(backend, Tiler())
    c = run(ENCODE_BOTH, image_of(recorded["content"]))
    close(c["z4"].values, recorded["content_relu4_1"])
    close(c["z5"].values, recorded["content_relu5_1"])
    moments = statistics(c["z4"].values, c["z5"].values)
    for level in (4, 5):
        np.testing.assert_allclose(c[f"m{level}"].mean, moments[f"mean{level}"], atol=1e-4)
        np.testing.assert_allclose(c[f"m{level}"].std, moments[f"std{level}"], rtol=1e-4)
    maps = style.parts[0][1]
    transform = backend.network("sanet", Networks).transform
    with torch.inference_mode():
        for level in (4, 5):
            own = [torch.from_numpy(moments[f"{what}{level}"]) for what in ("mean", "std")]
            others = maps[f"keys{level}"].values, maps[f"values{level}"].values
            attention = getattr(transform, f"sanet{level}_1")
            close(attention(c[f"z{level}"].values, *own, *others), recorded[f"sanet{level}_1"])
    z = run(TRANSFER, z4=c["z4"], z5=c["z5"], **maps, **moments)["z"]
    close(z.values, recorded["transform"])


def test_parity_of_whole_pictures(backend, recorded):
    """As they are trained."""
    vgg, layers = backend.network("vgg", VGG19), ("relu4_1", "relu5_1")
    with torch.inference_mode():
        content, style = (vgg(recorded[name], layers) for name in ("content", "style"))
        close(backend.network("sanet", Networks)(content, style), recorded["output"])


def test_parity_of_the_picture(backend, recorded, style):
    close(paint(backend, SANet(), recorded["content"], style, SANetSettings()), recorded["output"])


def test_alpha_and_several_styles_average_features(backend):
    pictures = [Image.of(scene(64, 48, seed), multiple=16, smallest=32) for seed in range(3)]
    method, run = SANet(), Runner(backend, Tiler())
    mixed = encode(backend, method, SANetSettings(), *pictures[1:], weights=[0.3, 0.7])
    kept = []
    real = run.mean_of
    run.mean_of = lambda maps, weights: kept.append((list(weights), real(maps, weights))) or kept[-1][1]
    method.paint(run, pictures[0], mixed, SANetSettings(alpha=0.5))
    assert kept[0][0] == pytest.approx([0.15, 0.35, 0.5])
    parts = []
    for each in (*pictures[1:], pictures[0]):
        method.paint(run, pictures[0], encode(backend, method, SANetSettings(), each), SANetSettings())
        parts.append(kept[-1][1].values)
    expected = 0.15 * parts[0] + 0.35 * parts[1] + 0.5 * parts[2]
    close(kept[0][1].values, expected)


def test_transparent_positions_of_the_style_are_not_seen(backend):
    pixels = scene(128, 64, 3)
    opacity = np.full((64, 128), 255, np.uint8)
    opacity[:, 64:] = 0
    found = encode(backend, SANet(), SANetSettings(), Image.of(pixels, opacity, multiple=16))
    assert {name: each.values.shape[2:] for name, each in found.parts[0][1].items()} == {
        "keys4": (1, 64), "values4": (1, 64), "keys5": (1, 16), "values5": (1, 16),
    }  # fmt: skip


def test_the_published_layout_loads_strictly(published):
    tensors = from_published(published)
    fill_strictly(Networks.like, tensors, "sanet")
    with pytest.raises(QuantArtError, match=r"lacks the tensor transform\.sanet5_1\.g\.bias"):
        fill_strictly(
            Networks.like, from_published({n: v for n, v in published.items() if n != "sanet5_1.g.bias"}), "sanet"
        )
    with pytest.raises(QuantArtError, match=r"too many, 30\.weight"):
        fill_strictly(Networks.like, from_published({**published, "30.weight": torch.zeros(1)}), "sanet")
    with pytest.raises(QuantArtError, match=r"decoder.conv4_1.bias has shape \[5\], not \[256\]"):
        fill_strictly(Networks.like, from_published({**published, "1.bias": torch.zeros(5)}), "sanet")


def test_half_of_the_published_files_is_refused(model_file, tmp_path):
    with pytest.raises(QuantArtError, match=r"lacks the tensor decoder\.conv4_1\.weight"):
        convert(model_file.with_name("transformer.pth"), tmp_path / "half.safetensors")
    decoder = model_file.with_name("decoder.pth")
    with pytest.raises(QuantArtError, match=r"the tensor 1\.weight is in another of these files"):
        convert(decoder, tmp_path / "twice.safetensors", more=[decoder])


def test_weights_that_are_not_here():
    with pytest.raises(QuantArtError, match=r"transformer_iter_500000\.pth") as caught:
        quantart.load("sanet", device="cpu", precision="fp32")
    assert "\n" not in str(caught.value)
