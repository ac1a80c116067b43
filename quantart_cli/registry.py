"""The registry: one row, a :class:`Method`, for each method. This module does not import torch.

The command line, batch, evaluation, comparison and the Python API read these rows; none of them knows a method by name.
Other packages add methods with entry points in the group ``quantart.methods``. Each entry point is a :class:`Method`.

From the command to the picture: ``quantart adain`` finds the row here, ``load`` (model.py) finds its weights and
imports its class, and ``Model`` prepares the pictures, calls the class, and crops what it returns to the content's
size.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache

from quantart_cli.errors import QuantArtError, suggest
from quantart_cli.methods.adaattn import AdaAttNSettings
from quantart_cli.methods.adain import AdaINSettings
from quantart_cli.methods.fast import FastSettings
from quantart_cli.methods.gatys_settings import GatysSettings
from quantart_cli.methods.magenta import MagentaSettings
from quantart_cli.methods.microast import MicroASTSettings
from quantart_cli.methods.nnst_settings import NNSTSettings
from quantart_cli.methods.quantart import QuantArtSettings
from quantart_cli.methods.sanet import SANetSettings
from quantart_cli.methods.swap import SwapSettings
from quantart_cli.methods.vqvae import VQVAESettings
from quantart_cli.methods.wct import WCTSettings
from quantart_cli.methods.wct2 import WCT2Settings
from quantart_cli.settings import Settings


@dataclass(frozen=True)
class Method:
    """A style transfer method: its names, its options, its weights, and the class that implements it.

    Attributes:
        name: name in the Python API, and of the command unless ``command`` is given.
        summary: one line of help.
        settings: the dataclass of its options.
        target: the class that implements it, ``"module:Class"``, a subclass of ``FeedForward`` or ``Optimising`` (see
            methods/base.py). It is imported by :func:`~quantart_cli.model.load`.
        weights: files of the default weights. Part -> name in weights/manifest.toml. A part is a network of the
            method, under the name that the method gives it.
        models: model files that the user may give with ``--model``. Kind of the file -> the class that implements the
            method with it, of methods/base.py; None: ``target``. The file replaces the part whose default weights are
            of the same kind.
        replaces: kind of a model file -> the part that it replaces. Needed only where no default weights are of that
            kind.
        command: name of the command; None: ``name``.
        backends: backends that can compute it, of "torch" and "openvino".
        needs_style: whether it takes pictures of styles. False: its styles are in its weights.
        optimises: whether ``target`` is a subclass of ``Optimising``. It is stored here so that the class need not be
            imported to know it.
        good_for: a few words for the table of ``quantart methods``.
        paper: authors and year.
        help: more lines of help, with examples.
    """

    name: str
    summary: str
    settings: type[Settings]
    target: str
    weights: Mapping[str, str] = field(default_factory=dict)
    models: Mapping[str, str | None] = field(default_factory=dict)
    replaces: Mapping[str, str] = field(default_factory=dict)
    command: str | None = None
    backends: tuple[str, ...] = ("torch",)
    needs_style: bool = True
    optimises: bool = False
    good_for: str = ""
    paper: str = ""
    help: str = ""

    def __hash__(self) -> int:
        return hash((self.name, self.target))

    @property
    def command_name(self) -> str:
        """Name of the command."""
        return self.command or self.name

    def target_for(self, kind: str | None) -> str:
        """The class, ``"module:Class"``, for a model file of this kind. None: for the default weights."""
        return (self.models.get(kind) if kind is not None else None) or self.target


_BUILT_IN = (
    Method(
        name="quantart",
        command="stylize",
        summary="Paint a picture with pieces of real art, and a knob for how far (QuantArt).",
        paper="Huang et al. 2023",
        good_for="strokes and patches of the style picture",
        settings=QuantArtSettings,
        target="quantart_cli.methods.quantart:QuantArt",
        weights={
            "vgg": "vgg19-normalised",
            "decoder": "adain-decoder",
            "painter": "quantart-painter",
            "codebook": "quantart-vgg19",
        },
        models={
            "quantart-painter": None,
            "quantart-vgg19": None,
            "quantart-vqgan": "quantart_cli.methods.quantart_vqgan:QuantArtVQGAN",
        },
        backends=("torch", "openvino"),
        help="""The picture is rebuilt from pieces of the style picture, as far as --fidelity says, with strokes as
broad as --brush says.

quantart stylize photo.jpg painting.jpg -o out.png --fidelity 0.7""",
    ),
    Method(
        name="adain",
        summary="Paint a picture by the means and deviations of features (AdaIN).",
        paper="Huang and Belongie 2017",
        good_for="colours and textures, fast",
        settings=AdaINSettings,
        target="quantart_cli.methods.adain:AdaIN",
        weights={"vgg": "vgg19-normalised", "decoder": "adain-decoder"},
        models={"adain-decoder": None},
        backends=("torch", "openvino"),
        help="""Fast, any style.

