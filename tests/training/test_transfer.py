"""A whole training of guides, in seconds: from AdaIN on, reproducible, resumable, guarded."""

import copy
import json
from dataclasses import replace

import PIL.Image
import pytest
import safetensors
import safetensors.torch
import torch

from quantart_cli.checkpoints.formats import read_header
from quantart_cli.checkpoints.loading import fill_strictly
from quantart_cli.checkpoints.models import embedded_model
from quantart_cli.engine.tiling import Window
from quantart_cli.errors import QuantArtError
from quantart_cli.methods.features import Features, Statistics
from quantart_cli.methods.guided import Guided, style_of
from quantart_cli.methods.quantart import QuantArt
from quantart_cli.nets.autoencoder import GUIDED, ArtCodebook
from quantart_cli.training.latent import standardised
from quantart_cli.training.loop import NotFinite, Stopped
from quantart_cli.training.options_more import TransferOptions
from quantart_cli.training.pictures import Pictures
from quantart_cli.training.transfer import TransferTraining, train_transfer
from tests.conftest import scene

# The discriminators learn from the second update on and are listened to from the third, see the fixture.
OPTIONS = TransferOptions(
    steps=4, batch=2, crop=64, blocks=1, adversary_after=1, average=0.5, log_every=1, sheet_every=4
)


@pytest.fixture(scope="module", autouse=True)
def _small():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("quantart_cli.training.latent._HEAD_START", 1)
        patch.setattr("quantart_cli.training.folders._SHOWN", 1)
        yield


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    made = []
    for first, name in ((0, "photos"), (10, "art")):
        made.append(tmp_path_factory.mktemp(name))
        for number in range(first, first + 3):
            PIL.Image.fromarray(scene(80, 70 + number, number)).save(made[-1] / f"{number}.png")
    return made


@pytest.fixture(scope="module")
def small(decoder):
    """The codebook that came with quantart, a sixteenth of it, with a decoder."""
    book = read(embedded_model("quantart-vgg19").path)
    book.entries = torch.nn.Parameter(book.entries[..., ::16, :].clone(), requires_grad=False)
    book.decoder = copy.deepcopy(decoder)
    return book


@pytest.fixture(scope="module")
def train(vgg, small, decoder, folders):
    def call(target, options=OPTIONS, start=small, **more):
        return train_transfer(*folders, target, options, vgg, start, decoder, **more)

    return call


@pytest.fixture(scope="module")
def trained(train, tmp_path_factory):
    target = tmp_path_factory.mktemp("trained") / "model.safetensors"
    return target, train(target)


@pytest.fixture
def training(vgg, small, decoder, folders):
    def make(options=OPTIONS, start=small):
        pictures = [Pictures(sorted(folder.glob("*.png")), 1e9, lambda *_: None) for folder in folders]
        names = ("photographs", "paintings")
        shown = dict.fromkeys(names, torch.rand(1, 3, 64, 64))
        return TransferTraining(vgg, start, decoder, dict(zip(names, pictures, strict=True)), shown, options)

    return make


def read(path):
    return fill_strictly(ArtCodebook.like, safetensors.torch.load_file(path), path.name)


def test_report_log_sheets_and_file(trained, small):
    target, report = trained
    assert report.pictures == {"photographs": 3, "paintings": 3}
    assert (report.updates, report.skipped) == (4, 0)
    kept = target.with_name("model.safetensors.training")
    lines = [json.loads(line) for line in (kept / "log.jsonl").read_text().splitlines()]
    for end in GUIDED:
        assert f"{end} discriminator" not in lines[0]
        assert f"{end} adversary" not in lines[1]
        assert f"{end} adversary" in lines[2]
    assert lines[0]["continuous content"] == 0
    with PIL.Image.open(kept / "000004.png") as sheet:
        assert sheet.size == (6 * 68 + 4, 68 + 4)
    header = read_header(target)
    assert header.metadata["kind"] == "quantart-vgg19"
    assert set(header.dtypes.values()) == {"F16"}
    model, before = read(target), small.state_dict()
    assert set(model.transfer) == set(GUIDED)
    kept_tensors = {name: value for name, value in model.state_dict().items() if "transfer" not in name}
    assert set(kept_tensors) == set(before)
    assert all(torch.equal(value, before[name].half().float()) for name, value in kept_tensors.items())


