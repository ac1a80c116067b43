"""The loop over candidates and pairs, with judges whose answers are known."""

import numpy as np
import PIL.Image
import pytest
import torch

from quantart_cli.evaluation.candidates import Painting, Photographs, art_codebook, parse
from quantart_cli.evaluation.codes import Use, counted, counting
from quantart_cli.evaluation.measure import Measured, measure, measure_unpaired, score
from quantart_cli.evaluation.pictures import choose_pairs, named
from quantart_cli.methods.controls import QuantArtControls
from tests.conftest import scene
from tests.evaluation.judges import inception, judges

SIZE = 64


@pytest.fixture
def pairs(tmp_path):
    for number in range(4):
        PIL.Image.fromarray(scene(80, SIZE, number)).save(tmp_path / f"{number}.png")
    sources = named(sorted(tmp_path.iterdir()))
    return choose_pairs(sources[:2], sources[2:], 3, seed=0)


class Darker:
    name = "darker"
    codebook = None

    def __init__(self):
        self.asked = 0

    def output(self, pair, content, style):
        self.asked += 1
        return content // 2


def quiet(done, total):
    pass


def test_every_candidate_and_pair(vgg, pairs):
    darker, seen, steps = Darker(), [], []
    found = measure(
        [Photographs(), darker],
        pairs,
        SIZE,
        judges(vgg),
        lambda done, total: steps.append((done, total)),
        lambda pair, name, rgb: seen.append((pair.name, name, rgb.mean())),
    )
    photographs, dark = found
    assert steps == [(number, 6) for number in range(1, 7)]
    assert [name for _, name, _ in seen] == ["photographs", "darker"] * 3
    assert photographs.lpips_vgg == photographs.lpips_alex == [0, 0, 0]
    assert min(dark.lpips_vgg) > 0.2
    assert min(dark.gram + dark.moments) > 0
    assert darker.asked == 4  # the first one twice
    assert dark.counts is None
    assert len(dark.seconds) == len(dark.features) == 3


def test_codes_are_counted(vgg, pairs, quantart_model):
    codebook = art_codebook(quantart_model._networks)
    candidates = [
        Painting(f"quantart:fidelity={alpha}", quantart_model, QuantArtControls(fidelity=alpha), 0, codebook)
        for alpha in (1.0, 0.0)
    ]
    quantized, continuous = measure(candidates, pairs, SIZE, judges(vgg), quiet)
    assert quantized.counts.sum() == 3 * (SIZE // 8) ** 2 * 8  # parts
    assert continuous.counts.sum() == 0
    assert "indices" not in vars(codebook)


def test_use_by_hand():
    codebook = torch.nn.Module()
    codebook.indices = lambda z: z
    with counting(codebook) as asked:
        codebook.indices(torch.tensor([[0, 0], [3, 3]]))
        codebook.indices(torch.tensor([0]))
    use = Use(counted(asked, 5))
    assert use.counts.tolist() == [3, 0, 0, 2, 0]
    assert use.used == 2
    assert use.perplexity == pytest.approx((3 / 5) ** -(3 / 5) * (2 / 5) ** -(2 / 5))
    assert np.isnan(Use(np.zeros(3, np.int64)).perplexity)


def test_scores():
    random = np.random.default_rng(0)
    artworks = random.normal(size=(8, 2048)).astype(np.float32)
    eight = [0.2, 0.4] * 4, [0.1, 0.3] * 4, [1.0] * 8, [2.0, 4.0] * 4, [1.0, 9, 2], list(artworks)
    measured = Measured("x", *eight)
    scores = score(measured, artworks, 0, quiet)
    values = scores.values
    assert (scores.pictures, scores.seconds, scores.use) == (8, 2, None)
    assert values["lpips_vgg"].value == pytest.approx(0.3)
    assert (values["gram"].value, values["gram"].error, values["moments"].value) == (1, 0, 3)
    assert abs(values["fid"].value) < 1e-3
    assert values["artfid"].value == pytest.approx(1.2 * (1 + values["fid"].value))


def test_unpaired_pictures_have_fid_and_kid_alone(vgg, pairs, tmp_path):
    found = measure_unpaired("folder", sorted(tmp_path.iterdir()), SIZE, judges(vgg), quiet)
    scores = score(found, np.stack([inception(scene(SIZE, SIZE, number)) for number in range(5)]), 0, quiet)
    assert set(scores.values) == {"fid", "kid"}
    assert scores.seconds is scores.use is None


def test_names_of_candidates():
    wanted = parse("quantart:alpha=0.25,strength=1,model=a:b.safetensors")
    assert wanted.controls == QuantArtControls(fidelity=0.25, strength=1.0)
    assert wanted.model == "a:b.safetensors"
    assert parse("photographs").controls is None
    assert parse("gatys:steps=3,content-weight=2").controls.steps == 3
