"""``quantart train`` of AdaIN and of VQGANs from the command line."""

import json

import PIL.Image
import pytest
import safetensors.torch

from quantart_cli.checkpoints.manifest import artefact
from tests.cli.test_help import imported_by
from tests.conftest import scene

ADAIN = ("--steps", "1", "--batch", "2", "--crop", "32", "--short-side", "48", "--device", "cpu", "--precision", "fp32")
VQGAN = ("--steps", "1", "--batch", "2", "--crop", "32", "--adversary-after", "0", "--channels", "8", "--blocks", "1",
         "--width", "8", "--entries", "12", "--device", "cpu", "--precision", "fp32")  # fmt: skip


@pytest.fixture
def pictures(tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number in range(2):
        PIL.Image.fromarray(scene(52, 50, number)).save(folder / f"{number}.png")
    return folder


def test_adain_from_pictures_to_a_picture(run, pictures, content_file, style_file, tmp_path):
    target = tmp_path / "decoder.safetensors"
    status, out, err = run("train", "adain", pictures, pictures, "-o", target, *ADAIN, "--json")
    assert status == 0, err
    assert "1 update on 2 photographs and 2 paintings, 0 skipped" in err
    report = json.loads(out)
    assert report["options"]["short_side"] == 48
    assert report["report"]["pictures"] == {"photographs": 2, "paintings": 2}
    painted = tmp_path / "painted.png"
    status, _, err = run("adain", content_file, style_file, "-o", painted, "--model", target, "--runtime", "torch")
    assert status == 0, err
    with PIL.Image.open(painted) as picture:
        assert picture.size == (96, 64)


def test_vqgan_and_then_another_that_begins_with_it(run, pictures, tmp_path):
    target = tmp_path / "vqgan.safetensors"
    status, out, err = run("train", "vqgan", pictures, "-o", target, *VQGAN, "--json")
    assert status == 0, err
    assert "perceptual loss: VGG-19; for the authors' LPIPS give --download" in err
    assert json.loads(out)["options"]["perceptual"] == "vgg"
    assert safetensors.torch.load_file(target)["quantize.embedding.weight"].shape == (12, 8)
    again = tmp_path / "again.safetensors"
    options = (*VQGAN[:8], "--perceptual", "vgg", "--model", target, "--device", "cpu", "--precision", "bf16")
    status, out, err = run("train", "vqgan", pictures, "-o", again, *options, "--quiet", "--json")
    assert (status, err) == (0, "")
    report = json.loads(out)["options"]
    assert [report[name] for name in ("channels", "blocks", "width", "entries")] == [8, 1, 8, 12]
    assert safetensors.torch.load_file(again)["quantize.embedding.weight"].shape == (12, 8)


def test_mistakes(run, pictures, tmp_path):
    target = tmp_path / "a.safetensors"
    for arguments, message in (
        (("vqgan", tmp_path / "none", "-o", target, *VQGAN), "is not a folder"),
        (("vqgan", pictures, "-o", tmp_path / "a.ckpt", *VQGAN), ".safetensors"),
        (("vqgan", pictures, "-o", target, *VQGAN, "--perceptual", "lpip"), "did you mean lpips"),
        (("vqgan", pictures, "-o", target, *VQGAN, "--perceptual", "lpips"), "quantart download-weights lpips-vgg16"),
        (("vqgan", pictures, "-o", target, *VQGAN, "--model", "none.safetensors"), "does not exist"),
        (("adain", pictures, tmp_path / "none", "-o", target, *ADAIN), "is not a folder"),
        (("adain", pictures, pictures, "-o", target, "--precision", "fp16"), "fp16"),
    ):
        status, _, err = run("train", *arguments, "--quiet")
        assert status == 2, err
        assert err.count("\n") == 1
        assert message in err
    assert [path.name for path in tmp_path.iterdir()] == ["pictures"]


def test_mistakes_of_transfer(run, pictures, tmp_path):
    target = tmp_path / "a.safetensors"
    for arguments, message in (
        ((pictures, pictures, "-o", target), "--model"),
        ((pictures, pictures, "-o", target, "--model", artefact("adain-decoder").path), "another kind"),
        ((pictures, pictures, "-o", target, "--model", "v.safetensors", "--precision", "fp16"), "fp16"),
    ):
        status, _, err = run("train", "transfer", *arguments, "--quiet", "--device", "cpu")
        assert status == 2, err
        assert err.count("\n") == 1
        assert message in err
    assert [path.name for path in tmp_path.iterdir()] == ["pictures"]


@pytest.mark.parametrize("command", ["adain", "vqgan", "transfer", "painter", "pack", "codebook", "autoencoder"])
def test_help_imports_no_torch(command):
    assert "torch" not in imported_by(f"from quantart_cli.cli import main; main(['train', '{command}', '--help'])")
