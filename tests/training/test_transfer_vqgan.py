"""A whole training of stage 2 on a tiny VQGAN: from the identity on, reproducible, resumable, and it paints."""

import json

import PIL.Image
import pytest
import safetensors.torch
import torch

import quantart_cli as quantart
from quantart_cli.checkpoints.formats import read_header
from quantart_cli.errors import QuantArtError
from quantart_cli.nets.vqgan import VQGAN
from quantart_cli.training.folders import RunControl, train
from quantart_cli.training.loop import TrainingStopped
from quantart_cli.training.options import TransferOptions, VQGANOptions
from quantart_cli.training.pictures import Pictures
from quantart_cli.training.transfer_vqgan import TransferTraining, identity_blocks, transfer_training
from quantart_cli.training.vqgan import new_network
from tests.conftest import scene

OPTIONS = TransferOptions(
    steps=4, batch=2, crop=80, blocks=2, rate=1e-3, adversary_after=1, log_every=1, sheet_every=4, average=0.5
)


@pytest.fixture(scope="module", autouse=True)
def _early_and_small():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("quantart_cli.training.adversary.HEAD_START", 1)
        patch.setattr("quantart_cli.training.folders._SHOWN", 1)
        yield


@pytest.fixture(scope="module")
def network():
    """Random weights, and entries with the spread of the latents."""
    made = new_network(VQGANOptions(channels=8, blocks=1, width=8, entries=12)).requires_grad_(False)
    z = made.encode(torch.from_numpy(scene(160, 128, 5)).permute(2, 0, 1)[None] / 127.5 - 1)
    made.quantize.embedding.weight.copy_(z.flatten(2)[0].T[::6][:12])
    return made


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    made = []
    for first, name in ((0, "photos"), (10, "art")):
        made.append(tmp_path_factory.mktemp(name))
        for number in range(first, first + 3):
            PIL.Image.fromarray(scene(90, 84 + number, number)).save(made[-1] / f"{number}.png")
    return made


@pytest.fixture(scope="module")
def run_training(network, folders):
    def call(target, options=OPTIONS, **control):
        sources = dict(zip(("photographs", "paintings"), folders, strict=True))
        training = transfer_training(options, network, "cpu", torch.float32)
        return train(training, sources, target, options, RunControl(**control))

    return call


@pytest.fixture(scope="module")
def trained(run_training, tmp_path_factory):
    target = tmp_path_factory.mktemp("trained") / "model.safetensors"
    return target, run_training(target)


def test_new_blocks_are_the_identity():
    content, style = torch.randn(1, 8, 5, 6), torch.randn(1, 8, 4, 4)
    assert torch.equal(identity_blocks(8, 3)(content, style), content)


def test_learning_starts_at_the_content_and_goes_to_the_style(network, folders):
    names = ("photographs", "paintings")
    pictures = [Pictures(sorted(folder.glob("*.png")), 1e9, lambda *_: None) for folder in folders]
    options = TransferOptions(batch=2, crop=96, blocks=2, rate=3e-3, adversary_weight=0.0)
    learning = TransferTraining(network, dict(zip(names, pictures, strict=True)), {}, options, "cpu", torch.float32)
    losses = [learning.update(0) for _ in range(20)]  # on the same crops
    assert losses[0]["continuous content"] < 1e-6
    assert losses[0]["quantized codebook"] < 1e-6
    assert losses[0]["continuous style"] > 0.01
    first, last = (sum(each[f"continuous {name}"] for name in ("content", "style", "gram")) for each in losses[::19])
    assert last < 0.7 * first


def test_the_file_is_stage_1_with_both_ends_and_paints(trained, network, tmp_path):
    target, report = trained
    assert report.pictures == {"photographs": 3, "paintings": 3}
    assert (report.updates, report.skipped) == (4, 0)
    assert read_header(target).metadata["kind"] == "quantart-vqgan"
    tensors, before = safetensors.torch.load_file(target), network.state_dict()
    for end in ("quantized", "continuous"):
        assert torch.equal(tensors[f"{end}.encoder_real.conv_in.weight"], before["encoder.conv_in.weight"])
        assert torch.equal(tensors[f"{end}.decoder.conv_out.weight"], before["decoder.conv_out.weight"])
        assert tensors[f"{end}.model_x2y.blocks.1.attn_block.proj_out.weight"].abs().max() > 0
    assert torch.equal(tensors["quantized.quantize_dec.embedding.weight"], before["quantize.embedding.weight"])
    assert "continuous.quantize_dec.embedding.weight" not in tensors
    lines = (target.with_name(f"{target.name}.training") / "log.jsonl").read_text().splitlines()
    assert "quantized adversary" in json.loads(lines[3])
    model = quantart.load("quantart", model=target, device="cpu", precision="fp32")
    content, style = scene(96, 64, 1), scene(80, 88, 2)
    painted = [model.stylize(content, style, fidelity=alpha).tobytes() for alpha in (0.0, 0.7, 1.0)]
    assert len(set(painted)) == 3


def test_before_it_has_learned_it_paints_the_content(run_training, tmp_path):
    """At strength 1 T and T̂ give what the autoencoder gives at strength 0."""
    target = tmp_path / "still.safetensors"
    run_training(target, TransferOptions(steps=1, batch=2, crop=80, blocks=2, rate=0.0))
    model = quantart.load("quantart", model=target, device="cpu", precision="fp32")
    content, style = scene(96, 64, 1), scene(80, 88, 2)
    for alpha in (0.0, 1.0):
        one, other = (model.stylize(content, style, fidelity=alpha, strength=beta) for beta in (0.0, 1.0))
        assert one.tobytes() == other.tobytes()


def test_the_same_seed_gives_the_same_bytes_stopped_or_not(trained, run_training, tmp_path):
    target, done = tmp_path / "model.safetensors", []
    with pytest.raises(TrainingStopped):
        run_training(
            target,
            stop=lambda: len(done) >= 3,
            progress=lambda stage, *_: done.extend([1] if stage == "training" else []),
        )
    run_training(target)
    assert target.read_bytes() == trained[0].read_bytes()
    run_training(tmp_path / "again.safetensors")
    assert (tmp_path / "again.safetensors").read_bytes() == trained[0].read_bytes()


def test_crops_that_do_not_fit(run_training, tmp_path):
    for crop in (64, 88):
        with pytest.raises(QuantArtError, match=f"multiple of 16 and at least 80, not {crop}"):
            run_training(tmp_path / "m.safetensors", TransferOptions(crop=crop))
    assert list(tmp_path.iterdir()) == []


def test_from_the_command_line(run, network, folders, content_file, style_file, tmp_path):
    stage1, target = tmp_path / "vqgan.safetensors", tmp_path / "model.safetensors"
    assert isinstance(network, VQGAN)
    safetensors.torch.save_file(network.state_dict(), stage1)
    options = ("--steps", "1", "--batch", "2", "--crop", "80", "--device", "cpu", "--precision", "fp32", "--quiet")
    status, _, err = run("train", "transfer", *folders, "-o", target, "--model", stage1, *options)
    assert (status, err) == (0, "")
    assert "quantized.model_x2y.blocks.5.res_block.conv2.weight" in safetensors.torch.load_file(target)
    status, _, err = run(
        "stylize", content_file, style_file, "-o", tmp_path / "o.png", "--model", target, "--device", "cpu", "--quiet"
    )
    assert (status, err) == (0, "")
