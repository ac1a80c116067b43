"""OpenVINO paints what torch paints, without torch, with stages that are exported once."""

import os
import subprocess
import sys
from importlib.util import find_spec

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import quantart_cli as quantart
from quantart_cli.checkpoints import cache
from quantart_cli.checkpoints.manifest import artefact
from quantart_cli.checkpoints.models import ModelFile, embedded_model
from quantart_cli.device import DeviceSpec
from quantart_cli.errors import QuantArtError
from quantart_cli.images import read_picture
from quantart_cli.methods.adain import DECODE, AdaINSettings
from quantart_cli.methods.quantart import QUANTIZE, QuantArt, QuantArtSettings
from quantart_cli.runner import Image
from tests.conftest import scene
from tests.exact import encode
from tests.quantart_toy import MEASURE

pytestmark = pytest.mark.skipif(find_spec("openvino") is None, reason="OpenVINO is not installed")
if find_spec("openvino") is not None:
    from quantart_cli.backends import openvino_backend
    from quantart_cli.backends.openvino_backend import OpenVINOBackend

METHODS = {
    "adain": ("adain", [AdaINSettings(alpha) for alpha in (0.0, 0.7, 1.0)]),
    "art": ("quantart", [QuantArtSettings(*each, codebook="art") for each in ((0.7, 0.5), (0.0,), (1.0,))]),
    "style": ("quantart", [QuantArtSettings(*each) for each in ((0.7, 0.5), (0.7, 1.0), (1.0, 1.0, "style", "none"))]),
}
"""The three forms of painting that OpenVINO computes: the method, and settings."""


def picture(width, height, seed=1, alpha=False):
    rgb = scene(width, height, seed)
    if not alpha:
        return read_picture(rgb)
    opacity = np.uint8(np.linspace(0, 255, width) * np.ones((height, 1)))
    return read_picture(np.dstack([rgb, opacity]))


@pytest.fixture(scope="session")
def exported(tmp_path_factory):
    """A cache for the exported stages, shared by all tests that do not ask for an empty one."""
    return tmp_path_factory.mktemp("networks")


@pytest.fixture(autouse=True)
def _cache(exported, monkeypatch):
    monkeypatch.setenv("QUANTART_CACHE", str(exported))


@pytest.fixture(scope="session")
def pairs():
    """Method -> the model of OpenVINO and that of torch, in float32."""
    return {name: (load(name), load(name, backend="torch")) for name in ("adain", "quantart")}


def load(method, precision="fp32", backend="openvino", **options):
    return quantart.load(method, device="cpu", precision=precision, backend=backend, **options)


def both(models, content, styles, settings, weights=None, **options):
    """What both paint, (H, W, 3) int each."""
    painted = (
        model.paint(content, model.encode_style(styles, weights=weights, settings=settings), settings, **options)
        for model in models
    )
    return [each.picture.rgb.astype(int) for each in painted]


def assert_same(found, expected, rounded=0.01):
    """They differ by a level at most, where rounding falls the other way; an entry on a tie may be another one."""
    assert (np.abs(found - expected) > 1).mean() < 1e-3
    assert (found != expected).mean() < rounded


@pytest.mark.parametrize("size", [(16, 5), (37, 50), (130, 96)])
@pytest.mark.parametrize("form", METHODS)
def test_same_pictures_in_float32(pairs, form, size):
    method, several = METHODS[form]
    for settings in several:
        assert_same(*both(pairs[method], picture(*size), [picture(75, 61, 7)], settings))


@pytest.mark.parametrize("form", METHODS)
def test_same_with_the_smallest_pictures(pairs, form):
    method, several = METHODS[form]
    assert_same(*both(pairs[method], picture(20, 9), [picture(1, 1, 7)], several[1]))
    assert_same(*both(pairs[method], picture(1, 1), [picture(9, 9, 7)], several[1]))


@pytest.mark.parametrize("preserve_color", ["none", "luma", "match"])
@pytest.mark.parametrize("form", METHODS)
def test_same_with_transparency_several_styles_and_colours(pairs, form, preserve_color):
    method, several = METHODS[form]
    content, styles = picture(101, 77, alpha=True), [picture(60, 80, 3), picture(90, 50, 4, alpha=True)]
    options = {"weights": [3, 1], "preserve_color": preserve_color}
    assert_same(*both(pairs[method], content, styles, several[1], **options))


