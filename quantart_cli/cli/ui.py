"""``quantart ui``: a page in the browser that paints while a slider moves."""

from __future__ import annotations

import os
import webbrowser
from dataclasses import dataclass, field
from typing import Annotated

from quantart_cli.cli.console import say, write_json
from quantart_cli.cli.options import ComputeOptions, check_range, option
from quantart_cli.cli.startup import keep_memory
from quantart_cli.errors import QuantArtError
from quantart_cli.registry import find


@dataclass(frozen=True, kw_only=True)
class UiOptions(ComputeOptions):
    """Paint in the browser, on a page that only this machine can open.

    The page shows a preview while a slider moves, and the picture at full size when it rests. Ctrl-C ends it and
    removes what was uploaded and painted. It needs the extra ui: pip install 'quantart-cli[ui,fast]'

    quantart ui

    quantart ui --model sanet=sanet.safetensors

    quantart ui --host 0.0.0.0 --password SECRET
    """

    host: Annotated[str, option("HOST", "Address to listen on. Others than this machine's need --password.")] = (
        "127.0.0.1"
    )
    port: Annotated[int | None, option("N", "Port. Default: 7860, or a free one.")] = None
    password: Annotated[
        str | None, option("TEXT", "Password for the page. It travels unencrypted: use a TLS proxy on open networks.")
    ] = None
    model: Annotated[list[str], option("METHOD=MODEL", "Other weights of a method; several times.")] = field(
        default_factory=list
    )
    no_browser: Annotated[bool, option(None, "Do not open the browser.")] = False

    def check(self) -> None:
        super().check()
        check_range("port", self.port, 1, 65535)

    def models(self) -> dict[str, str]:
        """Weights by the name of the method."""
        found = {}
        for given in self.model:
            name, equals, model = given.partition("=")
            if not equals:
                raise QuantArtError(f"--model {given}: give the method too, as in --model sanet=sanet.safetensors")
            found[find(name).name] = model
        return found


def run(options: UiOptions) -> int:
    """Serve the page until Ctrl-C; returns the exit status.

    Raises:
        QuantArtError: an option is wrong, or Gradio is missing.
    """
    options.check()
    models = options.models()
    from quantart_cli.web.server import Address, serve

    defaults = UiOptions()
    names = ("device", "precision", "backend", "tile", "seed")
    machine = {name: getattr(options, name) for name in names if getattr(options, name) != getattr(defaults, name)}

    def ready(url: str) -> None:
        if options.json:
            write_json({"url": url})
        elif not options.quiet:
            say(f"quantart: {url} (Ctrl-C ends it)")
        if not options.no_browser and (os.name == "nt" or os.environ.get("DISPLAY") or os.uname().sysname == "Darwin"):
            webbrowser.open(url)

    keep_memory()
    address = Address(options.host, options.port, options.password)
    serve(address, machine, models, options.max_pixels, ready)
    return 0
