"""Gatys: an optimisation that descends, tiles that change nothing, regions, levels, and Ctrl-C."""

import copy

import numpy as np
import pytest
import torch

import quantart_cli as quantart
from quantart_cli.errors import QuantArtError
from quantart_cli.images import read_picture
from quantart_cli.methods.gatys import Gatys, Optimisation, resized
from quantart_cli.methods.gatys_settings import PRESETS, STYLE_LOSSES, GatysSettings
from quantart_cli.methods.inputs import OptimisationInputs
from quantart_cli.methods.pyramid import Level, levels
from quantart_cli.nets.vgg import VGG19
from quantart_cli.runner import NotFinite
from quantart_cli.tiling import Tiler
from tests.conftest import scene


@pytest.fixture(scope="module")
def method(vgg):
    return Gatys(copy.deepcopy(vgg).requires_grad_(False))


@pytest.fixture(scope="module")
def content(parity):
    return parity["content"]


def stylize(method, content, style, settings, **how):
    """The picture after the last step, and all steps."""
    steps = list(method.steps(content, style, settings, **how))
    return steps[-1].image(), steps


def styles_of(method, *pictures):
    return method.encode_style([(picture, None) for picture in pictures], [1 / len(pictures)] * len(pictures))


def optimisation(method, style, settings=None, inputs=None, seed=0, tiler=None, opacity=None):
    """One with a single style."""
    settings, inputs = settings or GatysSettings(), inputs or OptimisationInputs()
    return Optimisation(method.vgg, styles_of(method, style), settings, opacity, tiler or Tiler(), inputs, seed)


def objective(method, content, style, settings=None, tiler=None, inputs=None, opacity=None):
    """The losses at the size of the content, as the last level has them."""
    run = optimisation(method, style, settings, inputs, tiler=tiler, opacity=opacity)
    return run.descent(content, content, Level(content.shape[3], content.shape[2], 1)).evaluate


def test_it_descends_towards_the_style(method, parity):
    content, style = parity["content"][..., :64, :64], parity["style_1"][..., :64, :64]
    image, seen = stylize(method, content, styles_of(method, style), GatysSettings(steps=8))
    assert image.shape == content.shape
    assert 0 <= image.min() <= image.max() <= 1
    assert [record.step for record in seen] == list(range(1, 9))
    assert set(seen[0].losses) == {"content", "style", "tv"}
    assert seen[-1].losses["style"] < 0.7 * seen[0].losses["style"]
    assert torch.equal(seen[-1].image(), image)


def test_losses_are_one_where_nothing_is_right_and_zero_where_all_is(method, content):
    content = content[..., :64, :64]
    settings = GatysSettings(style_weight=1, tv_weight=0, init="content")
    run = optimisation(method, content, settings)
    run.descent(content, content, Level(64, 64, 1))
    assert run.latest["content"] == pytest.approx(0, abs=1e-6)
    assert run.latest["style"] == pytest.approx(0, abs=1e-6)


def test_the_same_weights_are_alike_at_every_size(method, content, parity):
    losses = []
    for side in (64, 128):
        picture, style = (resized(parity[name], (side, side)) for name in ("content", "style_1"))
        run = optimisation(method, style)
        run.descent(picture, picture, Level(side, side, 1))
        losses.append(run.latest["style"])
    assert losses[1] == pytest.approx(losses[0], rel=0.5)


SHALLOW = {"style_layers": "relu1_1,relu3_1:2", "content_layers": "relu2_2,relu3_2"}  # which need narrow borders


@pytest.mark.parametrize(
    ("settings", "side"),
    [({}, (176, 48)), *(({"style_loss": loss, **SHALLOW}, (120, 80)) for loss in STYLE_LOSSES)],
    ids=["all layers", *STYLE_LOSSES],
)
def test_tiles_give_the_gradient_of_the_whole(method, parity, settings, side):
    torch.manual_seed(0)
    width, height = side
    style = parity["style_1"][..., :56, :50]
    content = resized(parity["content"], side)
    opacity = torch.ones(1, 1, height, width)
    opacity[..., 30:, :50] = 0.3
    mask = np.zeros((height, width), np.float32)
    mask[:, 75:] = 1
    inputs = OptimisationInputs((mask, 1 - mask), (np.ones((4, 4), np.float32), np.eye(4, dtype=np.float32)))
    image = (content + 0.1 * torch.randn_like(content)).clamp(0, 1)
    found = []
    for tile in (None, 64):
        evaluate = objective(method, content, style, GatysSettings(**settings), Tiler(tile), inputs, opacity)
        found.append(evaluate(image, 3))
    (value, gradient), (value_in_tiles, gradient_in_tiles) = found
    assert value_in_tiles == pytest.approx(value, rel=1e-5)
    assert (gradient_in_tiles - gradient).abs().max() < 1e-5 * gradient.abs().max()


