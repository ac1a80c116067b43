"""A whole training of a tiny VQGAN: its losses are the authors', and it is reproducible, resumable and of use."""

import json

import PIL.Image
import pytest
import safetensors.torch
import torch
import torch.nn.functional as F

from quantart_cli.checkpoints.convert import convert
from quantart_cli.checkpoints.formats import read_header
from quantart_cli.checkpoints.loading import fill_strictly
from quantart_cli.checkpoints.models import find_model
from quantart_cli.errors import QuantArtError
from quantart_cli.evaluation.lpips import LPIPS
from quantart_cli.nets.vqgan import VQGAN
from quantart_cli.training.discriminators import PatchGAN
from quantart_cli.training.folders import RunControl, train
from quantart_cli.training.loop import NotFinite, TrainingStopped
from quantart_cli.training.options import VQGANOptions
from quantart_cli.training.pictures import Pictures
from quantart_cli.training.vqgan import Autoencoding, VQGANTraining, by_lpips, by_vgg, new_network, vqgan_training
from tests.conftest import scene

SIZES = {"channels": 8, "blocks": 1, "width": 8, "entries": 12}
OPTIONS = VQGANOptions(
    steps=5, batch=2, crop=32, rate=1e-3, adversary_after=2, log_every=2, sheet_every=3, seed=3, **SIZES
)


def near(one, other):
    """A perceptual loss of no weight: coarse pixels."""
    return F.mse_loss(F.avg_pool2d(one, 4), F.avg_pool2d(other, 4))


def training(folder, options, dtype=torch.float32):
    pictures = Pictures(sorted(folder.glob("*.png")), 1e9, lambda *_: None)
    shown = torch.rand(2, 3, 32, 32)
    return VQGANTraining(new_network(options), near, {"pictures": pictures}, {"pictures": shown}, options, "cpu", dtype)


def run_training(folder, target, options=OPTIONS, network=None, **control):
    spec = vqgan_training(options, network or new_network(options), near, "cpu", torch.float32)
    return train(spec, {"pictures": folder}, target, options, RunControl(**control))