quantart adain photo.jpg painting.jpg -o out.png --alpha 0.8

More of the style's distribution than means and deviations: --transfer efdm or --transfer wct.""",
    ),
    Method(
        name="wct",
        summary="Paint a picture by the covariances of features (whitening and colouring).",
        paper="Li et al. 2017",
        good_for="colours and textures close to the painting, fast",
        settings=WCTSettings,
        target="quantart_cli.methods.wct:WCT",
        weights={"vgg": "vgg19-normalised", "decoder": "adain-decoder"},
        models={"adain-decoder": None, "wct-levels": "quantart_cli.methods.wct_levels:WCTLevels"},
        backends=("torch", "openvino"),
        help="""Fast, any style. Colours and textures are closer to the style than with adain, shapes less clear.

quantart wct photo.jpg painting.jpg -o out.png --alpha 0.7

At five levels, as in the paper: --model wct-levels.""",
    ),
    Method(
        name="swap",
        summary="Paint a picture with the most similar patches of the painting (style swap).",
        paper="Chen and Schmidt 2016",
        good_for="pieces of the painting, shapes less clear",
        settings=SwapSettings,
        target="quantart_cli.methods.swap:Swap",
        weights={"vgg": "vgg19-normalised", "decoder": "adain-decoder"},
        models={"adain-decoder": None},
        help="""Any style. Every piece of the picture is one of the painting, averaged where they overlap. The time
grows with the sizes of both pictures: a small --style-size is quicker.

quantart swap photo.jpg painting.jpg -o out.png --patch 5""",
    ),
    Method(
        name="sanet",
        summary="Paint a picture by attention to the positions of the painting (SANet).",
        paper="Park and Lee 2019",
        good_for="patterns of the painting where they fit the content",
        settings=SANetSettings,
        target="quantart_cli.methods.sanet:SANet",
        weights={"vgg": "vgg19-normalised", "sanet": "sanet"},
        models={"sanet": None},
        help="""Any style, in one pass. The weights, 32 MB, do not come with quantart: get the authors' two files and
convert them.

quantart convert transformer_iter_500000.pth decoder_iter_500000.pth -o sanet.safetensors

quantart sanet photo.jpg painting.jpg -o out.png --model sanet.safetensors""",
    ),
    Method(
        name="adaattn",
        summary="Paint a picture by attention to local means and deviations of the painting (AdaAttN).",
        paper="Liu et al. 2021",
        good_for="textures of the painting by similarity, with the content clear",
        settings=AdaAttNSettings,
        target="quantart_cli.methods.adaattn:AdaAttN",
        weights={"vgg": "vgg19-normalised", "adaattn": "adaattn"},
        models={"adaattn": None, "adaattn-video": "quantart_cli.methods.adaattn:AdaAttNVideo"},
        replaces={"adaattn-video": "adaattn"},
        help="""Any style, in one pass. The weights, 55 MB, do not come with quantart: get the authors' three files and
convert them.

quantart convert latest_net_adaattn_3.pth latest_net_transformer.pth latest_net_decoder.pth -o adaattn.safetensors

quantart adaattn photo.jpg painting.jpg -o out.png --model adaattn.safetensors

The model for video, two files of the same names, has cosine attention: less of the painting, and steady from frame to
frame. Convert it, and give it as --model.""",
    ),
    Method(
        name="wct2",
        summary="Give a photograph the colours and light of another, and keep its detail (WCT2).",
        paper="Yoo et al. 2019",
        good_for="photographs: time of day, season, weather, infrared",
        settings=WCT2Settings,
        target="quantart_cli.methods.wct2:WCT2Shallow",
        weights={"vgg": "vgg19-normalised", "wct2": "wct2-shallow"},
        models={
            "wct2-shallow": None,
            "wct2": "quantart_cli.methods.wct2:WCT2",
            "wct2-cat5": "quantart_cli.methods.wct2:WCT2Cat5",
        },
        replaces={"wct2": "wct2", "wct2-cat5": "wct2"},
        help="""The style is a photograph, too. Wavelets carry the detail around the features, so lines stay straight.

quantart wct2 noon.jpg sunset.jpg -o out.png

More of the style: --transfer all. Less: a smaller --alpha.

The authors' weights: quantart convert wave_encoder_cat5_l4.pth wave_decoder_cat5_l4.pth -o wct2.safetensors, then
--model wct2.safetensors.""",
    ),
    Method(
        name="microast",
        summary="Paint a picture by very small networks, in seconds at 4K (MicroAST).",
        paper="Wang et al. 2023",
        good_for="large pictures and video, fast; a weak style",
        settings=MicroASTSettings,
        target="quantart_cli.methods.microast:MicroAST",
        weights={"microast": "microast"},
        models={"microast": None},
        help="""Any style, 1 MB of weights. The style shows less than with adain.

quantart microast photo.jpg painting.jpg -o out.png""",
    ),
    Method(
        name="vqvae",
        summary="Paint a picture by discrete codes of content and style (VQ-VAE).",
        paper="van den Oord et al. 2017",
        good_for="two pictures at once, by averaged codes; colours of the style",
        settings=VQVAESettings,
        target="quantart_cli.methods.vqvae:VQVAE",
        weights={"vqvae": "vqvae"},
        models={"vqvae": None, "vqgan": "quantart_cli.methods.vqvae_vqgan:MixedVQGAN"},
        help="""The decoder takes the codes of both pictures, or codes are averaged before or after quantization. The
network that comes with quantart is small and was trained for minutes: the style's colours, few details.

quantart vqvae photo.jpg painting.jpg -o out.png

quantart vqvae photo.jpg painting.jpg -o out.png --mix after --alpha 0.5

Your own: quantart train vqvae photos/ paintings/ -o vqvae.safetensors, then --model vqvae.safetensors. Or a VQGAN:

quantart vqvae photo.jpg painting.jpg -o out.png --model vqgan-f16-1024 --download --alpha 0.5""",
    ),
    Method(
        name="fast",
        summary="Paint a picture with a network that was trained for its styles.",
        paper="Johnson et al. 2016; Dumoulin et al. 2017",
        good_for="the styles of one network, and mixtures of them, quickly",
        settings=FastSettings,
        target="quantart_cli.methods.fast:Fast",
        weights={"model": "fast"},
        models={"fast": None},
        needs_style=False,
        help="""No picture of a style is needed: --style names those of the network, and mixes them. The network that
comes with quantart has the styles of quantart styles.

quantart fast photo.jpg -o out.png --style starry-oil:2,ink-wash

quantart train fast photos/ wave.jpg ink.jpg -o network.safetensors""",
    ),
    Method(
        name="magenta",
        summary="Paint a picture with the network of Magenta, which predicts the norms of any style.",
        paper="Ghiasi et al. 2017",
        good_for="colours and broad patterns of any style, quickly",
        settings=MagentaSettings,
        target="quantart_cli.methods.magenta:Magenta",
        weights={"model": "magenta"},
        models={"magenta": None},
        help="""Any style. The weights do not come with quantart: convert those of Magenta, by the names of its
variables.

quantart convert arbitrary_style.pth -o magenta.safetensors

quantart magenta photo.jpg painting.jpg -o out.png --model magenta.safetensors --strength 0.7""",
    ),
    Method(
        name="gatys",
        summary="Paint a picture by optimisation (Gatys), slowly and richly.",
        paper="Gatys, Ecker and Bethge 2016",
        settings=GatysSettings,
        target="quantart_cli.methods.gatys:Gatys",
        weights={"vgg": "vgg19-normalised"},
        models={"vgg19-normalised": None},
        optimises=True,
        good_for="the richest result, in minutes",
        help="""From coarse to fine, minutes a picture without a GPU: start with --size 512. Ctrl-C keeps the picture
reached, and --resume continues from it. The presets balanced and strong are closer to the style, and paper is as in the
paper.

quantart gatys photo.jpg painting.jpg -o out.png --size 512

quantart gatys photo.jpg sky.jpg land.jpg -o out.png --mask upper.png --mask lower.png""",
    ),
    Method(
        name="nnst",
        summary="Paint a picture by matching pieces of the style, coarse to fine (NNST): a minute at 512 px.",
        paper="Kolkin et al. 2022",
        settings=NNSTSettings,
        target="quantart_cli.methods.nnst:NNST",
        weights={"vgg": "vgg19-normalised"},
        models={"vgg19-normalised": None},
        optimises=True,
        good_for="strokes and textures of the style everywhere, in about a minute at 512 px",
        help="""Each scale takes four times as long as the one before: start with --size 512. Ctrl-C keeps the picture
reached, and --resume continues from it.

quantart nnst photo.jpg painting.jpg -o out.png --size 512

As many updates as the paper takes: --steps 200""",
    ),
)


@cache
def methods() -> dict[str, Method]:
    """All methods by name: those of quantart, then those of installed packages.

    Raises:
        QuantArtError: an entry point cannot be imported, or is not a method; the package is named.
    """
    found = {method.name: method for method in _BUILT_IN}
    from importlib.metadata import entry_points

    for point in entry_points(group="quantart.methods"):
        try:
            method = point.load()
        except Exception as error:
            raise QuantArtError(f"the method {point.name} ({point.value}) cannot be loaded: {error}") from error
        if not isinstance(method, Method):
            raise QuantArtError(
                f"the entry point {point.name} ({point.value}) is not a quantart method: uninstall its package"
            )
        found.setdefault(method.name, method)  # a method of quantart cannot be replaced
    return found


def find(name: str) -> Method:
    """The method of that name.

    Raises:
        QuantArtError: there is no such method; the nearest name is suggested.
    """
    known = methods()
    if name not in known:
        raise QuantArtError(f"method {name!r} is not known: {suggest(name, known)}")
    return known[name]
