"""OpenVINO paints what torch paints, without torch, from networks that are exported once."""

import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from quantart_cli.api import Model
from quantart_cli.checkpoints import cache
from quantart_cli.checkpoints.manifest import artefact
from quantart_cli.checkpoints.models import ModelFile
from quantart_cli.engine.build import weights_of
from quantart_cli.engine.machine import Machine
from quantart_cli.errors import QuantArtError
from quantart_cli.fast import installed
from quantart_cli.images import read_picture
from quantart_cli.methods import features as theirs
from quantart_cli.methods.controls import AdaINControls, QuantArtControls
from quantart_cli.nets import decoder, vgg
from tests.conftest import scene

pytestmark = pytest.mark.skipif(not installed(), reason="OpenVINO is not installed")
if installed():
    from quantart_cli.fast import features, networks, runtime
    from quantart_cli.fast.model import FastModel
    from quantart_cli.fast.widths import floats, halves, rounded

QUANTART = weights_of("quantart")
CONTROLS = {
    "adain": [AdaINControls(alpha) for alpha in (0.0, 0.7, 1.0)],
    "quantart": [QuantArtControls(alpha) for alpha in (0.0, 0.7, 1.0)] + [QuantArtControls(0.7, strength=0.5)],
}


def machine(precision, runtime="openvino"):
    return Machine("cpu", precision, "tests", runtime)


def picture(width, height, seed=1, alpha=False):
    rgb = scene(width, height, seed)
    if not alpha:
        return read_picture(rgb)
    opacity = np.uint8(np.linspace(0, 255, width) * np.ones((height, 1)))
    return read_picture(np.dstack([rgb, opacity]))


@pytest.fixture(scope="session")
def exported(tmp_path_factory):
    """A cache with the embedded weights' networks."""
    folder = tmp_path_factory.mktemp("networks")
    with cache.using(folder):
        for method in ("adain", "quantart"):  # which has a decoder of its own
            networks.export(weights_of(method), "fp32")
    return folder


@pytest.fixture(autouse=True)
def _cache(exported, monkeypatch):
    monkeypatch.setenv("QUANTART_CACHE", str(exported))


@pytest.fixture(scope="session")
def pairs(exported):
    """Method -> the model of OpenVINO and that of torch, in float32."""
    with cache.using(exported):
        return {
            method: (FastModel(method, machine("fp32"), weights_of(method)), Model(method, machine("fp32", "torch")))
            for method in ("adain", "quantart")
        }


def both(models, content, styles, controls, weights=None, **options):
    """What both paint, (H, W, 3) int each."""
    painted = (
        model.paint(content, model.encode_style(styles, weights=weights), controls, **options) for model in models
    )
    return [each.picture.rgb.astype(int) for each in painted]


def assert_same(found, expected):
    """A level apart at most, where rounding falls the other way; a nearest entry on a tie may be another one."""
    assert (np.abs(found - expected) > 1).mean() < 1e-3
    assert (found != expected).mean() < 0.01


def test_what_it_repeats_is_what_torch_has():
    assert (features.REACH, features.DECODER_REACH) == (vgg.REACH, decoder.REACH)
    assert (features.GRAIN, features.SMALLEST) == (vgg.STRIDE, theirs.SMALLEST)


@pytest.mark.parametrize("size", [(1, 1), (37, 50), (130, 96)])
@pytest.mark.parametrize("method", ["adain", "quantart"])
def test_same_pictures_in_float32(pairs, method, size):
    for controls in CONTROLS[method]:
        assert_same(*both(pairs[method], picture(*size), [picture(80, 60, 7)], controls))


@pytest.mark.parametrize("preserve_color", ["none", "luma", "match"])
@pytest.mark.parametrize("method", ["adain", "quantart"])
def test_same_with_transparency_several_styles_and_colours(pairs, method, preserve_color):
    content, styles = picture(101, 77, alpha=True), [picture(60, 80, 3), picture(90, 50, 4, alpha=True)]
    options = {"weights": [3, 1], "preserve_color": preserve_color}
    assert_same(*both(pairs[method], content, styles, CONTROLS[method][1], **options))


@pytest.mark.parametrize("method", ["adain", "quantart"])
def test_tiles_change_nothing(pairs, method):
    model = pairs[method][0]
    content, style = picture(230, 150, alpha=True), model.encode_style([picture(80, 60, 7)])
    whole, tiled = (model.paint(content, style, CONTROLS[method][1], tile=tile).picture.rgb for tile in (None, 72))
    assert_same(tiled.astype(int), whole.astype(int))


