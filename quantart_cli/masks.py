"""Masks from files or from the content's alpha, and pictures put together from regions. Does not import torch.

A method paints a region as a picture of which nothing else is visible: the mask multiplies the opacity. So statistics,
entries and matches are those of the region, by the rules that every method has for transparency; but the pixels around
the region stay what they are. The painted pictures are then mixed by the masks. Nothing here depends on the method, and
nothing on the tiles.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from quantart_cli.errors import QuantArtError
from quantart_cli.files import printable
from quantart_cli.images import Picture
from quantart_cli.methods.inputs import Masks, mask_of

ALPHA, NOT, LABELS = "alpha", "not:", "labels:"
"""The content's own alpha as a mask; the prefixes of a mask that is inverted, and of a map of labels."""
_ALIKE = 0.02  # by so much may the ratio of the sides of a mask differ from the picture's without a word
_ROWS = 1 << 20  # pixels mixed at a time
# Colours and limits of labels, of the program of Yoo et al. 2019. Black, grey and white; red, green, …, purple.
_COLOURS = np.array([[0, 0, 0], [128, 128, 128], [255, 255, 255], [255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 0],
                     [0, 255, 255], [255, 0, 255]])  # fmt: skip
_FEWEST, _RATIO = 10, 100


def read_regions(
    masks: Sequence[Any],
    style_masks: Sequence[Any],
    content: Picture,
    styles: Sequence[Picture],
    read: Callable[[Any], Picture],
) -> tuple[Picture, Masks, list[str]]:
    """Read masks of a content and of styles; see :func:`read_masks` and :func:`read_style_masks`.

    One "labels:FILE" on each side, a picture in which a region has one colour, stands for a pair of masks for each
    label that is in both.
    """
    sources = [*masks, *style_masks]
    if any(isinstance(given, str) and given.startswith(LABELS) for given in sources):
        masks, style_masks = _split_labels(masks, style_masks, read)

    def opened(source: Any) -> Picture:
        return source if isinstance(source, Picture) else read(source)

    content, regions, notes = read_masks(masks, content, opened)
    parts, more = read_style_masks(style_masks, styles, opened)
    return content, Masks(regions, parts), list(dict.fromkeys([*notes, *more]))


def _split_labels(
    masks: Sequence[Any], style_masks: Sequence[Any], read: Callable[[Any], Picture]
) -> tuple[list[Picture], list[Picture]]:
    """Masks of the labels that have more than 10 pixels in both maps, and less than 100 times as many in one."""
    sources = [*masks, *style_masks]
    if (
        len(masks) != 1
        or len(style_masks) != 1
        or not all(isinstance(each, str) and each.startswith(LABELS) for each in sources)
    ):
        raise QuantArtError(f"give one mask {LABELS}FILE and one style_mask {LABELS}FILE, and no others")
    maps = [read(each.removeprefix(LABELS)) for each in sources]
    labels = [_labels(each.rgb) for each in maps]
    own, theirs = (np.bincount(each.ravel(), minlength=len(_COLOURS)) for each in labels)
    fewer, more = np.minimum(own, theirs), np.maximum(own, theirs)
    kept = np.flatnonzero((fewer > _FEWEST) & (more < _RATIO * fewer))
    if not len(kept):
        names = " and ".join(printable(each.name) for each in maps)
        raise QuantArtError(f"{names} have no label in common: regions that belong together have one colour in both")
    found = [[_mask(each, values == label) for label in kept] for each, values in zip(maps, labels, strict=True)]
    return found[0], found[1]


def _labels(rgb: np.ndarray) -> np.ndarray:
    """The nearest of the colours at each pixel, (H, W, 3) uint8 -> (H, W) int64."""
    found = np.zeros(rgb.shape[:2], np.int64)
    least = np.full(rgb.shape[:2], np.iinfo(np.int32).max, np.int32)
    for label, colour in enumerate(_COLOURS):
        distance = np.square(rgb - colour.astype(np.int32)).sum(2, dtype=np.int32)
        found[distance < least] = label
        least = np.minimum(least, distance)
    return found


def _mask(picture: Picture, inside: np.ndarray) -> Picture:
    return replace(picture, rgb=np.repeat(np.uint8(255) * inside[..., None], 3, 2), alpha=None)


