"""The stages of painting with the style's own features: encode, match, decode (see methods/quantart.py)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from quantart_cli.nets.decoder import Decoder, scaled
from quantart_cli.nets.matching import OverlapBlocks, overlap_blocks, pad_to_grid, weighted_rows
from quantart_cli.nets.painter import Painter, PainterDecoder, project
from quantart_cli.nets.quantizer import Blend
from quantart_cli.nets.statistics import moments
from quantart_cli.nets.steadied import steadied
from quantart_cli.nets.vgg import VGG19

_STRIDES = {"relu4_1": 1, "relu3_1": 2, "relu2_1": 4}  # positions a side in one position of relu4_1
TOP = 4  # entries averaged at a position
TEMPERATURE = 0.05
GROUPS = 16  # of entries; their number is a multiple of it
COHERENCE = 0.1  # added to a similarity for each neighbour that agrees
REPEAT = 0.1  # subtracted for each neighbour that copies the very same patch: that shows as rows of dots
LEAD = 0.5  # times the rank of a patch, added on plain areas to the similarities of what continues it
CHANCE = 0.2  # times a random number, added there to similarities when the first patch of a position is chosen
PLAIN = (0.5, 0.9)  # mean cosines to the neighbours' keys from which on an area is a little plain, and plain
NOISE = 1 + TOP  # random numbers a position: its rank, and one for each candidate
ROUNDS = 7
SEARCHED = 64  # numbers of a key that the search compares: the first principal components, most of the similarity
_FLAT = 0.01  # keys shorter than this are noise of a flat picture, and stay short; others are longer than 1
_SCORES = 1 << 22  # similarities computed at a time: 16 MB
_LANES = 64


class ContentEncoder(nn.Module):
    """The features of a picture, all at the grid of relu4_1: relu3_1 and relu2_1 are averaged there."""

    parts: ClassVar[dict[str, type[nn.Module]]] = {"vgg": VGG19}

    def __init__(self, vgg: VGG19) -> None:
        super().__init__()
        self.vgg = vgg

    def forward(self, image: Tensor, weight: Tensor) -> tuple[Tensor, ...]:
        """Encode a tile.

        Args:
            image: (1, 3, H, W) float32 in [0, 1].
            weight: (1, 1, h, w) at relu4_1, how much each position counts in the moments.

        Returns:
            relu4_1 (1, 512, h, w), relu3_1 (1, 256, h, w) and relu2_1 (1, 128, h, w), and the moments of each, of one
            value at each position: as good as those of all values.
        """
        maps = self.vgg(image, _STRIDES)
        return *self.averaged(maps), *self.moments(maps, weight)

    @staticmethod
    def averaged(maps: Mapping[str, Tensor]) -> list[Tensor]:
        """The maps at the grid of relu4_1; what the picture's end leaves of a position counts alone."""
        return [F.avg_pool2d(maps[name], n, ceil_mode=True) if n > 1 else maps[name] for name, n in _STRIDES.items()]

    @staticmethod
    def moments(maps: Mapping[str, Tensor], weight: Tensor) -> list[Tensor]:
        # Pooling instead of x[:, :, ::n, ::n], of whose size OpenVINO believes that it is that of x.
        values = (F.avg_pool2d(maps[name], 1, n) if n > 1 else maps[name] for name, n in _STRIDES.items())
        return [moments(x, weight) for x in values]


class StyleEncoder(ContentEncoder):
    """The features of a style, as of a content, and what the fusions of the painter make of relu3_1 and relu2_1."""

    parts: ClassVar[dict[str, type[nn.Module]]] = {"vgg": VGG19, "painter": Painter}

    def __init__(self, vgg: VGG19, painter: Painter) -> None:
        super().__init__(vgg)
        self.fuse3, self.fuse2 = painter.decoder.fuse3, painter.decoder.fuse2

    def forward(self, image: Tensor, weight: Tensor) -> tuple[Tensor, ...]:
        """As :meth:`ContentEncoder.forward`; behind these W_s s3 (1, 256, 2h, 2w) and W_s s2 (1, 128, 4h, 4w)."""
        maps = self.vgg(image, _STRIDES)
        h, w = maps["relu4_1"].shape[2:]
        s3, s2 = (pad_to_grid(maps[name], h * n, w * n) for name, n in _STRIDES.items() if n > 1)
        return *self.averaged(maps), *self.moments(maps, weight), project(self.fuse3, s3), project(self.fuse2, s2)


