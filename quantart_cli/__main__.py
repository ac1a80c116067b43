"""``python -m quantart_cli`` is ``quantart``."""

from quantart_cli.cli import main

main()
