"""AdaAttN: recorded parity with filled weights, the published layouts, tiles, drawn positions, and sharp attention."""

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
from quantart_cli.methods.adaattn import AdaAttN, AdaAttNSettings, AdaAttNVideo, drawn
from quantart_cli.nets.adaattn import (
    AdaAttNNetworks,
    VideoNetworks,
    cosine_statistics,
    from_published,
    keys_of,
    softmax_statistics,
)
from quantart_cli.nets.statistics import mean_and_deviation, normalised
from quantart_cli.nets.vgg import VGG19
from quantart_cli.runner import Image
from quantart_cli.tiling import Tiler
from tests.conftest import DATA, EXACT, scene
from tests.exact import encode, paint
from tests.fill import filled

FORMS = {
    "adaattn": (AdaAttN, AdaAttNSettings, AdaAttNNetworks, ("adaattn_3", "adaattn_transformer", "adaattn_decoder")),
    "adaattn-video": (
        AdaAttNVideo,
        AdaAttNSettings,
        VideoNetworks,
        ("adaattn_video_transformer", "adaattn_video_decoder"),
    ),
}
LAYERS = ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1")


@pytest.fixture(scope="module")
def model_files(tmp_path_factory):
    """Converted from several files, as they are published; those of the first form as DataParallel names them."""
    found = {}
    for kind, (*_, cases) in FORMS.items():
        folder = tmp_path_factory.mktemp(kind)
        for case in cases:
            state = filled(case)
            if kind == "adaattn":
                state = {f"module.{name}": value for name, value in state.items()}
            torch.save(state, folder / f"{case}.pth")
        first, *more = (folder / f"{case}.pth" for case in cases)
        found[kind] = folder / f"{kind}.safetensors"
        assert convert(first, found[kind], more=more).kind == kind
    return found


@pytest.fixture(scope="module")
def backends(model_files):
    """With the VGG-19 that the numbers were recorded with."""
    path = model_files["adaattn"].with_name("vgg.safetensors")
    safetensors.torch.save_file(vgg19_from_published(filled("vgg_filled")), path)
    vgg = ModelFile("vgg", path, "vgg19-normalised")
    return {
        kind: TorchBackend(EXACT, {"vgg": vgg, "adaattn": ModelFile(kind, file, kind)})
        for kind, file in model_files.items()
    }


@pytest.fixture(scope="module")
def recorded():
    found = safetensors.torch.load_file(DATA / "adaattn.safetensors")
    return {name: value.float() / 255 if value.dtype == torch.uint8 else value for name, value in found.items()}


@pytest.fixture(scope="module")
def features(backends, recorded):
    """Of the recorded pictures; the style's are not mirrored in the authors' program."""
    vgg = backends["adaattn"].network("vgg", VGG19)
    with torch.inference_mode():
        return {name: vgg(recorded[name], LAYERS) for name in ("content", "style")}


def close(found, expected):
    assert found.shape == expected.shape
    assert (found - expected).abs().max() < 1e-4 * max(1, float(expected.abs().max()))


def keys(features, layer):
    """Normalised keys, and their moments."""
    found = keys_of(features, layer)
    return found, *mean_and_deviation(found)


@pytest.mark.parametrize(
    ("layer", "name"), [("relu3_1", "adaattn_3"), ("relu4_1", "adaattn_4_1"), ("relu5_1", "adaattn_5_1")]
)
def test_parity_of_each_attention(backends, features, recorded, layer, name):
    attention = backends["adaattn"].network("adaattn", AdaAttNNetworks).attention[layer]
    with torch.inference_mode():
        style = attention.keys_and_values(*keys(features["style"], layer))
        close(attention(*keys(features["content"], layer), *style)[:, ::8], recorded[f"{name}_every8th"])
    if layer == "relu4_1":
        close(normalised(*keys(features["style"], layer))[:, ::8], recorded["key4_1_style_every8th"])


