"""NNST: matching, pyramids and gradients by their definitions; resuming, determinism, regions and small pictures."""

import numpy as np
import PIL.Image
import pytest
import torch

import quantart_cli as quantart
from quantart_cli.backends.torch_backend import load_network
from quantart_cli.checkpoints.models import embedded_model
from quantart_cli.errors import QuantArtError
from quantart_cli.methods import hypercolumns, nnst
from quantart_cli.methods.hypercolumns import LAYERS, Candidates, columns, nearest
from quantart_cli.methods.inputs import OptimisationInputs
from quantart_cli.methods.laplacian import collapse, decompose
from quantart_cli.methods.nnst import NNST, Optimisation, Place, scales_of
from quantart_cli.methods.nnst_losses import hypercolumn_loss
from quantart_cli.methods.nnst_settings import NNSTSettings, parse_plan, plan
from quantart_cli.methods.oklab import from_oklab, moments, recolor, to_oklab
from quantart_cli.nets.vgg import VGG19
from quantart_cli.tiling import Tiler

QUICK = "3,2,2"


@pytest.fixture(scope="module")
def method():
    return NNST(load_network(VGG19, embedded_model("vgg19-normalised")).requires_grad_(False))


def picture(width, height, seed=0):
    """Soft waves with some texture, (1, 3, height, width)."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width] / max(width, height)
    waves = np.full((3, height, width), 0.5)
    for _ in range(6):
        fx, fy, phase = random.uniform(-14, 14), random.uniform(-14, 14), random.uniform(0, 6)
        waves += np.sin(fx * x + fy * y + phase) * random.uniform(-0.12, 0.12, (3, 1, 1))
    waves += random.normal(0, 0.02, waves.shape)
    return torch.from_numpy(waves.clip(0, 1)).float()[None]


def styles_of(method, *pictures):
    return method.encode_style([(each, None) for each in pictures], [1 / len(pictures)] * len(pictures))


def painted(method, content, style, steps=QUICK, **others):
    """All steps; of ``steps`` the last numbers, as many as the content has scales."""
    steps = ",".join(steps.split(",")[-scales_of(max(content.shape[2:])) - 1 :])
    settings = {name: others.pop(name) for name in ("recolor", "style_rotations", "content_weight") if name in others}
    return list(method.steps(content, style, NNSTSettings(steps=steps, **settings), **others))


def random_rows(count, seed):
    generator = torch.Generator().manual_seed(seed)
    return {layer: torch.rand(count, 8, generator=generator) for layer in LAYERS}


def test_matches_are_the_greatest_centred_cosines():
    style, queries = random_rows(70, 1), random_rows(50, 2)
    found = Candidates.of(style, torch.Generator().manual_seed(0))
    keys = found.project(queries)
    matches = nearest(keys - keys.mean(0), found.keys)
    whole_style = torch.cat([z * found.scales[layer] for layer, z in style.items()], 1)
    whole = torch.cat([z * found.scales[layer] for layer, z in queries.items()], 1)
    for i, query in enumerate(whole - whole.mean(0)):
        cosines = [torch.cosine_similarity(query, other, dim=0) for other in whole_style - whole_style.mean(0)]
        assert matches[i] == int(torch.stack(cosines).argmax())
    cosine = torch.cosine_similarity(whole, whole_style[matches])
    assert torch.allclose(found.distances(queries, matches), 1 - cosine, atol=1e-5)


def test_matches_do_not_depend_on_how_many_cosines_are_computed_at_a_time(monkeypatch):
    generator = torch.Generator().manual_seed(0)
    queries, keys = torch.randn(100, 16, generator=generator), torch.randn(40, 16, generator=generator)
    expected = nearest(queries, keys)
    monkeypatch.setattr(hypercolumns, "_COSINES", 90)
    assert torch.equal(nearest(queries, keys), expected)


def test_layers_count_alike():
    rows = {layer: z * 10**i for i, (layer, z) in enumerate(random_rows(40, 0).items())}
    units = Candidates.of(rows, torch.Generator().manual_seed(0)).units
    norms = torch.stack([z.norm(dim=1).mean() for z in units.values()])
    assert torch.allclose(norms, norms.mean(), rtol=0.01)
    assert torch.allclose(torch.cat(list(units.values()), 1).norm(dim=1), torch.ones(40), atol=1e-5)


@pytest.mark.parametrize("size", [(64, 48), (33, 17), (1, 5), (1, 1)])
def test_a_pyramid_rebuilds_its_picture(size):
    image = picture(*size)
    bands = decompose(image, 8)
    assert torch.allclose(collapse(bands), image, atol=1e-6)
    assert len(bands) == 1 or bands[1].shape[2:] == (-(-size[1] // 2), -(-size[0] // 2))


def test_hypercolumns_lie_at_a_quarter_of_the_sides(method):
    found = columns(method.vgg(picture(34, 18), LAYERS))
    assert list(found) == list(LAYERS)
    assert {len(z) for z in found.values()} == {9 * 5}


def splits(method, content, style):
    """An optimisation of one scale with its losses of step 4 and of step 5."""
    run = Optimisation(method.vgg, content, styles_of(method, style), NNSTSettings(), None, None, None, 0)
    place = Place.at(run.o)
    grid = run.regions.grid(run._size(0), 4)
    candidates = run._of_style(0, run.sampler.candidates)
    matches = run._matches(0, True, grid, candidates)
    hyper = hypercolumn_loss(grid, matches, candidates)
    return run, place, hyper, run._splitting(0, place, run._of_style(0, run.sampler.details))


def test_the_gradient_is_that_of_finite_differences(method):
    run, place, loss, _ = splits(method, picture(32, 32), picture(32, 32, 5))
    _, gradient = run._gradient(0, place.x, loss)
    direction = gradient / gradient.norm()
    step = 0.02
    there, back = (run._gradient(0, place.x + sign * step * direction, loss)[0] for sign in (1, -1))
    assert (there - back) / (2 * step) == pytest.approx(gradient.norm().item(), rel=0.05)


@pytest.mark.parametrize("which", ["hypercolumns", "splitting"])
def test_windows_give_nearly_the_gradient_of_the_whole(method, which):
    content, style = picture(160, 96), picture(96, 96, 5)
    run, place, *losses = splits(method, content, style)
    value, gradient = run._gradient(0, place.x, losses[which == "splitting"])
    run.extractor.tiles = Tiler(80, grain=16)
    if which == "splitting":
        losses[1] = run._splitting(0, place, run._of_style(0, run.sampler.details))
    windowed, other = run._gradient(0, place.x, losses[which == "splitting"])
    assert windowed == pytest.approx(value, rel=0.01)
    assert torch.cosine_similarity(gradient, other, dim=0) > 0.98


def test_a_picture_in_its_own_style_stays(method):
    content = picture(64, 48)
    result = painted(method, content, styles_of(method, content), "0,20,0", style_rotations="no")[-1].image()
    assert (result - content).abs().mean() < 0.08


def test_it_descends_and_comes_closer_to_the_style_than_adain(method):
    content, style = picture(64, 64), picture(64, 64, 5)
    steps = painted(method, content, styles_of(method, style), "20,16,2", recolor="no")
    assert steps[15].losses["style"] < 0.8 * steps[0].losses["style"]
    as_bytes = [(each[0].permute(1, 2, 0) * 255).round().byte().numpy() for each in (content, style)]
    adain = quantart.load("adain", device="cpu", precision="fp32", backend="torch")
    other = torch.from_numpy(np.array(adain.stylize(*as_bytes))).permute(2, 0, 1)[None] / 255

    def distance(image):
        """Mean distance of hypercolumns to the style's nearest."""
        raw = columns(method.vgg(style, LAYERS))
        found = Candidates.of(raw, torch.Generator().manual_seed(0))
        own = columns(method.vgg(image, LAYERS))
        keys = found.project(own)
        return found.distances(own, nearest(keys - keys.mean(0), found.keys)).mean().item()

    assert distance(steps[-1].image()) < distance(other)


