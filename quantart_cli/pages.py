"""Old names of :mod:`quantart_cli.scratch`, until their importers are renamed."""

from quantart_cli.scratch import alloc_scratch as apart
from quantart_cli.scratch import release as let_go
from quantart_cli.scratch import resident_bytes as held

__all__ = ["apart", "held", "let_go"]