@pytest.mark.parametrize("form", METHODS)
def test_tiles_change_nothing(pairs, form):
    method, several = METHODS[form]
    model, settings = pairs[method][0], several[-1]
    content = picture(230, 150, alpha=True)
    style = model.encode_style([picture(80, 60, 7)], settings=settings)
    whole, tiled = (model.paint(content, style, settings, tile=tile).picture.rgb for tile in (None, 72))
    assert_same(tiled.astype(int), whole.astype(int))


def test_the_network_of_the_usual_fidelity_is_that_of_any(pairs):
    """At 0.7 its weights are constants."""
    model, content, style = pairs["quantart"][0], picture(75, 50), picture(60, 80, 3)
    usual, other = (both((model,), content, [style], QuantArtSettings(fidelity))[0] for fidelity in (0.7, 0.700001))
    assert {"decode-painted", "decode-painted-usual"} <= set(model.backend._networks)
    assert_same(usual, other)


@pytest.mark.parametrize("form", METHODS)
def test_bf16_is_as_near_to_float32_as_torchs(pairs, form):
    """On a machine without bf16 OpenVINO computes in float32, which is nearer still; its maps are bf16 all the same."""
    method, several = METHODS[form]
    fast, slow = load(method), load(method, "bf16", "torch")
    spec = DeviceSpec("cpu", "bf16", "tests", "openvino")
    fast = type(fast)(fast.method, fast._target, spec, fast._files, (), OpenVINOBackend)
    styles, settings, errors = [picture(80, 60, 7)], several[1], np.zeros(2)
    for content in (picture(256, 200), picture(130, 96)):  # of several pictures: a few matches fall the other way
        found, expected = both((fast, slow), content, styles, settings)
        exact = both(pairs[method][1:], content, styles, settings)[0]
        errors += [np.square(painted - exact).mean() for painted in (found, expected)]
    assert errors[0] <= 1.5 * errors[1] + 0.1
    style = fast.encode_style(styles, settings=settings)
    tiled = fast.paint(content, style, settings, tile=64)
    assert tiled.precision == "bf16"
    # Weights of matched entries are stored in bf16, and some are rounded the other way.
    assert_same(tiled.picture.rgb.astype(int), found, 0.05 if form == "style" else 0.01)


def test_style_entries_in_bf16_are_those_of_float32(pairs):
    """Keys are stored in bf16, and are a little shorter: each position is still left out of its own neighbours."""
    model = pairs["quantart"][1]
    spec, settings = DeviceSpec("cpu", "bf16", "tests", "openvino"), QuantArtSettings()
    half = type(model)(model.method, model._target, spec, model._files, (), OpenVINOBackend)
    exact, found = (encode(each.backend, QuantArt(), settings, Image.of(scene(80, 60, 7))) for each in (model, half))
    assert np.array_equal(found.places, exact.places)
    assert np.abs(found.keys - exact.keys).max() < 0.01
    assert np.abs(found.penalty - exact.penalty).max() < 0.01


def test_what_overflows_in_bf16_is_computed_again_in_float32(pairs, monkeypatch):
    model = pairs["adain"][0]
    spec = DeviceSpec("cpu", "bf16", "tests", "openvino")
    fast = type(model)(model.method, model._target, spec, model._files, (), OpenVINOBackend)
    content, settings = picture(40, 30), AdaINSettings()
    style = fast.encode_style([picture(80, 60, 7)])
    whole = fast.backend.prepare(DECODE)
    monkeypatch.setitem(fast.backend._networks, DECODE.name, lambda *x: (whole(*x)[0] * np.float32("inf"),))
    painted = fast.paint(content, style, settings)
    assert painted.precision == "fp32"
    assert "overflowed" in painted.notes[0]
    expected = both((model,), content, style.pictures, settings)[0]
    assert np.array_equal(painted.picture.rgb, expected)


def test_memory_that_runs_out_is_noted_and_halved(pairs, monkeypatch):
    model = pairs["adain"][0]
    content, style, settings = picture(200, 130), model.encode_style([picture(80, 60, 7)]), AdaINSettings()
    expected = model.paint(content, style, settings).picture.rgb
    whole, calls = model.backend.prepare(DECODE), iter(range(100))

    class Fragile:
        compiled = whole.compiled

        def __call__(self, *inputs):
            if next(calls) == 0:
                raise RuntimeError("std::bad_alloc")
            return whole(*inputs)

    monkeypatch.setitem(model.backend._networks, DECODE.name, Fragile())
    painted = model.paint(content, style, settings)
    assert len(painted.notes) == 1
    assert_same(painted.picture.rgb.astype(int), expected.astype(int))


