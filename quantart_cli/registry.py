"""The methods: one row each. Does not import torch.

The command line, batch, evaluation, comparison and the Python API read these rows; none of them knows a method by name.
Another package adds methods through the entry-point group ``quantart.methods``: each entry point is a :class:`Method`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache

from quantart_cli.errors import QuantArtError, suggest
from quantart_cli.methods.adain import AdaINSettings
from quantart_cli.methods.gatys_settings import GatysSettings
from quantart_cli.methods.nnst_settings import NNSTSettings
from quantart_cli.methods.quantart import QuantArtSettings
from quantart_cli.settings import Settings


@dataclass(frozen=True)
class Method:
    """A method.

    Attributes:
        name: what the API calls it, and the command line unless ``command`` differs.
        summary: one line of help.
        settings: its options.
        target: ``"module:Class"``, imported when it is used: a ``FeedForward`` or an ``Optimising`` method, see
            methods/base.py.
        weights: part -> name of the weights that come with quantart or are downloaded.
        models: kinds of model files it accepts instead -> the target that runs them; None: ``target``.
        command: name of the command; None: ``name``.
        backends: what can compute it; the first is the default.
        needs_style: whether it takes style pictures.
        paper: authors and year.
        help: more lines of help, with examples.
    """

    name: str
    summary: str
    settings: type[Settings]
    target: str
    weights: Mapping[str, str] = field(default_factory=dict)
    models: Mapping[str, str | None] = field(default_factory=dict)
    command: str | None = None
    backends: tuple[str, ...] = ("torch",)
    needs_style: bool = True
    paper: str = ""
    help: str = ""

    def __hash__(self) -> int:
        return hash((self.name, self.target))

    @property
    def command_name(self) -> str:
        """What the command line calls it."""
        return self.command or self.name

    def target_for(self, kind: str | None) -> str:
        """The class that runs a model of this kind; None: the model that comes with quantart."""
        return (self.models.get(kind) if kind is not None else None) or self.target


_BUILT_IN = (
    Method(
        name="quantart",
        command="stylize",
        summary="Paint a picture with pieces of real art, and a knob for how far (QuantArt).",
        paper="Huang et al. 2023",
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
        help="""The picture is rebuilt from pieces of the style picture, as far as --fidelity says, with strokes as broad
as --brush says.

quantart stylize photo.jpg painting.jpg -o out.png --fidelity 0.7""",
    ),
    Method(
        name="adain",
        summary="Paint a picture by the means and deviations of features (AdaIN).",
        paper="Huang and Belongie 2017",
        settings=AdaINSettings,
        target="quantart_cli.methods.adain:AdaIN",
        weights={"vgg": "vgg19-normalised", "decoder": "adain-decoder"},
        models={"adain-decoder": None},
        backends=("torch", "openvino"),
        help="""Fast, any style.

quantart adain photo.jpg painting.jpg -o out.png --alpha 0.8""",
    ),
    Method(
        name="gatys",
        summary="Paint a picture by optimisation (Gatys), slowly and richly.",
        paper="Gatys, Ecker and Bethge 2016",
        settings=GatysSettings,
        target="quantart_cli.methods.gatys:Gatys",
        weights={"vgg": "vgg19-normalised"},
        models={"vgg19-normalised": None},
        help="""From coarse to fine, minutes a picture without a GPU: start with --size 512. Ctrl-C keeps the picture
reached, and --resume continues from it.

quantart gatys photo.jpg painting.jpg -o out.png --size 512

quantart gatys photo.jpg sky.jpg land.jpg -o out.png --mask upper.png --mask lower.png

As in the paper: --pyramid none --optimizer lbfgs --pooling average --content-layers relu4_2 --tv-weight 0 --init noise
--tolerance 0""",
    ),
    Method(
        name="nnst",
        summary="Paint a picture by matching pieces of the style, coarse to fine (NNST): a minute at 512 px.",
        paper="Kolkin et al. 2022",
        settings=NNSTSettings,
        target="quantart_cli.methods.nnst:NNST",
        weights={"vgg": "vgg19-normalised"},
        models={"vgg19-normalised": None},
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
            raise QuantArtError(f"the entry point {point.name} ({point.value}) is not a quantart method")
        found.setdefault(method.name, method)
    return found


def find(name: str) -> Method:
    """The method of that name.

    Raises:
        QuantArtError: there is none; the nearest is suggested.
    """
    known = methods()
    if name not in known:
        raise QuantArtError(f"method {name!r} is not known: {suggest(name, known)}")
    return known[name]
