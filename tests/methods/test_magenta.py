"""Magenta's network: recorded parity with filled weights, the published layout, strength and mixtures."""

import numpy as np
import pytest
import torch

import quantart_cli as quantart
from quantart_cli.backends.torch_backend import TorchBackend
from quantart_cli.checkpoints.convert import convert
from quantart_cli.checkpoints.models import ModelFile
from quantart_cli.errors import QuantArtError
from quantart_cli.methods.magenta import Magenta, MagentaSettings
from quantart_cli.nets.magenta import from_magenta
from quantart_cli.runner import Image
from quantart_cli.tiling import Tiler
from tests import exact
from tests.conftest import EXACT, scene
from tests.fill import filled
from tests.methods.recorded import close, numbers


@pytest.fixture(scope="module")
def published():
    return filled("magenta")


@pytest.fixture(scope="module")
def model_file(published, tmp_path_factory):
    path = tmp_path_factory.mktemp("magenta") / "magenta.safetensors"
    torch.save(published, path.with_suffix(".pth"))
    assert convert(path.with_suffix(".pth"), path).kind == "magenta"
    return path


@pytest.fixture(scope="module")
def method(model_file):
    found = Magenta()
    found.open({"model": ModelFile("magenta", model_file, "magenta")})
    return found


@pytest.fixture(scope="module")
def backend(model_file):
    return TorchBackend(EXACT, {"model": ModelFile("magenta", model_file, "magenta")})


@pytest.fixture(scope="module")
def recorded():
    return numbers("magenta")


def test_parity_of_the_description(method, recorded):
    predictor = method.opened.predictor
    with torch.inference_mode():
        close(predictor.features(recorded["style"])[:, ::8], recorded["mixed_6e"])
        code = predictor(recorded["style"])
        close(code, recorded["bottleneck"])
        scales, shifts = predictor.styles(code)[0]
    close(scales[None], recorded["gammas"])
    close(shifts[None], recorded["betas"])


def test_parity_of_the_picture(method, backend, recorded):
    style = exact.encode(backend, method, MagentaSettings(), recorded["style"])
    np.testing.assert_allclose(style, recorded["bottleneck"], atol=1e-5)
    for alpha, name in ((1.0, "output"), (0.5, "output_half")):
        close(exact.paint(backend, method, recorded["content"], style, MagentaSettings(alpha=alpha)), recorded[name])


def test_tiles_do_not_change_the_picture(method, backend):
    content, style = (Image.of(scene(*size), multiple=4, smallest=48) for size in ((150, 70), (70, 50)))
    settings = MagentaSettings(alpha=0.5)
    encoded = exact.encode(backend, method, settings, style)
    whole, tiled = (
        exact.paint(backend, method, content, encoded, settings, tiler=tiler) for tiler in (None, Tiler(64))
    )
    assert (whole - tiled).abs().max() < 1e-4


def test_styles_are_described_at_256_pixels_and_mixed_by_their_weights(method, backend):
    large = scene(600, 520, 3)
    reduced = torch.nn.functional.interpolate(
        torch.from_numpy(large).permute(2, 0, 1)[None] / 255, (256, 295), mode="bilinear", antialias=True
    )
    codes = [exact.encode(backend, method, MagentaSettings(), Image.of(large)), None]
    with torch.inference_mode():
        np.testing.assert_allclose(codes[0], method.opened.predictor(reduced).numpy(), atol=1e-4)
    codes[1] = exact.encode(backend, method, MagentaSettings(), Image.of(scene(60, 60, 5)))
    mixed = method.blend(None, codes, [0.25, 0.75])
    np.testing.assert_allclose(mixed, 0.25 * codes[0] + 0.75 * codes[1], rtol=1e-6)


def test_the_published_layout_is_strict(published, tmp_path):
    for changed, message in (
        ({"InceptionV3/Mixed_6e/Branch_2/Conv2d_0e_1x7/BatchNorm/beta": None}, "lacks the tensor InceptionV3/Mixed_6e"),
        ({"global_step": torch.zeros(1)}, "a tensor too many, global_step"),
    ):
        torch.save({n: v for n, v in {**published, **changed}.items() if v is not None}, tmp_path / "wrong.pth")
        with pytest.raises(QuantArtError, match=message):
            convert(tmp_path / "wrong.pth", tmp_path / "never.safetensors")
    with pytest.raises(KeyError, match="Conv/biases"):
        from_magenta({name: value for name, value in published.items() if name != "Conv/biases"})


@pytest.mark.parametrize("size", [(1, 1), (33, 51)])
def test_any_size_through_the_api(model_file, size):
    model = quantart.load("magenta", model=model_file, device="cpu", precision="fp32")
    assert model.stylize(scene(*size), scene(5, 3), alpha=0.5).size == size


def test_weights_that_are_not_here():
    with pytest.raises(QuantArtError, match=r"quantart convert arbitrary_style\.pth") as caught:
        quantart.load("magenta", device="cpu", precision="fp32")
    assert "\n" not in str(caught.value)
