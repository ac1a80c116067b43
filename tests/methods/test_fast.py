"""Networks for given styles: recorded parity with filled weights, published layouts, statistics, tiles and commands."""

import json
import sys

import numpy as np
import PIL.Image
import pytest
import safetensors.torch
import torch

import quantart_cli as quantart
from quantart_cli.backends.torch_backend import TorchBackend
from quantart_cli.checkpoints.convert import convert
from quantart_cli.checkpoints.models import ModelFile
from quantart_cli.errors import QuantArtError
from quantart_cli.methods.fast import BLOCK_START, Fast, FastSettings, parse_styles
from quantart_cli.nets.fast import StyleNetwork
from quantart_cli.runner import Image, Runner
from quantart_cli.tiling import Tiler
from tests import exact
from tests.conftest import EXACT, scene
from tests.fill import filled
from tests.methods.recorded import close, numbers


@pytest.fixture(scope="module")
def converted(tmp_path_factory):
    """A recorded network, converted from its published layout."""
    folder, done = tmp_path_factory.mktemp("fast"), {}

    def get(case):
        if case not in done:
            torch.save(filled(case), folder / f"{case}.pth")
            done[case] = folder / f"{case}.safetensors"
            assert convert(folder / f"{case}.pth", done[case]).kind == "fast"
        return done[case]

    return get


@pytest.fixture
def small(tmp_path):
    """A small network with the styles "ink" and "waves", which differ."""
    torch.manual_seed(1)
    network = StyleNetwork((4, 6, 8, 6, 4), 2, ("ink", "waves"))
    for style in network.styles.values():
        style.data += 0.5 * torch.randn_like(style)
    path = tmp_path / "small.safetensors"
    safetensors.torch.save_file(network.state_dict(), path)
    return path


def opened(path):
    """The method and its backend."""
    file, method = ModelFile(str(path), path, "fast"), Fast()
    method.open({"model": file})
    return method, TorchBackend(EXACT, {"model": file})


def painted(path, content, styles="auto", tiler=None):
    """(1, 3, H, W) float32, not clipped, and what enters each block."""
    method, backend = opened(path)
    entering = []

    class Recording(Runner):
        def __call__(self, stage, *inputs, **more):
            found = super().__call__(stage, *inputs, **more)
            if stage is BLOCK_START:
                entering.append(found["x"].values)
            return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exact, "Runner", Recording)
        return exact.paint(backend, method, content, None, FastSettings(style_names=styles), tiler), entering


def test_parity_with_johnson(converted):
    recorded = numbers("johnson")
    found, entering = painted(converted("johnson"), recorded["content"])
    close(255 * found, recorded["output"])
    close(entering[0][:, ::8], recorded["relu_in3"])
    close(entering[1][:, ::8], recorded["res1"])
    network = opened(converted("johnson"))[1].network("model", StyleNetwork)
    with torch.inference_mode():
        odd = network(recorded["content_odd"], network.styles["style"][None])
    close(255 * odd, recorded["output_odd"])


def test_parity_with_conditional_instance_norm(converted):
    recorded = numbers("cin")
    found, entering = painted(converted("cin"), recorded["content"], "2")
    close(found, recorded["output_label1"])
    close(entering[0][:, ::8], recorded["contract3_label1"])
    found, _ = painted(converted("cin"), recorded["content"], "1:0.2,2:0.5,4:0.3")
    close(found, recorded["output_mixed"])


@pytest.mark.parametrize("case", ["johnson", "cin"])
def test_published_layouts_are_strict(case, tmp_path):
    state = filled(case)
    first, last = list(state)[1], list(state)[-1]
    for changed, message in (
        ({first: None}, f"lacks the tensor {first}"),
        ({"more.weight": torch.zeros(1)}, "a tensor too many, more.weight"),
        ({last: torch.zeros(5)}, r"not|has shape"),
    ):
        wrong = {name: value for name, value in {**state, **changed}.items() if value is not None}
        torch.save(wrong, tmp_path / "wrong.pth")
        with pytest.raises(QuantArtError, match=message) as caught:
            convert(tmp_path / "wrong.pth", tmp_path / "never.safetensors")
        assert "\n" not in str(caught.value)
    assert not (tmp_path / "never.safetensors").exists()