@pytest.fixture
def threads():
    """Sets how many threads torch has: a hundred small updates on one take seconds, whatever else the machine does."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def art(tmp_path_factory):
    folder = tmp_path_factory.mktemp("art")
    for number in range(3):
        PIL.Image.fromarray(scene(50 + number, 44, number)).save(folder / f"{number}.png")
    return folder


@pytest.fixture(scope="module")
def trained(art, tmp_path_factory):
    target = tmp_path_factory.mktemp("trained") / "vqgan.safetensors"
    return target, run_training(art, target)


def test_the_file_is_a_vqgan(trained, tmp_path):
    target, report = trained
    assert report.pictures == {"pictures": 3}
    assert (report.updates, report.skipped, report.unreadable) == (5, 0, [])
    network = fill_strictly(VQGAN.like, safetensors.torch.load_file(target), "trained")
    assert network.config == new_network(OPTIONS).config
    assert find_model(str(target), ("vqgan",)).kind == "vqgan"
    assert json.loads(read_header(target).metadata["quantart"])["options"]["seed"] == 3
    done = convert(target, tmp_path / "again.safetensors")
    assert (done.kind, done.config["n_embed"], done.dropped) == ("vqgan", 12, ())


def test_log_and_sheets_stay(trained):
    kept = trained[0].with_name("vqgan.safetensors.training")
    lines = [json.loads(line) for line in (kept / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [2, 4]
    assert "discriminator" not in lines[0]
    assert {"pixel", "perceptual", "codebook", "adversary", "balance", "discriminator", "perplexity"} <= set(lines[1])
    assert sorted(path.name for path in kept.glob("*.png")) == ["000003.png", "000005.png"]
    with PIL.Image.open(kept / "000005.png") as sheet:
        assert sheet.size == (3 * 36 + 4, 2 * 36 + 4)
    assert not trained[0].with_name("vqgan.safetensors.partial").exists()


def test_the_same_seed_gives_the_same_bytes(trained, art, tmp_path):
    run_training(art, tmp_path / "again.safetensors")
    assert (tmp_path / "again.safetensors").read_bytes() == trained[0].read_bytes()


@pytest.mark.parametrize("after", [1, 3])  # before there is a discriminator, and after
def test_stopped_and_resumed_gives_the_same_bytes(trained, art, tmp_path, after):
    target = tmp_path / "vqgan.safetensors"
    values = []

    def progress(stage, *_):
        values.extend([stage] if stage == "training" else [])  # reading the pictures is values as well

    with pytest.raises(TrainingStopped):
        run_training(art, target, stop=lambda: len(values) == after, progress=progress)
    assert target.with_name("vqgan.safetensors.partial").exists()
    run_training(art, target)
    assert target.read_bytes() == trained[0].read_bytes()


def test_gradients_are_those_of_the_authors_loss(art, threads):
    threads(1)
    options = VQGANOptions(batch=2, crop=32, adversary_after=0, beta=0.3, codebook_weight=0.7, seed=1, **SIZES)
    one, other = training(art, options), training(art, options)
    seen = {}
    other.perceptual = lambda rebuilt, pictures: seen.update(x=2 * pictures - 1) or near(rebuilt, pictures)
    values = one.update(0)
    other.update(0)

    again = training(art, options)
    x, network, discriminator = seen["x"], again.network, again.adversary.optimizer.network
    z = network.encode(x)
    z_hat = network.quantize(z)
    rebuilt = network(z + (z_hat - z).detach())
    entries = (z_hat - z.detach()).square().mean()
    vq = 0.7 * ((z_hat.detach() - z).square().mean() + 0.3 * entries)
    rec = (x - rebuilt).abs().mean() + near((rebuilt + 1) / 2, (x + 1) / 2)
    fooled = -discriminator(rebuilt).mean()
    last = network.decoder.conv_out.weight
    norms = [torch.autograd.grad(loss, last, retain_graph=True)[0].norm() for loss in (rec, fooled)]
    weight = 0.8 * norms[0] / (norms[1] + 1e-4)
    assert values["balance"] == pytest.approx(weight.item(), rel=1e-4)
    found = {name: value.grad for name, value in one.network.named_parameters()}
    wanted = torch.autograd.grad(rec + vq + weight.detach() * fooled, list(network.parameters()))
    for name, gradient in zip(found, wanted, strict=True):
        torch.testing.assert_close(found[name], gradient, rtol=1e-3, atol=1e-5, msg=name)
    rebuilt = rebuilt.detach()
    loss = (F.relu(1 - discriminator(x)).mean() + F.relu(1 + discriminator(rebuilt)).mean()) / 2
    assert values["discriminator"] == pytest.approx(loss.item(), rel=1e-4)
    wanted = torch.autograd.grad(loss, list(discriminator.parameters()))
    for value, gradient in zip(one.adversary.optimizer.network.parameters(), wanted, strict=True):
        torch.testing.assert_close(value.grad, gradient, rtol=1e-3, atol=1e-5)


def test_gradients_of_entries_are_summed_in_one_order(threads):
    # Long enough that several threads share the sum; of brackets, weight[indices], it changes from run to run.
    threads(2)
    options = VQGANOptions(**{**SIZES, "entries": 2, "width": 256})
    network = new_network(options)
    x = torch.rand(4, 3, 128, 128)
    with torch.no_grad():
        z = network.encode(x)

    def gradient():
        _, _, z_hat, _ = Autoencoding(network)(x)
        return torch.autograd.grad((z_hat * z).sum(), network.quantize.embedding.weight)[0]

    first = gradient()
    assert all(torch.equal(gradient(), first) for _ in range(3))


def test_it_learns(tmp_path, threads):
    threads(1)
    # Two halves, mirrored at random: without codes that tell which is which, half the contrast is the best there is.
    picture = PIL.Image.new("RGB", (48, 48), (20, 30, 120))
    picture.paste((250, 200, 60), (24, 0, 48, 48))
    picture.save(tmp_path / "halves.png")
    learning = training(tmp_path, VQGANOptions(batch=4, crop=32, rate=4e-5, **SIZES))
    losses = [learning.update(number)["pixel"] for number in range(70)]
    assert sum(losses[-10:]) < 0.75 * sum(losses[:10])


def test_in_bf16_weights_and_codebook_stay_exact(art):
    learning = training(art, OPTIONS, dtype=torch.bfloat16)
    exact = training(art, OPTIONS)
    first, second = learning.update(0), exact.update(0)
    assert first["pixel"] == pytest.approx(second["pixel"], rel=0.02)
    assert first["pixel"] != second["pixel"]
    assert all(value.dtype == torch.float32 for name, value in learning.state().items() if not name.endswith("lead"))


def test_an_update_that_is_not_finite_changes_nothing(art):
    options = VQGANOptions(batch=2, crop=32, adversary_after=0, **SIZES)
    learning = training(art, options)
    learning.update(0)
    before = {name: value.detach().clone() for name, value in learning.state().items()}
    learning.perceptual = lambda rebuilt, pictures: rebuilt.sum() * float("nan")
    with pytest.raises(NotFinite, match="perceptual nan"):
        learning.update(1)
    for name, value in learning.state().items():
        assert torch.equal(value, before[name]), name


def test_it_begins_with_what_it_is_given(trained, art, tmp_path):
    def start():
        return fill_strictly(VQGAN.like, safetensors.torch.load_file(trained[0]), "trained")

    still = VQGANOptions(steps=1, batch=2, crop=32, rate=0, **SIZES)
    run_training(art, tmp_path / "still.safetensors", still, start())
    found, given = (safetensors.torch.load_file(path) for path in (tmp_path / "still.safetensors", trained[0]))
    assert all(torch.equal(found[name], given[name]) for name in given)
    target = tmp_path / "other.safetensors"
    with pytest.raises(TrainingStopped):
        run_training(art, target, still, start(), stop=lambda: True)
    with pytest.raises(QuantArtError, match="another start"):
        run_training(art, target, still)


def test_perceptual_losses(vgg):
    torch.manual_seed(0)
    lpips = LPIPS("lpips-vgg16")
    picture = F.interpolate(torch.rand(2, 3, 8, 8), (48, 48), mode="bicubic").clamp(0, 1)
    blurred = F.interpolate(F.avg_pool2d(picture, 4), (48, 48), mode="bilinear").requires_grad_()
    for loss in (by_vgg(vgg), by_lpips(lpips)):
        assert loss(picture, picture).item() == 0
        (gradient,) = torch.autograd.grad(loss(blurred, picture), blurred)
        assert gradient.isfinite().all()
        assert gradient.abs().sum() > 0
    assert not any(value.requires_grad for value in lpips.parameters())
    assert 0.1 < by_vgg(vgg)(blurred, picture).item() < 1  # about as large as LPIPS


def test_patchgan_is_the_published_one():
    network = PatchGAN()
    # pix2pix's discriminator has 2.769 million with six input channels, and 30×30 scores of 256×256 pixels.
    assert sum(value.numel() for value in network.parameters()) + 3 * 64 * 16 == 2_768_705
    assert network(torch.rand(1, 3, 256, 256)).shape == (1, 1, 30, 30)


def test_a_new_network_has_the_authors_sizes_and_entries():
    with torch.device("meta"):
        config = new_network(VQGANOptions()).config
    assert (config.ch, config.ch_mult, config.num_res_blocks, config.attn_levels) == (128, (1, 1, 2, 2, 4), 2, (4,))
    assert (config.z_channels, config.embed_dim, config.n_embed, config.stride) == (256, 256, 1024, 16)
    entries = new_network(OPTIONS).quantize.embedding.weight
    assert 0.9 / 12 < entries.abs().max() <= 1 / 12


def test_crops_that_do_not_fit(art, tmp_path):
    with pytest.raises(QuantArtError, match="multiple of 16, not 40"):
        run_training(art, tmp_path / "a.safetensors", VQGANOptions(crop=40, **SIZES))
    assert list(tmp_path.iterdir()) == []
