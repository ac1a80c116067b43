"""The stages of painting with the style's features, against the same written as loops."""

import pytest
import torch
import torch.nn.functional as F

from quantart_cli.nets import painting
from quantart_cli.nets.decoder import Decoder
from quantart_cli.nets.matching import overlap_blocks
from quantart_cli.nets.painter import Painter, PainterDecoder
from quantart_cli.nets.painting import (
    CHANCE,
    COHERENCE,
    LEAD,
    PLAIN,
    REPEAT,
    ROUNDS,
    SEARCHED,
    ContentEncoder,
    Hubness,
    Keys,
    Matcher,
    PaintedDecoder,
    StyleEncoder,
    best_places,
    coherent,
    hubness,
    keys,
    match,
    plainness,
)
from quantart_cli.nets.statistics import moments
from quantart_cli.nets.steadied import steadied


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
    image, plain = torch.rand(1, 3, 37, 50), Painter()
    for fusion in (plain.decoder.fuse3, plain.decoder.fuse2):
        fusion.weight[:, fusion.out_channels :, 0, 0] = torch.eye(fusion.out_channels)
    z, x3, x2, m4, m3, m2, s3, s2 = StyleEncoder(vgg, plain)(image, torch.ones(1, 1, 5, 7))
    assert z.shape == (1, 512, 5, 7)
    assert s3.shape == (1, 256, 10, 14)
    assert s2.shape == (1, 128, 20, 28)
    found = vgg(image, ["relu3_1", "relu2_1"])
    assert torch.equal(s3[:, :, :10, :13], found["relu3_1"])
    assert torch.equal(s3[..., 13:], found["relu3_1"][..., -1:])  # repeated
    assert torch.equal(s2[:, :, :19, :25], found["relu2_1"])
    for pooled, full, n in ((x3, found["relu3_1"], 2), (x2, found["relu2_1"], 4)):
        assert torch.equal(pooled[:, :, :-1, :-1], F.avg_pool2d(full, n)[:, :, :4, :6])
        torch.testing.assert_close(pooled[0, :, 4, 6], full[0, :, 4 * n :, 6 * n :].mean((1, 2)))
    for sums, x in ((m4, z), (m3, s3[:, :, ::2, ::2]), (m2, s2[:, :, ::4, ::4])):
        torch.testing.assert_close(sums, moments(x, torch.ones(1, 1, *x.shape[2:])), rtol=1e-5, atol=1e-3)
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


@torch.inference_mode()
def test_keys_of_a_flat_picture_are_short(painter, maps, standardisation):
    """What differs by rounding errors from the mean has no direction that could be matched."""
    scale = standardisation[1]
    z, x3, x2 = (x[:, :, :1, :1] for x in maps[:3])
    row = torch.cat([x.flatten() for x in (z, x3, x2)])
    offset = 0.01 * F.normalize(torch.randn(896, generator=torch.Generator().manual_seed(9)), dim=0)
    found = keys(painter.project, z, x3, x2, row - offset / scale, scale)[0]
    projected = painter.project @ (offset / 0.1)
    torch.testing.assert_close(found, projected / projected.norm().clamp(min=0.1), atol=1e-4, rtol=0)
    assert keys(painter.project, z, x3, x2, row, scale).norm() < 1e-3  # exactly flat


@torch.inference_mode()
def test_keys_of_a_tile_are_a_map(painter, maps, standardisation):
    (found,) = Keys(painter)(*maps[:3], *standardisation)
    assert found.shape == (1, len(painter.project), 5, 7)
    assert torch.equal(found[0].flatten(1).T, keys(painter.project, *maps[:3], *standardisation))


