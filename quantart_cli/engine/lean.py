"""torch imported without what only its compilers ask for."""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import Any

# Shapes and decompositions of all operations, for tracing: a quarter of torch's import.
_FOR_COMPILERS = "torch._meta_registrations"


class _Late(ModuleType):
    """In the place of a module while torch is imported, until somebody asks it for something."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # of the import system
            raise AttributeError(name)
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]
        return getattr(import_module(self.__name__), name)


def import_torch() -> None:
    """Import torch for a process that runs networks as they stand: nothing is traced, compiled or drawn at random.

    (A ``torch.Generator`` asks for what is left out, too.) That is not forbidden: whoever imports it after has it. For
    programs; a library leaves torch alone.
    """
    if "torch" in sys.modules:
        return
    late = sys.modules[_FOR_COMPILERS] = _Late(_FOR_COMPILERS)
    try:
        import torch  # noqa: F401
    finally:
        if sys.modules.get(_FOR_COMPILERS) is late:
            del sys.modules[_FOR_COMPILERS]
