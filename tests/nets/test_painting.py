"""The stages of painting with the style's features, against the same written as loops."""

import pytest
import torch
import torch.nn.functional as F

from quantart_cli.nets import painting
from quantart_cli.nets.decoder import Decoder
from quantart_cli.nets.matching import overlap_blocks
from quantart_cli.nets.painter import Painter, PainterDecoder
from quantart_cli.nets.painting import ContentEncoder, Matcher, PaintedDecoder, StyleEncoder, StyleKeys, keys
from quantart_cli.nets.statistics import moments


@pytest.fixture(scope="module")
def maps(vgg):
    """Features of a picture of 5 × 7 positions, not a multiple of 8 pixels: what :class:`ContentEncoder` returns."""
    image = torch.rand(1, 3, 37, 50, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        return ContentEncoder(vgg)(image, torch.ones(1, 1, 5, 7))


@pytest.fixture(scope="module")
def standardisation():
    generator = torch.Generator().manual_seed(1)
    return torch.rand(896, generator=generator), torch.rand(896, generator=generator) + 0.1


@torch.inference_mode()
def test_features_of_the_style_end_with_whole_positions(vgg):
    image = torch.rand(1, 3, 37, 50)
    z, x3, x2, m4, m3, m2, s3, s2 = StyleEncoder(vgg)(image, torch.ones(1, 1, 5, 7))
    assert z.shape == (1, 512, 5, 7)
    assert s3.shape == (1, 256, 10, 14)
    assert s2.shape == (1, 128, 20, 28)
    found = vgg(image, ["relu3_1", "relu2_1"])
    assert torch.equal(s3[:, :, :10, :13], found["relu3_1"])
    assert torch.equal(s3[..., 13:], found["relu3_1"][..., -1:])  # repeated
    assert torch.equal(s2[:, :, :19, :25], found["relu2_1"])
    assert torch.equal(x3, F.avg_pool2d(s3, 2))
    assert torch.equal(x2, F.avg_pool2d(s2, 4))
    for sums, x in ((m4, z), (m3, s3[:, :, ::2, ::2]), (m2, s2[:, :, ::2, ::2])):
        assert torch.equal(sums, moments(x, torch.ones(1, 1, *x.shape[2:])))
    other = ContentEncoder(vgg)(image, torch.ones(1, 1, 5, 7))
    assert all(torch.equal(*each) for each in zip(other, (z, x3, x2, m4, m3, m2), strict=True))


@torch.inference_mode()
def test_keys_by_a_loop(painter, maps, standardisation):
    mean, scale = standardisation
    z, x3, x2 = maps[:3]
    found = keys(painter.project, z, x3, x2, mean, scale)
    assert found.shape == (35, len(painter.project))
    for n in range(35):
        row = torch.cat([x[0, :, n // 7, n % 7] for x in (z, x3, x2)])
        row = (row - mean) * scale
        row = painter.project @ (row / row.norm())
        torch.testing.assert_close(found[n], row / row.norm(), atol=1e-5, rtol=0)


@pytest.mark.parametrize("columns", [4, 12])  # a group of entries, and three
@torch.inference_mode()
def test_style_keys_and_hubness_by_a_loop(painter, standardisation, columns):
    torch.manual_seed(2)
    z, x3, x2 = torch.rand(1, 512, 4, columns), torch.rand(1, 256, 4, columns), torch.rand(1, 128, 4, columns)
    found, hubness = StyleKeys(painter)(z, x3, x2, *standardisation)
    table = keys(painter.project, z, x3, x2, *standardisation)
    assert torch.equal(found[0].flatten(1).T, table)
    assert found.shape == (1, len(painter.project), 4, columns)
    assert hubness.shape == (1, 1, 4, columns)
    for n, value in enumerate(hubness.flatten()):
        cosines = [-1.0 if k == n else (table[n] @ table[k]).item() for k in range(len(table))]
        groups = [max(cosines[start : start + columns // 4]) for start in range(0, len(table), columns // 4)]
        assert len(groups) == 16
        assert value == pytest.approx(sum(groups) / 16, abs=1e-5)


@torch.inference_mode()
def test_matcher_by_a_loop(painter, maps, standardisation, monkeypatch):
    generator = torch.Generator().manual_seed(3)
    entries = F.normalize(torch.randn(len(painter.project), 24, generator=generator), dim=0)
    penalty = 0.3 * torch.rand(24, generator=generator)
    places = torch.randperm(90, generator=generator)[:24].int()
    z, x3, x2 = maps[:3]
    index, share = Matcher(painter)(z, x3, x2, *standardisation, entries, penalty, places)
    assert index.shape == share.shape == (1, 4, 5, 7)
    assert index.dtype == torch.int32
    queries = keys(painter.project, z, x3, x2, *standardisation)
    for n in range(35):
        similarity = [2 * (queries[n] @ entries[:, k]).item() - penalty[k].item() for k in range(24)]
        candidates = [max(range(6 * i, 6 * i + 6), key=similarity.__getitem__) for i in range(4)]
        candidates.sort(key=similarity.__getitem__, reverse=True)
        assert index[0, :, n // 7, n % 7].tolist() == places[candidates].tolist()
        expected = torch.softmax(torch.tensor([similarity[k] for k in candidates]) / 0.05, 0)
        torch.testing.assert_close(share[0, :, n // 7, n % 7], expected, atol=1e-4, rtol=0)
    monkeypatch.setattr(painting, "_SCORES", 4 * 24)  # four positions at a time
    again, shares = Matcher(painter)(z, x3, x2, *standardisation, entries, penalty, places)
    assert torch.equal(again, index)
    torch.testing.assert_close(shares, share, atol=1e-5, rtol=0)


@pytest.fixture(scope="module")
def changed(painter):
    """A painter whose decoder uses the patches, whatever the trained one does."""
    made = Painter.like(painter.state_dict())
    made.load_state_dict(painter.state_dict())
    generator = torch.Generator().manual_seed(4)
    for fusion in (made.decoder.fuse3, made.decoder.fuse2):
        fusion.weight.data.add_(0.02 * torch.randn(fusion.weight.shape, generator=generator))
    return made.requires_grad_(False)


@pytest.mark.parametrize("amount", [0.0, 0.4, 1.0])
@torch.inference_mode()
def test_painted_decoder_by_hand(changed, decoder, amount):
    torch.manual_seed(5)
    z, values = torch.rand(1, 512, 5, 7), torch.rand(1, 512, 3, 4)
    s3, s2 = torch.rand(1, 256, 6, 8), torch.rand(1, 128, 12, 16)
    slope, shift = torch.rand(512), torch.rand(512)
    best = torch.randint(12, (1, 4, 5, 7), dtype=torch.int32)
    share = torch.softmax(torch.rand(1, 4, 5, 7), 1)
    (found,) = PaintedDecoder(changed, decoder)(best, share, z, values, s3, s2, slope, shift, amount)
    mixed = slope.view(-1, 1, 1) * z[0] + shift.view(-1, 1, 1)
    for y in range(5):
        for x in range(7):
            for k in range(4):
                entry = best[0, k, y, x].item()
                mixed[:, y, x] += amount * share[0, k, y, x] * values[0, :, entry // 4, entry % 4]
    network = PainterDecoder.of(decoder)
    for name, weight in network.named_parameters():
        weight.copy_(torch.lerp(weight, changed.decoder.get_parameter(name), amount))
    patches = [overlap_blocks(source, best[:, 0].long(), stride) for source, stride in ((s3, 2), (s2, 4))]
    expected = network(mixed[None], *patches)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
    assert found.shape == (1, 3, 40, 56)


@torch.inference_mode()
def test_without_entries_it_is_the_decoder(painter, decoder):
    z, values = torch.rand(1, 512, 5, 7), torch.rand(1, 512, 3, 4)
    best, share = torch.zeros(1, 4, 5, 7, dtype=torch.int32), torch.full((1, 4, 5, 7), 0.25)
    s3, s2 = torch.rand(1, 256, 6, 8), torch.rand(1, 128, 12, 16)
    (found,) = PaintedDecoder(painter, decoder)(best, share, z, values, s3, s2, torch.ones(512), torch.zeros(512), 0.0)
    assert isinstance(decoder, Decoder)
    torch.testing.assert_close(found, decoder(z), atol=1e-5, rtol=0)
