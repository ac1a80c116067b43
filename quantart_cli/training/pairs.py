"""What AdaIN, SANet and AdaAttN share when they are trained from scratch, on a frozen VGG-19 and pairs of pictures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Generic, TypeVar

import torch
from torch import Tensor, nn

from quantart_cli.nets.vgg import VGG19
from quantart_cli.training.folders import Training
from quantart_cli.training.loop import Trainable, backward, check_finite, random_numbers
from quantart_cli.training.optimizer import MixedPrecisionOptimizer, device_and_dtype, identity
from quantart_cli.training.options import PairOptions, check_crop
from quantart_cli.training.pictures import PAINTINGS, PHOTOGRAPHS, Crops, PictureSet

Features = Mapping[str, Tensor]
"""Feature maps by layer."""
Options = TypeVar("Options", bound=PairOptions)


class PairTraining(Trainable, Generic[Options]):
    """A network and one update of it; ``pictures`` and ``shown`` have "photographs" and "paintings".

    Attributes:
        layers: of VGG-19, whose features it gets.
    """

    kind: ClassVar[str]
    network_class: ClassVar[type[nn.Module]]
    layers: ClassVar[tuple[str, ...]]
    multiple: ClassVar[int] = 16

    @classmethod
    def training(cls, options: Options, vgg: VGG19) -> Training:
        """The training, to a float32 file. It takes the folders "photographs" and "paintings".

        Args:
            vgg: the encoder, on the device and in the precision to use; it stays as it is.
        """
        check_crop(options.crop, cls.multiple, options.short_side)
        return Training(
            cls.kind,
            lambda pictures, shown: cls(vgg, pictures, shown, options),
            identity(device_and_dtype(vgg)[1]),
        )

    def __init__(
        self, vgg: VGG19, pictures: Mapping[str, PictureSet], shown: Mapping[str, Tensor], options: Options
    ) -> None:
        self.vgg, self.shown, self.options = vgg.requires_grad_(False), shown, options
        self.device, dtype = device_and_dtype(vgg)
        with random_numbers(options.seed, 0):
            network = self.network_class()
        network.to(self.device).to(memory_format=torch.channels_last)
        self.network = MixedPrecisionOptimizer(network, dtype, options.rate, float32=self.in_float32(network))
        self.parts = {"network": self.network}
        share, both = options.crop / options.short_side, (pictures[PHOTOGRAPHS], pictures[PAINTINGS])
        self.crops = Crops(both, options, self.device, (share, share))

    def in_float32(self, network: nn.Module) -> tuple[str, ...]:
        """Prefixes of parameters that are computed in float32."""
        return ()

    def rate(self, number: int) -> float:
        """Learning rate of an update, counted from 0."""
        o: Any = self.options
        rate: float = o.rate / (1 + o.rate_decay * number)
        return rate

    def paint(self, c: Features, s: Features) -> Tensor:
        """The picture (B, 3, H, W) of the features of contents and styles."""
        image: Tensor = self.network(c, s)
        return image

    def losses(self, content: Tensor, style: Tensor, c: Features, s: Features) -> dict[str, Tensor]:
        """Weighted losses by name.

        Args:
            content, style: (B, 3, H, W) float32 in [0, 1].
            c, s: features of both by layer.
        """
        raise NotImplementedError

    def update(self, number: int) -> dict[str, float]:
        content, style = self.crops[number]
        with random_numbers(self.options.seed, number + 1):
            c, s = self.features(content), self.features(style)
            self.network.zero_grad()
            values = backward(self.losses(content, style, c, s))
        values["gradient"] = self.network.clip_gradient()
        check_finite(values)
        self.network.step(number, self.rate(number))
        return values

    @torch.no_grad()
    def features(self, pictures: Tensor) -> Features:
        """Those of all :attr:`layers`, without gradients."""
        found: Features = self.vgg(pictures, self.layers)
        return found

    def model(self) -> Mapping[str, Tensor]:
        return self.network.network.state_dict()

    def sheet(self) -> list[list[Tensor]]:
        """Rows of content, style and result."""
        rows = []
        for content, style in zip(self.shown[PHOTOGRAPHS], self.shown[PAINTINGS], strict=True):
            c, s = (self.features(each[None].to(self.device)) for each in (content, style))
            rows.append([content, style, self.paint(c, s)[0]])
        return rows
