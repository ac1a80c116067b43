"""Running methods that need torch directly: those that optimise, and those whose networks see the whole picture."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from quantart_cli.backends.torch_backend import tensor_of
from quantart_cli.methods.base import Optimising, WholePicture
from quantart_cli.methods.inputs import OptimisationInputs
from quantart_cli.runner import NotFinite

if TYPE_CHECKING:
    from quantart_cli.model import _Work


def tensors(pixels: np.ndarray, alpha: np.ndarray | None, device: str) -> tuple[Tensor, Tensor | None]:
    """A picture (1, 3, H, W) of the array's type, and its opacity (1, 1, H, W) float32 on the device, or None."""
    opacity = None if alpha is None else torch.from_numpy(alpha.astype(np.float32) / 255)[None, None].to(device)
    return tensor_of(pixels).permute(2, 0, 1)[None], opacity


def optimise(method: Optimising[Any], pixels: np.ndarray, work: _Work, style: Any) -> tuple[np.ndarray, int | None]:
    """Take all steps of an optimisation.

    Returns:
        (H, W, 3) uint8, and the step at which Ctrl-C ended it, or None.
    """
    content, opacity = tensors(pixels, work.opacity, method.device)
    inputs = work.inputs
    assert inputs is None or isinstance(inputs, OptimisationInputs)
    last = None
    stopped = None
    try:
        for step in method.steps(
            content, style, work.settings, opacity=opacity, tiler=work.tiler, inputs=inputs, seed=work.seed
        ):
            last, previous = step, last
            if previous is None or step.step != previous.step:  # the result may come as the last step once more
                work.progress(step)
    except KeyboardInterrupt:
        stopped = 0 if last is None else last.step
    image = content if last is None else last.image()
    return to_pixels(image), stopped


def paint_whole(method: WholePicture[Any], pixels: np.ndarray, work: _Work, style: Any) -> np.ndarray:
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
