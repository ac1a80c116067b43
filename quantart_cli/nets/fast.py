"""The feed-forward network of Johnson, Alahi and Fei-Fei (ECCV 2016) with instance norm (Ulyanov et al. 2016).

    contract1 9×9, contract2 and contract3 3×3 of stride 2; residual blocks of two 3×3; expand1 and expand2, nearest
    ×2 and 3×3; expand3 9×9

Reflection padding everywhere; ReLU after all but the second convolution of a block and the last one. A convolution is
followed by an instance norm, or has a bias. Three networks are of this form, and their tensors say which one it is:

* Johnson's, in the form of pytorch/examples: the last convolution has a bias, all others norms.
* Dumoulin et al. (ICLR 2017): all have norms, and their scales and shifts are those of a style. A sigmoid at the end.
* Ghiasi et al. (BMVC 2017): as before, and the first three have a bias: their batch norm.

Scales and shifts are no weights of the network: each style brings its own, of all layers, (2, n). Those of Ghiasi
et al. come from a predictor (nets/magenta.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from quantart_cli.nets.statistics import moments

if TYPE_CHECKING:
    from quantart_cli.nets.magenta import Predictor

WIDTHS = (32, 64, 128, 64, 32)
BLOCKS = 5
EPSILON = 1e-5
LAST = "expand3"


class StyleNetwork(nn.Module):
    """The convolutions, and the styles it was trained with.

    Args:
        widths: channels of contract1 to contract3, expand1 and expand2.
        blocks: residual blocks.
        styles: names of its styles.
        biased: layers with a bias instead of a norm.
    """

    contract1: nn.Conv2d
    styles: nn.ParameterDict

    def __init__(
        self,
        widths: Sequence[int] = WIDTHS,
        blocks: int = BLOCKS,
        styles: Iterable[str] = (),
        biased: Iterable[str] = (),
    ) -> None:
        super().__init__()
        a, b, c, d, e = widths
        biased = frozenset(biased)
        self.blocks = blocks
        self.norms: dict[str, slice] = {}
        """Where the scales and shifts of each normalised layer are in those of a style."""
        self.channels = 0
        """Of all normalised layers together."""
        layers = [("contract1", 3, a, 9), ("contract2", a, b, 3), ("contract3", b, c, 3)]
        layers += [(f"residual{i}_{half}", c, c, 3) for i in range(1, blocks + 1) for half in (1, 2)]
        layers += [("expand1", c, d, 3), ("expand2", d, e, 3), (LAST, e, 3, 9)]
        for name, fan_in, fan_out, kernel in layers:
            stride = 2 if name in ("contract2", "contract3") else 1
            self.add_module(name, nn.Conv2d(fan_in, fan_out, kernel, stride, bias=name in biased))
            if name not in biased:
                self.norms[name] = slice(self.channels, self.channels + fan_out)
                self.channels += fan_out
        neutral = torch.tensor([[1.0], [0.0]])
        self.styles = nn.ParameterDict({name: neutral.repeat(1, self.channels) for name in styles})
        self.predictor: Predictor | None = None

    @classmethod
    def like(cls, tensors: Mapping[str, Tensor]) -> StyleNetwork:
        """An empty network of the sizes of these tensors."""
        names = [f"{name}.weight" for name in ("contract1", "contract2", "contract3", "expand1", "expand2")]
        known = {name: len(tensors[name]) for name in names if name in tensors and tensors[name].ndim}
        widths = [known.get(name, width) for name, width in zip(names, WIDTHS, strict=True)]
        blocks = sum(name.startswith("residual") and name.endswith("_1.weight") for name in tensors)
        styles = [name.removeprefix("styles.") for name in tensors if name.startswith("styles.")]
        biased = [name.removesuffix(".bias") for name in tensors if name.endswith(".bias") and name.count(".") == 1]
        network = cls(widths, blocks, styles, biased)
        if any(name.startswith("predictor.") for name in tensors):
            from quantart_cli.nets.magenta import Predictor

            network.predictor = Predictor(network.channels)
        return network

    def convolved(self, name: str, x: Tensor) -> Tensor:
        """A convolution, with its upsampling and padding before it."""
        layer: nn.Conv2d = getattr(self, name)
        if name in ("expand1", "expand2"):
            x = F.interpolate(x, scale_factor=2, mode="nearest")
        margin = layer.kernel_size[0] // 2
        x = F.pad(x, (margin,) * 4, mode="reflect")  # assigned on its own: frees the unpadded x
        found: Tensor = layer(x)
        return found

    def forward(self, image: Tensor, style: Tensor) -> Tensor:
        """Paint whole pictures.

        Args:
            image: (B, 3, H, W) float32 in [0, 1].
            style: (B, 2, n) scales and shifts, float32.

        Returns:
            (B, 3, 4 ⌈H / 4⌉, 4 ⌈W / 4⌉) float32, about [0, 1].
        """

        def layer(name: str, x: Tensor) -> Tensor:
            x = self.convolved(name, x)
            if name not in self.norms:
                return x
            # Picture by picture, batch norm is instance norm, and three times as fast on a CPU as other ways to it.
            own = zip(x.split(1), *style[:, :, self.norms[name]].unbind(1), strict=True)
            return torch.cat([F.batch_norm(z, None, None, w, b, True, 0.0, EPSILON) for z, w, b in own])

        x = image.to(self.contract1.weight.dtype).contiguous(memory_format=torch.channels_last)
        for name in ("contract1", "contract2", "contract3"):
            x = F.relu(layer(name, x))
        for i in range(1, self.blocks + 1):
            x = x + layer(f"residual{i}_2", F.relu(layer(f"residual{i}_1", x)))
        for name in ("expand1", "expand2"):
            x = F.relu(layer(name, x))
        x = layer(LAST, x).float()
        return x.sigmoid() if LAST in self.norms else x


# Published layouts: our name of a layer -> theirs, of a convolution and of its norm.


def _layers(blocks: int, first: str, block: str, last: str) -> dict[str, str]:
    names = {f"contract{i}": first.format(i) for i in (1, 2, 3)}
    names |= {f"residual{i}_{j}": block.format(i, j) for i in range(1, blocks + 1) for j in (1, 2)}
    return names | {f"expand{i}": last.format(i) for i in (1, 2, 3)}


_JOHNSON = _layers(BLOCKS, "conv{}.conv2d", "res{}.conv{}.conv2d", "deconv{}.conv2d")
_JOHNSON_NORMS = _layers(BLOCKS, "in{}", "res{}.in{}", "in{}") | {"expand1": "in4", "expand2": "in5"}


def magenta_names(blocks: int) -> dict[str, str]:
    """Names of our convolutions in Magenta's programs."""
    transformer = ("contract/conv{}", "residual/residual{}/conv{}", "expand/conv{}/conv")
    return _layers(blocks, *(f"transformer/{name}" for name in transformer))


