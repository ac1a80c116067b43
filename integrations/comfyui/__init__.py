"""quantart as nodes of ComfyUI: load a method, encode a style, paint, refine.

Put this folder into ``custom_nodes/`` of ComfyUI and install quantart into ComfyUI's environment. Images are those of
ComfyUI: float tensors (B, H, W, 3) in [0, 1]; masks are (B, H, W) or (H, W), 1 where the picture is painted.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

import quantart_cli as quantart
from quantart_cli.registry import methods

CATEGORY = "quantart"
_SIZE = ("INT", {"default": 1024, "min": 64, "max": 8192, "tooltip": "Long side to which larger styles are reduced."})


class Load:
    """A method with its weights. The device and the precision are chosen by quantart."""

    CATEGORY, FUNCTION = CATEGORY, "load"
    RETURN_TYPES, RETURN_NAMES = ("QUANTART_MODEL",), ("model",)

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        names = [method.name for method in methods().values() if method.needs_style]
        return {
            "required": {"method": (names, {"default": "quantart"})},
            "optional": {"weights": ("STRING", {"default": "", "tooltip": "Other weights: a file, a name, or hf://…"})},
        }

    def load(self, method: str, weights: str = "") -> tuple[quantart.Model]:
        return (quantart.load(method, model=weights or None),)


class Style:
    """One or several style pictures (a batch), encoded once and blended with equal weights."""

    CATEGORY, FUNCTION = CATEGORY, "encode"
    RETURN_TYPES, RETURN_NAMES = ("QUANTART_STYLE",), ("style",)

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {"required": {"model": ("QUANTART_MODEL",), "images": ("IMAGE",), "size": _SIZE}}

    def encode(self, model: quantart.Model, images: Tensor, size: int = 1024) -> tuple[quantart.Style]:
        return (model.encode_style([_array(image) for image in images], size=size),)


class Stylize:
    """Paint a batch of pictures. ``strength`` is the style strength of each method; ``fidelity`` and ``brush`` are
    options of QuantArt and are ignored by methods that do not have them."""

    CATEGORY, FUNCTION = CATEGORY, "paint"
    RETURN_TYPES, RETURN_NAMES = ("IMAGE",), ("image",)

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        unit = {"min": 0.0, "max": 1.0, "step": 0.01, "display": "slider"}
        return {
            "required": {
                "model": ("QUANTART_MODEL",),
                "style": ("QUANTART_STYLE",),
                "images": ("IMAGE",),
                "fidelity": ("FLOAT", {"default": 0.7, **unit}),
                "strength": ("FLOAT", {"default": 1.0, **unit}),
                "brush": ("STRING", {"default": "auto", "tooltip": "auto, none, or a number of pixels"}),
                "preserve_color": (["none", "luma", "match"],),
                "seed": ("INT", {"default": 0, "min": 0, "max": 2**32 - 1}),
            },
            "optional": {"mask": ("MASK",)},
        }

    def paint(
        self,
        model: quantart.Model,
        style: quantart.Style,
        images: Tensor,
        *,
        fidelity: float = 0.7,
        strength: float = 1.0,
        brush: str = "auto",
        preserve_color: str = "none",
        seed: int = 0,
        mask: Tensor | None = None,
    ) -> tuple[Tensor]:
        wanted = {"fidelity": fidelity, model.method.settings.STRENGTH: strength, "brush": brush}
        names = model.method.settings.__dataclass_fields__
        options = {name: value for name, value in wanted.items() if name in names}
        return (_each(model, style, images, mask, preserve_color=preserve_color, seed=seed, **options),)


class Refine:
    """Paint with QuantArt, then take updates of NNST at the finest scales. Takes seconds to a minute a picture."""

    CATEGORY, FUNCTION = CATEGORY, "refine"
    RETURN_TYPES, RETURN_NAMES = ("IMAGE",), ("image",)

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {
            "required": {
                "model": ("QUANTART_MODEL",),
                "style": ("QUANTART_STYLE",),
                "images": ("IMAGE",),
                "updates": ("INT", {"default": 30, "min": 1, "max": 500}),
            },
            "optional": {"mask": ("MASK",)},
        }

    def refine(
        self,
        model: quantart.Model,
        style: quantart.Style,
        images: Tensor,
        updates: int = 30,
        mask: Tensor | None = None,
    ) -> tuple[Tensor]:
        return (_each(model, style, images, mask, refine=updates),)


def _each(model: quantart.Model, style: quantart.Style, images: Tensor, mask: Tensor | None, **options: Any) -> Tensor:
    """Paint each picture of a batch (B, H, W, 3); a mask of one picture counts for all."""
    painted = []
    for number, image in enumerate(images):
        if mask is not None:
            one = mask if mask.ndim == 2 else mask[min(number, len(mask) - 1)]
            options["masks"] = [one.clamp(0, 1).cpu().numpy()]
        result = model.stylize(_array(image), style, **options).convert("RGB")
        painted.append(torch.frombuffer(bytearray(result.tobytes()), dtype=torch.uint8).view(*image.shape[:2], 3))
    return torch.stack(painted).float() / 255


def _array(image: Tensor) -> Any:
    """(H, W, 3) float in [0, 1]; nodes before this one may leave the range a little."""
    return image.clamp(0, 1).float().cpu().numpy()


NODE_CLASS_MAPPINGS: dict[str, type] = {
    "QuantArtLoad": Load,
    "QuantArtStyle": Style,
    "QuantArtStylize": Stylize,
    "QuantArtRefine": Refine,
}
NODE_DISPLAY_NAME_MAPPINGS: dict[str, str] = {
    "QuantArtLoad": "Load style transfer",
    "QuantArtStyle": "Encode style",
    "QuantArtStylize": "Paint in style",
    "QuantArtRefine": "Paint and refine",
}
__all__ = ["NODE_CLASS_MAPPINGS", "NODE_DISPLAY_NAME_MAPPINGS"]