def test_the_same_seed_gives_the_same_picture(method):
    content, style = picture(64, 48), styles_of(method, picture(80, 60, 5))
    first, second, other = (painted(method, content, style, seed=seed)[-1].image() for seed in (3, 3, 4))
    assert torch.equal(first, second)
    assert not torch.equal(first, other)


@pytest.fixture(scope="module")
def uninterrupted(method):
    """Content, style and all steps."""
    content, style = picture(100, 56), styles_of(method, picture(64, 48, 5))
    return content, style, painted(method, content, style)


@pytest.mark.parametrize("at", [1, 3, 4, 6])
def test_it_resumes_bit_for_bit(method, uninterrupted, at):
    content, style, whole = uninterrupted
    state = whole[at - 1].state()
    assert state.step == at
    rest = painted(method, content, style, inputs=OptimisationInputs(resume=state))
    assert [step.step for step in rest] == [step.step for step in whole[at:]]
    assert torch.equal(rest[-1].image(), whole[-1].image())


def test_resuming_after_the_last_step_gives_its_picture(method):
    content, style = picture(64, 48), styles_of(method, picture(64, 48, 5))
    whole = painted(method, content, style)
    rest = painted(method, content, style, inputs=OptimisationInputs(resume=whole[-1].state()))
    assert torch.equal(rest[-1].image(), whole[-1].image())