def from_johnson(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A network of pytorch/examples in our layout. Its only style is called "style". Tensors it has no place for stay.

    Its pictures are in [0, 255]: the factor goes into the first and the last layer. A bias before a norm has no effect.
    """
    left = dict(state)
    found = {f"{ours}.weight": left.pop(f"{theirs}.weight") for ours, theirs in _JOHNSON.items()}
    biases = {f"{ours}.bias": left.pop(f"{theirs}.bias") for ours, theirs in _JOHNSON.items()}
    found["contract1.weight"] = found["contract1.weight"] * 255
    found[f"{LAST}.weight"], found[f"{LAST}.bias"] = found[f"{LAST}.weight"] / 255, biases[f"{LAST}.bias"] / 255
    norms = [_JOHNSON_NORMS[name] for name in _JOHNSON if name != LAST]
    own = [torch.cat([left.pop(f"{name}.{what}") for name in norms]) for what in ("weight", "bias")]
    return found | {"styles.style": torch.stack(own)} | left


def from_onnx(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same network as an ONNX graph in our layout; see :func:`quantart_cli.checkpoints.readers.read_onnx`."""
    left, norms = dict(state), [name for ours, name in _JOHNSON_NORMS.items() if ours != LAST]
    found = {}
    for operator, names in (("Conv", [*_JOHNSON.values()]), ("InstanceNormalization", norms)):
        for number, name in enumerate(names, 1):
            for place, what in enumerate(("weight", "bias"), 1):
                found[f"{name}.{what}"] = left.pop(f"{operator}{number}.{place}")
    return from_johnson(found | left)


def from_onnx_conditional(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A network of Dumoulin et al. as an ONNX graph whose norms are written out, in our layout; styles "1", "2", …

    Convolutions are in the order of the graph. The scales of all styles are a constant of the first product of a norm,
    the shifts one of the second.
    """
    kernels, factors = ([v for n, v in state.items() if n.startswith(prefix)] for prefix in ("Conv", "Mul"))
    names = _layers((len(kernels) - 6) // 2, "", "", "")
    found = {f"{name}.weight": kernel for name, kernel in zip(names, kernels, strict=True)}
    scales, shifts = torch.cat(factors[::2], 1), torch.cat(factors[1::2], 1)
    return found | {f"styles.{i}": torch.stack(each) for i, each in enumerate(zip(scales, shifts, strict=True), 1)}


def from_conditional(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A network of Dumoulin et al. as Magenta names its variables, with kernels (out, in, h, w), in our layout.

    Its styles are called "1", "2", … Tensors it has no place for stay.
    """
    left, names = dict(state), magenta_names(BLOCKS)
    found = {f"{ours}.weight": left.pop(f"{theirs}/weights") for ours, theirs in names.items()}
    norms = [f"{theirs}/InstanceNorm" for theirs in names.values()]
    scales, shifts = (torch.cat([left.pop(f"{name}/{what}") for name in norms], 1) for what in ("gamma", "beta"))
    styles = {f"styles.{i}": torch.stack(each) for i, each in enumerate(zip(scales, shifts, strict=True), 1)}
    return found | styles | left


class _Part(nn.Module):
    """A part of the network as a stage. Slopes and shifts, (C,) each, are those of the norm of the layer before."""

    parts: ClassVar[dict[str, type[nn.Module]]] = {"model": StyleNetwork}

    def __init__(self, model: StyleNetwork) -> None:
        super().__init__()
        self.model = model

    def entered(self, image: Tensor) -> Tensor:
        """contract1 of a picture, (1, 3, H, W)."""
        return self.model.convolved("contract1", image.to(self.model.contract1.weight.dtype))

    def after(self, name: str, z: Tensor, slope: Tensor, shift: Tensor) -> Tensor:
        """Convolution ``name`` of the normalised z, after its ReLU."""
        return self.model.convolved(name, F.relu_(normalised(z, slope, shift)))


def normalised(z: Tensor, slope: Tensor, shift: Tensor) -> Tensor:
    """slope · z + shift for each channel, (1, C, h, w) in the dtype of z."""
    return torch.addcmul(shift.view(1, -1, 1, 1), z.float(), slope.view(1, -1, 1, 1)).to(z.dtype)


class Contract1(_Part):
    """Moments of contract1: (3, C)."""

    def forward(self, image: Tensor, weight: Tensor) -> tuple[Tensor]:
        return (moments(self.entered(image), weight),)


class Contract2(_Part):
    """Moments of contract2: (3, C)."""

    def forward(self, image: Tensor, weight: Tensor, slope1: Tensor, shift1: Tensor) -> tuple[Tensor]:
        return (moments(self.after("contract2", self.entered(image), slope1, shift1), weight),)


class Contract3(_Part):
    """contract3 before its norm, and its moments."""

    def forward(
        self, image: Tensor, weight: Tensor, slope1: Tensor, shift1: Tensor, slope2: Tensor, shift2: Tensor
    ) -> tuple[Tensor, Tensor]:
        z = self.after("contract2", self.entered(image), slope1, shift1)
        z = self.after("contract3", z, slope2, shift2)
        return z, moments(z, weight)


class BlockStart(_Part):
    """The sum that enters block ``number``, its first convolution, and the moments of that.

    The sum is x + slope · z + shift; in the first block it is the ReLU of slope · z + shift.
    """

    def forward(
        self, x: Tensor, z: Tensor, weight: Tensor, slope: Tensor, shift: Tensor, number: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        entering = normalised(z, slope, shift)
        x = F.relu_(entering) if number == 1 else x + entering
        z = self.model.convolved(f"residual{int(number)}_1", x)
        return x, z, moments(z, weight)


class BlockEnd(_Part):
    """The second convolution of block ``number``, and its moments."""

    def forward(self, z: Tensor, weight: Tensor, slope: Tensor, shift: Tensor, number: float) -> tuple[Tensor, Tensor]:
        z = self.after(f"residual{int(number)}_2", z, slope, shift)
        return z, moments(z, weight)


class Expand1(_Part):
    """expand1 of the last block's sum, and its moments."""

    def forward(self, x: Tensor, z: Tensor, weight: Tensor, slope: Tensor, shift: Tensor) -> tuple[Tensor, Tensor]:
        z = self.model.convolved("expand1", x + normalised(z, slope, shift))
        return z, moments(z, weight)


class Expand2(_Part):
    """Moments of expand2: (3, C)."""

    def forward(self, z: Tensor, weight: Tensor, slope1: Tensor, shift1: Tensor) -> tuple[Tensor]:
        return (moments(self.after("expand2", z, slope1, shift1), weight),)


class Expand3(_Part):
    """Moments of expand3: (3, 3)."""

    def forward(
        self, z: Tensor, weight: Tensor, slope1: Tensor, shift1: Tensor, slope2: Tensor, shift2: Tensor
    ) -> tuple[Tensor]:
        z = self.after("expand2", z, slope1, shift1)
        return (moments(self.after(LAST, z, slope2, shift2), weight),)


class Painted(_Part):
    """The picture, (1, 3, H, W) float32."""

    def forward(
        self,
        z: Tensor,
        slope1: Tensor,
        shift1: Tensor,
        slope2: Tensor,
        shift2: Tensor,
        slope3: Tensor,
        shift3: Tensor,
    ) -> tuple[Tensor]:
        z = self.after("expand2", z, slope1, shift1)
        z = self.after(LAST, z, slope2, shift2).float()
        return (normalised(z, slope3, shift3).sigmoid() if LAST in self.model.norms else z,)
