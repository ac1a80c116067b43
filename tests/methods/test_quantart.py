"""QuantArt: both codebooks by hand, and what each end of α and β is."""

import copy

import numpy as np
import pytest
import torch
from PIL import Image as PILImage

from quantart_cli.methods import coarse_to_fine
from quantart_cli.methods.adain import AdaIN, AdaINSettings
from quantart_cli.methods.coarse_to_fine import brush_sides, content_of_level, resized
from quantart_cli.methods.quantart import QUANTIZE, QuantArt, QuantArtSettings, _noise, _places, blend_entries
from quantart_cli.nets.autoencoder import ArtCodebook
from quantart_cli.nets.matching import overlap_blocks, pad_to_grid
from quantart_cli.nets.painter import PainterDecoder
from quantart_cli.nets.painting import ContentEncoder, best_places
from quantart_cli.nets.quantizer import Blend
from quantart_cli.nets.steadied import steadied
from quantart_cli.runner import Image, Runner
from quantart_cli.stages import EPSILON, Moments
from quantart_cli.tiling import Tiler
from tests.conftest import scene
from tests.exact import encode, image_of, paint

METHOD = QuantArt()


def stylize(backend, content, *styles, weights=None, method=METHOD, **settings):
    chosen = QuantArtSettings(**{"brush": "none", **settings})
    return paint(backend, method, content, encode(backend, method, chosen, *styles, weights=weights), chosen)


def moments(z):
    """Mean and deviation of (1, C, h, w), (1, C, 1, 1) each."""
    return z.mean((2, 3), keepdim=True), (z.var((2, 3), keepdim=True) + EPSILON).sqrt()


def adain(x, y):
    (mean, std), (mean_y, std_y) = moments(x), moments(y)
    return (x - mean) / std * std_y + mean_y


@pytest.mark.parametrize("codebook", ["style", "art"])
@pytest.mark.parametrize("beta", [0.0, 0.35, 1.0])
def test_alpha_zero_is_adain_with_beta_bit_for_bit(backend, parity, beta, codebook):
    ours = stylize(backend, parity["content"], parity["style_1"], fidelity=0.0, strength=beta, codebook=codebook)
    settings = AdaINSettings(alpha=beta)
    style = encode(backend, AdaIN(), settings, parity["style_1"])
    assert torch.equal(ours, paint(backend, AdaIN(), parity["content"], style, settings))


@torch.inference_mode()
def test_alpha_zero_beta_zero_is_the_reconstruction(backend, vgg, decoder, parity):
    found = stylize(backend, parity["content"], parity["style_1"], fidelity=0.0, strength=0.0)
    assert torch.equal(found, decoder(vgg(parity["content"])["relu4_1"]))


# The codebook of many paintings


def entries_of(codebook, z):
    """Nearest entries of features: (1, C, h, w) -> (1, h, w, G)."""
    rows = codebook.project(z[0].movedim(0, -1).flatten(0, 1))
    return codebook.nearest(rows).unflatten(0, z.shape[2:])[None]


def features_of(codebook, indices):
    """What entries stand for: (1, h, w, G) -> (1, C, h, w)."""
    return codebook.expand(codebook.codes(indices)).movedim(-1, 1)


@pytest.mark.parametrize("alpha", [0.3, 0.7, 1.0])
@pytest.mark.parametrize("beta", [0.0, 0.6, 1.0])
@torch.inference_mode()
def test_the_formula_by_hand_with_the_art_codebook(backend, vgg, codebook, decoder, parity, alpha, beta):
    def vq(z):
        mean, std = moments(z)
        return adain(features_of(codebook, entries_of(codebook, (z - mean) / std)), z)

    z_c, z_s = (vgg(parity[name])["relu4_1"] for name in ("content", "style_1"))
    c_hat, s_hat = vq(z_c), vq(z_s)
    # VQ would leave T̂(ẑ_c, ẑ_s) as it is: it is made of entries, up to the statistics VQ keeps.
    z_y, y_hat = adain(z_c, z_s), adain(c_hat, s_hat)
    quantized = beta * y_hat + (1 - beta) * c_hat
    continuous = beta * z_y + (1 - beta) * z_c
    between = Blend(decoder, codebook.decoder).at(alpha)
    expected = between(alpha * quantized + (1 - alpha) * continuous)
    found = stylize(backend, parity["content"], parity["style_1"], fidelity=alpha, strength=beta, codebook="art")
    # Channels that hardly vary are bounded by the epsilon in the variance, here twice.
    assert (found - expected).abs().max() < 5e-3