@pytest.mark.parametrize("method", ["adain", "quantart"])
def test_bf16_is_as_near_to_float32_as_torchs(pairs, method):
    """On a machine without bf16 OpenVINO computes in float32, which is nearer still."""
    fast = FastModel(method, machine("bf16"), weights_of(method))
    slow = Model(method, machine("bf16", "torch"))
    content, styles, controls = picture(130, 96), [picture(80, 60, 7)], CONTROLS[method][1]
    found, expected = both((fast, slow), content, styles, controls)
    exact = both(pairs[method][1:], content, styles, controls)[0]
    assert np.square(found - exact).mean() <= 1.5 * np.square(expected - exact).mean() + 0.1
    style = fast.encode_style(styles)
    tiled = fast.paint(content, style, controls, tile=64)
    assert tiled.precision == "bf16"
    assert_same(tiled.picture.rgb.astype(int), found)


def test_what_bf16_overflows_is_computed_again_in_float32(pairs, monkeypatch):
    fast = FastModel("adain", machine("bf16"), weights_of("adain"))
    content, style, controls = picture(40, 30), fast.encode_style([picture(80, 60, 7)]), AdaINControls()
    broken = fast._networks["decoder"]
    monkeypatch.setitem(fast._networks, "decoder", lambda z: broken(z) * np.float32("inf"))
    painted = fast.paint(content, style, controls)
    assert painted.precision == "fp32"
    assert "overflowed" in painted.notes[0]
    expected = both(pairs["adain"][:1], content, style.pictures, controls)[0]
    assert np.array_equal(painted.picture.rgb, expected)


def test_memory_that_runs_out_is_told_and_gone_on_with(pairs, monkeypatch):
    model = pairs["adain"][0]
    content, style, controls = picture(200, 130), model.encode_style([picture(80, 60, 7)]), AdaINControls()
    expected = model.paint(content, style, controls).picture.rgb
    whole, calls = model._networks["decoder"], iter(range(100))

    class Fragile:
        release = whole.release

        def __call__(self, z):
            if next(calls) == 0:
                raise RuntimeError("std::bad_alloc")
            return whole(z)

    monkeypatch.setitem(model._networks, "decoder", Fragile())
    painted = model.paint(content, style, controls)
    assert len(painted.notes) == 1
    assert_same(painted.picture.rgb.astype(int), expected.astype(int))


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


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_codebook_with_its_own_decoder(pairs, own, precision):
    files = weights_of("quantart", own)
    networks.export(files, precision)
    fast = FastModel("quantart", machine(precision), files)
    exact = Model("quantart", machine("fp32", "torch"), model=own)
    slow = exact if precision == "fp32" else Model("quantart", machine("bf16", "torch"), model=own)
    content, styles = picture(130, 96), [picture(80, 60, 7)]
    for alpha in (0.0, 0.3, 0.7, 1.0):
        controls = QuantArtControls(alpha)
        found, expected = both((fast, slow), content, styles, controls)
        if precision == "fp32":
            assert_same(found, expected)
            plain = both(pairs["quantart"][:1], content, styles, controls)[0]
            assert (np.abs(found - plain).mean() > 1) == (alpha > 0)  # its decoder is at work
        else:
            truth = both((exact,), content, styles, controls)[0]
            assert np.square(found - truth).mean() <= 1.5 * np.square(expected - truth).mean() + 0.1


def test_a_style_of_another_model_is_refused(pairs):
    style = pairs["adain"][0].encode_style([picture(20, 20)])
    with pytest.raises(QuantArtError, match="another model"):
        pairs["quantart"][0].paint(picture(20, 20), style, QuantArtControls())


def test_statistics_and_opacity_are_those_of_torch():
    numbers = np.random.default_rng(0)
    z = numbers.normal(3, 2, (1, 70, 9, 700)).astype(np.float32)
    alpha = np.uint8(numbers.integers(0, 256, (67, 5593)))
    coverage = features._coverage(alpha, (9, 700))
    opacity = torch.from_numpy(alpha)[None, None].float() / 255
    expected = theirs.coverage_of(opacity, torch.from_numpy(z), features.SMALLEST)
    assert np.abs(coverage - expected[0, 0].numpy()).max() < 1e-6
    own, other = features.Statistics.of(z, coverage), theirs.Statistics.of(torch.from_numpy(z), expected)
    assert np.abs(own.mean - other.mean.numpy()).max() < 1e-5
    assert np.abs(own.std - other.std.numpy()).max() < 1e-5


def test_halves_are_bf16():
    values = np.float32([0, -1.5, 3.14159, 1e-30, np.inf, -np.inf, 65504, np.nan])
    expected = torch.from_numpy(values).bfloat16().float().numpy()
    assert np.array_equal(floats(halves(values)), expected, equal_nan=True)
    assert np.array_equal(rounded(values.copy()), expected, equal_nan=True)