def test_networks_of_styles_and_of_many_tiles_are_dropped(pairs):
    fast = pairs["quantart"][0]
    model = type(fast)(fast.method, fast._target, fast.spec, fast._files, (), OpenVINOBackend)
    settings, loaded = QuantArtSettings(brush="none"), model.backend._networks
    content = picture(150, 150)
    style = model.encode_style([picture(60, 80, 3)], settings=settings)
    assert set(loaded) == {"encode-style", "keys", "hubness"}
    few = model.paint(content, style, settings, tile=80).picture.rgb
    assert set(loaded) == {"encode-content", "match", "decode-painted-usual"}
    many = model.paint(content, style, settings, tile=64).picture.rgb
    assert not loaded
    assert_same(many.astype(int), few.astype(int))


@pytest.fixture(scope="session")
def own(tmp_path_factory):
    """A codebook with a decoder of its own: the embedded one, and AdaIN's decoder with other weights."""
    tensors, numbers = load_file(artefact("quantart-vgg19").path), torch.Generator().manual_seed(0)
    for name, value in load_file(artefact("adain-decoder").path).items():
        noise = torch.randn(value.shape, generator=numbers)
        tensors[f"decoder.{name}"] = (value.float() * (1 + 0.2 * noise)).to(value.dtype)
    path = tmp_path_factory.mktemp("own") / "own.safetensors"
    save_file(tensors, path, {"kind": "quantart-vgg19"})
    return ModelFile("own.safetensors", path, "quantart-vgg19")


def test_a_codebook_with_its_own_decoder(pairs, own):
    models = load("quantart", model=own), load("quantart", backend="torch", model=own)
    content, styles = picture(70, 96), [picture(80, 60, 7)]
    for alpha in (0.0, 0.3, 1.0):
        found, expected = both(models, content, styles, QuantArtSettings(alpha))  # auto is art: a codebook was given
        assert_same(found, expected)
        plain = both(pairs["quantart"][:1], content, styles, QuantArtSettings(alpha, codebook="art"))[0]
        assert (np.abs(found - plain).mean() > 1) == (alpha > 0)  # its decoder is at work


def test_a_style_of_another_model_is_refused(pairs):
    style = pairs["adain"][0].encode_style([picture(20, 20)])
    for model in (pairs["quantart"][0], pairs["adain"][1]):
        with pytest.raises(QuantArtError, match="another model"):
            model.paint(picture(20, 20), style, model.method.settings())


def test_maps_of_bf16_are_read_as_float32():
    values = np.float32([0, -1.5, 3.14159, 1e-30, np.inf, -np.inf, 65504, np.nan])
    expected = torch.from_numpy(values).bfloat16()
    backend = OpenVINOBackend(DeviceSpec("cpu", "bf16", "tests", "openvino"), {})
    found = backend.numpy(expected.view(torch.uint16).numpy())
    assert np.array_equal(found, expected.float().numpy(), equal_nan=True)


PAINT = """
import sys
import numpy as np
import quantart_cli as quantart
model = quantart.load({method!r}, device="cpu", precision="fp32")
assert model.spec.backend == "openvino", model.spec
picture = np.zeros((30, 40, 3), np.uint8)
model.stylize(picture, picture)
print(sorted({{"torch", "torchvision", "openvino_telemetry", "requests", "rich"}} & set(sys.modules)))
"""


@pytest.mark.parametrize("method", ["adain", "quantart"])
def test_torch_is_not_imported_and_nothing_is_reported(pairs, method):
    settings = METHODS["style" if method == "quantart" else "adain"][1][1]
    both(pairs[method][:1], picture(20, 20), [picture(20, 20)], settings)  # exported by now
    done = subprocess.run(
        [sys.executable, "-c", PAINT.format(method=method)], capture_output=True, text=True, check=True, env=os.environ
    )
    assert done.stdout.strip() == "[]"
    assert "openvino_telemetry" not in sys.modules


# The cache: with the smallest networks.


