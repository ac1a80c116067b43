"""Kept for its importers: these functions are in :mod:`quantart_cli.files`."""

from quantart_cli.files import is_stream, near_file, printable, reason

__all__ = ["is_stream", "near_file", "printable", "reason"]
