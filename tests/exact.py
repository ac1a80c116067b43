"""Feed-forward methods with pixels as the networks return them: not rounded to 8 bits, not clipped."""

import numpy as np
import pytest
import torch

from quantart_cli import runner
from quantart_cli.runner import Image, Runner
from quantart_cli.tiling import Tiler


def image_of(picture: torch.Tensor, opacity: torch.Tensor | None = None) -> Image:
    """(1, 3, H, W), float32 in [0, 1] or uint8, and (1, 1, H, W) in [0, 1] as stages take them."""
    pixels = np.ascontiguousarray(picture[0].permute(1, 2, 0).numpy())
    return Image.of(pixels, None if opacity is None else np.uint8(opacity[0, 0].mul(255).round().numpy()))


def put_floats(run, name, output, values, tile, outer):
    """In place of ``_Run._put_pixels``."""
    rows, columns = tile.within(outer).slices
    if name not in run.stored:
        run.stored[name] = np.full((*run.size, 3), np.nan, np.float32)
    run.stored[name][tile.slices] = run.backend.numpy(values[:, :, rows, columns])[0].transpose(1, 2, 0)


def encode(backend, method, settings, *styles, weights=None, tiler=None):
    """Styles, (1, 3, H, W) each or :class:`Image`, as the method takes them with these settings."""
    runner, form = Runner(backend, tiler or Tiler()), method.style_form(settings)
    parts = [method.encode_style(runner, s if isinstance(s, Image) else image_of(s), form) for s in styles]
    return parts[0] if len(parts) == 1 else method.blend(runner, parts, weights or [1 / len(parts)] * len(parts))


def paint(backend, method, content, style, settings, tiler=None):
    """The painted picture, (1, 3, H, W) float32.

    Args:
        content: (1, 3, H, W) or :class:`Image`.
        style: from :func:`encode`.
    """
    content = content if isinstance(content, Image) else image_of(content)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runner._Run, "_put_pixels", put_floats)
        found = method.paint(Runner(backend, tiler or Tiler()), content, style, settings)
    height, width = content.size
    return torch.from_numpy(found[:height, :width]).permute(2, 0, 1)[None]