@pytest.mark.parametrize("size", [(16, 16), (17, 33), (1, 1), (120, 9)])
def test_small_pictures(method, size):
    flat = torch.full((1, 3, *size[::-1]), 0.5)
    for content, style in ((picture(*size), torch.zeros(1, 3, 16, 16)), (flat, picture(20, 24, 5))):
        last = painted(method, content, styles_of(method, style))[-1]
        assert last.image().shape == content.shape
        assert last.image().isfinite().all()
        assert 0 <= last.image().min() <= last.image().max() <= 1


def test_hidden_positions_of_a_style_are_no_candidates(method):
    style, hidden = picture(64, 64, 5), picture(64, 64, 9)
    both = torch.cat([style, hidden], 3)
    opacity = torch.cat([torch.ones(1, 1, 64, 64), torch.zeros(1, 1, 64, 64)], 3)
    sampler = Optimisation(method.vgg, style, styles_of(method, style), NNSTSettings(), None, None, None, 0).sampler
    generator = torch.Generator().manual_seed(0)
    pictures = [((both, opacity), 1.0)]
    candidates, details = sampler.candidates(pictures, generator), sampler.details(pictures, generator)
    assert len(candidates.keys) == 4 * 16 * 16
    assert len(details.keys["relu4_1"]) == 4 * 8 * 8


def test_transparency_of_the_content(method):
    content, opacity = picture(64, 48), torch.ones(1, 1, 48, 64)
    opacity[..., 32:] = 0
    style = styles_of(method, picture(64, 48, 5))
    assert painted(method, content, style, opacity=opacity)[-1].image().isfinite().all()
    assert painted(method, content, style, opacity=torch.zeros_like(opacity))[-1].image().isfinite().all()


def test_styles_are_drawn_by_their_weights(method):
    first, second = picture(64, 64, 5), picture(64, 64, 9)
    run = Optimisation(method.vgg, first, styles_of(method, first), NNSTSettings(), None, None, None, 0)
    pictures = [((first, None), 0.75), ((second, None), 0.25)]
    candidates = run.sampler.candidates(pictures, torch.Generator().manual_seed(0))
    assert len(candidates.keys) == pytest.approx(4 * 256 * (1 + 1 / 3), rel=0.01)