@pytest.mark.parametrize("columns", [4, 12])  # a group of entries, and three
@pytest.mark.parametrize("stored", [torch.float32, torch.bfloat16])
@torch.inference_mode()
def test_hubness_by_a_loop(monkeypatch, columns, stored):
    generator = torch.Generator().manual_seed(2)
    own = F.normalize(torch.randn(1, 16, 8, columns, generator=generator), dim=1).to(stored).float()
    rows = own[0].flatten(1).T
    places = torch.randperm(8 * columns, generator=generator)[: 4 * columns]  # half of the positions are entries
    entries = rows[places].T
    (found,) = Hubness()(own, entries)
    assert found.shape == (1, 1, 8, columns)
    size = columns // 4
    for n, value in enumerate(found.flatten()):
        cosines = [-1.0 if place == n else (rows[n] @ rows[place]).item() for place in places.tolist()]
        groups = [max(cosines[start : start + size]) for start in range(0, len(cosines), size)]
        assert len(groups) == 16
        assert value == pytest.approx(sum(groups) / 16, abs=1e-5)
    monkeypatch.setattr(painting, "_SCORES", 3 * len(places))  # three positions at a time
    (again,) = Hubness()(own, entries)
    torch.testing.assert_close(again, found, atol=1e-6, rtol=0)


@torch.inference_mode()
def test_plainness_by_a_loop():
    rows = F.normalize(torch.rand(12, 8, generator=torch.Generator().manual_seed(12)), dim=1)
    found = plainness(rows, (3, 4))
    grid = rows.view(3, 4, 8)
    for y in range(3):
        for x in range(4):
            sides = [(y, max(0, x - 1)), (y, min(3, x + 1)), (max(0, y - 1), x), (min(2, y + 1), x)]
            alike = sum((grid[y, x] @ grid[side]).item() for side in sides) / 4
            expected = min(1, max(0, (alike - PLAIN[0]) / (PLAIN[1] - PLAIN[0])))
            assert found[y, x].item() == pytest.approx(expected, abs=1e-5)
    assert found.min() < found.max()


def similarity_of(queries, table, penalty):
    """2 · cosine - penalty, by position and by place of the style."""
    return [
        [2 * (query @ entry).item() - less for entry, less in zip(table, penalty.tolist(), strict=True)]
        for query in queries
    ]


def coherent_by_a_loop(best, similarity, rank, size):
    """As :func:`coherent`: of lists, best[y][x] is a place of a style of ``size``, similarity[n][place]."""
    height, width = len(best), len(best[0])
    for _ in range(ROUNDS):
        moved, ranks = [row.copy() for row in best], [row.copy() for row in rank]
        for y in range(height):
            for x in range(width):
                candidates = [(best[y][x], rank[y][x])]
                for down, right in ((0, -1), (0, 1), (-1, 0), (1, 0)):  # what would continue each neighbour's patch
                    if 0 <= y + down < height and 0 <= x + right < width:
                        row, column = divmod(best[y + down][x + right], size[1])
                        if 0 <= row - down < size[0] and 0 <= column - right < size[1]:
                            place = (row - down) * size[1] + column - right
                            candidates.append((place, rank[y + down][x + right]))
                agreed = [place for place, _ in candidates[1:]]
                around = ((y, x - 1), (y, x + 1), (y - 1, x), (y + 1, x))
                copied = [best[i][k] for i, k in around if 0 <= i < height and 0 <= k < width]

                def score(candidate, n=y * width + x, agreed=agreed, copied=copied):
                    place, lead = candidate
                    votes = COHERENCE * agreed.count(place) - REPEAT * copied.count(place)
                    return similarity[n][place] + votes + LEAD * lead

                moved[y][x], ranks[y][x] = max(candidates, key=score)
        best, rank = moved, ranks
    return best