def test_memory_that_runs_out_cuts_the_picture(method, content, parity, monkeypatch):
    large, style = resized(content, (160, 160)), parity["style_1"][..., :64, :64]
    wanted = objective(method, large, style, GatysSettings(**SHALLOW))(large, 0)
    forward = VGG19.forward

    def short(self, image, *rest):
        if image.shape[2] * image.shape[3] > 150 * 150 and image.requires_grad:
            raise MemoryError
        return forward(self, image, *rest)

    monkeypatch.setattr(VGG19, "forward", short)
    told = []
    tiler = Tiler(notify=told.append)
    value, gradient = objective(method, large, style, GatysSettings(**SHALLOW), tiler)(large, 0)
    assert told == ["memory ran out with the whole picture: continuing with tiles of 80 pixels"]
    assert value == pytest.approx(wanted[0], rel=1e-5)
    assert (gradient - wanted[1]).abs().max() < 1e-5 * wanted[1].abs().max()


@pytest.mark.parametrize("weight", [1e-2, 1e4])
def test_it_stays_finite_and_descends_whatever_the_weights(method, parity, weight):
    content = parity["content"][..., :48, :48]
    settings = GatysSettings(steps=10, style_weight=weight)
    image, steps = stylize(method, content, styles_of(method, parity["style_2"]), settings)
    totals = [sum(step.losses.values()) for step in steps]
    assert image.isfinite().all()
    assert totals == sorted(totals, reverse=True)
    assert totals[-1] < totals[0]


def test_an_overflow_is_raised(method, parity):
    content = parity["content"][..., :32, :32]
    broken = VGG19()
    broken.load_state_dict(method.vgg.state_dict())
    broken.conv3_1.weight.data.fill_(float("inf"))
    run = Gatys(broken.requires_grad_(False))
    with pytest.raises(NotFinite, match="loss is not finite"):
        stylize(run, content, styles_of(run, content), GatysSettings(steps=2))


@pytest.mark.parametrize(("pyramid", "size"), [("none", (40, 33)), ("20,30", (20, 17))])
def test_interrupt_keeps_the_picture_reached_at_the_contents_size(pyramid, size):
    model = quantart.load("gatys", device="cpu", precision="fp32")
    content, settings = scene(40, 33), GatysSettings(steps=50, pyramid=pyramid)

    def interrupt(step):
        if step.step == 3:
            assert step.size == size
            raise KeyboardInterrupt

    style = model.encode_style(scene(40, 40, 1))
    result = model.paint(read_picture(content), style, settings, progress=interrupt)
    assert result.stopped
    assert result.notes == ("stopped at step 3",)
    assert result.picture.rgb.shape == content.shape
    assert not np.array_equal(result.picture.rgb, content)
    with pytest.raises(KeyboardInterrupt):
        model.stylize(content, style, steps=50, pyramid=pyramid, progress=interrupt)


@pytest.mark.parametrize("size", [(1, 1), (5, 40), (33, 17)])
def test_small_pictures(method, size):
    torch.manual_seed(1)
    style = styles_of(method, torch.rand(1, 3, 3, 4))
    image, _ = stylize(method, torch.rand(1, 3, *size), style, GatysSettings(steps=2))
    assert image.shape == (1, 3, *size)
    assert image.isfinite().all()


def test_a_pyramid_goes_from_coarse_to_fine():
    plan = levels(512, 300, 100, "auto")
    assert [level.size for level in plan] == [(128, 75), (256, 150), (512, 300)]
    assert sum(level.steps for level in plan) == 100
    assert plan[0].steps > plan[1].steps > plan[2].steps > 10
    assert [level.size for level in levels(200, 255, 7, "auto")] == [(200, 255)]
    assert [level.side for level in levels(300, 100, 50, "64,150,300,900")] == [64, 150, 300]
    assert [level.size for level in levels(300, 100, 50, "none")] == [(300, 100)]
    assert [level.steps for level in levels(2048, 2048, 1, "auto")][-1] == 0  # too few steps: it is only enlarged