def test_parity_of_drawn_positions(backends, features, recorded):
    places = drawn(np.arange(63), 40)
    assert places.tolist() == recorded["sample_index_63_40_seed6666"].tolist()
    order = torch.randperm(70_000, generator=torch.Generator().manual_seed(6666))
    assert drawn(np.arange(70_000), 4096).tolist() == order[:4096].tolist()
    attention = backends["adaattn"].network("adaattn", AdaAttNNetworks).attention["relu4_1"]
    with torch.inference_mode():
        style = attention.keys_and_values(*keys(features["style"], "relu4_1"))
        some = [each.flatten(2)[:, :, None, places] for each in style]
        found = attention(*keys(features["content"], "relu4_1"), *some)
    close(found[:, ::8], recorded["adaattn_4_1_sampled40_seed6666_every8th"])


def test_parity_of_the_picture(backends, features, recorded):
    networks = backends["adaattn"].network("adaattn", AdaAttNNetworks)
    kept = []
    handle = networks.merge_conv.register_forward_hook(lambda *call: kept.append(call[-1]))
    with torch.inference_mode():
        close(networks(features["content"], features["style"]), recorded["output"])
    handle.remove()
    close(kept[0][:, ::8], recorded["transformer_every8th"])


def test_parity_of_the_picture_for_video(backends, features, recorded):
    networks = backends["adaattn-video"].network("adaattn", VideoNetworks)
    kept = []
    handle = networks.decoder.register_forward_hook(lambda _, inputs, __: kept.append(inputs[0]))
    with torch.inference_mode():
        close(networks(features["content"], features["style"]), recorded["video_output"])
    handle.remove()
    close(kept[0][:, ::8], recorded["video_transformer_every8th"])


@pytest.mark.parametrize("kind", FORMS)
def test_stages_paint_what_the_networks_do(backends, kind):
    """Pictures whose sides are multiples of the strides need no mirroring."""
    method, settings, networks, _ = FORMS[kind]
    content, style = (torch.from_numpy(scene(*size)).permute(2, 0, 1)[None] for size in ((64, 48), (48, 80)))
    vgg, whole = backends[kind].network("vgg", VGG19), backends[kind].network("adaattn", networks)
    with torch.inference_mode():
        expected = whole(*(vgg(picture.float() / 255, LAYERS) for picture in (content, style)))
    encoded = encode(backends[kind], method(), settings(), style)
    close(paint(backends[kind], method(), content, encoded, settings()), expected)


@pytest.mark.parametrize("kind", ["adaattn-video"])  # the other form: tests/methods/test_every_method.py
def test_tiles_do_not_change_the_picture(backends, kind):
    method, settings = FORMS[kind][0](), FORMS[kind][1]()
    pictures = [
        Image.of(scene(*size), multiple=method.multiple, smallest=method.smallest) for size in ((128, 48), (40, 50))
    ]
    whole, tiled = (
        paint(
            backends[kind],
            method,
            pictures[0],
            encode(backends[kind], method, settings, pictures[1], tiler=Tiler(side)),
            settings,
            tiler=Tiler(side),
        )
        for side in (None, 64)
    )
    assert (tiled - whole).abs().max() < 1e-3 * float(whole.abs().max())


def test_samples_of_the_style(backends):
    backend, method = backends["adaattn"], AdaAttN()
    style = Image.of(scene(64, 48), multiple=16, smallest=32)
    counts = {}
    for samples in (0, 50):
        maps = encode(backend, method, AdaAttNSettings(samples=samples), style).parts[0][1]
        counts[samples] = {name: each.size[0] * each.size[1] for name, each in maps.items()}
    assert counts[0]["keys3"] == counts[0]["values3"] == 16 * 12
    assert counts[50] == {**counts[0], "keys3": 50, "values3": 50}


def test_transparent_positions_of_the_style_are_not_seen(backends):
    pixels, opacity = scene(64, 64, 3), np.full((64, 64), 255, np.uint8)
    opacity[:, 32:] = 0
    found = encode(backends["adaattn"], AdaAttN(), AdaAttNSettings(), Image.of(pixels, opacity, multiple=16))
    assert [each.size for each in found.parts[0][1].values()] == [(1, n) for n in (128, 128, 32, 32, 8, 8)]


