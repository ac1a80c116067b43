"""quantart: neural style transfer that paints.

import quantart_cli as quantart
model = quantart.load("quantart")
model.stylize("content.jpg", "style.jpg", fidelity=0.7).save("out.png")
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from quantart_cli.errors import QuantArtError

if TYPE_CHECKING:
    from quantart_cli.api import Model, Style, load

__all__ = ["Model", "QuantArtError", "Style", "__version__", "load"]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    # Late, because the API needs torch, which takes seconds to import, and the command line's help does not.
    if name in ("Model", "Style", "load"):
        from quantart_cli import api

        return getattr(api, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
