"""``quantart train transfer`` from the command line, and what paints with its file."""

import json
import pickle

import numpy as np
import PIL.Image
import pytest
import safetensors.torch

import quantart_cli as quantart
from quantart_cli.checkpoints.manifest import artefact
from quantart_cli.evaluation import networks
from quantart_cli.evaluation.networks import MetricNetworks
from quantart_cli.nets.autoencoder import GUIDED
from quantart_cli.nets.guide import StyleGuide
from tests.cli.test_help import imported_by
from tests.conftest import awake, scene
from tests.evaluation.metric_networks import metric_networks

TINY = ("--steps", "1", "--batch", "2", "--crop", "64", "--blocks", "1", "--device", "cpu", "--precision", "fp32")
EXACT = ("--device", "cpu", "--precision", "fp32", "--quiet")


@pytest.fixture
def pictures(tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number in range(2):
        PIL.Image.fromarray(scene(72, 70, number)).save(folder / f"{number}.png")
    return folder


@pytest.fixture
def guided(tmp_path):
    """The embedded codebook, a sixteenth of it, with guides that change something."""
    tensors = safetensors.torch.load_file(artefact("quantart-vgg19").path)
    tensors["entries"] = tensors["entries"][..., ::16, :].clone()
    for number, end in enumerate(GUIDED):
        guide = awake(StyleGuide(1), number).state_dict()
        tensors |= {f"transfer.{end}.{name}": value.detach().half() for name, value in guide.items()}
    safetensors.torch.save_file(tensors, tmp_path / "guided.safetensors")
    return tmp_path / "guided.safetensors"


@pytest.fixture
def unguided(guided, tmp_path):
    tensors = safetensors.torch.load_file(guided)
    plain = {name: value for name, value in tensors.items() if not name.startswith("transfer.")}
    safetensors.torch.save_file(plain, tmp_path / "plain.safetensors")
    return tmp_path / "plain.safetensors"


def test_from_pictures_to_a_picture(run, pictures, content_file, style_file, tmp_path):
    target = tmp_path / "model.safetensors"
    status, out, err = run("train", "transfer", pictures, pictures, "-o", target, *TINY, "--json")
    assert status == 0, err
    assert "1 updates on 2 photographs and 2 paintings, 0 left out" in err
    assert json.loads(out)["options"]["blocks"] == 1
    assert "transfer.quantized.blocks.0.q.weight" in safetensors.torch.load_file(target)
    status, _, err = run("stylize", content_file, style_file, "-o", tmp_path / "o.png", "--model", target, *EXACT)
    assert status == 0, err
    again = tmp_path / "again.safetensors"
    status, _, err = run(
        "train", "transfer", pictures, pictures, "-o", again, *TINY[:-4], "--model", target, "--device", "cpu",
        "--precision", "bf16", "--quiet",
    )  # fmt: skip
    assert (status, err) == (0, "")


def test_stylize_batch_compare_and_the_cache_of_styles(
    run, guided, unguided, content_file, style_file, tmp_path, monkeypatch
):
    monkeypatch.setenv("QUANTART_CACHE", str(tmp_path / "cache"))

    def paint(model, name, *more):
        status, _, err = run(
            "stylize", content_file, style_file, *more, "-o", tmp_path / name, "--model", model, *EXACT
        )
        assert status == 0, err
        return np.asarray(PIL.Image.open(tmp_path / name)).astype(int)

    # The model without guides leaves the style's statistics on the disk; the one with guides must not do with them.
    plain = paint(unguided, "plain.png")
    found = paint(guided, "guided.png")
    assert np.abs(found - plain).mean() > 1
    assert (paint(guided, "again.png") == found).all()
    assert (paint(guided, "two.png", content_file, "--style-weights", "1,0") == found).all()
    assert (paint(guided, "mixed.png", content_file) != found).any()
    out = tmp_path / "batch"
    status, _, err = run(
        "batch", "--input", content_file, style_file, "-o", out, "--format", "png", "--model", guided, *EXACT
    )
    assert status == 0, err
    (painted,) = out.glob("*.png")
    assert (np.asarray(PIL.Image.open(painted)) == found).all()
    sheet = tmp_path / "sheet.png"
    status, _, err = run("compare", content_file, style_file, "-o", sheet, "--model", guided, "--size", "64", *EXACT)
    assert status == 0, err


def test_evaluate(run, guided, unguided, pictures, monkeypatch, vgg):
    monkeypatch.setattr(networks, "absent", lambda: [])
    monkeypatch.setattr(MetricNetworks, "load", lambda device: metric_networks(vgg))
    folders = [part for name in ("contents", "styles", "artworks") for part in (f"--{name}", pictures)]
    compared = [part for file in (unguided, guided) for part in ("--compare", f"quantart:fidelity=1,model={file}")]
    options = ("--size", "64", "--pairs", "2", *EXACT)
    status, out, err = run("evaluate", *folders, *compared, *options, "--json")
    assert status == 0, err
    plain, ours = json.loads(out)["candidates"]
    assert 1 < ours["codebook"]["used"] <= 8 * 64
    assert ours["scores"]["gram"]["value"] != plain["scores"]["gram"]["value"]


def test_an_encoded_style_travels_to_another_process_s_model(guided):
    here, there = (quantart.load("quantart", model=guided, device="cpu", precision="fp32") for _ in range(2))
    style = here.encode_style([scene(80, 88, 2), scene(70, 60, 3)], weights=[0.3, 0.7])
    content = scene(96, 64, 1)
    travelled = there.adopt(pickle.loads(pickle.dumps(style)))
    found, expected = there.stylize(content, travelled), here.stylize(content, style)
    assert found.tobytes() == expected.tobytes()


def test_transparency(run, guided, content_file, tmp_path):
    pixels = np.dstack([scene(80, 88, 2), np.full((88, 80), 255, np.uint8)])
    pixels[:, 40:, 3] = 0
    painted = []
    for number, hidden in enumerate((0, 200)):
        pixels[:, 40:, :3] = hidden
        style = tmp_path / f"s{number}.png"
        PIL.Image.fromarray(pixels).save(style)
        out = tmp_path / f"o{number}.png"
        status, _, err = run("stylize", content_file, style, "-o", out, "--model", guided, *EXACT)
        assert status == 0, err
        painted.append(np.asarray(PIL.Image.open(out)).astype(int))
    assert np.abs(painted[0] - painted[1]).max() <= 1


def test_openvino_does_not_pretend_to_run_it(run, guided, content_file, style_file, tmp_path, monkeypatch):
    monkeypatch.setattr("quantart_cli.fast.installed", lambda: True)
    command = ("stylize", content_file, style_file, "-o", tmp_path / "o.png", "--model", guided)
    status, _, err = run(*command, "--runtime", "openvino")
    assert status == 2
    assert "use torch" in err
    assert err.count("\n") == 1
    status, out, err = run(*command, "--device", "cpu", "--json")
    assert status == 0, err
    assert json.loads(out)["runtime"] == "torch"


def test_mistakes(run, pictures, tmp_path):
    target = tmp_path / "a.safetensors"
    for arguments, message in (
        ((pictures, tmp_path / "none", "-o", target), "is not a folder"),
        ((pictures, pictures, "-o", tmp_path / "a.ckpt"), ".safetensors"),
        ((pictures, pictures, "-o", target, "--model", artefact("adain-decoder").path), "another kind"),
        ((pictures, pictures, "-o", target, "--crop", "66"), "multiple of 8"),
        ((pictures, pictures, "-o", target, "--precision", "fp16"), "fp16"),
    ):
        status, _, err = run("train", "transfer", *arguments, "--quiet", "--device", "cpu")
        assert status == 2, err
        assert err.count("\n") == 1
        assert message in err
    assert [path.name for path in tmp_path.iterdir()] == ["pictures"]


def test_help_imports_no_torch():
    assert "torch" not in imported_by("from quantart_cli.cli import main; main(['train', 'transfer', '--help'])")