def test_every_level_starts_from_the_one_before(method, parity):
    content = resized(parity["content"], (64, 64))
    settings = GatysSettings(steps=12, pyramid="32", tolerance=0, style_weight=30)
    _, seen = stylize(method, content, styles_of(method, parity["style_1"]), settings)
    sizes = [record.size for record in seen]
    assert sizes == [(32, 32)] * 8 + [(64, 64)] * 4
    settings = GatysSettings(steps=4, pyramid="none", tolerance=0, style_weight=30)
    _, alone = stylize(method, content, styles_of(method, parity["style_1"]), settings)
    assert seen[-1].losses["style"] < alone[-1].losses["style"]


def test_each_level_gets_the_contents_own_detail(method, parity):
    content = resized(parity["content"], (64, 64))
    run = optimisation(method, parity["style_1"])
    small, level = resized(content, (32, 32)), Level(64, 64, 1)
    assert torch.allclose(run.enlarged(small, content, level), content, atol=1e-5)
    for settings, inputs in (
        (GatysSettings(init="gray"), OptimisationInputs()),
        (GatysSettings(), OptimisationInputs(start=np.zeros((3, 3, 3), np.uint8))),
    ):
        run = optimisation(method, parity["style_1"], settings, inputs)
        assert torch.equal(run.enlarged(small, content, level), resized(small, (64, 64)))


def test_where_no_region_is_the_picture_stays_sharp_through_all_levels(method, parity):
    content = resized(parity["content"], (96, 96))
    mask = np.zeros((96, 96), np.float32)
    mask[:, :16] = 1
    settings = GatysSettings(steps=4, pyramid="24,48", tv_weight=0, content_weight=0, style_layers="relu1_1")
    inputs = OptimisationInputs((mask,))
    image, _ = stylize(method, content, styles_of(method, parity["style_1"]), settings, inputs=inputs)
    assert (image - content)[..., 48:].abs().max() < 1e-3


def test_a_flat_level_is_left_early(method, content):
    content, settings = content[..., :32, :32], GatysSettings(steps=400, tolerance=0.5)
    _, seen = stylize(method, content, styles_of(method, content.flip(3)), settings)
    assert 40 <= len(seen) < 400


@pytest.mark.parametrize("init", ["content", "style", "noise", "gray"])
def test_starts(method, parity, init):
    content, style = parity["content"][..., :40, :60], parity["style_1"]
    run = optimisation(method, style, GatysSettings(init=init), seed=5)
    start = run.start(content, Level(60, 40, 1))
    assert start.shape == content.shape
    if init == "content":
        assert torch.equal(start, content)
    elif init == "style":
        assert start.mean((2, 3)).sub(style.mean((2, 3))).abs().max() < 0.1
    elif init == "noise":
        assert start.std() == pytest.approx(0.2, abs=0.02)
        assert torch.equal(start, run.start(content, Level(60, 40, 1)))
    else:
        assert (start == 0.5).all()
    own = OptimisationInputs(start=np.full((3, 3, 3), 51, np.uint8))
    run = optimisation(method, style, GatysSettings(init=init), own, seed=5)
    assert torch.allclose(run.start(content, Level(60, 40, 1)), torch.tensor(0.2))


def test_a_single_region_is_painted_and_the_rest_left(method, parity):
    content = resized(parity["content"], (96, 96))
    mask = np.zeros((96, 96), np.float32)
    mask[:, :32] = 1
    settings, inputs = GatysSettings(steps=10, tv_weight=0), OptimisationInputs((mask,))
    image, _ = stylize(method, content, styles_of(method, parity["style_1"]), settings, inputs=inputs)
    change = (image - content).abs().mean((0, 1, 2))
    assert change[:32].mean() > 5 * change[80:].mean()


def test_regions_take_their_own_styles(method, parity):
    content = torch.full((1, 3, 64, 96), 0.5)
    red, blue = torch.zeros(2, 1, 3, 32, 32).unbind()
    red[:, 0], blue[:, 2] = 0.9, 0.9
    mask = np.zeros((64, 96), np.float32)
    mask[:, :48] = 1
    settings = GatysSettings(steps=15, content_weight=0, style_layers="relu1_1,relu2_1")
    style = styles_of(method, red, blue)
    image, _ = stylize(method, content, style, settings, inputs=OptimisationInputs((mask, 1 - mask)))
    assert image[0, 0, :, :32].mean() > image[0, 2, :, :32].mean() + 0.2
    assert image[0, 2, :, 64:].mean() > image[0, 0, :, 64:].mean() + 0.2
    both = torch.cat([red, blue], 3)
    half = np.zeros((10, 20), np.float32)
    half[:, :10] = 1
    pairs = OptimisationInputs((mask, 1 - mask), (1 - half, half))  # the other way round, by parts of one style
    image, _ = stylize(method, content, styles_of(method, both), settings, inputs=pairs)
    assert image[0, 2, :, :32].mean() > image[0, 0, :, :32].mean() + 0.2


