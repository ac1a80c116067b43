"""A whole training of the painter on tiny crops: its losses, and that it is reproducible, resumable and guarded."""

import json
import math
from dataclasses import replace

import PIL.Image
import pytest
import safetensors
import safetensors.torch
import torch
import torch.nn.functional as F

from quantart_cli.checkpoints.formats import read_header
from quantart_cli.errors import QuantArtError
from quantart_cli.nets.painter import Painter, PainterDecoder
from quantart_cli.nets.painting import match
from quantart_cli.training.folders import RunControl, train
from quantart_cli.training.loop import NotFinite, TrainingStopped, random_numbers
from quantart_cli.training.losses import grid_loss
from quantart_cli.training.options import PackOptions, PainterOptions
from quantart_cli.training.painter import LAYERS, PainterTraining, painter_training, rates
from quantart_cli.training.pictures import Pictures, name_hash
from quantart_cli.training.shards import pack_pictures, shards_in
from tests.conftest import scene

OPTIONS = PainterOptions(steps=20, batch=2, crop=32, log_every=5, sheet_every=20, hold_out=0.3, seed=3)
NAMES = ("photographs", "paintings", "detail paintings")


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    made = {}
    for kind, name in enumerate(NAMES):
        made[name] = tmp_path_factory.mktemp(name.replace(" ", "_"))
        for number in range(8):
            PIL.Image.fromarray(scene(90 + number, 80, 10 * kind + number)).save(made[name] / f"{number}.png")
    return made


@pytest.fixture(scope="module")
def start(decoder):
    def make():
        painter = Painter()
        painter.decoder.load_state_dict(decoder.state_dict(), strict=False)
        torch.nn.init.orthogonal_(painter.project, generator=torch.Generator().manual_seed(0))
        return painter

    return make


@pytest.fixture(scope="module")
def run(vgg, start, folders, decoder):
    def call(target, options=OPTIONS, sources=folders, **control):
        return train(painter_training(options, vgg, start(), decoder), sources, target, options, RunControl(**control))

    return call


@pytest.fixture(scope="module")
def trained(run, tmp_path_factory):
    target = tmp_path_factory.mktemp("trained") / "painter.safetensors"
    return target, run(target)


@pytest.fixture
def training(vgg, start, folders, decoder):
    def make(options, network=vgg):
        pictures = {name: Pictures(sorted(folder.iterdir()), 1e9) for name, folder in folders.items()}
        return PainterTraining(network, start(), decoder, pictures, {}, options)

    return make


def test_report_log_sheet_and_file(trained, start):
    target, report = trained
    kept = sum(name_hash(f"{number}.png") >= 0.3 for number in range(8))
    assert report.pictures == dict.fromkeys(NAMES, kept)
    assert (report.updates, report.skipped, report.complete) == (20, 0, True)
    folder = target.with_name("painter.safetensors.training")
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [5, 10, 15, 20]
    assert {"content", "style", "remd", "patch", "similarity", "grid", "identity", "gradient"} <= set(lines[0])
    assert PIL.Image.open(folder / "000020.png").width == 5 * 36 + 4
    assert not target.with_name("painter.safetensors.partial").exists()
    header = read_header(target)
    assert header.metadata["kind"] == "quantart-painter"
    assert set(header.dtypes.values()) == {"F16"}
    assert json.loads(header.metadata["quantart"])["options"]["similarity_weight"] == 12
    painter, first = Painter(), start()
    painter.load_state_dict(safetensors.torch.load_file(target))
    # The fusions learn from the first update on, everything else after 60.
    assert not torch.equal(painter.decoder.fuse3.weight, first.decoder.fuse3.weight)
    torch.testing.assert_close(painter.decoder.conv3_1.weight, first.decoder.conv3_1.weight, rtol=1e-3, atol=1e-4)


def test_stopped_and_resumed_gives_the_same_bytes(trained, run, tmp_path):
    target, done = tmp_path / "painter.safetensors", []
    with pytest.raises(TrainingStopped):
        run(target, stop=lambda: len(done) >= 13, progress=lambda stage, *_: stage == "training" and done.append(0))
    assert not target.exists()
    run(target)
    assert target.read_bytes() == trained[0].read_bytes()


