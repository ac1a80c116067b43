"""The command line. Nothing in this package imports torch before a command has checked what it can without."""

from quantart_cli.cli.app import main

__all__ = ["main"]
