"""``quantart train``: codebooks and autoencoders, from folders of pictures."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from quantart_cli.cli.console import INTERRUPTED, TERMINATED, progress_bar, say
from quantart_cli.cli.options import MACHINE, from_controls, with_parameters
from quantart_cli.errors import QuantArtError
from quantart_cli.training.options import AutoencoderOptions, CodebookOptions

if TYPE_CHECKING:
    from quantart_cli.checkpoints.models import ModelFile
    from quantart_cli.nets.autoencoder import ArtCodebook

_CODEBOOK = """Learn a codebook from a folder of paintings.

Principal components of their VGG features, then k-means. Interrupted, the same command goes on where it was.

quantart train codebook paintings/ -o codebook.safetensors
"""
_AUTOENCODER = """Learn to paint with a codebook: the decoder of quantized features.

From photographs that are painted and paintings that are rebuilt; with a discriminator if --adversary-weight says so.
Interrupted, the same command goes on where it was. A log and preview sheets are written to FILE.training/.

quantart train autoencoder photos/ paintings/ -o model.safetensors
"""


def _folder(metavar: str, help: str) -> tuple[Any, Any]:
    return Annotated[str, typer.Argument(metavar=metavar, help=f"{help}, searched with its subfolders.")], ...


_ART = _folder("ART_FOLDER", "Pictures of artworks")
_PHOTOS = _folder("PHOTO_FOLDER", "Photographs")
_OUTPUT: tuple[Any, Any] = (
    Annotated[str, typer.Option("--output", "-o", metavar="FILE", help="The .safetensors file to write.")],
    ...,
)
_START: dict[str, tuple[Any, Any]] = {
    "model": (
        Annotated[
            str | None,
            typer.Option(
                metavar="MODEL",
                help="A codebook, or a model of this command, to begin with. Default: what comes with quantart.",
            ),
        ],
        None,
    )
}
_OWN: dict[str, tuple[Any, Any]] = {
    "restart": (
        Annotated[bool, typer.Option("--restart", help="Forget an unfinished training and begin anew.")],
        False,
    ),
    "quiet": (Annotated[bool, typer.Option("--quiet", help="Say nothing but errors.")], False),
}


def register(app: typer.Typer) -> None:
    from quantart_cli.cli import train_more, train_transfer  # which take from here what they share

    group = typer.Typer(help="Train models of your own.", no_args_is_help=True, rich_markup_mode=None)
    for name, run, doc, folders, options in (
        ("codebook", _codebook, _CODEBOOK, {"folder": _ART}, CodebookOptions),
        ("autoencoder", _autoencoder, _AUTOENCODER, {"photos": _PHOTOS, "folder": _ART, **_START}, AutoencoderOptions),
    ):
        parameters = {**folders, "output": _OUTPUT, **from_controls(options), **_OWN, **MACHINE}
        group.command(name)(with_parameters(run, doc, parameters))
    train_more.register(group)
    train_transfer.register(group)
    app.add_typer(group, name="train")


def _target(values: dict[str, Any]) -> Path:
    target = Path(values["output"])
    if target.suffix != ".safetensors":
        raise QuantArtError(f"{target} must end in .safetensors, the only format written")
    if not target.parent.is_dir():
        raise QuantArtError(f"folder {target.parent} does not exist: make it first")
    return target


def _size(options: CodebookOptions) -> str:
    parts = f"{options.parts} parts of " if options.parts > 1 else ""
    return f"{parts}{options.entries} entries, codes"


def _codebook(values: dict[str, Any]) -> int:
    start = time.perf_counter()
    options = CodebookOptions.of({name: values[name] for name in CodebookOptions.__dataclass_fields__})
    target = _target(values)
    from quantart_cli.engine.build import build_network
    from quantart_cli.engine.device import choose
    from quantart_cli.training.codebook import train_codebook

    vgg = build_network("vgg", "vgg19-normalised", choose(values["device"], values["precision"]))
    try:
        with progress_bar("features", values["quiet"]) as bar:
            report = train_codebook(
                Path(values["folder"]),
                target,
                options,
                vgg,
                restart=values["restart"],
                progress=lambda p: bar(p.done, p.total, stage=p.stage),
            )
    except KeyboardInterrupt:
        say(f"quantart: stopped; the same command goes on from {target}.partial")
        return INTERRUPTED
    if not values["quiet"]:
        for line in report.unreadable:
            say(line)
        say(
            f"{target}: {_size(options)} of {options.width} channels from {report.samples} samples of "
            f"{report.paintings} paintings in {time.perf_counter() - start:.0f} s"
        )
        say(f"explained variance {report.explained:.4f}, residual fraction {report.residual:.4f}")
        used = f"{report.used}/{options.entries * options.parts}"
        say(f"codes used {used}, perplexity {report.perplexity:.0f}, {report.passes} passes")
    if values["json"]:
        print(json.dumps({"output": str(target), "options": asdict(options), "report": asdict(report)}))
    return 0


def _autoencoder(values: dict[str, Any]) -> int:
    began = time.perf_counter()
    options = AutoencoderOptions.of({name: values[name] for name in AutoencoderOptions.__dataclass_fields__})
    target = _target(values)
    from quantart_cli.checkpoints.models import embedded_model, find_model
    from quantart_cli.engine.allocator import keep_memory
    from quantart_cli.engine.build import build_network
    from quantart_cli.engine.device import choose
    from quantart_cli.engine.machine import Machine
    from quantart_cli.training.autoencoder import train_autoencoder
    from quantart_cli.training.loop import Stopped

    machine = choose(values["device"], values["precision"])
    if machine.precision == "fp16":
        raise QuantArtError("gradients do not fit into fp16: train with --precision bf16 or fp32")
    exact = Machine(machine.device, "fp32", "weights that learn")
    model = values["model"]
    file = embedded_model("quantart-vgg19") if model is None else find_model(model, ("quantart-vgg19",))
    keep_memory()
    try:
        with asked_to_stop() as asked, progress_bar("photographs", values["quiet"]) as bar:
            report = train_autoencoder(
                Path(values["photos"]),
                Path(values["folder"]),
                target,
                options,
                build_network("vgg", "vgg19-normalised", machine),
                _codebook_of(file).to(machine.device),
                build_network("decoder", "adain-decoder", exact),
                restart=values["restart"],
                stop=lambda: asked() is not None,
                progress=lambda stage, done, total, losses: bar(done, total, _words(losses), stage=stage),
            )
    except Stopped as stopped:
        say(f"quantart: stopped after {stopped.done} updates; the same command goes on from {target}.partial")
        return TERMINATED if asked() == signal.SIGTERM else INTERRUPTED
    if not values["quiet"]:
        for line in report.unreadable:
            say(line)
        say(
            f"{target}: {report.updates} updates on {report.photographs} photographs and {report.paintings} paintings, "
            f"{report.skipped} left out as not finite, in {time.perf_counter() - began:.0f} s"
        )
    if values["json"]:
        print(json.dumps({"output": str(target), "options": asdict(options), "report": asdict(report)}))
    return 0


def _codebook_of(file: ModelFile) -> ArtCodebook:
    """A codebook, float32, and its decoder if the file has one."""
    from quantart_cli.checkpoints.loading import fill_strictly, open_tensors
    from quantart_cli.nets.autoencoder import ArtCodebook

    return fill_strictly(ArtCodebook.like, open_tensors(file.path), file.name)


def _words(losses: dict[str, float]) -> str:
    return "  ".join(f"{name} {losses[name]:.3g}" for name in ("content", "style", "discriminator") if name in losses)


@contextmanager
def asked_to_stop() -> Iterator[Callable[[], int | None]]:
    """Ctrl-C and SIGTERM are noted, and told by a call, so that an update is done before one leaves; the second time
    they interrupt at once."""
    asked: list[int] = []

    def note(number: int, _: object) -> None:
        if asked:
            raise KeyboardInterrupt if number == signal.SIGINT else SystemExit(TERMINATED)
        asked.append(number)
        say("quantart: stopping after this update; once more stops at once, and keeps the last checkpoint")

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: asked[0] if asked else None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