def test_stopped_by_the_time_it_writes_a_model_and_resumes(run, tmp_path):
    short, target, other = replace(OPTIONS, steps=3), tmp_path / "painter.safetensors", tmp_path / "other.safetensors"
    report = run(target, replace(short, minutes=1e-6))
    assert (report.updates, report.complete) == (1, False)
    assert target.exists()
    assert target.with_name("painter.safetensors.partial").exists()
    run(target, short)
    run(other, short)
    assert target.read_bytes() == other.read_bytes()


def test_learning_rates():
    options = PainterOptions(steps=1000)
    assert rates(0, options) == (0, pytest.approx(3e-6, rel=1e-3))
    assert rates(59, options)[0] == 0
    assert rates(60, options)[0] == pytest.approx(0.61 * 1e-4, rel=0.02)
    assert rates(500, options) == (pytest.approx(0.525e-4), pytest.approx(1.575e-4))
    assert rates(1000, options)[0] == pytest.approx(5e-6)


def test_losses_are_those_written_out(training, decoder):
    """All formulas with plain torch, on the same random numbers."""
    options = PainterOptions(batch=4, crop=64, seed=1)
    learning = training(options)
    torch.nn.init.normal_(learning.painter.network.fuse2.weight, std=0.05)
    batch, vgg = learning.batches[0], learning.vgg
    assert batch.identities == 2
    with random_numbers(1, 0):
        found = learning._losses(batch)
    x, y, ident = batch
    with random_numbers(1, 0), torch.no_grad():
        fc, fs = vgg(x, LAYERS), vgg(y, LAYERS)
        noise = torch.rand(4, 5, 8, 8)
        s4, s3, s2 = match(learning.project, fc, fs, noise, torch.randperm(64))
        g = torch.rand(()).item() * 0.7 + 0.3
        blended = PainterDecoder.of(decoder)
        for name, weight in blended.named_parameters():
            weight.copy_(torch.lerp(weight, learning.painter.network.get_parameter(name), g))

        def moments(z):
            return z.mean((2, 3), keepdim=True), z.var((2, 3), keepdim=True).add(1e-5).sqrt()

        def std(z):
            return (z - moments(z)[0]) / moments(z)[1]

        def cosd(a, b):
            return 1 - torch.bmm(F.normalize(a, dim=1).transpose(1, 2), F.normalize(b, dim=1))

        def sample(z):
            z = z.flatten(2)
            return z[:, :, torch.randperm(z.shape[2])[:576]]

        mean, deviation = moments(fs["relu4_1"])
        img = blended(torch.lerp(std(fc["relu4_1"]) * deviation + mean, s4, g), s3, s2)
        f, r = vgg(img, LAYERS), slice(ident, 4)
        remd = 0
        for layer in ("relu3_1", "relu4_1"):
            d = cosd(sample(f[layer][r]), sample(fs[layer][r]))
            remd += 10 * torch.maximum(d.amin(2).mean(1), d.amin(1).mean(1)).mean()
        i = torch.randperm(64)[:256]
        sa, sb = (cosd(q, q) for q in (z["relu4_1"].flatten(2)[r][:, :, i] for z in (f, fc)))
        squares = [(f[layer][:ident] - fs[layer][:ident]).pow(2).mean() for layer in LAYERS]
        wanted = {
            "content": (std(f["relu4_1"])[r] - std(fc["relu4_1"])[r]).pow(2).mean(),
            "style": 3
            * sum(
                (a - b).pow(2).mean()
                for layer in LAYERS
                for a, b in zip(moments(f[layer]), moments(fs[layer]), strict=True)
            ),
            "remd": remd,
            "patch": 5
            * (
                (1 - F.cosine_similarity(f["relu3_1"][r], s3[r])).mean()
                + (1 - F.cosine_similarity(f["relu2_1"][r], s2[r])).mean()
            ),
            "grid": 50 * grid_loss(img[r]),
            "similarity": 12 * 256 * (sa / sa.sum(1, keepdim=True) - sb / sb.sum(1, keepdim=True)).abs().mean(),
            "identity": 50 * (img[:ident] - y[:ident]).pow(2).mean() + sum(squares),
        }
    assert {n: v.item() for n, v in found.items()} == {n: pytest.approx(v.item(), rel=1e-3) for n, v in wanted.items()}


