"""quantart: neural style transfer that paints.

import quantart_cli as quantart
model = quantart.load("quantart")
model.stylize("content.jpg", "style.jpg", fidelity=0.7).save("out.png")
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from quantart_cli.errors import QuantArtError

if TYPE_CHECKING:
    from quantart_cli.model import Model, load
    from quantart_cli.result import Result
    from quantart_cli.style import Style

__all__ = ["Model", "QuantArtError", "Result", "Style", "__version__", "load"]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    # Imported when first used: it needs numpy and Pillow, and the command line's help does not.
    if name in ("Model", "Result", "Style", "load"):
        from quantart_cli import model

        return getattr(model, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
