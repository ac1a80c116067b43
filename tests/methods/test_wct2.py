"""WCT2: recorded parity with filled weights in both forms, the published layout, tiles, opacity, and places."""

import json

import numpy as np
import PIL.Image
import pytest
import safetensors.torch
import torch
import torch.nn.functional as F

import quantart_cli as quantart
from quantart_cli.backends.torch_backend import TorchBackend
from quantart_cli.checkpoints.convert import convert
from quantart_cli.checkpoints.models import ModelFile, embedded_model
from quantart_cli.errors import QuantArtError
from quantart_cli.methods.wct2 import WCT2, WCT2Cat5, WCT2Settings, _covariance, _range, parse_places
from quantart_cli.nets.wct2 import pool, unpool, unpool_each
from quantart_cli.runner import Image, MapOf, Runner
from quantart_cli.tiling import Tiler
from tests.conftest import DATA, EXACT, scene
from tests.exact import encode, paint
from tests.fill import fill

FORMS = {"sum": WCT2, "cat5": WCT2Cat5}


def filled(case):
    """The tensors of a case, by their published names."""
    case = json.loads((DATA / f"wct2_{case}_keys.json").read_text())
    state = fill(case["state_dict"], case["salt"])
    for name, gain in case["gain"].items():
        state[name] *= gain
    for name, values in case.get("set", {}).items():
        state[name] = torch.tensor(values).view(case["state_dict"][name]).float()
    for name, shape in case["state_dict"].items():
        if (band := name.split(".")[-2]) in case["haar"]:
            state[name] = torch.tensor(case["haar"][band]).expand(shape).clone()
    return state


@pytest.fixture(scope="module")
def recorded():
    return safetensors.torch.load_file(DATA / "wct2.safetensors")


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """The authors' two files of each form."""
    folder, found = tmp_path_factory.mktemp("wct2"), {}
    for form in FORMS:
        found[form] = [folder / f"wave_{part}_{form}_l4.pth" for part in ("encoder", "decoder")]
        for part, path in zip(("encoder", "decoder"), found[form], strict=True):
            torch.save(filled(f"{part}_{form}"), path)
    return found


@pytest.fixture(scope="module")
def backends(published):
    """A backend with each form, converted."""
    found = {}
    for form, files in published.items():
        path = files[0].with_name(f"{form}.safetensors")
        kind = convert(files[0], path, more=files[1:]).kind
        assert kind == {"sum": "wct2", "cat5": "wct2-cat5"}[form]
        found[form] = TorchBackend(
            EXACT, {"vgg": embedded_model("vgg19-normalised"), "wct2": ModelFile(form, path, kind)}
        )
    return found


def painted(backend, form, recorded, transfer, alpha, tile=None):
    method, settings = FORMS[form](), WCT2Settings(transfer=transfer, alpha=alpha)
    images = (recorded[name][0].permute(1, 2, 0).numpy() for name in ("content", "style"))
    content, style = (Image.of(np.ascontiguousarray(each), multiple=8) for each in images)
    return paint(backend, method, content, encode(backend, method, settings, style), settings, tiler=Tiler(tile))


@pytest.mark.parametrize(
    ("form", "transfer", "alpha", "name"),
    [
        ("cat5", "all", 1.0, "cat5_all_alpha1"),
        ("cat5", "all", 0.5, "cat5_all_alpha0.5"),
        ("cat5", "encoder", 1.0, "cat5_encoder_alpha1"),
        ("cat5", "skip", 1.0, "cat5_skip_alpha1"),
        ("cat5", "decoder", 1.0, "cat5_decoder_alpha1"),
        ("cat5", "decoder,skip", 1.0, "cat5_decoder_skip_alpha1"),
        ("cat5", "none", 1.0, "cat5_reconstruction"),
        ("cat5", "all", 0.0, "cat5_reconstruction"),
        ("sum", "all", 1.0, "sum_all_alpha1"),
        ("sum", "none", 1.0, "sum_reconstruction"),
    ],
)
def test_parity(backends, recorded, form, transfer, alpha, name):
    found = painted(backends[form], form, recorded, transfer, alpha)[..., ::2, ::2]
    assert (found - recorded[name]).abs().max() < 1e-4 * max(1, float(recorded[name].abs().max()))


def test_tiles_do_not_change_the_picture(backends, recorded):
    whole, tiled = (painted(backends["cat5"], "cat5", recorded, "all", 0.7, tile) for tile in (None, 40))
    assert (whole - tiled).abs().max() < 1e-4