@torch.inference_mode()
def test_quantization_takes_the_nearest_entries(backend, codebook, vgg, parity):
    run = Runner(backend, Tiler())
    c = run(METHOD.stages()[0], image_of(parity["content"]))
    own = c["moments"]
    found = run(QUANTIZE, z=c["z"], weight=None, mean=own.mean, std=own.std)
    z = vgg(parity["content"])["relu4_1"]
    mean, std = moments(z)
    indices = entries_of(codebook, (z - mean) / std)  # (1, h, w, G)
    assert (found["indices"].values.movedim(1, -1) == indices).float().mean() > 0.999
    assert 10 < len(indices[..., 0].unique()) < indices[..., 0].numel()
    raw_mean, raw_std = moments(features_of(codebook, found["indices"].values.movedim(1, -1).long()))
    np.testing.assert_allclose(found["moments"].mean, raw_mean.flatten(), atol=1e-4)
    np.testing.assert_allclose(found["moments"].std, raw_std.flatten(), rtol=1e-3, atol=1e-4)


@torch.inference_mode()
def test_quantizing_again_finds_the_same_entries(codebook, vgg, parity):
    def entries(z):
        mean, std = moments(z)
        return entries_of(codebook, (z - mean) / std)

    z_c, z_s = (vgg(parity[name])["relu4_1"] for name in ("content", "style_1"))
    stylized = adain(features_of(codebook, entries(z_c)), z_s)  # T̂(ẑ_c, ẑ_s)
    # 0.97 of the 192 positions of this made-up picture; 0.999 of photographs at 640 × 480.
    assert (entries(stylized) == entries(z_c)).float().mean() > 0.95


def test_palette_and_contrast_do_not_change_the_entries(backend, parity):
    """Features 3 z + 5 with their own moments have the entries of z."""
    run = Runner(backend, Tiler())
    c = run(METHOD.stages()[0], image_of(parity["content"]))
    own, z = c["moments"], c["z"]
    plain = run(QUANTIZE, z=z, weight=None, mean=own.mean, std=own.std)["indices"].values
    moved = type(z)(z.values * 3 + 5, z.stride)
    found = run(QUANTIZE, z=moved, weight=None, mean=own.mean * 3 + 5, std=own.std * 3)["indices"].values
    assert (found == plain).float().mean() > 0.98


def test_hidden_parts_of_the_style_do_not_count_in_its_moments(backend, parity):
    image = parity["style_1"]
    opacity = torch.ones(1, 1, *image.shape[2:])
    opacity[..., 56:] = 0
    pictures = image_of(image[..., :56]), image_of(image, opacity), image_of(image)
    half, masked, whole = (METHOD.encode_style(Runner(backend, Tiler()), each) for each in pictures)

    def distance(one, two):
        return np.linalg.norm(one.mean - two.mean) + np.linalg.norm(one.std - two.std)

    assert distance(masked, half) < 0.4 * distance(whole, half)


@torch.inference_mode()
def test_the_decoder_lies_between_both_ends(codebook, decoder):
    book = ArtCodebook.like(codebook.state_dict())
    book.decoder = copy.deepcopy(decoder)
    for weight in book.decoder.parameters():
        weight.data.mul_(1.1)
    blend = Blend(decoder, book.decoder)
    assert blend.at(0.0) is decoder
    assert blend.at(1.0) is book.decoder
    for alpha in (0.3, 0.7):
        ends = zip(blend.at(alpha).parameters(), decoder.parameters(), strict=True)
        assert all(torch.allclose(own, base * (1 + 0.1 * alpha), rtol=1e-6) for own, base in ends)
    assert blend.at(0.7) is blend.at(0.7)
    assert Blend(decoder, decoder).at(0.7) is decoder
    z = torch.rand(1, 512, 3, 4)
    traced = blend(torch.tensor(0.7), z)  # as an exported graph computes it
    assert torch.allclose(traced, blend(0.7, z), atol=1e-5)