@pytest.fixture
def empty(tmp_path, monkeypatch):
    """A cache without anything."""
    monkeypatch.setenv("QUANTART_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def backend(notices=None, **files):
    notify = (lambda _: None) if notices is None else notices.append
    own = {"codebook": embedded_model("quantart-vgg19"), **files}
    return OpenVINOBackend(DeviceSpec("cpu", "fp32", "tests", "openvino"), own, notify)


def blobs(folder):
    return sorted(folder.rglob("*.blob"))


def test_a_stage_is_exported_once(empty):
    for expected in (1, 0):
        notices = []
        made = backend(notices)
        made.prepare(MEASURE)
        made.prepare(MEASURE)
        assert len(notices) == expected
        assert len(blobs(empty)) == 1


@pytest.mark.parametrize("damage", [lambda good: good[:1000] + b"x" + good[1001:], lambda _: b""])
def test_damaged_files_are_exported_again(empty, damage):
    backend().prepare(MEASURE)
    (blob,) = blobs(empty)
    good = blob.read_bytes()
    blob.write_bytes(damage(good))
    notices = []
    backend(notices).prepare(MEASURE)
    assert len(notices) == 1
    assert len(blobs(empty)) == 1


def test_other_code_is_exported_again(empty, monkeypatch):
    backend().prepare(MEASURE)
    monkeypatch.setattr(openvino_backend, "_code", lambda _: "of another version")
    notices = []
    backend(notices).prepare(MEASURE)
    assert len(notices) == 1


def test_what_openvino_cannot_read_is_exported_again(empty):
    """Bytes that agree with the record, and are no network."""
    made = backend()
    key = made._key(MEASURE, "fp32", "fp32")
    with cache.writing(key) as folder:
        place = cache.temporary(folder, ".blob")
        place.write_bytes(b"no network")
        digest = cache.sha256_of(place)
        cache.install(key, place, "x.blob", sha256=digest, kind="openvino", source=made._made_from(MEASURE))
    made.prepare(MEASURE)
    notices = []
    backend(notices).prepare(MEASURE)
    assert notices == []


EXPORT = """
from quantart_cli.backends.openvino_backend import OpenVINOBackend
from quantart_cli.device import DeviceSpec
from tests.quantart_toy import MEASURE
OpenVINOBackend(DeviceSpec("cpu", "fp32", "tests", "openvino"), {}, print).prepare(MEASURE)
"""


def test_two_processes_may_export_at_once(empty):
    two = [subprocess.Popen([sys.executable, "-c", EXPORT], env=os.environ, stdout=-3) for _ in range(2)]
    assert [process.wait(120) for process in two] == [0, 0]
    assert len(blobs(empty)) == 1
    notices = []
    backend(notices).prepare(MEASURE)
    assert notices == []


def test_a_cache_that_cannot_be_written_is_no_obstacle(empty):
    empty.write_text("a file, no folder")
    made = backend()
    image, weight = np.zeros((1, 3, 20, 30), np.float32), np.ones((1, 1, 20, 30), np.float32)
    assert made.prepare(MEASURE)(image, weight)[0].shape == (1, 3, 20, 30)
    assert empty.is_file()


def test_auto_takes_openvino_where_it_computes_the_method(monkeypatch):
    monkeypatch.setattr("quantart_cli.model.may_have_gpu", lambda: False)
    monkeypatch.setattr("quantart_cli.model.has_amx", lambda: False)
    assert quantart.load("adain", precision="fp32").spec.backend == "openvino"
    assert quantart.load("gatys", precision="fp32").spec.backend == "torch"
    assert quantart.load("adain", device="cpu", precision="fp32", backend="torch").spec.backend == "torch"


def test_a_persons_own_file_is_known_by_its_bytes(tmp_path, empty):
    own = ModelFile("own.safetensors", tmp_path / "own.safetensors", "quantart-vgg19")
    with pytest.raises(QuantArtError, match="cannot be read"):
        backend(codebook=own).prepare(QUANTIZE)
    own.path.write_bytes(artefact("quantart-vgg19").path.read_bytes())
    backend().prepare(QUANTIZE)
    notices = []
    backend(notices, codebook=own).prepare(QUANTIZE)
    assert notices == []


@pytest.mark.parametrize(
    ("method", "options", "message"),
    [
        ("gatys", {}, "does not compute this form of gatys"),
        ("adain", {"precision": "fp16"}, "fp16"),
        ("adain", {"device": "cuda"}, "not on cuda"),
        ("adain", {"precision": "bf-16"}, "did you mean bf16"),
    ],
)
def test_what_it_does_not_compute(method, options, message):
    with pytest.raises(QuantArtError, match=message):
        quantart.load(method, backend="openvino", **options)


def test_precisions_it_has():
    assert openvino_backend.choose("fp32").backend == "openvino"
    assert openvino_backend.choose().precision in ("fp32", "bf16")
    with pytest.raises(QuantArtError, match="fp16"):
        openvino_backend.choose("fp16")