@pytest.mark.parametrize(("grid", "size"), [((6, 5), (4, 9)), ((5, 7), (9, 4)), ((1, 8), (3, 3)), ((2, 1), (1, 6))])
@torch.inference_mode()
def test_coherent_by_a_loop(grid, size):
    generator = torch.Generator().manual_seed(6)
    n, m = grid[0] * grid[1], size[0] * size[1]
    rows, table = (0.5 * F.normalize(torch.randn(k, 16, generator=generator), dim=1) for k in (n, m))
    penalty = 0.1 * torch.rand(m, generator=generator)
    best, rank = torch.randint(m, grid, generator=generator), torch.rand(grid, generator=generator)
    expected = coherent_by_a_loop(best.tolist(), similarity_of(rows, table, penalty), rank.tolist(), size)
    for everywhere in (True, False):
        found = coherent(best, rows, rank, table, penalty, torch.tensor(size[1]), everywhere)
        assert found.tolist() == expected
    assert found.dtype == torch.int64
    assert torch.equal(found, best) == (n == 2)  # nothing above or below to continue in a style of one row


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("entries", [48, 1024])  # fewer than lanes in a quarter, and whole lanes
def test_the_largest_of_each_quarter(dtype, entries):
    generator = torch.Generator().manual_seed(13)
    rows, table = (torch.randn(n, 8, generator=generator).to(dtype) for n in (50, entries))
    values, index = painting._largest(rows, table)
    scores = F.linear(rows, table).unflatten(1, (4, -1))
    assert torch.equal(values, scores.amax(2))
    assert torch.equal(scores.gather(2, index[..., None])[..., 0], values)


@torch.inference_mode()
def test_without_coherence_the_best_matches_stay(monkeypatch):
    generator = torch.Generator().manual_seed(7)
    rows, table = (F.normalize(torch.randn(k, 16, generator=generator), dim=1) for k in (30, 36))
    penalty = 0.3 * torch.rand(36, generator=generator)
    best = (2 * rows @ table.T - penalty).argmax(1).view(6, 5)
    inputs = best, rows, torch.rand(6, 5, generator=generator), table, penalty, torch.tensor(9)
    for constants in ((0.5, 0, 0), (0, 5, 0), (0, 0, 0)):
        for name, value in zip(("COHERENCE", "LEAD", "REPEAT"), constants, strict=True):
            monkeypatch.setattr(painting, name, value)
        assert torch.equal(coherent(*inputs), best) == (not any(constants))


@torch.inference_mode()
def test_neighbours_do_not_copy_the_same_patch(monkeypatch):
    """A slightly better fit is given up for what continues the neighbour's patch."""
    monkeypatch.setattr(painting, "ROUNDS", 1)
    penalty = torch.full((40,), 0.15)
    penalty[20] = 0
    best = torch.tensor([[20, 20]])
    inputs = torch.zeros(2, 4), torch.zeros(1, 2), torch.zeros(40, 4), penalty, torch.tensor(40)
    assert coherent(best, *inputs).tolist() == [[19, 21]]
    monkeypatch.setattr(painting, "REPEAT", 0)
    assert coherent(best, *inputs).tolist() == [[20, 20]]


@torch.inference_mode()
def test_on_a_plain_area_the_patch_of_highest_rank_grows(monkeypatch):
    """All positions fit all places: one patch spreads as far as the rounds reach, the others keep what is farther."""
    monkeypatch.setattr(painting, "REPEAT", 0)
    rows, table, penalty = torch.zeros(60, 4), torch.zeros(400, 4), torch.zeros(400)
    best, rank = torch.full((3, 20), 150), torch.zeros(3, 20)
    rank[1, 4] = 1
    found = coherent(best, rows, rank, table, penalty, torch.tensor(20))
    assert found[1, : 4 + ROUNDS].tolist() == list(range(146, 150 + ROUNDS))
    assert found[0, 4] == 130


@torch.inference_mode()
def test_a_copy_of_the_style_stays_one():
    """Every position finds itself, and its neighbours agree; a few that do not are corrected."""
    table = F.normalize(torch.randn(54, 16, generator=torch.Generator().manual_seed(8)), dim=1)
    same = torch.arange(54).view(6, 9)
    penalty = torch.zeros(54)
    inputs = table, torch.zeros(6, 9), table, penalty, torch.tensor(9)
    assert torch.equal(coherent(same, *inputs), same)
    wrong = same.clone()
    wrong[2, 3], wrong[0, 0], wrong[5, 8] = 7, 50, 0
    assert torch.equal(coherent(wrong, *inputs), same)


