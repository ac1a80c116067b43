"""Painting on a CPU with OpenVINO, without torch: the ``[fast]`` extra."""

from __future__ import annotations

from importlib.util import find_spec


def installed() -> bool:
    """Whether OpenVINO is here; it is not imported."""
    return find_spec("openvino") is not None