def test_the_brush_is_as_large_as_the_style_is_shown(method, parity):
    run = optimisation(method, parity["style_1"], GatysSettings(style_scale=0.5))
    seen = []
    run.extractor.statistics = lambda image, *_: seen.append(tuple(image.shape[2:])) or {}
    for side in (64, 128, 1024):
        run.statistics(0, None, Level(side, side // 2, 1))
    own = tuple(parity["style_1"].shape[2:])
    assert seen == [(32, 32), (64, 64), own]


@pytest.mark.parametrize(
    ("masks", "style_masks", "styles", "said"),
    [
        (2, 0, 1, "give a style mask for each"),
        (2, 1, 1, "give one style mask for each mask"),
        (0, 1, 1, "give one style mask for each mask"),
        (2, 2, 3, "give one mask for each style"),
    ],
)
def test_masks_that_do_not_go_with_the_styles(masks, style_masks, styles, said):
    mask = np.ones((4, 4), np.float32)
    with pytest.raises(QuantArtError, match=said):
        OptimisationInputs((mask,) * masks, (mask,) * style_masks).styles_of_regions([1.0] * styles)
    with pytest.raises(QuantArtError, match="each region takes one"):
        OptimisationInputs((mask, mask)).styles_of_regions([0.25, 0.75])
    with pytest.raises(QuantArtError, match="black all over"):
        OptimisationInputs((0 * mask,)).styles_of_regions([1.0])


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"style_layers": "relu1_1,conv4_2"}, r"style-layers: layer 'conv4_2' is not known: did you mean relu4_2\?"),
        ({"content_layers": "relu4_2:much"}, "weight of relu4_2 must be a number above 0, not 'much'"),
        ({"style_layers": "relu1_1:0"}, "a number above 0"),
        ({"style_layers": "relu1_1,relu1_1"}, "twice"),
        ({"style_layers": ""}, "use one of relu1_1"),
        ({"style_loss": "gramm"}, "did you mean gram"),
        ({"pyramid": "512,256"}, "from small to large"),
        ({"pyramid": "many"}, "auto, none or sizes"),
        ({"optimizer": "adm"}, "did you mean adam"),
        ({"init": "nosie"}, "did you mean noise"),
        ({"style_loss": "gaussian", "optimizer": "lbfgs"}, "use optimizer adam"),
        ({"pyramid": 3.5}, "must be text"),
        ({"tolerance": 2}, "between 0 and 1"),
        ({"preset": "gentel"}, "did you mean gentle"),
        ({"preset": "paper", "style_loss": "gaussian"}, "use optimizer adam"),
    ],
)
def test_mistaken_settings_are_one_line(settings, said):
    with pytest.raises(QuantArtError, match=said):
        GatysSettings(**settings)


def test_presets_fill_in_what_is_not_given():
    gentle, balanced, strong, paper = (GatysSettings.of({"preset": name}) for name in PRESETS)
    assert gentle == GatysSettings()
    assert gentle.style_weight < balanced.style_weight < strong.style_weight < paper.style_weight
    assert (paper.content_layers, paper.pooling, paper.pyramid, paper.init) == ("relu4_2", "average", "none", "noise")
    own = GatysSettings.of({"preset": "paper", "tolerance": 0.01, "style_weight": balanced.style_weight})
    assert (own.tolerance, own.style_weight, own.tv_weight) == (0.01, balanced.style_weight, paper.tv_weight)


def noise_of(image):
    """Energy of the luminance above half the Nyquist frequency along either axis."""
    luminance = (image[0] * torch.tensor([0.299, 0.587, 0.114]).view(3, 1, 1)).sum(0)
    high = torch.fft.fftfreq(luminance.shape[0]).abs() > 0.25
    return torch.fft.fft2(luminance).abs().square()[high[:, None] | high].sum()


def test_at_the_same_style_loss_it_is_less_noisy_than_a_plain_one(method, parity):
    content, style = resized(parity["content"], (64, 64)), styles_of(method, parity["style_1"])
    ways = {"plain": {"steps": 20, "pyramid": "none", "tv_weight": 0}, "ours": {"steps": 60, "pyramid": "32"}}
    plain, ours = (method.steps(content, style, GatysSettings(tolerance=0, **each)) for each in ways.values())
    *_, last = plain
    goal = last.losses["style"]
    same = next(record for record in ours if record.size == (64, 64) and record.losses["style"] <= goal)
    assert noise_of(same.image()) < 0.8 * noise_of(last.image())
