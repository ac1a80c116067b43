"""The stages of painting with the style's own features: encode, match, decode (see methods/quantart.py)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from quantart_cli.nets.decoder import Decoder, scaled
from quantart_cli.nets.matching import NEIGHBOURS, TEMPERATURE, TOP, overlap_blocks, pad_to_grid
from quantart_cli.nets.painter import Painter, PainterDecoder
from quantart_cli.nets.quantizer import Blend
from quantart_cli.nets.statistics import moments
from quantart_cli.nets.vgg import VGG19

_STRIDES = {"relu4_1": 1, "relu3_1": 2, "relu2_1": 4}  # positions a side in one position of relu4_1
_SCORES = 1 << 22  # similarities computed at a time: 16 MB


class StyleEncoder(nn.Module):
    """The features of a style, at full resolution."""

    parts = {"vgg": VGG19}

    def __init__(self, vgg: VGG19) -> None:
        super().__init__()
        self.vgg = vgg

    def forward(self, image: Tensor, weight: Tensor) -> tuple[Tensor, ...]:
        """Encode a tile.

        Args:
            image: (1, 3, H, W) float32 in [0, 1].
            weight: (1, 1, h, w) at relu4_1, how much each position counts in the moments.

        Returns:
            relu4_1 (1, 512, h, w), relu3_1 (1, 256, 2h, 2w) and relu2_1 (1, 128, 4h, 4w), and the moments of each.
        """
        found = self.vgg(image, _STRIDES)
        h, w = found["relu4_1"].shape[2:]
        maps = [pad_to_grid(found[name], h * stride, w * stride) for name, stride in _STRIDES.items()]
        weights = [F.interpolate(weight, size=z.shape[2:], mode="nearest") for z in maps]
        return *maps, *(moments(z, w) for z, w in zip(maps, weights, strict=True))


class ContentEncoder(StyleEncoder):
    """The features of a content, all at the grid of relu4_1: relu3_1 and relu2_1 are averaged there."""

    def forward(self, image: Tensor, weight: Tensor) -> tuple[Tensor, ...]:
        """As :meth:`StyleEncoder.forward`, with maps (1, 512, h, w), (1, 256, h, w) and (1, 128, h, w)."""
        z, x3, x2, *sums = super().forward(image, weight)
        return z, F.avg_pool2d(x3, 2), F.avg_pool2d(x2, 4), *sums


class StyleKeys(nn.Module):
    """The keys of a style's positions, and how generic each position is."""

    parts = {"painter": Painter}

    def __init__(self, painter: Painter) -> None:
        super().__init__()
        self.project = painter.project  # (D, 896)

    def forward(self, z: Tensor, x3: Tensor, x2: Tensor, mean: Tensor, scale: Tensor) -> tuple[Tensor]:
        """Keys of a tile; arguments as of :func:`keys`, with relu3_1 and relu2_1 at full resolution.

        Returns:
            (1, D, h, w) float32.
        """
        found = keys(self.project, z, F.avg_pool2d(x3.float(), 2), F.avg_pool2d(x2.float(), 4), mean, scale)
        return (found.T.unflatten(1, z.shape[2:])[None],)


class Hubness(nn.Module):
    """How similar each entry is to others of its style: the mean of its ten largest cosines."""

    parts: dict[str, type[nn.Module]] = {}

    def forward(self, own: Tensor, entries: Tensor) -> tuple[Tensor]:
        """Keys of a tile (1, D, h, w) and of the whole style (1, D, H, W) -> (1, 1, h, w) float32."""
        table, found = entries[0].flatten(1), []
        rows = own[0].flatten(1).T
        for part in rows.split(max(1, _SCORES // table.shape[1])):
            largest = (part @ table).topk(min(NEIGHBOURS + 1, table.shape[1]), 1).values
            found.append(largest[:, 1:].mean(1) if largest.shape[1] > 1 else largest[:, 0])  # the first is itself
        return (torch.cat(found).unflatten(0, own.shape[2:])[None, None],)


class Matcher(nn.Module):
    """The entries of the style that fit each position of the content best."""

    parts = {"painter": Painter}

    def __init__(self, painter: Painter) -> None:
        super().__init__()
        self.project = painter.project

    def forward(
        self, z: Tensor, x3: Tensor, x2: Tensor, mean: Tensor, scale: Tensor, entries: Tensor, penalty: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Match a tile.

        Args:
            z, x3, x2, mean, scale: as of :func:`keys`.
            entries: (D, m), keys of the style.
            penalty: (m,), subtracted from the similarities.

        Returns:
            the entries, best first, (1, 4, h, w) int32, and their weights, which sum to 1, (1, 4, h, w) float32. The
            candidates are the best of each quarter of the entries, of which every fourth belongs to the same.
        """
        rows = keys(self.project, z, x3, x2, mean, scale)
        best, similarity = [], []
        quarter = entries.shape[1] // TOP
        for part in rows.split(max(1, _SCORES // entries.shape[1])) if not torch.jit.is_tracing() else (rows,):
            scores = (part @ entries * 2 - penalty).view(-1, TOP, quarter)
            values, index = scores.max(2)
            similarity.append(values)
            best.append(index + quarter * torch.arange(TOP, device=index.device))
        values, order = torch.cat(similarity).sort(1, descending=True)
        index = torch.cat(best).gather(1, order)
        share = torch.softmax(values / TEMPERATURE, 1)
        return index.int().T.unflatten(1, z.shape[2:])[None], share.T.unflatten(1, z.shape[2:])[None]


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
    rows = torch.cat([z.float(), x3.float(), x2.float()], 1)[0].flatten(1).T  # (h·w, 896)
    rows = F.normalize((rows - mean) * scale, dim=1)
    return F.normalize(F.linear(rows, project), dim=1)


class PaintedDecoder(nn.Module):
    """D_α of a mix of the style's entries and the content's features."""

    parts = {"painter": Painter, "decoder": Decoder}

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
            values: (1, 512, H, W), relu4_1 of the style.
            s3: (1, 256, 2H, 2W), relu3_1 of the style.
            s2: (1, 128, 4H, 4W), relu2_1 of the style.
            slope, shift: (512,), applied to z.
            amount: share of the entries in the mix, and α of D_α.

        Returns:
            (1, 3, 8h, 8w) float32.
        """
        table = values[0].flatten(1).T  # (m, 512)
        # Of very few entries a whole quarter may be unused ones behind the last; their weight is 0.
        index = best[0].long().clamp(max=table.shape[0] - 1)
        painted = scaled(z, slope, shift)
        for k in range(TOP):
            copies = table.index_select(0, index[k].flatten()).float().T.unflatten(1, z.shape[2:])[None]
            painted = painted + copies * (share[:, k : k + 1] * amount)
        patches = (overlap_blocks(source, index[:1], stride) for source, stride in ((s3, 2), (s2, 4)))
        return (self.blend(amount, painted, *patches),)