def by_definition(weights, values):
    weights, values = weights.double() / weights.double().sum(2, keepdim=True), values.double()
    mean = weights @ values
    return mean, torch.stack(
        [
            ((w[:, :, None] * (values[i][None] - m[:, None]).square()).sum(1)).sqrt()
            for i, (w, m) in enumerate(zip(weights, mean, strict=True))
        ]
    )


@pytest.mark.parametrize("sharp", [0.1, 1.0, 6.0])
def test_statistics_by_attention_keep_their_digits(sharp):
    """With attention to nearly one position E[v²] - E[v]² in float32 is nothing but rounding."""
    generator = torch.Generator().manual_seed(0)
    q, k = (torch.randn(2, n, 16, generator=generator) for n in (30, 40))
    v = torch.randn(2, 40, 8, generator=generator) + 3
    scores = (sharp * q).double() @ k.double().mT
    expected = by_definition((scores - scores.amax(2, keepdim=True)).exp(), v)
    found = softmax_statistics(sharp * q, k, v)
    torch.testing.assert_close(found[0].double(), expected[0], rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(found[1].double(), expected[1], rtol=2e-4, atol=1e-6)


def test_cosine_statistics_are_those_of_the_weights():
    generator = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(2, n, c, generator=generator) for n, c in ((30, 16), (40, 16), (40, 8)))
    weights = 1 + torch.nn.functional.cosine_similarity(q[:, :, None], k[:, None], dim=3)
    for found, expected in zip(cosine_statistics(q, k, v), by_definition(weights, v), strict=True):
        torch.testing.assert_close(found.double(), expected, rtol=1e-4, atol=1e-5)


def test_memory_does_not_grow_with_the_square(monkeypatch):
    """Queries are taken a few at a time: no map of all similarities."""
    q = torch.randn(1, 50, 4)
    expected = softmax_statistics(q, q, q)
    monkeypatch.setattr("quantart_cli.nets.adaattn._NUMBERS", 200)  # 4 rows at a time
    sizes = []
    real = torch.Tensor.scatter
    monkeypatch.setattr(torch.Tensor, "scatter", lambda self, *rest: sizes.append(self.numel()) or real(self, *rest))
    for found, wanted in zip(softmax_statistics(q, q, q), expected, strict=True):
        torch.testing.assert_close(found, wanted)
    assert max(sizes) == 200


def test_the_published_layouts_load_strictly():
    state = {name: value for case in FORMS["adaattn"][-1] for name, value in filled(case).items()}
    fill_strictly(AdaAttNNetworks.like, from_published(state), "adaattn")
    for name, changed, message in (
        ("attn_adain_5_1.g.bias", None, r"lacks the tensor attention\.relu5_1\.g\.bias"),
        ("f.bias", torch.zeros(5), r"attention\.relu3_1\.f\.bias has shape \[5\], not \[448\]"),
        ("decoder_layer_3.0.weight", torch.zeros(1), r"too many, decoder_layer_3\.0\.weight"),
    ):
        wrong = {key: value for key, value in {**state, name: changed}.items() if value is not None}
        with pytest.raises(QuantArtError, match=message):
            fill_strictly(AdaAttNNetworks.like, from_published(wrong), "adaattn")


def test_one_published_file_of_several_is_refused(model_files, tmp_path):
    with pytest.raises(QuantArtError, match=r"lacks the tensor attention\.relu3_1\."):
        convert(model_files["adaattn"].with_name("adaattn_transformer.pth"), tmp_path / "part.safetensors")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("kind", "size"), [("adaattn-video", (33, 31))])
def test_any_size_through_the_api(model_files, kind, size):
    model = quantart.load("adaattn", model=model_files[kind], device="cpu", precision="fp32")
    assert type(model.program) is FORMS[kind][0]
    assert model.stylize(scene(*size), scene(5, 3), alpha=0.5).size == size


def test_weights_that_are_not_here():
    with pytest.raises(QuantArtError, match=r"latest_net_adaattn_3\.pth") as caught:
        quantart.load("adaattn", device="cpu", precision="fp32")
    assert "\n" not in str(caught.value)
