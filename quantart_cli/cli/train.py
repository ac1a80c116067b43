"""``quantart train``: models of your own, from folders of pictures."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, cast

import typer

from quantart_cli.cli.console import INTERRUPTED, bytes_bar, progress_bar, say
from quantart_cli.cli.train_request import (
    ART,
    DETAILS,
    DOWNLOAD,
    FOLDERS,
    OPTIONAL_ART,
    OPTIONAL_PHOTOS,
    PHOTOS,
    SHARDS,
    Request,
    add_command,
    finish,
    model_option,
    run_training,
)
from quantart_cli.errors import QuantArtError
from quantart_cli.training.options import (
    AdaINOptions,
    AutoencoderOptions,
    CodebookOptions,
    PackOptions,
    PainterOptions,
    TransferOptions,
    VQGANOptions,
)

if TYPE_CHECKING:
    from quantart_cli.engine.machine import Machine
    from quantart_cli.nets.vgg import VGG19
    from quantart_cli.nets.vqgan import VQGAN
    from quantart_cli.training.vqgan import Perceptual

_RESUME = "Interrupted, the same command resumes. A log and preview sheets are written to FILE.training/."
_LPIPS = "lpips-vgg16"
_GPU_BATCH, _GPU_CROP = 16, 256


def register(app: typer.Typer) -> None:
    """Add ``quantart train`` and its commands."""
    group = typer.Typer(help="Train models of your own.", no_args_is_help=True, rich_markup_mode=None)
    add_command(
        group,
        "painter",
        f"""Train the painter, the decoder that copies the style's own patches.

From photographs and paintings, in folders or packed by train pack. {_RESUME}

quantart train painter photos/ paintings/ --detail-paintings large_paintings/ -o painter.safetensors
""",
        PainterOptions,
        {
            **OPTIONAL_PHOTOS,
            **OPTIONAL_ART,
            **DETAILS,
            **SHARDS,
            **model_option("A painter or an AdaIN decoder to start from. Default: the included decoder."),
        },
        _painter,
        unset=("batch", "crop"),
    )
    add_command(
        group,
        "pack",
        """Pack pictures into a few small files, to train the painter on another machine.

The folders are photographs, paintings and, optionally, large paintings whose brush strokes are visible.

quantart train pack photos/ paintings/ large_paintings/ -o shards/
""",
        PackOptions,
        FOLDERS,
        _pack,
    )
    add_command(
        group,
        "codebook",
        """Train a codebook on a folder of paintings.

Principal components of their VGG features, then k-means. Interrupted, the same command resumes.

quantart train codebook paintings/ -o codebook.safetensors
""",
        CodebookOptions,
        ART,
        _codebook,
    )
    add_command(
        group,
        "autoencoder",
        f"""Train the decoder of quantized features, and its codebook.

It stylizes photographs and reconstructs paintings, against a discriminator if --adversary-weight is not 0. {_RESUME}

quantart train autoencoder photos/ paintings/ -o model.safetensors
""",
        AutoencoderOptions,
        {
            **PHOTOS,
            **ART,
            **model_option("A codebook, or a model of this command, to start from. Default: the included one."),
        },
        _autoencoder,
    )
    add_command(
        group,
        "adain",
        f"""Train the decoder of AdaIN from scratch.

From photographs and paintings, as Huang and Belongie did. {_RESUME}

quantart train adain photos/ paintings/ -o decoder.safetensors
""",
        AdaINOptions,
        {**PHOTOS, **ART},
        _adain,
    )
    add_command(
        group,
        "vqgan",
        f"""Train a VQGAN and its codebook of art, stage 1 of QuantArt.

An autoencoder of stride 16, with the losses and numbers of the authors. {_RESUME}

quantart train vqgan paintings/ -o vqgan.safetensors
""",
        VQGANOptions,
        {**ART, **model_option("A VQGAN to start from; it sets the sizes. Default: none."), **DOWNLOAD},
        _vqgan,
    )
    add_command(
        group,
        "transfer",
        f"""Train the style transfer of a VQGAN, stage 2 of QuantArt.