def test_old_running_statistics_are_dropped(tmp_path):
    state = filled("johnson") | {"in1.running_mean": torch.zeros(32), "res2.in1.running_var": torch.ones(128)}
    torch.save(state, tmp_path / "old.pth")
    report = convert(tmp_path / "old.pth", tmp_path / "new.safetensors")
    assert report.dropped == ("in1.running_mean", "res2.in1.running_var")


def onnx_file(state, path, **changed):
    """Johnson's network as the ONNX model zoo has it: numbered tensors, and constants of other operators."""
    onnx = pytest.importorskip("onnx")
    arrays, nodes = {"scales": np.array([1, 1, 2, 2], np.float32)}, []
    layers = [name.removesuffix(".weight") for name in state if name.endswith(".weight")]
    for number, layer in enumerate(layers):
        kind = "Conv" if layer.endswith("conv2d") else "InstanceNormalization"
        names = [f"{number}.{what}" for what in ("weight", "bias")]
        arrays |= {ours: state[f"{layer}.{ours.split('.')[1]}"].numpy() for ours in names}
        if layer.startswith("deconv"):
            nodes.append(onnx.helper.make_node("Upsample", ["x", "scales"], ["x"]))
        nodes.append(onnx.helper.make_node(kind, ["x", *names], ["x"]))
    image = [onnx.helper.make_tensor_value_info(name, 1, [1, 3, 224, 224]) for name in ("input1", "output1")]
    tensors = [onnx.numpy_helper.from_array(array, name) for name, array in (arrays | changed).items()]
    model = onnx.helper.make_model(onnx.helper.make_graph(nodes, "net", image[:1], image[1:], tensors))
    path.write_bytes(model.SerializeToString())
    return path


def test_a_graph_of_the_onnx_model_zoo_is_the_same_network(converted, tmp_path):
    source = onnx_file(filled("johnson"), tmp_path / "mosaic-9.onnx")
    report = convert(source, tmp_path / "mosaic.safetensors")
    assert report.kind == "fast"
    assert report.dropped == tuple(f"Upsample{number}.1" for number in (1, 2, 3))
    own, theirs = (
        safetensors.torch.load_file(path) for path in (tmp_path / "mosaic.safetensors", converted("johnson"))
    )
    assert own.keys() == theirs.keys()
    assert all(torch.equal(own[name], theirs[name]) for name in own)


def test_a_graph_with_norms_of_several_styles(small, tmp_path):
    """As Magenta's 26 styles are published: scales and shifts are constants of products."""
    onnx = pytest.importorskip("onnx")
    network = StyleNetwork.like(tensors := safetensors.torch.load_file(small))
    arrays, nodes = {}, []
    for name, part in network.norms.items():
        scales, shifts = torch.stack([tensors[f"styles.{style}"][:, part] for style in ("ink", "waves")], 1)
        arrays |= {f"{name}.w": tensors[f"{name}.weight"], f"{name}.gamma": scales, f"{name}.beta": shifts}
        nodes.append(onnx.helper.make_node("Conv", ["x", f"{name}.w"], ["x"]))
        nodes += [onnx.helper.make_node("Mul", ["w", f"{name}.{what}"], [what]) for what in ("gamma", "beta")]
        nodes.append(onnx.helper.make_node("Mul", ["x", "gamma"], ["x"]))
    constants = [onnx.numpy_helper.from_array(array.numpy(), name) for name, array in arrays.items()]
    model = onnx.helper.make_model(onnx.helper.make_graph(nodes, "net", [], [], constants))
    (tmp_path / "styles.onnx").write_bytes(model.SerializeToString())
    assert convert(tmp_path / "styles.onnx", tmp_path / "styles.safetensors").kind == "fast"
    found = safetensors.torch.load_file(tmp_path / "styles.safetensors")
    ours = {"styles.ink": "styles.1", "styles.waves": "styles.2"}
    assert found.keys() == {ours.get(name, name) for name in tensors}
    assert all(torch.equal(found[ours.get(name, name)], value) for name, value in tensors.items())