class Keys(nn.Module):
    """What the positions of a style are found by."""

    parts: ClassVar = {"painter": Painter}

    def __init__(self, painter: Painter) -> None:
        super().__init__()
        self.project = painter.project  # (D, 896)

    def forward(self, z: Tensor, x3: Tensor, x2: Tensor, mean: Tensor, scale: Tensor) -> tuple[Tensor]:
        """Keys of a tile, arguments as of :func:`keys` -> (1, D, h, w) float32."""
        return (keys(self.project, z, x3, x2, mean, scale).T.unflatten(1, z.shape[2:])[None],)


class Hubness(nn.Module):
    """How generic the positions of a style are: similar to many entries."""

    parts: ClassVar[dict[str, type[nn.Module]]] = {}

    def forward(self, own: Tensor, entries: Tensor) -> tuple[Tensor]:
        """Mean of the largest cosines between a position and each of sixteen groups of entries.

        That is close to the mean of its sixteen largest cosines, in a tenth of the time.

        Args:
            own: keys of a tile, (1, D, h, w).
            entries: keys of the entries, (D, m), m a multiple of 16.

        Returns:
            (1, 1, h, w) float32.
        """
        return (hubness(own[0].flatten(1).T.float(), entries).unflatten(0, own.shape[2:])[None, None],)


def hubness(rows: Tensor, entries: Tensor) -> Tensor:
    """As :class:`Hubness`, of rows of keys: (n, D), (D, m) -> (n,)."""
    found = []
    for part in _parts(rows, entries.shape[1]):
        own = part.square().sum(1, keepdim=True).clamp(min=0.9)  # 1; less where keys are stored in bfloat16
        if torch.jit.is_tracing():  # group by group, of which each takes memory
            groups = entries.unflatten(1, (GROUPS, -1)).unbind(1)
            nearest = [_of_others(part @ group, own).amax(1) for group in groups]
            found.append(torch.stack(nearest).mean(0))
        else:
            found.append(_of_others(part @ entries, own).unflatten(1, (GROUPS, -1)).amax(2).mean(1))
    return torch.cat(found)


def _of_others(cosines: Tensor, own: Tensor) -> Tensor:
    """Cosines of positions with entries, without those of a position with itself."""
    return torch.where(cosines > 0.9999 * own, -1.0, cosines)


