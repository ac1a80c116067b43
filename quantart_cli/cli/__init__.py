"""The command line. Nothing in this package imports torch before a command has checked what it can without it."""

from __future__ import annotations

import sys
from typing import NoReturn


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run the command line and leave with its exit status.

    0: done; 1: partly failed; 2: a mistake, one line says which; 130: interrupted; 128 + n: ended by signal n.

    Args:
        arguments: default those of the process.
    """
    from quantart_cli.cli import startup

    startup.prepare()
    with startup.stoppable() as received:
        try:
            from quantart_cli.cli.app import run

            status = run(arguments)
        except BaseException as error:
            # A signal may surface as any error, from the middle of an import for example.
            if not received and not isinstance(error, KeyboardInterrupt):
                raise
            status = startup.ended(received)
    sys.exit(status)


__all__ = ["main"]
