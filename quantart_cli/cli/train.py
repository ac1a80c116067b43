"""``quantart train``: models of your own, from folders of pictures. Docstrings of commands are their help."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import typer

from quantart_cli.cli.console import INTERRUPTED, bytes_bar, progress_bar, say
from quantart_cli.cli.train_request import Request, add_training, finish, run_training
from quantart_cli.errors import QuantArtError
from quantart_cli.training.options import (
    AdaAttNOptions,
    AdaINOptions,
    AutoencoderOptions,
    CodebookOptions,
    FastOptions,
    PackOptions,
    PainterOptions,
    SANetOptions,
    TransferOptions,
    VQGANOptions,
    VQVAEOptions,
)

if TYPE_CHECKING:
    from torch import Tensor, nn

    from quantart_cli.checkpoints.models import ModelFile
    from quantart_cli.device import DeviceSpec
    from quantart_cli.nets.vgg import VGG19
    from quantart_cli.nets.vqgan import VQGAN
    from quantart_cli.training.vqgan import Perceptual

Network = TypeVar("Network", bound="nn.Module")
Sized = TypeVar("Sized", PainterOptions, FastOptions, VQVAEOptions)

_LPIPS = "lpips-vgg16"
_ON_GPU = {"painter": {"batch": 16, "crop": 256}, "fast": {"batch": 8}, "vqvae": {"batch": 32}}
"""Defaults of a command that are others on a GPU."""


def register(app: typer.Typer) -> None:
    """Add ``quantart train`` and its commands."""
    group = typer.Typer(help="Train models of your own.", no_args_is_help=True, rich_markup_mode=None)

    add = partial(add_training, group)
    sources, pair = ("photos", "art", "detail_paintings", "shards"), ("photos", "art")
    start = "A painter or an AdaIN decoder to start from. Default: the included decoder."
    add("painter", PainterOptions, _painter, optional=sources, model=start, unset=_ON_GPU["painter"])
    add("pack", PackOptions, _pack, "folders")
    add("codebook", CodebookOptions, _codebook, "art")
    start = "A codebook, or a model of this command, to start from. Default: the included one."
    add("autoencoder", AutoencoderOptions, _autoencoder, *pair, model=start)
    add("adain", AdaINOptions, _adain, *pair)
    add("sanet", SANetOptions, _sanet, *pair)
    add("adaattn", AdaAttNOptions, _adaattn, *pair)
    add("fast", FastOptions, _fast, "photos", "styles", unset=_ON_GPU["fast"])
    start = "A VQGAN to start from; it sets the sizes. Default: none."
    add("vqgan", VQGANOptions, _vqgan, "art", optional=("download",), model=start)
    add("transfer", TransferOptions, _transfer, *pair, "model", model="The VQGAN.")
    start = "A VQ-VAE to start from; it sets the sizes. Default: none."
    add("vqvae", VQVAEOptions, _vqvae, *pair, model=start, unset=_ON_GPU["vqvae"])
    app.add_typer(group, name="train")


def _painter(request: Request[PainterOptions]) -> int:
    """Train the painter, the decoder that copies the style's own patches.

    From photographs and paintings, in folders or packed by train pack.

    quantart train painter photos/ paintings/ --detail-paintings large_paintings/ -o painter.safetensors
    """
    folders = _painter_folders(request)
    machine = request.machine()
    options = _sized(request, machine, "painter")
    from quantart_cli.checkpoints.models import embedded_model
    from quantart_cli.nets.decoder import Decoder
    from quantart_cli.nets.painter import Painter, PainterDecoder
    from quantart_cli.training.painter import painter_training

    file = _file(request.model, "quantart-painter", "adain-decoder")
    if file.kind == "quantart-painter":
        painter = _load(file, Painter.like)
    else:
        painter = _load(embedded_model("quantart-painter"), Painter.like)
        painter.decoder = PainterDecoder.of(_load(file, Decoder.like))
    painter.requires_grad_(True)
    decoder = _load(embedded_model("adain-decoder"), Decoder.like)
    training = painter_training(options, _vgg(machine), painter, decoder)
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
    folders = request.both()
    if request.detail_paintings is not None:
        folders["detail paintings"] = Path(request.detail_paintings)
    return folders


def _pack(request: Request[PackOptions]) -> int:
    """Pack pictures into a few small files, to train the painter on another machine.

    The folders are photographs, paintings and, optionally, large paintings whose brush strokes are visible.

    quantart train pack photos/ paintings/ large_paintings/ -o shards/
    """
    from quantart_cli.training.shards import pack_pictures

    target, folders = Path(request.output), [Path(folder) for folder in request.folders]
    with progress_bar("pictures", request.quiet) as bar:
        report = pack_pictures(
            folders, target, request.options, lambda stage, done, total: bar(done, total, stage=stage)
        )
    seen = " and ".join(f"{count} {name}" for name, count in report.pictures.items())
    lines = [*report.unreadable, f"{target}: {seen}, {report.bytes / 1e6:.1f} MB"]
    return finish(request, request.options, target, report, lines)


def _codebook(request: Request[CodebookOptions]) -> int:
    """Train a codebook on a folder of paintings.

    Principal components of their VGG features, then k-means. Interrupted, the same command resumes.

    quantart train codebook paintings/ -o codebook.safetensors
    """
    o, target, art = request.options, request.target(), Path(request.art or "")
    from quantart_cli.training.codebook import train_codebook

    vgg = _vgg(request.machine(trains=False))
    try:
        with progress_bar("features", request.quiet) as bar:

            def progress(stage: str, done: int, total: int, _: dict[str, float]) -> None:
                bar(done, total, stage=stage)

            report = train_codebook(art, target, o, vgg, restart=request.restart, progress=progress)
    except KeyboardInterrupt:
        say(f"quantart: stopped; the same command resumes from {target}.partial")
        return INTERRUPTED
    parts = f"{o.parts} parts of " if o.parts > 1 else ""
    lines = [
        *report.unreadable,
        f"{target}: {parts}{o.entries} entries, codes of {o.width} channels from {report.samples} samples of "
        f"{report.paintings} paintings",
        f"explained variance {report.explained:.4f}, residual fraction {report.residual:.4f}",
        f"codes used {report.used}/{o.entries * o.parts}, perplexity {report.perplexity:.0f}, "
        f"{report.iterations} iterations",
    ]
    return finish(request, o, target, report, lines)


def _autoencoder(request: Request[AutoencoderOptions]) -> int:
    """Train the decoder of quantized features, and its codebook.

    It stylizes photographs and reconstructs paintings, against a discriminator if --adversary-weight is not 0.

    quantart train autoencoder photos/ paintings/ -o model.safetensors
    """
    machine = request.machine()
    from quantart_cli.nets.autoencoder import ArtCodebook
    from quantart_cli.nets.decoder import Decoder
    from quantart_cli.training.decoder_trainer import autoencoder_training

    codebook = _load(_file(request.model, "quantart-vgg19"), ArtCodebook.like).to(machine.device)
    decoder = _load(_file(None, "adain-decoder"), lambda _: Decoder()).to(machine.device)
    training = autoencoder_training(request.options, _vgg(machine), codebook, decoder)
    return run_training(request, request.options, training, request.both(), ("content", "style", "discriminator"))


def _adain(request: Request[AdaINOptions]) -> int:
    """Train the decoder of AdaIN from scratch.

    From photographs and paintings, as Huang and Belongie did.

    quantart train adain photos/ paintings/ -o decoder.safetensors
    """
    machine = request.machine()
    from quantart_cli.training.adain import AdaINTraining

    training = AdaINTraining.training(request.options, _vgg(machine))
    return run_training(request, request.options, training, request.both(), ("content", "style"))


def _sanet(request: Request[SANetOptions]) -> int:
    """Train SANet from scratch.

    Its attentions and its decoder, from photographs and paintings, with the losses and numbers of the authors.

    quantart train sanet photos/ paintings/ -o sanet.safetensors
    """
    machine = request.machine()
    from quantart_cli.training.attention import SANetTraining

    training = SANetTraining.training(request.options, _vgg(machine))
    return run_training(request, request.options, training, request.both(), ("content", "style", "pixels"))


def _adaattn(request: Request[AdaAttNOptions]) -> int:
    """Train AdaAttN from scratch.

    Its attentions and its decoder, from photographs and paintings, with the losses and numbers of the authors.

    quantart train adaattn photos/ paintings/ -o adaattn.safetensors
    """
    machine = request.machine()
    from quantart_cli.training.attention import AdaAttNTraining

    training = AdaAttNTraining.training(request.options, _vgg(machine))
    return run_training(request, request.options, training, request.both(), ("global", "local"))


def _fast(request: Request[FastOptions]) -> int:
    """Train a network that paints in the styles of given pictures.

    With several pictures one network paints in all of them, and in mixtures. A style is named after its file.

    quantart train fast photos/ starry-oil.jpg woodcut-wave.jpg -o network.safetensors
    """
    machine = request.machine()
    options = _sized(request, machine, "fast")
    from quantart_cli.training.fast import fast_training, read_styles

    styles = read_styles([Path(style) for style in request.styles], options.style_size)
    training = fast_training(options, _vgg(machine), styles)
    return run_training(request, options, training, {"photographs": Path(request.photos or "")}, ("content", "style"))


def _vqgan(request: Request[VQGANOptions]) -> int:
    """Train a VQGAN and its codebook of art, stage 1 of QuantArt.

    An autoencoder of stride 16, with the losses and numbers of the authors.

    quantart train vqgan paintings/ -o vqgan.safetensors
    """
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
    """Train the style transfer of a VQGAN, stage 2 of QuantArt.

    From photographs and paintings, in latent space, for a model of train vqgan.

    quantart train transfer photos/ paintings/ --model vqgan.safetensors -o model.safetensors
    """
    machine = request.machine()
    from quantart_cli.training.transfer_vqgan import transfer_training

    training = transfer_training(request.options, _vqgan_of(request.model or ""), machine.device, machine.dtype)
    return run_training(request, request.options, training, request.both(), ("quantized content", "quantized gram"))


def _vqvae(request: Request[VQVAEOptions]) -> int:
    """Train a VQ-VAE, and with it a decoder that takes the codes of a photograph and of a painting.

    It reconstructs both, and paints the photograph in the look of the painting.

    quantart train vqvae photos/ paintings/ -o vqvae.safetensors
    """
    machine = request.machine()
    options = _sized(request, machine, "vqvae")
    from quantart_cli.nets.vqvae import VQVAE
    from quantart_cli.training.vqvae import vqvae_training

    network = None
    if request.model is not None:
        network = _load(_file(request.model, "vqvae"), VQVAE.like)
        c = network.config
        options = replace(options, channels=c.channels, width=c.width, entries=c.entries)
    training = vqvae_training(options, _vgg(machine), network)
    return run_training(request, options, training, request.both(), ("pixel", "content", "style", "perplexity"))


def _sized(request: Request[Sized], machine: DeviceSpec, command: str) -> Sized:
    """The options, with the defaults of a GPU where there is one."""
    larger = _ON_GPU[command] if machine.device_type == "cuda" else {}
    return replace(request.options, **{name: larger[name] for name in request.unset if name in larger})


def _vgg(machine: DeviceSpec) -> VGG19:
    import torch

    from quantart_cli.backends.torch_backend import load_network
    from quantart_cli.checkpoints.models import embedded_model
    from quantart_cli.nets.vgg import VGG19

    vgg: VGG19 = load_network(VGG19, embedded_model("vgg19-normalised"))
    return vgg.to(machine.device, machine.dtype).to(memory_format=torch.channels_last)


def _vqgan_of(model: str) -> VQGAN:
    from quantart_cli.nets.vqgan import VQGAN

    return _load(_file(model, "vqgan"), VQGAN.like)


def _file(model: str | None, *kinds: str) -> ModelFile:
    """The file of a model of one of these kinds; by default the included one of the last kind."""
    from quantart_cli.checkpoints.models import embedded_model, find_model

    return embedded_model(kinds[-1]) if model is None else find_model(model, kinds)


def _load(file: ModelFile, like: Callable[[Mapping[str, Tensor]], Network]) -> Network:
    """A network of the sizes of the file's tensors with its weights, float32."""
    from quantart_cli.checkpoints.loading import fill_strictly, open_tensors

    return fill_strictly(like, open_tensors(file.path), file.name).float()


def _perceptual(request: Request[VQGANOptions], machine: DeviceSpec) -> tuple[str, Perceptual]:
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