def test_onnx_files_that_are_refused(tmp_path, monkeypatch):
    state, path = filled("johnson"), tmp_path / "wrong.onnx"

    def refused(message):
        with pytest.raises(QuantArtError, match=message) as caught:
            convert(path, tmp_path / "never.safetensors")
        assert "\n" not in str(caught.value)

    last = [name for name in state if not name.startswith("deconv3")]
    onnx_file({name: state[name] for name in last}, path)
    refused("lacks the tensor Conv16.1")
    more = state | {"more.conv2d.weight": torch.zeros(3, 3, 1, 1), "more.conv2d.bias": torch.zeros(3)}
    whole = onnx_file(more, path).read_bytes()
    refused("a tensor too many, Conv17.1")
    path.write_bytes(whole[:-1000])
    refused("damaged, or not an ONNX file")
    onnx = pytest.importorskip("onnx")
    elsewhere = onnx.load_from_string(whole)
    elsewhere.graph.initializer[1].data_location = onnx.TensorProto.EXTERNAL
    path.write_bytes(elsewhere.SerializeToString())
    refused("numbers in another file")
    monkeypatch.setitem(sys.modules, "onnx", None)
    refused(r"pip install 'quantart-cli\[onnx\]'")


def test_statistics_are_those_of_the_whole_picture_without_transparent_positions(small):
    pixels, opacity = scene(88, 72, 4), np.full((72, 88), 255, np.uint8)
    opacity[:, 40:] = 0
    image = Image.of(pixels, opacity, multiple=4)
    whole, entering = painted(small, image)
    tiled, _ = painted(small, image, tiler=Tiler(64))
    assert (whole - tiled).abs().max() < 1e-4
    opaque, _ = painted(small, Image.of(pixels, multiple=4))
    assert (whole - opaque).abs().max() > 1e-2
    # The first block gets the ReLU of what has mean β and deviation γ over visible positions.
    method, _ = opened(small)
    scale, shift = method.opened.styles["ink"][:, method.opened.norms["contract3"]]
    visible = entering[0][0][:, :, :10].flatten(1)
    expected = (shift + scale * torch.randn(100_000, 1)).relu().mean(0)
    assert torch.corrcoef(torch.stack([visible.mean(1), expected]))[0, 1] > 0.9


def test_the_stages_are_the_network(small):
    content = torch.from_numpy(scene(64, 48)).permute(2, 0, 1)[None] / 255
    method, _ = opened(small)
    with torch.inference_mode():
        expected = method.opened(content, method.opened.styles["waves"][None])
    close(painted(small, content, "waves")[0], expected)


def test_names_of_styles(small):
    assert parse_styles("auto") == {}
    for text, message in (
        ("a:0", "weight of a must be a number above 0, not '0'"),
        ("a,b,a", "has a twice"),
        ("a:x", "weight of a"),
        ("a,", "is not a list of names"),
    ):
        with pytest.raises(QuantArtError, match=message):
            FastSettings(style_names=text)
    model = quantart.load("fast", model=small, device="cpu", precision="fp32")
    with pytest.raises(QuantArtError, match=r"no style 'wave': did you mean waves\?"):
        model.stylize(scene(40, 40), style_names="wave")
    first, ink, waves, both = (
        np.int16(model.stylize(scene(40, 40), style_names=names)) for names in ("auto", "ink", "waves", "ink:3,waves")
    )
    assert np.array_equal(first, ink)
    assert min(np.abs(ink - waves).mean(), np.abs(ink - both).mean(), np.abs(both - waves).mean()) > 1


def test_pictures_of_styles_are_refused(small):
    model = quantart.load("fast", model=small, device="cpu", precision="fp32")
    with pytest.raises(QuantArtError, match="fast takes no pictures of styles"):
        model.stylize(scene(40, 40), scene(40, 40))
    with pytest.raises(QuantArtError, match="match recolours pictures of styles"):
        model.stylize(scene(40, 40), preserve_color="match")