@pytest.mark.parametrize("batch", [1, 3])
def test_small_batches(training, batch):
    values = training(PainterOptions(batch=batch, crop=32)).update(300)
    assert "identity" not in values  # a quarter of so few is none
    assert all(math.isfinite(value) for value in values.values())


def test_an_update_that_is_not_finite_changes_nothing(training):
    learning = training(PainterOptions(batch=2, crop=32, remd_weight=1e39))
    before = {name: value.detach().clone() for name, value in learning.state().items()}
    with pytest.raises(NotFinite, match="remd inf"):
        learning.update(0)
    assert all(torch.equal(value, before[name]) for name, value in learning.state().items())


def test_in_bf16_weights_stay_float32(training, vgg):
    fast = type(vgg)()
    fast.load_state_dict(vgg.state_dict())
    options = PainterOptions(batch=2, crop=32)
    values, exact = training(options, fast.bfloat16()).update(0), training(options).update(0)
    assert values["style"] == pytest.approx(exact["style"], rel=0.1)
    learning = training(options, fast)
    learning.update(0)
    assert all(value.dtype == torch.float32 for value in learning.state().values())


def test_batches_depend_on_their_number_only(training):
    options = PainterOptions(batch=4, crop=32)
    one, other = training(options).batches, training(options).batches
    first, again = one[0], other[7]
    assert torch.equal(other[0].contents, first.contents)
    assert torch.equal(again.styles, one[7].styles)
    assert not torch.equal(again.styles, first.styles)
    assert torch.equal(first.contents[:2], first.styles[:2])
    assert one[201].identities == 1
    assert first.contents.shape == (4, 3, 32, 32)
    assert 0 <= first.contents.min() < first.contents.max() <= 1


def test_a_training_from_shards(folders, run, tmp_path):
    shards, target = tmp_path / "shards", tmp_path / "painter.safetensors"
    report = pack_pictures(list(folders.values()), shards, PackOptions(side=64, hold_out=0.3))
    kept = sum(name_hash(f"{number}.png") >= 0.3 for number in range(8))
    assert report.pictures == dict.fromkeys(NAMES, kept)
    assert report.bytes == sum(path.stat().st_size for path in shards.iterdir())
    options = replace(OPTIONS, steps=2, hold_out=0.0)
    result = run(target, options, shards_in(shards))
    assert (result.updates, result.pictures) == (2, report.pictures)
    again = tmp_path / "again.safetensors"
    run(again, options, shards_in(shards))
    assert again.read_bytes() == target.read_bytes()


def test_packing_keeps_to_its_size_and_takes_the_same_pictures(folders, tmp_path):
    few = PackOptions(side=64, megabytes=0.02)
    first, again = (pack_pictures(list(folders.values())[:2], tmp_path / name, few) for name in "ab")
    assert 0 < first.pictures["paintings"] < 8
    assert first.bytes < 22_000
    assert first == again
    name = "paintings.safetensors"
    assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_mistakes(folders, run, tmp_path):
    with pytest.raises(QuantArtError, match="crop must be a multiple of 8, not 36"):
        run(tmp_path / "p.safetensors", PainterOptions(crop=36))
    with pytest.raises(QuantArtError, match="two or three folders"):
        pack_pictures([folders["paintings"]], tmp_path / "s", PackOptions())
    with pytest.raises(QuantArtError, match=r"holds no photographs\.safetensors"):
        shards_in(tmp_path)
    with pytest.raises(QuantArtError, match="allow more megabytes"):
        pack_pictures(list(folders.values()), tmp_path / "s", PackOptions(megabytes=0.004, side=2000))
    (tmp_path / "s" / "paintings.safetensors").write_bytes(b"nothing")
    broken = {"photographs": folders["photographs"], "paintings": tmp_path / "s" / "paintings.safetensors"}
    with pytest.raises(QuantArtError, match="is not a shard"):
        run(tmp_path / "q.safetensors", OPTIONS, broken)