@torch.inference_mode()
def test_hidden_places_are_no_continuation():
    """A neighbour's patch ends where the style is hidden, and where its row ends."""
    rows, table, rank = torch.zeros(3, 4), torch.zeros(12, 4), torch.zeros(1, 3)  # all fit as well as each other
    columns = torch.tensor(4)
    best, penalty = torch.tensor([[5, 6, 0]]), torch.zeros(12)
    assert coherent(best, rows, rank, table, penalty, columns).tolist() == [[5, 6, 7]]
    penalty[7] = 1e4
    assert coherent(best, rows, rank, table, penalty, columns).tolist() == [[5, 6, 0]]
    assert coherent(torch.tensor([[2, 3, 9]]), rows, rank, table, torch.zeros(12), columns).tolist() == [[2, 3, 9]]


@torch.inference_mode()
def test_a_position_depends_on_those_at_most_seven_away():
    generator = torch.Generator().manual_seed(10)
    rows, table = (0.3 * F.normalize(torch.randn(k, 16, generator=generator), dim=1) for k in (160, 60))
    best, penalty, columns = torch.randint(60, (10, 16), generator=generator), torch.zeros(60), torch.tensor(10)
    rank = torch.rand(10, 16, generator=generator)
    whole = coherent(best, rows, rank, table, penalty, columns)
    near = rows.view(10, 16, -1)[:, :13].flatten(0, 1)
    part = coherent(best[:, :13], near, rank[:, :13], table, penalty, columns)
    assert torch.equal(part[:, :6], whole[:, :6])
    assert ROUNDS == 7


