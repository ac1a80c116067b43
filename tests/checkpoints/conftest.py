"""Fixtures of downloads."""

from tests.checkpoints.servers import cache_root, hub, index, use_manifest

__all__ = ["cache_root", "hub", "index", "use_manifest"]