def test_learning_starts_at_adain_and_lowers_what_it_is_asked_to(training):
    learning = training(replace(OPTIONS, adversary_weight=0.0, rate=1e-3))
    told = [learning.update(0) for _ in range(10)]  # on the same crops
    assert told[0]["continuous content"] < 1e-9
    assert told[0]["quantized style"] < 1e-9
    first, last = (
        {name: sum(each[f"{name} {loss}"] for loss in ("content", "gram")) for name in GUIDED}
        for each in (told[0], told[-1])
    )
    assert last["continuous"] < 0.7 * first["continuous"]
    # Most of the quantized end's losses is what its few entries leave.
    assert last["quantized"] < first["quantized"]
    assert told[-1]["quantized gram"] < 0.95 * told[0]["quantized gram"]


def test_what_learned_saw_is_what_paints(training, trained, vgg, decoder):
    """The latents of an update are those of the method."""
    learning, model = training(), read(trained[0])
    numbers = torch.Generator().manual_seed(0)
    noise, offset = (torch.randn(2, 1, 512, side, side, generator=numbers) for side in (16, 1))
    z_c, z_s = noise.relu().add(offset).unbind(0)
    seen = learning.see(*torch.rand(2, 1, 3, 64, 64, generator=numbers), 0.0)
    seen = replace(seen, z_c=z_c, tokens=standardised(z_s).flatten(2).mT)
    for name, end in learning.ends.items():
        end.guide.network = model.guide(name)
    method, style, features = QuantArt(vgg, model, decoder), style_of(Features(z_s)), Features(z_c)
    for name in GUIDED:
        guided = Guided(z=z_c, own=features.statistics, guide=model.guide(name), style=style)
        z = guided.rows(slice(None))
        if name == "quantized":
            found = method.quantize(guided)
            z = found.at(Window(0, 0, *features.grid))
        own = Statistics.of(z)
        u = learning.transfer(name, seen).u
        torch.testing.assert_close(u, (z - own.mean) / own.std, rtol=1e-3, atol=1e-3)


def test_the_same_seed_gives_the_same_bytes_stopped_or_not(trained, train, tmp_path):
    train(tmp_path / "again.safetensors")
    assert (tmp_path / "again.safetensors").read_bytes() == trained[0].read_bytes()
    target, done = tmp_path / "model.safetensors", []
    with pytest.raises(Stopped):
        train(
            target,
            stop=lambda: len(done) >= 3,
            progress=lambda stage, *_: done.extend([1] if stage == "training" else []),
        )
    assert not target.exists()
    train(target)
    assert target.read_bytes() == trained[0].read_bytes()
    train(tmp_path / "other.safetensors", replace(OPTIONS, seed=1, steps=1))
    assert not torch.equal(
        *(read(each).guide("continuous").blocks[0].q.weight for each in (trained[0], tmp_path / "other.safetensors"))
    )


def test_it_goes_on_from_guides_that_are_there(trained, train, tmp_path):
    still = replace(OPTIONS, steps=1, rate=0.0, blocks=3)
    train(tmp_path / "more.safetensors", still, read(trained[0]))
    assert (tmp_path / "more.safetensors").stat().st_size == pytest.approx(trained[0].stat().st_size, abs=2000)
    before, after = (safetensors.torch.load_file(each) for each in (trained[0], tmp_path / "more.safetensors"))
    assert all(torch.equal(after[name], value) for name, value in before.items())


def test_an_update_that_is_not_finite_changes_nothing(training):
    learning = training(replace(OPTIONS, gram_weight=1e39))
    before = {name: value.detach().clone() for name, value in learning.state().items()}
    with pytest.raises(NotFinite, match="gram inf"):
        learning.update(0)
    assert all(torch.equal(value, before[name]) for name, value in learning.state().items())


def test_what_a_person_can_get_wrong(train, tmp_path):
    with pytest.raises(QuantArtError, match="--crop must be a multiple of 8, not 68"):
        train(tmp_path / "m.safetensors", TransferOptions(crop=68))
    assert list(tmp_path.iterdir()) == []
