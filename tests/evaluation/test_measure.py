"""The loop over systems and pairs, with networks whose results are known."""

import numpy as np
import PIL.Image
import pytest

from quantart_cli.errors import QuantArtError
from quantart_cli.evaluation import measure as module
from quantart_cli.evaluation.measure import Measured, inception_features, measure, score
from quantart_cli.evaluation.networks import MetricNetworks
from quantart_cli.evaluation.pictures import choose_pairs, named
from quantart_cli.evaluation.systems import Photographs, parse_system
from quantart_cli.methods.quantart import QuantArtSettings
from tests.conftest import scene
from tests.evaluation.metric_networks import inception, metric_networks

SIZE = 64


@pytest.fixture
def pairs(tmp_path):
    for number in range(4):
        PIL.Image.fromarray(scene(80, SIZE, number)).save(tmp_path / f"{number}.png")
    sources = named(sorted(tmp_path.iterdir()))
    return choose_pairs(sources[:2], sources[2:], 3, seed=0)


class Darker:
    name = "darker"

    def __init__(self):
        self.asked = 0

    def output(self, pair, content, style):
        self.asked += 1
        return content // 2


def quiet(done, total):
    pass


def test_every_system_and_pair(vgg, pairs):
    darker, seen, steps = Darker(), [], []
    photographs, dark = measure(
        [Photographs(), darker],
        pairs,
        SIZE,
        metric_networks(vgg),
        lambda done, total: steps.append((done, total)),
        lambda pair, name, rgb: seen.append((pair.name, name, rgb.mean())),
    )
    assert steps == [(number, 6) for number in range(1, 7)]
    assert [name for _, name, _ in seen] == ["photographs", "darker"] * 3
    assert photographs.values["lpips_vgg"].tolist() == photographs.values["lpips_alex"].tolist() == [0, 0, 0]
    assert photographs.values["painted"].tolist() == [0, 0, 0]
    assert photographs.values["self_similarity"].tolist() == [0, 0, 0]
    assert dark.values["lpips_vgg"].min() > 0.2
    assert dark.values["gram"].min() > 0
    assert dark.values["high_band"] == pytest.approx(photographs.values["high_band"] / 4, rel=0.05)
    assert darker.asked == 4  # the first one twice
    assert dark.features.shape == (3, 2048)
    assert dark.seconds.min() >= 0
    # Measurements are in the order of the pairs, though pairs are painted content by content.
    by_pair = {name: mean for name, system, mean in seen if system == "darker"}
    means = [by_pair[pair.name] / 255 for pair in pairs]
    contents = [2 * mean for mean in means]
    assert dark.values["lpips_vgg"] == pytest.approx(np.subtract(contents, means), abs=0.01)


def test_features_of_a_content_are_computed_once(vgg, pairs, monkeypatch):
    read = []
    original = module.square
    monkeypatch.setattr(module, "square", lambda path, size: read.append(path.stem) or original(path, size))
    measure([Photographs()], pairs, SIZE, metric_networks(vgg), quiet)
    assert sorted(each for each in read if each in "01") == ["0", "1"]


def test_without_downloads(vgg, pairs):
    (found,) = measure([Photographs()], pairs, SIZE, MetricNetworks(vgg, "cpu"), quiet)
    assert found.features is None
    assert set(found.values) == {"painted", "positions", "high_band", "self_similarity", "gram", "moments"}
    scores = score(found, None, 0, quiet)
    assert set(scores.values) == set(found.values)
    assert scores.values["painted"].value == 0


def test_scores():
    random = np.random.default_rng(0)
    artworks = random.normal(size=(8, 2048)).astype(np.float32)
    values = {
        "lpips_vgg": np.array([0.2, 0.4] * 4),
        "lpips_alex": np.array([0.1, 0.3] * 4),
        "gram": np.ones(8),
        "moments": np.array([2.0, 4.0] * 4),
        "painted": np.array([0.5, np.nan] * 4),
        "high_band": np.full(8, np.nan),
    }
    scores = score(Measured("x", 8, values, np.array([1.0, 9, 2] + [2] * 5), artworks), artworks, 0, quiet)
    found = scores.values
    assert (scores.pictures, scores.seconds) == (8, 2)
    assert found["lpips_vgg"].value == pytest.approx(0.3)
    assert (found["gram"].value, found["gram"].error, found["moments"].value) == (1, 0, 3)
    assert abs(found["fid"].value) < 1e-3
    assert found["artfid"].value == pytest.approx(1.2 * (1 + found["fid"].value))
    assert found["painted"].value == 0.5  # of the pairs that have one
    assert "high_band" not in found


def test_pictures_without_pairs_have_fid_and_kid_alone(tmp_path, pairs):
    paths = sorted(tmp_path.iterdir())
    steps, warnings = [], []
    rows = inception_features(paths, SIZE, inception, lambda *step: steps.append(step), warnings.append)
    assert (rows.shape, steps, warnings) == ((4, 2048), [(number, 4) for number in (1, 2, 3, 4)], [])
    artworks = np.stack([inception(scene(SIZE, SIZE, number)) for number in range(5)])
    scores = score(Measured("folder", 4, features=rows), artworks, 0, quiet)
    assert set(scores.values) == {"fid", "kid"}
    assert scores.seconds is None


def test_unreadable_pictures_are_left_out(tmp_path, pairs):
    paths, warnings = sorted(tmp_path.iterdir()), []
    for path in paths[1:3]:
        path.write_bytes(b"no picture")
    rows = inception_features(paths, SIZE, inception, quiet, warnings.append)
    assert len(rows) == 2
    assert ["1.png" in warnings[0], "2.png" in warnings[1]] == [True, True]
    with pytest.raises(QuantArtError, match="1 of 3 pictures can be read"):
        inception_features(paths[:3], SIZE, inception, quiet, warnings.append)


def test_names_of_systems():
    spec = parse_system("quantart:alpha=0.25,strength=1,model=a:b.safetensors")
    assert spec.settings == QuantArtSettings(fidelity=0.25, strength=1.0)
    assert spec.model == "a:b.safetensors"
    assert parse_system("photographs").settings is None
    assert parse_system("gatys:steps=3,content-weight=2").settings.steps == 3