@torch.inference_mode()
def test_matcher_by_a_loop(painter, maps, standardisation, monkeypatch):
    generator = torch.Generator().manual_seed(3)
    size = 9, 10
    table = F.normalize(torch.randn(90, len(painter.project), generator=generator), dim=1)
    penalty = 0.3 * torch.rand(90, generator=generator)
    places = torch.randperm(90, generator=generator)[:24].int()
    noise = torch.rand(1, 5, 5, 7, generator=generator)
    inputs = *maps[:3], noise, *standardisation, places, table, penalty, 10.0
    index, share = Matcher(painter)(*inputs)
    assert index.shape == share.shape == (1, 4, 5, 7)
    assert index.dtype == torch.int32
    queries = keys(painter.project, *maps[:3], *standardisation)
    similarity = similarity_of(queries, table, penalty)
    plain = plainness(queries, (5, 7))
    first = [[0] * 7 for _ in range(5)]
    for n, row in enumerate(similarity_of(queries[:, :SEARCHED], table[:, :SEARCHED], penalty)):
        candidates = [max(places[6 * i : 6 * i + 6].tolist(), key=row.__getitem__) for i in range(4)]
        candidates.sort(key=row.__getitem__, reverse=True)
        chances = (plain * noise[0, 1:])[:, n // 7, n % 7].tolist()
        scores = [row[place] + CHANCE * chance for place, chance in zip(candidates, chances, strict=True)]
        first[n // 7][n % 7] = candidates[scores.index(max(scores))]
        assert index[0, 1:, n // 7, n % 7].tolist() == candidates[1:]
        expected = torch.softmax(torch.tensor([row[k] for k in candidates]) / 0.05, 0)
        torch.testing.assert_close(share[0, :, n // 7, n % 7], expected, atol=1e-4, rtol=0)
    assert index[0, 0].tolist() == coherent_by_a_loop(first, similarity, (plain * noise[0, 0]).tolist(), size)
    monkeypatch.setattr(painting, "_SCORES", 4 * 24)  # four positions at a time
    again, shares = Matcher(painter)(*inputs)
    assert torch.equal(again, index)
    torch.testing.assert_close(shares, share, atol=1e-5, rtol=0)


@torch.inference_mode()
def test_match_of_a_batch_is_that_of_the_stages(painter):
    generator = torch.Generator().manual_seed(11)
    shapes = {"relu4_1": (512, 1), "relu3_1": (256, 2), "relu2_1": (128, 4)}
    content, style = (
        {name: k * torch.rand(2, c, 4 * n, 6 * n, generator=generator) for name, (c, n) in shapes.items()}
        for k in (0.3, 1)
    )
    noise, places = torch.rand(2, 5, 4, 6, generator=generator), torch.randperm(24, generator=generator)
    places = torch.cat([places, places[:8]])
    found = match(painter.project, content, style, noise, places)
    for i in range(2):

        def own(features, i=i):
            maps = [features[name][i] for name in shapes]
            return torch.cat([x.mean((1, 2)) for x in maps]), torch.cat([x.var((1, 2)) + 1e-5 for x in maps])

        def rows(features, mean, variance, i=i):
            maps = [features[name][i : i + 1] for name in shapes]
            scale = torch.cat([(v * len(v)) ** -0.5 for v in variance.split([x.shape[1] for x in maps])])
            pooled = [F.avg_pool2d(x, n) for x, (_, n) in zip(maps, shapes.values(), strict=True)]
            return keys(painter.project, *pooled, mean, scale)

        table = rows(style, *own(style))
        penalty = hubness(table, table[places].T)
        index, share = best_places(
            rows(content, *steadied(*own(content), *own(style))), noise[i], places, table, penalty, torch.tensor(6)
        )
        entries = style["relu4_1"][i].flatten(1).T
        torch.testing.assert_close(found.s4[i], (entries[index] * share[..., None]).sum(2).permute(2, 0, 1))
        for patches, name in ((found.s3, "relu3_1"), (found.s2, "relu2_1")):
            expected = overlap_blocks(style[name][i : i + 1].permute(0, 2, 3, 1), index[None, ..., 0], shapes[name][1])
            torch.testing.assert_close(patches[i : i + 1], expected)


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
    z, values = torch.rand(1, 512, 5, 7), torch.rand(1, 3, 4, 512)
    s3, s2 = torch.rand(1, 6, 8, 256), torch.rand(1, 12, 16, 128)
    slope, shift = torch.rand(512), torch.rand(512)
    best = torch.randint(12, (1, 4, 5, 7), dtype=torch.int32)
    share = torch.softmax(torch.rand(1, 4, 5, 7), 1)
    fusions = changed.decoder.fuse3, changed.decoder.fuse2
    projected = (
        source @ fusion.weight[:, fusion.out_channels :, 0, 0].T
        for source, fusion in zip((s3, s2), fusions, strict=True)
    )
    (found,) = PaintedDecoder(changed, decoder)(best, share, z, values, *projected, slope, shift, amount)
    mixed = slope.view(-1, 1, 1) * z[0] + shift.view(-1, 1, 1)
    for y in range(5):
        for x in range(7):
            for k in range(4):
                entry = best[0, k, y, x].item()
                mixed[:, y, x] += amount * share[0, k, y, x] * values[0, entry // 4, entry % 4]
    network = PainterDecoder.of(decoder)
    for name, weight in network.named_parameters():
        weight.copy_(torch.lerp(weight, changed.decoder.get_parameter(name), amount))
    patches = [overlap_blocks(source, best[:, 0].long(), stride) for source, stride in ((s3, 2), (s2, 4))]
    expected = network(mixed[None], *patches)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
    assert found.shape == (1, 3, 40, 56)


@torch.inference_mode()
def test_without_entries_it_is_the_decoder(painter, decoder):
    z, values = torch.rand(1, 512, 5, 7), torch.rand(1, 3, 4, 512)
    best, share = torch.zeros(1, 4, 5, 7, dtype=torch.int32), torch.full((1, 4, 5, 7), 0.25)
    s3, s2 = torch.rand(1, 6, 8, 256), torch.rand(1, 12, 16, 128)
    (found,) = PaintedDecoder(painter, decoder)(best, share, z, values, s3, s2, torch.ones(512), torch.zeros(512), 0.0)
    assert isinstance(decoder, Decoder)
    torch.testing.assert_close(found, decoder(z), atol=1e-5, rtol=0)