class Matcher(nn.Module):
    """The places of a style that fit each position of the content best."""

    parts: ClassVar = {"painter": Painter}

    def __init__(self, painter: Painter) -> None:
        super().__init__()
        self.project = painter.project

    def forward(
        self,
        z: Tensor,
        x3: Tensor,
        x2: Tensor,
        noise: Tensor,
        mean: Tensor,
        scale: Tensor,
        places: Tensor,
        table: Tensor,
        penalty: Tensor,
        columns: float | Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Match a tile.

        Args:
            z, x3, x2, mean, scale: as of :func:`keys`.
            noise: (1, 5, h, w), random numbers in [0, 1) for :func:`best_places`.
            places: (m,) int32, the positions of the style that are entries; m is a multiple of four.
            table: (n, D), keys of all positions of the style.
            penalty: (n,), subtracted from the similarities.
            columns: width of the style in positions.

        Returns:
            the places of four entries, the first of them moved to be coherent, (1, 4, h, w) int32, and their weights,
            (1, 4, h, w) float32, which sum to 1. The entries are the best of each quarter, best first.
        """
        rows = keys(self.project, z, x3, x2, mean, scale)  # (h·w, D)
        size = torch.as_tensor(columns).long()
        everywhere = rows.device.type != "cpu"
        found, share = best_places(rows, noise[0].float(), places.long(), table, penalty, size, z.dtype, everywhere)
        return found.int().permute(2, 0, 1)[None], share.permute(2, 0, 1)[None]


def best_places(
    rows: Tensor,
    noise: Tensor,
    places: Tensor,
    table: Tensor,
    penalty: Tensor,
    columns: Tensor,
    dtype: torch.dtype = torch.float32,
    everywhere: bool = True,
) -> tuple[Tensor, Tensor]:
    """The places of a style that fit the positions of a picture, as :class:`Matcher` returns them.

    Args:
        rows: (h·w, D), keys of the positions.
        noise: (5, h, w), random numbers in [0, 1): the ranks of :func:`coherent`, and what chooses the first of four
            entries. They count on plain areas only, where all positions would otherwise copy one patch.
        places, table, penalty, columns: as of :class:`Matcher`; places int64.
        dtype: in which positions are compared with entries.
        everywhere: as of :func:`coherent`.

    Returns:
        places (h, w, 4) int64, and their weights (h, w, 4) float32.
    """
    # 2 · cosine - penalty as one product: the penalty is one more number of each entry.
    entries = torch.cat([2 * table.index_select(0, places)[:, :SEARCHED], -penalty[places][:, None]], 1).to(dtype)
    queries = torch.cat([rows[:, :SEARCHED], torch.ones_like(rows[:, :1])], 1).to(dtype)
    quarters = torch.arange(TOP, device=places.device) * (entries.shape[0] // TOP)
    largest = [_largest(part, entries) for part in _parts(queries, entries.shape[0])]
    similarity, best = (torch.cat(each) for each in zip(*largest, strict=True))
    plain = plainness(rows, noise.shape[1:])
    values, order = similarity.float().sort(1, descending=True)
    found = places[(best + quarters).gather(1, order)]  # (h·w, 4)
    share = torch.softmax(values / TEMPERATURE, 1)
    first = (values + CHANCE * (plain * noise[1:]).flatten(1).T).argmax(1, keepdim=True)
    best = found.gather(1, first).unflatten(0, noise.shape[1:])[..., 0]
    moved = coherent(best, rows, plain * noise[0], table, penalty, columns, everywhere)
    found = torch.cat([moved.reshape(-1, 1), found[:, 1:]], 1)
    return found.unflatten(0, noise.shape[1:]), share.unflatten(0, noise.shape[1:])


def _largest(rows: Tensor, entries: Tensor) -> tuple[Tensor, Tensor]:
    """The largest products of rows and the entries of each quarter, (n, D) and (m, D) -> (n, 4) and their indices."""
    if torch.jit.is_tracing():  # across rows, which OpenVINO is fast at, and in a quarter of the memory
        found = [F.linear(quarter, rows).topk(1, 0) for quarter in entries.unflatten(0, (TOP, -1)).unbind()]  # (1, n)
        values, index = (torch.cat(each).T for each in zip(*found, strict=True))
        return values, index
    scores = F.linear(rows, entries).unflatten(1, (TOP, -1))  # (n, 4, m / 4)
    if scores.device.type != "cpu" or scores.shape[2] % _LANES:
        values, index = scores.max(2)
        return values, index
    # Lane by lane of a vector at first: half the time on a CPU.
    scores = scores.unflatten(2, (-1, _LANES))
    values, lane = scores.amax(2).max(2)
    chosen = lane[:, :, None, None].expand(-1, -1, scores.shape[2], 1)
    return values, scores.gather(3, chosen)[..., 0].argmax(2) * _LANES + lane


def plainness(rows: Tensor, size: Sequence[int]) -> Tensor:
    """Where neighbouring positions look alike: keys (h·w, D), (h, w) -> (h, w), 0 to 1 on plain areas."""
    own = rows.unflatten(0, size)  # (h, w, D)
    beside, below = (own[:, 1:] * own[:, :-1]).sum(2), (own[1:] * own[:-1]).sum(2)  # (h, w - 1) and (h - 1, w)
    length = own.square().sum(2)  # at a border a position is its own neighbour
    alike = torch.stack([
        torch.cat([length[:, :1], beside], 1),
        torch.cat([beside, length[:, -1:]], 1),
        torch.cat([length[:1], below]),
        torch.cat([below, length[-1:]]),
    ]).mean(0)  # fmt: skip
    return ((alike - PLAIN[0]) / (PLAIN[1] - PLAIN[0])).clamp(0, 1)


def coherent(
    best: Tensor,
    rows: Tensor,
    rank: Tensor,
    table: Tensor,
    penalty: Tensor,
    columns: Tensor,
    everywhere: bool = True,
) -> Tensor:
    """Let neighbouring positions copy neighbouring places, where these fit nearly as well.

    Without it, each position copies a patch of its own: flat areas show a weave, and strokes end after eight pixels. As
    in Ashikhmin 2001 (Synthesizing natural textures): a candidate is what continues the patch of a neighbour. Each of
    the four neighbours that agrees on a candidate adds :data:`COHERENCE` to its similarity, and each that copies the
    candidate itself takes :data:`REPEAT` off. A patch keeps the rank of the position where it began, and adds it times
    :data:`LEAD`: on plain areas, patches of high rank grow into strokes.

    Args:
        best: (h, w) int64, the place each position copies.
        rows: (h·w, D), keys of the positions.
        rank: (h, w), 0 to 1.
        table: (n, D), keys of the style's places.
        penalty: (n,), subtracted from similarities.
        columns: width of the style.
        everywhere: compute all similarities in each round, and not only those that changed. Same result: faster on a
            GPU, and what ``torch.vmap`` can do.

    Returns:
        (h, w) int64. A position depends on those at most :data:`ROUNDS` away.
    """
    best, columns = best.int(), columns.int()
    # To the four neighbours: down, right.
    steps = torch.tensor([[0, -1], [0, 1], [-1, 0], [1, 0]], dtype=torch.int32, device=best.device)
    right = steps[:, 1].view(4, 1, 1)
    ahead = steps[:, 0].view(4, 1, 1) * columns + right  # from the place of a position to that of a neighbour
    last = penalty.shape[0] - 1
    similar = known = winner = best  # of the round before
    for number in range(ROUNDS):
        copied = _neighbours(best, -1)  # (4, h, w), -1: no neighbour
        column, place = copied % columns - right, copied - ahead
        inside = (copied >= 0) & (column >= 0) & (column < columns) & (place >= 0) & (place <= last)
        candidates = torch.cat([best[None], torch.where(inside, place, best)])  # (5, h, w)
        ranks = torch.cat([rank[None], torch.where(inside, _neighbours(rank, 0), rank)])
        votes = torch.where(inside, place, -1)
        agreed, repeated = (sum((candidates == each).int() for each in others) for others in (votes, copied))
        if everywhere or number == 0:
            similar = _similarity(rows, table, penalty, candidates)
        else:  # most candidates are those of the round before
            before = zip(similar[1:], known, candidates[1:], strict=True)
            others = [_updated(*each, rows, table, penalty) for each in before]
            similar = torch.cat([similar.gather(0, winner), torch.stack(others)])
        known = candidates[1:]
        scores = similar + COHERENCE * agreed - REPEAT * repeated + LEAD * ranks
        winner = _first_of_largest(scores)[None]
        best, rank = candidates.gather(0, winner)[0], ranks.gather(0, winner)[0]
    return best.long()


def _neighbours(x: Tensor, border: int) -> Tensor:
    """What the left, right, upper and lower neighbours of positions have, (h, w) -> (4, h, w)."""
    around = F.pad(x, (1, 1, 1, 1), value=border)
    return torch.stack([around[1:-1, :-2], around[1:-1, 2:], around[:-2, 1:-1], around[2:, 1:-1]])


def _similarity(rows: Tensor, table: Tensor, penalty: Tensor, places: Tensor) -> Tensor:
    """Of positions, keys (n, D), to places, (k, ...) of n each."""
    found = [
        2 * (rows * table.index_select(0, place)).sum(1) - penalty.index_select(0, place) for place in places.flatten(1)
    ]
    return torch.stack(found).view_as(places)


def _updated(similar: Tensor, known: Tensor, places: Tensor, rows: Tensor, table: Tensor, penalty: Tensor) -> Tensor:
    """Similarities to places, (h, w) each, from those to the places known before, where they are the same."""
    spots = (places != known).flatten().nonzero()[:, 0]
    chosen = places.flatten().index_select(0, spots)
    fresh = _similarity(rows.index_select(0, spots), table, penalty, chosen[None])[0]
    return similar.flatten().scatter(0, spots, fresh).view_as(known)


def _first_of_largest(x: Tensor) -> Tensor:
    """``x.argmax(0)`` of few rows, in a sixth of the time."""
    largest, found = x[0], torch.zeros_like(x[0], dtype=torch.int64)
    for k in range(1, len(x)):
        found = torch.where(x[k] > largest, k, found)
        largest = torch.maximum(x[k], largest)
    return found


def _parts(rows: Tensor, entries: int) -> Sequence[Tensor]:
    """Rows to be compared with so many entries, some at a time; all at once in a graph that is traced."""
    if torch.jit.is_tracing():
        return (rows,)
    parts: Sequence[Tensor] = rows.split(max(1, _SCORES // max(1, entries)))
    return parts


def keys(project: Tensor, z: Tensor, x3: Tensor, x2: Tensor, mean: Tensor, scale: Tensor) -> Tensor:
    """What positions are compared by: features of three layers, standardised, projected, and of unit length.

    Args:
        project: (D, 896), principal components of the keys of paintings and photographs.
        z, x3, x2: relu4_1 (1, 512, h, w), relu3_1 (1, 256, h, w) and relu2_1 (1, 128, h, w), averaged to one grid.
        mean: (896,), of the three layers, over the whole picture.
        scale: (896,), 1 / (σ √C) likewise, with C the channels of the layer.

    Returns:
        (h·w, D) float32.
    """
    sizes = [x.shape[1] for x in (z, x3, x2)]
    parts = zip((z, x3, x2), mean.split(sizes), (project * scale).split(sizes, 1), strict=True)
    rows = [(x[0].flatten(1).float() - own[:, None]).T @ matrix.T for x, own, matrix in parts]  # (h·w, D) each
    return F.normalize(rows[0] + rows[1] + rows[2], dim=1, eps=_FLAT)


class StylePatches(NamedTuple):
    """The features of styles arranged for pictures of h x w positions."""

    s4: Tensor  # (B, 512, h, w)
    s3: Tensor  # (B, 256, 2h, 2w)
    s2: Tensor  # (B, 128, 4h, 4w)


def match(
    project: Tensor, content: Mapping[str, Tensor], style: Mapping[str, Tensor], noise: Tensor, places: Tensor
) -> StylePatches:
    """What the stages above do with a picture, for a training: a batch at once, without tiles.

    Args:
        project: as of :func:`keys`.
        content, style: relu4_1 (B, 512, h, w), relu3_1 (B, 256, 2h, 2w) and relu2_1 (B, 128, 4h, 4w) by layer; all
            positions of a style are entries.
        noise: (B, 5, h, w), see :func:`best_places`.
        places: (m,) int64, all positions of a style in random order; some twice, so that m is a multiple of 16.
    """
    of_content, of_style = _moments_of_batch(content), _moments_of_batch(style)
    queries = _keys_of_batch(project, content, *steadied(*of_content, *of_style))  # (B, n, D)
    table = _keys_of_batch(project, style, *of_style)
    batch, _, h, w = content["relu4_1"].shape
    penalty = torch.vmap(hubness)(table, table[:, places].mT)
    columns = torch.tensor(style["relu4_1"].shape[3], device=queries.device)
    found, share = torch.vmap(best_places, (0, 0, None, 0, 0, None))(queries, noise, places, table, penalty, columns)
    values = style["relu4_1"].float().flatten(2).mT.flatten(0, 1)  # (B·n, 512)
    first = torch.arange(batch, device=places.device).view(-1, 1, 1, 1) * table.shape[1]
    s4 = weighted_rows(values, (found + first).reshape(-1, TOP), share.reshape(-1, TOP))
    best = found[..., 0]
    s3, s2 = (
        overlap_blocks(style[layer].float().permute(0, 2, 3, 1), best, _STRIDES[layer])
        for layer in ("relu3_1", "relu2_1")
    )
    return StylePatches(s4.view(batch, h, w, -1).permute(0, 3, 1, 2), s3, s2)


def _moments_of_batch(features: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Means and variances of pictures, of the three layers that keys consist of: (B, 896) each."""
    variances, means = zip(*(torch.var_mean(features[layer].float(), (2, 3)) for layer in _STRIDES), strict=True)
    return torch.cat(means, 1), torch.cat(variances, 1) + 1e-5


def _keys_of_batch(project: Tensor, features: Mapping[str, Tensor], mean: Tensor, variance: Tensor) -> Tensor:
    """:func:`keys` of pictures: (B, n, D)."""
    maps = [F.avg_pool2d(features[layer].float(), stride) for layer, stride in _STRIDES.items()]
    channels = torch.cat([torch.full_like(x[0, :, 0, 0], x.shape[1]) for x in maps])
    z, x3, x2 = (x[:, None] for x in maps)
    of_batch = torch.vmap(keys, (None, 0, 0, 0, 0, 0))
    return of_batch(project, z, x3, x2, mean, (variance * channels).rsqrt())


class PaintedDecoder(nn.Module):
    """D_α of a mix of the style's entries and the content's features."""

    parts: ClassVar = {"painter": Painter, "decoder": Decoder}

    def __init__(self, painter: Painter, decoder: Decoder) -> None:
        super().__init__()
        self.blend = Blend(PainterDecoder.of(decoder), painter.decoder)

    def forward(
        self,
        best: Tensor,
        share: Tensor,
        z: Tensor,
        values: Tensor,
        s3: Tensor,
        s2: Tensor,
        slope: Tensor,
        shift: Tensor,
        amount: float | Tensor,
    ) -> tuple[Tensor]:
        """Decode a tile.

        Args:
            best: (1, 4, h, w), entries by position, best first.
            share: (1, 4, h, w), their weights.
            z: (1, 512, h, w), relu4_1 of the content.
            values: (1, H, W, 512), relu4_1 of the style.
            s3: (1, 2H, 2W, 256), W_s s3 of the style.
            s2: (1, 4H, 4W, 128), W_s s2 of the style.
            slope, shift: (512,), applied to z.
            amount: share of the entries in the mix, and α of D_α.

        Returns:
            (1, 3, 8h, 8w) float32.
        """
        index = best[0].long()
        table = values[0].flatten(0, 1)  # (m, 512)
        rows = weighted_rows(table, index.flatten(1).T, share[0].flatten(1).T * amount)  # (h·w, 512)
        copies = rows.unflatten(0, z.shape[2:])[None].permute(0, 3, 1, 2)
        mixed = scaled(z, slope, shift).add_(copies).to(values.dtype)
        # The fusions of D_α are α W_s: D has none.
        patches = [OverlapBlocks(source, index[:1], stride, amount) for source, stride in ((s3, 2), (s2, 4))]
        return (self.blend(amount, mixed, *patches),)