def read_masks(
    masks: Sequence[Any], content: Picture, read: Callable[[Any], Picture]
) -> tuple[Picture, tuple[np.ndarray, ...], list[str]]:
    """Read the masks of regions of a content.

    Args:
        masks: what ``read`` takes, or a text: "alpha", the content's own alpha; "not:" before "alpha" or a file, the
            rest of the picture.
        content: the picture, at the size to be painted.
        read: reads a picture.

    Returns:
        The content, opaque if its alpha is a mask; the masks, (H, W) float32 in [0, 1]; a remark for each mask that
        was resized.

    Raises:
        QuantArtError: a mask cannot be read or shows nothing, or the content has no alpha.
    """
    found, notes, opaque = [], [], content
    for given in masks:
        source, inverted = split_mask(given)
        if isinstance(source, str) and source == ALPHA:
            if content.alpha is None:
                raise QuantArtError(
                    f"{printable(content.name)} has no transparency to be a mask: give a file instead of {ALPHA}"
                )
            opaque = replace(content, alpha=None)
            mask = content.alpha.astype(np.float32) / 255
        else:
            picture = read(source)
            mask = mask_of(picture, content.size)
            notes += _resized(picture, content)
            _refuse_empty(picture, mask, inverted)
        found.append(1 - mask if inverted else mask)
    return opaque, tuple(found), notes


def read_style_masks(
    masks: Sequence[Any], styles: Sequence[Picture], read: Callable[[Any], Picture]
) -> tuple[tuple[np.ndarray, ...], list[str]]:
    """Read the masks of styles, one for each style or all for the only one; as :func:`read_masks`, without "alpha"."""
    if masks and not styles:
        raise QuantArtError("style_mask needs the picture of a style, and there is none: leave it out")
    found, notes = [], []
    for i, given in enumerate(masks):
        source, inverted = split_mask(given)
        if isinstance(source, str) and source == ALPHA:
            raise QuantArtError("a style's transparent pixels count nothing anyway: give a file with style_mask")
        picture = read(source)
        mask = mask_of(picture)
        _refuse_empty(picture, mask, inverted)
        found.append(1 - mask if inverted else mask)
        notes += _resized(picture, styles[i if 1 < len(styles) > i else 0])
    return tuple(found), notes


def mask_files(masks: Sequence[str]) -> list[str]:
    """The files among the masks of a command."""
    return [source.removeprefix(LABELS) for source, _ in map(split_mask, masks) if source != ALPHA]


def split_mask(given: Any) -> tuple[Any, bool]:
    """What to read, and whether the mask is inverted."""
    inverted = isinstance(given, str) and given.startswith(NOT)
    return (given.removeprefix(NOT), True) if inverted else (given, False)


def _refuse_empty(picture: Picture, mask: np.ndarray, inverted: bool) -> None:
    if (mask == inverted).all():
        colour, inside = ("white", "black") if inverted else ("black", "white")
        raise QuantArtError(f"{printable(picture.name)} is {colour} all over: in such a mask {inside} is inside")


def _resized(mask: Picture, picture: Picture) -> list[str]:
    if mask.size == picture.size:
        return []
    (w, h), (width, height) = mask.size, picture.size
    alike = abs(w * height / (h * width) - 1) <= _ALIKE
    stretched = "" if alike else " and stretched: its shape differs from the picture's"
    return [f"mask {printable(mask.name)} of {w} × {h} was resized to {width} × {height}{stretched}"]


def opacity_of(mask: np.ndarray, alpha: np.ndarray | None) -> np.ndarray:
    """The opacity of a region, (H, W) uint8: a mask of that size, float32 in [0, 1], times the alpha of the picture."""
    seen = mask * 255 if alpha is None else mask * alpha
    found: np.ndarray = np.rint(seen).astype(np.uint8)
    return found


def mix(content: np.ndarray, painted: Sequence[np.ndarray], masks: Sequence[np.ndarray]) -> np.ndarray:
    """Σ_k m_k p_k + (1 - Σ_k m_k) c at each pixel, with masks that sum to more than 1 divided by their sum.

    Args:
        content: c, (H, W, 3) uint8.
        painted: p_k, the same.
        masks: m_k, (H, W) float32 in [0, 1].

    Returns:
        (H, W, 3) uint8.
    """
    found = np.empty_like(content)
    step = max(1, _ROWS // content.shape[1])
    for top in range(0, len(content), step):
        rows = slice(top, top + step)
        total = np.sum([mask[rows] for mask in masks], axis=0)
        over = np.maximum(total, 1)
        mixed = content[rows] * (1 - np.minimum(total, 1))[..., None]
        for image, mask in zip(painted, masks, strict=True):
            mixed += image[rows] * (mask[rows] / over)[..., None]
        found[rows] = np.rint(mixed)
    return found