def test_regions_take_their_own_style(method):
    content = torch.full((1, 3, 64, 64), 0.5) + 0.05 * (picture(64, 64) - 0.5)
    red, blue = (torch.full((1, 3, 64, 64), 0.1) for _ in range(2))
    red[:, 0], blue[:, 2] = 0.8, 0.8
    left = torch.zeros(64, 64)
    left[:, :32] = 1
    inputs = OptimisationInputs(masks=(left.numpy(), 1 - left.numpy()))
    image = painted(method, content, styles_of(method, red, blue), "0,10,0", inputs=inputs)[-1].image()
    assert image[0, 0, :, :24].mean() > image[0, 2, :, :24].mean() + 0.2
    assert image[0, 2, :, 40:].mean() > image[0, 0, :, 40:].mean() + 0.2
    one = painted(method, content, styles_of(method, red), inputs=OptimisationInputs(masks=(left.numpy(),)))[-1].image()
    assert torch.equal(one[..., 32:], content[..., 32:])


def test_refining_starts_from_a_picture(method):
    content, start = picture(128, 96), picture(128, 96, 3)
    style = styles_of(method, picture(64, 64, 5))
    steps = list(method.refine(start, content, style, 6))
    assert [step.size for step in steps[:6]] == [(64, 48)] * 4 + [(128, 96)] * 2
    assert 0 < (steps[-1].image() - start).abs().mean() < (steps[-1].image() - content).abs().mean()


def test_the_plan():
    assert plan("auto", 4) == parse_plan("auto")
    assert plan("auto", 2) == parse_plan("auto")[-3:]
    assert plan("5,4,3", 4) == (5, 5, 5, 4, 3)
    assert plan("7", 2) == (7, 7, 7)
    for bad in ("", "0", "1,x", "-1", "²"):
        with pytest.raises(QuantArtError):
            parse_plan(bad)
    with pytest.raises(QuantArtError, match="5,4,3 has 3 numbers: this picture takes at most 2"):
        plan("5,4,3", 1)


def test_work_is_that_of_the_plan(method):
    def work(side, steps):
        return method.pixels_of_work((side, side), NNSTSettings(steps=steps))

    preparing = nnst._PREPARING
    assert work(96, "3,2,1") == 48**2 * (3 + preparing) + 96**2 * (2 + 1 + 2 * preparing)
    assert work(96, "0,2,0") == 96**2 * (2 + preparing)
    assert work(192, "5") - work(192, "4") == 48**2 + 96**2 + 2 * 192**2
    few = method.sample_settings(NNSTSettings())
    assert method.pixels_of_work((512, 512), few) < 0.5 * work(512, "auto")


def test_previews_of_the_command(run, content_file, style_file, tmp_path):
    options = (
        "--size",
        40,
        "--steps",
        "2,1",
        "--device",
        "cpu",
        "--preview-every",
        1,
        "--preview",
        tmp_path / "now.png",
    )
    status, _, err = run("nnst", content_file, style_file, "-o", tmp_path / "out.png", *options)
    assert status == 0, err
    last, result = (PIL.Image.open(tmp_path / name).tobytes() for name in ("now.png", "out.png"))
    assert last == result


def test_oklab_goes_and_returns():
    image = picture(32, 32)
    assert torch.allclose(from_oklab(to_oklab(image)), image, atol=1e-4)
    white = to_oklab(torch.ones(1, 3, 1, 1)).flatten()
    assert torch.allclose(white, torch.tensor([1.0, 0, 0]), atol=1e-3)


def test_recolouring_moves_hues_to_those_of_the_style():
    content, painted_ = 0.4 + 0.2 * picture(64, 64), picture(64, 64, 2)
    mean, covariance = moments(to_oklab(0.4 + 0.2 * picture(64, 64, 5))[:, 1:])
    lab = to_oklab(recolor(painted_ * 0.2 + 0.5, content, mean, covariance))
    assert torch.allclose(lab[:, 1:].mean((0, 2, 3)), mean, atol=5e-3)
    assert torch.allclose(lab[:, :1], to_oklab(painted_ * 0.2 + 0.5)[:, :1], atol=0.02)