def test_pooling_is_that_of_the_recorded_kernels():
    x = torch.randn(1, 3, 6, 8)
    kernels = json.loads((DATA / "wct2_encoder_sum_keys.json").read_text())["haar"]
    bands, zero = pool(x), torch.zeros(1, 3, 3, 4)
    for i, name in enumerate(("LL", "LH", "HL", "HH")):
        kernel = torch.tensor(kernels[name]).expand(3, 1, 2, 2)
        torch.testing.assert_close(bands[i], F.conv2d(x, kernel, stride=2, groups=3))
        alone = unpool(*(band if i == j else zero for j, band in enumerate(bands)))
        torch.testing.assert_close(alone, F.conv_transpose2d(bands[i], kernel, stride=2, groups=3))
        torch.testing.assert_close(alone, unpool_each(*bands)[:, 3 * i : 3 * i + 3])
    torch.testing.assert_close(unpool(*bands), x)


def test_invisible_positions_do_not_count(backends):
    rng = np.random.default_rng(0)
    z = MapOf(torch.from_numpy(rng.normal(size=(1, 64, 16, 16)).astype(np.float32)), 2)
    z.values[..., 8:] = 100
    opacity = np.zeros((32, 32), np.uint8)
    opacity[:, :16] = 255
    image, run = Image.of(scene(32, 32), opacity), Runner(backends["sum"], Tiler())
    seen = z.values[0, :, :, :8].flatten(1).numpy()
    np.testing.assert_allclose(_covariance(run, z, image).matrix, np.cov(seen), atol=1e-5)
    assert _range(run, z, image) == (seen.min(), seen.max())


def test_places():
    assert parse_places("all") == {"encoder", "skip", "decoder"}
    assert parse_places("skip, decoder") == {"skip", "decoder"}
    with pytest.raises(QuantArtError, match="'decode' is not known: did you mean decoder"):
        WCT2Settings(transfer="skip,decode")


def test_only_the_places_that_are_needed_are_measured(backends, recorded):
    style = Image.of(scene(48, 40), multiple=8)
    for transfer, count in (("none", 0), ("skip", 9), ("decoder", 4), ("all", 16)):
        found = encode(backends["sum"], WCT2(), WCT2Settings(transfer=transfer), style)
        assert len(found) == count


def converted(files, tmp_path, **changes):
    """The published files with some tensors changed, or left out where the change is None."""
    paths = []
    for path in files:
        state = torch.load(path, weights_only=True)
        state |= {name: value for name, value in changes.items() if name in state or name == "extra"}
        paths.append(tmp_path / path.name)
        torch.save({name: value for name, value in state.items() if value is not None}, paths[-1])
    return convert(paths[0], tmp_path / "out.safetensors", more=paths[1:])


def test_the_published_layout_loads_strictly(published, tmp_path):
    files = published["cat5"]
    assert converted(files, tmp_path).tensors == 36
    with pytest.raises(QuantArtError, match=r"lacks the tensor encoder\.conv2_1\.bias"):
        converted(files, tmp_path, **{"conv2_1.bias": None})
    with pytest.raises(QuantArtError, match=r"decoder\.conv3_4\.weight has shape \[5, 5\]"):
        converted(files, tmp_path, **{"conv3_4_2.weight": torch.zeros(5, 5)})
    with pytest.raises(QuantArtError, match=r"pool2\.LH\.weight is not a Haar kernel"):
        converted(files, tmp_path, **{"pool2.LH.weight": torch.ones(128, 1, 2, 2)})
    with pytest.raises(QuantArtError, match=r"too many, encoder\.extra"):
        converted(files, tmp_path, extra=torch.zeros(1))


def test_half_of_the_published_files_is_refused(published, tmp_path):
    with pytest.raises(QuantArtError, match="lacks the tensor"):
        convert(published["sum"][0], tmp_path / "out.safetensors")
    with pytest.raises(QuantArtError, match="too many"):
        convert(published["sum"][1], tmp_path / "out.safetensors")


@pytest.mark.parametrize("form", FORMS)
def test_both_forms_through_the_api(published, backends, form):
    model = quantart.load("wct2", model=published[form][0].with_name(f"{form}.safetensors"), device="cpu")
    assert isinstance(model.program, FORMS[form])
    assert model.stylize(scene(21, 30), scene(5, 3)).size == (21, 30)


def test_the_weights_that_are_here_reconstruct():
    """Smooth pictures, without a transfer."""
    model = quantart.load("wct2", device="cpu", precision="fp32")
    content = np.asarray(PIL.Image.fromarray(scene(8, 6, 1)).resize((64, 48), PIL.Image.Resampling.BICUBIC))
    for settings in ({"transfer": "none"}, {"alpha": 0.0}):
        found = np.float32(model.stylize(content, scene(40, 40, 2), **settings))
        assert np.abs(found - content).mean() < 16
    other = np.float32(model.stylize(content, np.zeros_like(content)))
    assert np.abs(other - content).mean() > 30