@pytest.mark.parametrize("size", [(1, 1), (33, 31), (70, 5)])
def test_any_size_in_any_precision(small, size):
    for precision in ("fp32", "bf16"):
        model = quantart.load("fast", model=small, device="cpu", precision=precision)
        assert model.stylize(scene(*size)).size == size


def test_commands(run, small, content_file, style_file, tmp_path):
    target = tmp_path / "out.png"
    common = ("--model", small, "--device", "cpu", "--precision", "fp32")
    status, out, err = run("fast", content_file, "-o", target, *common, "--style", "waves:2,ink", "--json")
    assert (status, json.loads(out)["options"]["style_names"]) == (0, "waves:2,ink"), err
    with PIL.Image.open(target) as picture, PIL.Image.open(content_file) as content:
        assert picture.size == content.size
    again = tmp_path / "again.png"
    status, _, err = run("repaint", target, content_file, "-o", again, "--model", small)
    assert (status, again.read_bytes() == target.read_bytes()) == (0, True), err
    status, _, err = run("repaint", target, content_file, style_file, "-o", tmp_path / "not.png", "--model", small)
    assert (status, "painted in 0 styles, not 1" in err) == (2, True), err
    status, _, err = run("repaint", target, "-o", tmp_path / "not.png", "--model", small)
    assert (status, "the content of" in err) == (2, True), err
    status, _, err = run("fast", content_file, style_file, "-o", target, *common)
    assert (status, "fast takes one picture and no pictures of styles" in err, err.count("\n")) == (2, True, 1)
    status, _, err = run("fast", content_file, "-o", target, *common, "--style", "wave")
    assert (status, err.count("\n")) == (2, 1)
    status, out, err = run("fast", content_file, "-o", tmp_path / "not.png", *common, "--dry-run", "--json")
    assert (status, json.loads(out)["dry_run"]) == (0, True), err
    status, _, err = run("fast", content_file, "-o", target, *common, "--mask", style_file, "--style", "ink")
    assert status == 0, err
    folder = tmp_path / "many"
    status, _, err = run("batch", content_file, "--method", "fast", "-o", folder, *common, "--style-names", "waves")
    assert (status, [each.name for each in folder.glob("*.png")]) == (0, ["content.png"]), err
    assert err.startswith("1 content\n")
    status, _, err = run("batch", content_file, "--method", "fast", "-o", folder, *common, "--style", "waves")
    assert (status, "or name styles of its network with --style-names" in err) == (2, True), err
    sheet = tmp_path / "sheet.png"
    compared = ("--method", f"fast:model={small},style_names=ink", "--size", "48", "--cell", "64")
    grid = ("--fidelity", "1", "--strength", "1", "--device", "cpu")
    status, _, err = run("compare", content_file, style_file, "-o", sheet, *compared, *grid)
    assert status == 0, err
    assert sheet.exists()


def test_a_moving_picture(run, small, tmp_path):
    frames = [PIL.Image.fromarray(scene(40, 32, seed)) for seed in range(2)]
    frames[0].save(tmp_path / "clip.gif", save_all=True, append_images=frames[1:])
    common = ("--device", "cpu", "--precision", "fp32")
    status, _, err = run(
        "video", tmp_path / "clip.gif", "-o", tmp_path / "out.gif", "--method", "fast", "--model", small, *common
    )
    assert status == 0, err
    with PIL.Image.open(tmp_path / "out.gif") as painted:
        assert (painted.size, painted.n_frames) == ((40, 32), 2)
    status, _, err = run("video", tmp_path / "clip.gif", "-o", tmp_path / "not.gif", "--method", "adain", *common)
    assert (status, err.count("\n")) == (2, 1)
    assert "there is no style: give a picture" in err
    wrong = ("--method", "fast", "--model", small, "--style", "wave")
    status, _, err = run("video", tmp_path / "clip.gif", "-o", tmp_path / "not.gif", *wrong, *common)
    assert (status, "no style 'wave'" in err) == (2, True), err
    assert not list(tmp_path.glob("not.gif*"))  # nothing that could be continued