PAINT = """
import sys
from quantart_cli.checkpoints.models import embedded_model
from quantart_cli.fast import installed
from quantart_cli.fast import networks, runtime
from quantart_cli.fast.model import FastModel
from quantart_cli.images import read_picture
from quantart_cli.methods.controls import AdaINControls
import numpy as np
names = {"vgg": "vgg19-normalised", "decoder": "adain-decoder"}
files = {part: embedded_model(name) for part, name in names.items()}
machine = runtime.choose()
assert installed() and networks.ready(files, machine.precision)
model = FastModel("adain", machine, files)
picture = read_picture(np.zeros((30, 40, 3), np.uint8))
model.paint(picture, model.encode_style([picture]), AdaINControls())
print(sorted({"torch", "torchvision", "openvino_telemetry", "requests", "rich"} & set(sys.modules)))
"""


def test_torch_is_not_imported_and_nobody_is_told():
    done = subprocess.run([sys.executable, "-c", PAINT], capture_output=True, text=True, check=True, env=os.environ)
    assert done.stdout.strip() == "[]"
    assert "openvino_telemetry" not in sys.modules


# The cache: with the codebook, whose networks are the smallest.


@pytest.fixture
def empty(tmp_path, monkeypatch):
    """A cache without anything, and nothing remembered from another."""
    monkeypatch.setenv("QUANTART_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(networks, "_loaded", {})
    return tmp_path / "cache"


CODEBOOK = {"codebook": QUANTART["codebook"]}


def blobs(folder):
    return sorted(folder.rglob("*.blob"))


def test_what_is_damaged_or_foreign_is_exported_again(empty, monkeypatch):
    assert not networks.ready(CODEBOOK, "fp32")
    networks.export(CODEBOOK, "fp32")
    assert networks.ready(CODEBOOK, "bf16")  # one export serves both
    for damage in (lambda good: good[:1000] + b"x" + good[1001:], lambda _: b""):
        assert len(blobs(empty)) == len(networks.recipes(CODEBOOK))
        damaged = blobs(empty)[0]
        damaged.write_bytes(damage(damaged.read_bytes()))
        networks._loaded.clear()
        assert not networks.ready(CODEBOOK, "fp32")
        networks.export(CODEBOOK, "fp32")
        assert networks.ready(CODEBOOK, "fp32")
    networks._loaded.clear()
    monkeypatch.setattr(networks, "_definition", lambda: "of another version")
    assert not networks.ready(CODEBOOK, "fp32")
    with pytest.raises(QuantArtError, match="not exported"):
        networks.load(CODEBOOK, "fp32")


def test_what_openvino_cannot_read_is_exported_again(empty):
    """Bytes that are those of the record, and no network."""
    for recipe in networks.recipes(CODEBOOK):
        with cache.writing(recipe.key) as folder:
            place = cache.temporary(folder, ".blob")
            place.write_bytes(b"no network")
            digest = cache.sha256_of(place)
            cache.install(recipe.key, place, "x.blob", sha256=digest, kind="openvino", source=recipe.made)
    assert not networks.ready(CODEBOOK, "fp32")
    networks.export(CODEBOOK, "fp32")
    assert networks.ready(CODEBOOK, "fp32")


EXPORT = """
from quantart_cli.checkpoints.models import embedded_model
from quantart_cli.fast import networks
files = {"codebook": embedded_model("quantart-vgg19")}
networks.export(files, "fp32")
assert networks.ready(files, "fp32")
"""


def test_two_processes_may_export_at_once(empty):
    both = [subprocess.Popen([sys.executable, "-c", EXPORT], env=os.environ) for _ in range(2)]
    assert [process.wait(120) for process in both] == [0, 0]
    assert len(blobs(empty)) == len(networks.recipes(CODEBOOK))
    assert networks.ready(CODEBOOK, "fp32")


def test_a_cache_that_cannot_be_written_is_named(tmp_path, empty):
    empty.write_text("a file, no folder")
    assert not networks.ready(CODEBOOK, "fp32")
    with pytest.raises(QuantArtError, match="cannot be written"):
        networks.export(CODEBOOK, "fp32")


def test_a_persons_own_file_is_known_by_its_bytes(tmp_path, empty):
    own = ModelFile("own.safetensors", tmp_path / "own.safetensors", "quantart-vgg19")
    with pytest.raises(QuantArtError, match="cannot be read"):
        networks.export({"codebook": own}, "fp32")
    own.path.write_bytes(QUANTART["codebook"].path.read_bytes())
    networks.export(CODEBOOK, "fp32")
    assert networks.ready({"codebook": own}, "fp32")


def test_precisions_it_has():
    assert runtime.choose("fp32").runtime == "openvino"
    assert runtime.choose().precision in ("fp32", "bf16")
    with pytest.raises(QuantArtError, match="fp16"):
        runtime.choose("fp16")