# The style's own features


@pytest.fixture(scope="module")
def pictures():
    """Content and style whose sides are not multiples of 8."""
    return tuple(
        torch.from_numpy(scene(*size, n)).permute(2, 0, 1)[None] for n, size in enumerate([(45, 37), (61, 50)])
    )


@pytest.mark.parametrize(("alpha", "beta"), [(1.0, 1.0), (0.4, 1.0), (1.0, 0.5), (0.7, 0.3)])
@torch.inference_mode()
def test_the_formula_by_hand_with_the_styles_features(backend, vgg, decoder, painter, pictures, alpha, beta):
    content, style = (picture.float() / 255 for picture in pictures)

    def variance(x):
        return x.var((2, 3), keepdim=True) + EPSILON

    def keys(layers, style_layers=None):
        """Of layers of (values whose moments count, values); a content's moments are steadied by those of the style."""
        parts = []
        for k, (counted, x) in enumerate(layers):
            found = counted.mean((2, 3), keepdim=True), variance(counted)
            if style_layers:
                y = style_layers[k][0]
                found = steadied(*found, y.mean((2, 3), keepdim=True), variance(y))
            parts.append((x - found[0]) / (found[1] * x.shape[1]).sqrt())
        rows = torch.nn.functional.normalize(torch.cat(parts, 1)[0].flatten(1).T, dim=1)
        return torch.nn.functional.normalize(rows @ painter.project.T, dim=1)

    def features(picture):
        ones = torch.ones(1, 1, *(-(-length // 8) for length in picture.shape[2:]))
        z, x3, x2, *_ = ContentEncoder(vgg)(picture, ones)
        maps = vgg(picture, ["relu3_1", "relu2_1"])
        s3, s2 = (pad_to_grid(maps[f"relu{4 - i}_1"], *(side << i for side in z.shape[2:])) for i in (1, 2))
        # Moments are of one value at each position.
        return z, s3, s2, ((z, z), (s3[:, :, ::2, ::2], x3), (s2[:, :, ::4, ::4], x2))

    z_c, _, _, content_layers = features(content)
    z_s, s3, s2, style_layers = features(style)
    queries, table_keys = keys(content_layers, style_layers), keys(style_layers)
    encoded = METHOD.encode_style(Runner(backend, Tiler()), image_of(pictures[1]), "entries")
    places = torch.from_numpy(encoded.places).long()
    assert len(places) % 16 == 0
    assert set(places.tolist()) == set(range(len(table_keys)))  # all positions of so small a style
    assert encoded.keys.shape == (128, *z_s.shape[2:])
    assert np.allclose(encoded.keys, table_keys.T.unflatten(1, z_s.shape[2:]), atol=1e-4)
    cosines = table_keys @ table_keys[places].T
    cosines = torch.where(cosines > 0.9999, -1.0, cosines)
    hubness = cosines.view(len(table_keys), 16, -1).amax(2).mean(1)
    assert np.allclose(encoded.penalty, hubness.view(z_s.shape[2:]), atol=1e-4)
    noise = torch.from_numpy(_noise(z_c.shape[2:]))[0]
    columns = torch.tensor(z_s.shape[3])
    best, share = best_places(queries, noise, places, table_keys, hubness, columns)
    best, share = best.flatten(0, 1), share.flatten(0, 1)
    table = z_s[0].flatten(1).T
    y_hat = sum(table[best[:, k]] * share[:, k : k + 1] for k in range(4))
    y_hat = y_hat.T.view_as(z_c)  # ẑ_y = VQ_s(z_c)
    z_y = adain(z_c, z_s)
    mixed = alpha * (beta * y_hat + (1 - beta) * z_c) + (1 - alpha) * (beta * z_y + (1 - beta) * z_c)
    network = Blend(PainterDecoder.of(decoder), painter.decoder).at(alpha * beta)
    expected = network(
        mixed,
        *(overlap_blocks(x.permute(0, 2, 3, 1), best[:, 0].view(1, *z_c.shape[2:]), n) for x, n in ((s3, 2), (s2, 4))),
    )[:, :, :37, :45]
    found = stylize(backend, *pictures, fidelity=alpha, strength=beta, codebook="style")
    # Another entry may be the best on a tie; rounding moves the others.
    assert (found - expected).abs().median() < 1e-5
    assert ((found - expected).abs() < 1e-3).float().mean() > 0.99


def test_entries_are_at_most_4096_positions_without_those_hidden():
    few = _places((5, 6), None)
    assert few.shape == (32,)
    assert few.dtype == np.int32
    assert set(few) == set(range(30))  # two are repeated
    many = _places((100, 90), None)
    assert many.shape == (4096,)
    assert len(set(many)) == 4096
    assert many.min() >= 0
    assert many.max() < 9000
    hidden = np.ones((100, 90), bool)
    hidden[20:50] = False
    some = _places((100, 90), hidden)
    assert set(some) == set(range(1800, 4500))
    assert len(some) == 2704
    hidden[50:] = False
    assert len(set(_places((100, 90), hidden))) == 4096
    assert _places((100, 90), hidden).min() >= 1800


@pytest.mark.parametrize(("values", "first"), [((230, 100), 3), ((100, 40), 3), ((230, 130), 6)])
def test_positions_are_hidden_unless_opaque_by_half_or_the_most_opaque(backend, values, first):
    """The left three columns of positions have one opacity, the next three another, and the last is transparent."""
    opacity = np.zeros((40, 64), np.uint8)
    opacity[:, :48], opacity[:, :24] = values[1], values[0]
    encoded = METHOD.encode_style(Runner(backend, Tiler()), Image.of(scene(64, 40), opacity), "entries")
    visible = np.broadcast_to(np.arange(8) < first, encoded.size)
    assert np.array_equal(encoded.penalty < 2, visible)
    assert set(encoded.places) == set(np.flatnonzero(visible))
    assert encoded.penalty.max() == 1e4


def places_copied(backend, content, style):
    """The places of a style that a picture is painted from."""
    seen = []

    class Spy:
        def __getattr__(self, name):
            return getattr(backend, name)

        def prepare(self, stage):
            network = backend.prepare(stage)
            return (lambda *x: seen.append(x[0]) or network(*x)) if stage.name == "decode-painted" else network

    assert paint(Spy(), METHOD, content, style, QuantArtSettings(1.0, brush="none")).isfinite().all()
    return set(seen[0].unique().tolist())


def test_a_smooth_gradient_is_painted_with_the_plain_parts_of_a_style(backend):
    """Standardised by its own moments, its finest differences would call for all the marks of the style."""
    style = np.full((160, 160, 3), 235, np.uint8)
    style[:, 80:] = np.random.default_rng(0).integers(0, 2, (160, 80, 1), np.uint8).repeat(3, 2) * 255
    ramp = np.linspace(200, 250, 128).astype(np.uint8)
    entries = METHOD.encode_style(Runner(backend, Tiler()), Image.of(style), "entries")
    copied = np.array(list(places_copied(backend, Image.of(np.tile(ramp[:, None, None], (1, 128, 3))), entries)))
    assert (copied % 20 < 10).all()


def test_hidden_positions_of_the_style_are_no_entries(backend, pictures):
    content, style = pictures
    opacity = torch.ones(1, 1, *style.shape[2:])
    opacity[..., 32:] = 0
    encoded = METHOD.encode_style(Runner(backend, Tiler()), image_of(style, opacity), "entries")
    assert (encoded.places % encoded.size[1]).max() == 3  # four columns are visible
    assert places_copied(backend, content, encoded) <= set(encoded.places.tolist())


# Several styles


@pytest.fixture(scope="module")
def two(backend):
    """Two styles of different sizes as entries."""
    run = Runner(backend, Tiler())
    return [METHOD.encode_style(run, Image.of(each), "entries") for each in (scene(61, 50, 0), scene(40, 75, 1))]


def tops(styles):
    """Rows at which the styles begin in the stacked maps."""
    return 1, styles[0].size[0] + 3


def test_maps_of_several_styles_are_stacked_with_a_border(backend, two):
    both = blend_entries(backend, two, [0.5, 0.5])
    (h1, w1), (h2, w2) = (style.size for style in two)
    height, width = h1 + h2 + 4, max(w1, w2) + 2
    for name, n in (("values", 1), ("s3", 2), ("s2", 4)):
        whole = getattr(both, name)
        assert whole.shape[1:3] == (n * height, n * width)
        for style, top in zip(two, tops(two), strict=True):
            own = getattr(style, name)
            rows, columns = slice(n * top, n * top + own.shape[1]), slice(n, n + own.shape[2])
            assert torch.equal(whole[:, rows, columns], own)
            assert torch.equal(whole[:, rows.start - n, columns], own[:, 0])  # the border repeats the edge
            assert torch.equal(whole[:, rows.stop + n - 1, columns], own[:, -1])
            assert torch.equal(whole[:, rows, columns.start - n], own[:, :, 0])
            assert torch.equal(whole[:, rows, columns.stop + n - 1], own[:, :, -1])


def of_style(both, two, number):
    """Which entries are of a style, and their places in it."""
    (h, w), top, width = two[number].size, tops(two)[number], both.size[1]
    row, column = both.places // width - top, both.places % width - 1
    own = (row >= 0) & (row < h)
    assert ((column >= 0) & (column < w))[own].all()
    return own, (row * w + column)[own]


def inside(both, two, number):
    """Rows and columns of a style in the maps of both."""
    (h, w), top = two[number].size, tops(two)[number]
    return slice(top, top + h), slice(1, 1 + w)


def test_entries_of_several_styles(backend, two):
    both = blend_entries(backend, two, [0.5, 0.5])
    assert len(both.places) == sum(len(style.places) for style in two)
    assert both.keys.shape == (128, *both.size)
    assert both.penalty.shape == both.size
    assert both.places.dtype == np.int32
    assert both.keys.dtype == both.penalty.dtype == np.float32
    border = np.ones(both.size, bool)
    for number, style in enumerate(two):
        own, places = of_style(both, two, number)
        assert np.array_equal(np.sort(places), np.sort(style.places))
        part = inside(both, two, number)
        assert np.allclose(both.penalty[part], style.penalty, atol=1e-6)  # equal weights add nothing
        assert np.array_equal(both.keys[(slice(None), *part)], style.keys)
        border[part] = False
        quarters = own.reshape(4, -1)
        assert (quarters.mean(1) > 0.2).all()  # each quarter of the entries has some of each style
    assert (both.penalty[border] == 1e4).all()  # the border is never matched


def test_the_first_match_never_moves_into_the_border(backend, two):
    both = blend_entries(backend, two, [0.5, 0.5])
    copied = places_copied(backend, Image.of(scene(90, 70, 5)), both)
    assert copied <= set(both.places.tolist())  # all positions of such small styles are entries


def test_patches_of_a_style_never_reach_into_the_next(backend, two):
    both = blend_entries(backend, two, [0.5, 0.5])
    for style, top in zip(two, tops(two), strict=True):
        h, w = style.size
        index = torch.arange(h * w).view(1, h, w).flip(1)  # the last row's patches first
        moved = (index // w + top) * both.size[1] + index % w + 1
        for name, stride in (("s3", 2), ("s2", 4)):
            alone = overlap_blocks(getattr(style, name), index, stride)
            found = overlap_blocks(getattr(both, name), moved, stride)
            assert torch.allclose(found, alone, atol=1e-5)


def test_weights_of_styles_move_similarities_by_their_logarithm(backend, two):
    flat, both = (blend_entries(backend, two, weights) for weights in ([0.5, 0.5], [0.8, 0.2]))
    assert np.array_equal(flat.places, both.places)
    for number, weight in enumerate((0.8, 0.2)):
        added = (flat.penalty - both.penalty)[inside(both, two, number)]  # to similarities
        assert np.allclose(added, 0.05 * np.log(weight * 2), atol=1e-5)
    # Two entries as similar as each other share a position as the weights of their styles do.
    assert torch.softmax(torch.tensor([1.6, 0.4]).log(), 0).tolist() == pytest.approx([0.8, 0.2])
    expected = Moments.lerp([style.moments for style in two], [0.8, 0.2])
    assert np.array_equal(both.moments.mean, expected.mean)


def test_a_weight_of_zero_removes_a_style(backend, two):
    only = blend_entries(backend, two, [1.0, 0.0])
    h, w = two[0].size
    assert torch.equal(only.values[:, 1:-1, 1:-1], two[0].values)
    assert only.size == (h + 2, w + 2)
    assert len(only.places) == len(two[0].places)
    assert np.array_equal(only.moments.std, two[0].moments.std)


def test_a_style_of_much_weight_paints_most_of_the_picture(quantart_model):
    red, blue = np.uint8(scene(64, 64, 2) * [1, 0.2, 0.2]), np.uint8(scene(72, 40, 3) * [0.2, 0.2, 1])
    means = []
    for weights in ([0.999, 0.001], [0.5, 0.5], [0.001, 0.999]):
        style = quantart_model.encode_style([red, blue], weights=weights)
        image = np.asarray(quantart_model.stylize(scene(60, 60), style, fidelity=1.0)).reshape(-1, 3).mean(0)
        means.append(image[0] - image[2])
    assert means[0] > means[1] > means[2]


# Coarse to fine


def test_levels_of_a_brush():
    assert brush_sides((300, 400), "none") == [400]
    assert brush_sides((600, 1200), "auto") == [768, 1200]
    assert brush_sides((300, 4000), "auto") == [768, 1753, 4000]
    assert brush_sides((400, 768), "auto") == [768]
    assert brush_sides((400, 959), "auto") == [959]  # less than a quarter larger than the strokes
    assert brush_sides((400, 960), "auto") == [768, 960]
    assert brush_sides((400, 480), "400") == [480]
    assert brush_sides((400, 480), "384") == [384, 480]
    assert brush_sides((300, 400), "100") == [100, 200, 400]


def test_a_small_picture_is_enlarged_for_the_brush():
    assert brush_sides((300, 700), "auto") == [768]
    assert brush_sides((512, 512), "auto") == [640]  # by 1.25 at most
    assert brush_sides((300, 400), "500") == [500]
    assert brush_sides((300, 400), "9000") == [800]  # by 2 at most


def test_the_next_level_has_the_painting_and_the_contents_detail():
    content, painted = Image.of(scene(80, 60)), np.full((30, 40, 3), 99, np.uint8)
    level = content_of_level(content, 80, painted)
    assert level.size == (60, 80)
    coarse = resized(resized(content.pixels, (30, 40)), (60, 80))
    expected = (99 + content.pixels.astype(float) - coarse).clip(0, 255)
    assert np.abs(level.pixels[:60] - expected).max() <= 1
    assert np.array_equal(content_of_level(content, 80, None).pixels[:60], content.pixels)
    assert np.array_equal(content_of_level(content, 40, None).pixels[:30], resized(content.pixels, (30, 40)))


@pytest.mark.parametrize("size", [(13, 40), (90, 61), (60, 40), (59, 200)])
def test_resizing_some_rows_at_a_time_is_resizing(monkeypatch, size):
    pixels = scene(80, 60)
    whole = np.asarray(PILImage.fromarray(pixels).resize(size[::-1], PILImage.Resampling.LANCZOS))
    monkeypatch.setattr(coarse_to_fine, "_BAND", 300)
    assert np.abs(resized(pixels, size).astype(int) - whole).max() <= 1
    level = content_of_level(Image.of(pixels), 80, whole)
    monkeypatch.undo()
    assert np.abs(level.pixels - content_of_level(Image.of(pixels), 80, whole).pixels.astype(int)).max() <= 2


def test_the_brush_changes_the_picture_and_keeps_its_size(quantart_model):
    style = quantart_model.encode_style(scene(80, 64, 2))
    content = scene(213, 150)
    pictures = [quantart_model.stylize(content, style, brush=brush) for brush in ("none", "auto", "64")]
    assert all(picture.size == (213, 150) for picture in pictures)
    assert not np.array_equal(*pictures[1:])


def test_the_codebook_of_auto_follows_the_model():
    assert QuantArt().codebook(QuantArtSettings()) == "style"
    assert QuantArt(["codebook"]).codebook(QuantArtSettings()) == "art"
    assert QuantArt(["codebook"]).codebook(QuantArtSettings(codebook="style")) == "style"
    assert QuantArt(["painter"]).codebook(QuantArtSettings()) == "style"
    assert QuantArt().codebook(QuantArtSettings(fidelity=0.0)) == "none"
