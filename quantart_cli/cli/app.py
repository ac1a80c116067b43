"""The Typer application, its exit codes, and how errors are told."""

from __future__ import annotations

import signal
import sys
from typing import Annotated, NoReturn

import typer

from quantart_cli import __version__
from quantart_cli.cli import (
    adain,
    batch,
    compare,
    convert,
    download_weights,
    evaluate,
    gatys,
    info,
    study,
    stylize,
    train,
)
from quantart_cli.cli.console import TERMINATED, USER_ERROR, say
from quantart_cli.errors import QuantArtError

# Typer keeps click inside itself in newer versions and beside itself in older ones; its classes are reached alike.
_ClickException = typer.BadParameter.__mro__[2]

app = typer.Typer(
    name="quantart",
    help="Neural style transfer that paints: a photograph, a painting, and how far towards real art to go.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["--help", "-h"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"quantart {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    pass


stylize.register(app)
adain.register(app)
gatys.register(app)
batch.register(app)
download_weights.register(app)
info.register(app)
train.register(app)
evaluate.register(app)
study.register(app)
compare.register(app)
convert.register(app)


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run the command line and leave with its exit status: 0 done, 2 what a person can put right, 130 interrupted.

    Args:
        arguments: default those of the process.
    """
    # So that a temporary file is removed when the process is told to end.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(TERMINATED))
    try:
        status = app(arguments, prog_name="quantart", standalone_mode=False)
    except _ClickException as error:
        if type(error).__name__ == "NoArgsIsHelpError":
            print(error.format_message())
            sys.exit(0)
        say(f"quantart: {' '.join(error.format_message().split())}")
        sys.exit(USER_ERROR)
    except QuantArtError as error:
        say(f"quantart: {error}")
        sys.exit(USER_ERROR)
    sys.exit(status if isinstance(status, int) else 0)