From photographs and paintings, in latent space, for a model of train vqgan. {_RESUME}

quantart train transfer photos/ paintings/ --model vqgan.safetensors -o model.safetensors
""",
        TransferOptions,
        {**PHOTOS, **ART, **model_option("The VQGAN.", required=True)},
        _transfer,
    )
    app.add_typer(group, name="train")


def _painter(request: Request[PainterOptions]) -> int:
    folders = _painter_folders(request)
    machine = request.machine()
    options = request.options
    if machine.device == "cuda":
        larger = {"batch": _GPU_BATCH, "crop": _GPU_CROP}
        options = replace(options, **{name: larger[name] for name in request.unset})
    from quantart_cli.checkpoints.loading import fill_strictly, open_tensors
    from quantart_cli.checkpoints.models import embedded_model, find_model
    from quantart_cli.nets.decoder import Decoder
    from quantart_cli.nets.painter import PainterDecoder
    from quantart_cli.training.painter import painter_training

    kinds = ("quantart-painter", "adain-decoder")
    file = find_model(request.model, kinds) if request.model else embedded_model("adain-decoder")
    tensors, painter = open_tensors(file.path), PainterDecoder()
    if "fuse3.weight" in tensors:
        painter = fill_strictly(lambda _: PainterDecoder(), tensors, file.name)
    else:
        painter.load_state_dict(fill_strictly(lambda _: Decoder(), tensors, file.name).state_dict(), strict=False)
    training = painter_training(options, _vgg(machine), painter.float())
    return run_training(request, options, training, folders, ("style", "remd", "identity"))


def _painter_folders(request: Request[PainterOptions]) -> dict[str, Path]:
    """Folders or shards by what they hold."""
    from quantart_cli.training.shards import shards_in

    if request.shards is not None:
        if request.photos or request.detail_paintings:
            raise QuantArtError("--shards replaces the folders: give one or the other")
        if request.options.hold_out:
            raise QuantArtError("--hold-out has no effect with --shards: give it to train pack")
        return shards_in(Path(request.shards))
    if request.photos is None or request.art is None:
        raise QuantArtError("train painter takes a folder of photographs and one of paintings, or --shards FOLDER")
    folders = {"photographs": Path(request.photos), "paintings": Path(request.art)}
    if request.detail_paintings is not None:
        folders["detail paintings"] = Path(request.detail_paintings)
    return folders


def _pack(request: Request[PackOptions]) -> int:
    from quantart_cli.training.shards import pack_pictures

    target = Path(request.output)
    with progress_bar("pictures", request.quiet) as bar:
        report = pack_pictures(
            [Path(folder) for folder in request.folders],
            target,
            request.options,
            lambda stage, done, total: bar(done, total, stage=stage),
        )
    seen = " and ".join(f"{count} {name}" for name, count in report.pictures.items())
    lines = [*report.unreadable, f"{target}: {seen}, {report.bytes / 1e6:.1f} MB"]
    return finish(request, request.options, target, report, lines)


def _codebook(request: Request[CodebookOptions]) -> int:
    options, target = request.options, request.target()
    from quantart_cli.training.codebook import train_codebook

    vgg = _vgg(request.machine(trains=False))
    try:
        with progress_bar("features", request.quiet) as bar:
            report = train_codebook(
                Path(request.art or ""),
                target,
                options,
                vgg,
                restart=request.restart,
                progress=lambda stage, done, total, _: bar(done, total, stage=stage),
            )
    except KeyboardInterrupt:
        say(f"quantart: stopped; the same command resumes from {target}.partial")
        return INTERRUPTED
    parts = f"{options.parts} parts of " if options.parts > 1 else ""
    lines = [
        *report.unreadable,
        f"{target}: {parts}{options.entries} entries, codes of {options.width} channels from {report.samples} samples "
        f"of {report.paintings} paintings",
        f"explained variance {report.explained:.4f}, residual fraction {report.residual:.4f}",
        f"codes used {report.used}/{options.entries * options.parts}, perplexity {report.perplexity:.0f}, "
        f"{report.iterations} iterations",
    ]
    return finish(request, options, target, report, lines)


def _autoencoder(request: Request[AutoencoderOptions]) -> int:
    machine = request.machine()
    from quantart_cli.checkpoints.loading import fill_strictly, open_tensors
    from quantart_cli.checkpoints.models import embedded_model, find_model
    from quantart_cli.engine.build import build_network
    from quantart_cli.nets.autoencoder import ArtCodebook
    from quantart_cli.training.decoder_trainer import autoencoder_training

    file = find_model(request.model, ("quantart-vgg19",)) if request.model else embedded_model("quantart-vgg19")
    codebook = fill_strictly(ArtCodebook.like, open_tensors(file.path), file.name).to(machine.device)
    decoder = build_network("decoder", "adain-decoder", replace(machine, precision="fp32"))
    training = autoencoder_training(request.options, _vgg(machine), codebook, decoder)  # type: ignore[arg-type]
    return run_training(request, request.options, training, request.both(), ("content", "style", "discriminator"))


def _adain(request: Request[AdaINOptions]) -> int:
    from quantart_cli.training.adain import adain_training

    training = adain_training(request.options, _vgg(request.machine()))
    return run_training(request, request.options, training, request.both(), ("content", "style"))


def _vqgan(request: Request[VQGANOptions]) -> int:
    options, machine = request.options, request.machine()
    from quantart_cli.training.vqgan import new_network, vqgan_training

    if request.model is None:
        network = new_network(options)
    else:
        network = _vqgan_of(request.model)
        c = network.config
        options = replace(options, channels=c.ch, blocks=c.num_res_blocks, width=c.embed_dim, entries=c.n_embed)
    name, perceptual = _perceptual(request, machine)
    options = replace(options, perceptual=name)
    training = vqgan_training(options, network, perceptual, machine.device, machine.dtype)
    folders = {"pictures": Path(request.art or "")}
    return run_training(request, options, training, folders, ("pixel", "perceptual", "codebook", "perplexity"))


def _transfer(request: Request[TransferOptions]) -> int:
    machine = request.machine()
    from quantart_cli.training.transfer_vqgan import transfer_training

    training = transfer_training(request.options, _vqgan_of(request.model or ""), machine.device, machine.dtype)
    return run_training(request, request.options, training, request.both(), ("quantized content", "quantized gram"))


def _vgg(machine: Machine) -> VGG19:
    from quantart_cli.engine.build import build_network

    return cast("VGG19", build_network("vgg", "vgg19-normalised", machine))


def _vqgan_of(model: str) -> VQGAN:
    from quantart_cli.checkpoints.loading import fill_strictly, open_tensors
    from quantart_cli.checkpoints.models import find_model
    from quantart_cli.nets.vqgan import VQGAN

    file = find_model(model, ("vqgan",))
    return cast("VQGAN", fill_strictly(VQGAN.like, open_tensors(file.path), file.name))


def _perceptual(request: Request[VQGANOptions], machine: Machine) -> tuple[str, Perceptual]:
    """The perceptual loss in float32, and its name."""
    from quantart_cli.checkpoints import cache
    from quantart_cli.checkpoints.manifest import artefact
    from quantart_cli.checkpoints.models import find_model
    from quantart_cli.evaluation.networks import load_lpips
    from quantart_cli.training.vqgan import by_lpips, by_vgg

    name = request.options.perceptual
    installed = cache.find(artefact(_LPIPS).key) is not None
    if name == "vgg" or (name == "auto" and not installed and not request.download):
        if name == "auto" and not request.quiet:
            hint = f"for the authors' LPIPS give --download, or quantart download-weights {_LPIPS}"
            say(f"perceptual loss: VGG-19; {hint}")
        return "vgg", by_vgg(_vgg(replace(machine, precision="fp32")))
    with bytes_bar(request.quiet) as bar:
        tell = None if request.quiet else bar.say
        find_model(_LPIPS, (_LPIPS,), download=request.download, tell=tell, progress=bar.of(_LPIPS))
    return "lpips", by_lpips(load_lpips(_LPIPS, machine.device))
