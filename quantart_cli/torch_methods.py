"""Running methods that need torch directly: those that optimise, and those whose networks see the whole picture."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from quantart_cli.backends.torch_backend import tensor_of
from quantart_cli.methods.base import Optimising, Step, WholePicture
from quantart_cli.methods.inputs import OptimisationInputs
from quantart_cli.runner import NotFinite

if TYPE_CHECKING:
    from quantart_cli.methods.nnst import NNST
    from quantart_cli.methods.optimising import Styles
    from quantart_cli.tiling import Tiler
    from quantart_cli.work import Work


def tensors(pixels: np.ndarray, alpha: np.ndarray | None, device: str) -> tuple[Tensor, Tensor | None]:
    """A picture (1, 3, H, W) of the array's type, and its opacity (1, 1, H, W) float32 on the device, or None."""
    opacity = None if alpha is None else torch.from_numpy(alpha.astype(np.float32) / 255)[None, None].to(device)
    return tensor_of(pixels).permute(2, 0, 1)[None], opacity


def optimise(method: Optimising[Any], pixels: np.ndarray, work: Work, style: Any) -> tuple[np.ndarray, int | None]:
    """Take all steps of an optimisation; returned as by :func:`take`."""
    content, opacity = tensors(pixels, work.opacity, method.device)
    inputs = work.inputs
    assert inputs is None or isinstance(inputs, OptimisationInputs)
    steps = method.steps(
        content, style, work.settings, opacity=opacity, tiler=work.tiler, inputs=inputs, seed=work.seed
    )
    return take(steps, content, work)


def refine(
    method: NNST, painted: np.ndarray, pixels: np.ndarray, work: Work, style: Styles, updates: int, tiler: Tiler
) -> tuple[np.ndarray, int | None]:
    """Take updates by NNST from a painted picture (H, W, 3) uint8; returned as by :func:`take`."""
    start, _ = tensors(painted, None, "cpu")
    content, opacity = tensors(pixels, work.opacity, str(method.device))
    steps = method.refine(
        start, content, style, updates, opacity=opacity, tiler=tiler, masks=work.inputs, seed=work.seed
    )
    return take((replace(step, stage="refine") for step in steps), start, work)


def take(steps: Iterator[Step], start: Tensor, work: Work) -> tuple[np.ndarray, int | None]:
    """Take all steps from a picture, (1, 3, H, W).

    Returns:
        (H, W, 3) uint8, and the step at which Ctrl-C ended it, or None.
    """
    last = None
    stopped = None
    try:
        for step in steps:
            last, previous = step, last
            if previous is None or step.step != previous.step:  # the result may come as the last step once more
                work.progress(step)
    except KeyboardInterrupt:
        stopped = 0 if last is None else last.step
    image = start if last is None else last.image()
    return to_pixels(image), stopped


def paint_whole(method: WholePicture[Any], pixels: np.ndarray, work: Work, style: Any) -> np.ndarray:
    """Paint with a method whose networks see the whole picture; (H, W, 3) uint8."""
    content, opacity = tensors(pixels, work.opacity, method.device)
    with torch.inference_mode():
        return to_pixels(method.stylize(content, style, work.settings, opacity, work.tiler))


def to_pixels(image: Tensor) -> np.ndarray:
    """(1, 3, H, W), float in about [0, 1] or uint8 -> (H, W, 3) uint8.

    Raises:
        NotFinite: a number is not finite.
    """
    if image.dtype != torch.uint8:
        if not bool(image.isfinite().all()):
            raise NotFinite("a pixel is not finite")
        image = image.float().clamp(0, 1).mul(255).round().to(torch.uint8)
    return np.ascontiguousarray(image[0].permute(1, 2, 0).cpu().numpy())
