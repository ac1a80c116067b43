"""Networks of nets/ brought to OpenVINO's form, with torch: what fast/networks.py keeps in the cache."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from quantart_cli.fast.runtime import convert, core, library, settings
from quantart_cli.nets.autoencoder import ArtCodebook


@dataclass(frozen=True)
class _Form:
    """How a network is exported.

    Attributes:
        module: computes it.
        example: inputs to trace it with.
        shapes: of its inputs, -1 where it takes any size.
    """

    module: nn.Module
    example: tuple[Any, ...]
    shapes: tuple[list[int], ...]


def compiled(name: str, *networks: nn.Module) -> bytes:
    """A network compiled by OpenVINO, for pictures of any size.

    Args:
        name: "vgg": (1, 3, H, W) -> relu4_1. "decoder": (1, 512, h, w) -> a picture. "project",
            "codes" and "expand", of a codebook: see below. "between": (1, 512, h, w) and α -> what D_α makes of it.
        networks: those of nets/ that it is made of, one; for "between" the codebook with D̂, and D.
    """
    openvino = library()
    with torch.inference_mode(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's, that tracing is old
        if name == "between":
            codebook, decoder = networks
            assert isinstance(codebook, ArtCodebook)
            assert codebook.decoder is not None
            ends = (_converted(_form("decoder", each)) for each in (codebook.decoder, decoder))
            model = _between(openvino, *ends)
        else:
            model = _converted(_form(name, *networks))
        _save_passes(openvino, model)
        _halve(openvino, model)
        return core().compile_model(model, "CPU", settings("fp32")).export_model().getvalue()


def _converted(form: _Form) -> Any:
    shapes = [library().PartialShape(shape) for shape in form.shapes]
    return convert(form.module, example_input=form.example, input=shapes)


def _between(openvino: ModuleType, quantized: Any, continuous: Any) -> Any:
    """D_α = D̂ ⊕α D: every constant in which the two differ becomes a function of α, a second input."""
    make = openvino.opset13
    alpha = make.parameter([], np.float32, "alpha")
    for a, b in zip(quantized.get_ordered_ops(), continuous.get_ordered_ops(), strict=True):
        if b.get_type_name() != "Constant" or np.array_equal(a.data, b.data):
            continue
        users = list(b.output(0).get_target_inputs())
        mixed = make.add(b, make.multiply(make.subtract(make.constant(a.data), b), alpha))
        for user in users:
            user.replace_source_output(mixed.output(0))
    continuous.add_parameters([alpha])
    return continuous


def _save_passes(openvino: ModuleType, model: Any) -> None:
    """Spare passes over memory, which weigh as much as a tenth of the time where convolutions are fast.

    torch's pooling has a second output of places, which nobody asks for, and which costs a copy of the first. And what
    is enlarged and then padded is enlarged to the padded size at once: with reflection that is x₀ x₀ x₀ x₁ x₁ …, what
    samples between pixels, (i + ½) / 2 - ½ rounded down, give, with the last row and column there twice.
    """
    make = openvino.opset13
    for node in model.get_ordered_ops():
        if node.get_type_name() == "MaxPool":
            told = node.get_attributes()
            pooled = openvino.opset1.max_pool(
                node.input_value(0), told["strides"], told["pads_begin"], told["pads_end"], told["kernel"], "ceil"
            )
            node.output(0).replace(pooled.output(0))
        users = [each.get_node() for each in node.output(0).get_target_inputs()]
        if node.get_type_name() == "Interpolate" and [user.get_type_name() for user in users] == ["Pad"]:
            begin, end = (make.constant(np.array([0, 0, last, last])) for last in (0, 1))
            wider = make.pad(node.input_value(0), begin, end, "edge")
            enlarged = make.interpolate(
                wider,
                make.constant(np.array([2, 2], np.float32)),
                "nearest",
                "scales",
                axes=make.constant(np.array([2, 3])),
                coordinate_transformation_mode="half_pixel",
                nearest_mode="floor",
            )
            users[0].output(0).replace(enlarged.output(0))


def _halve(openvino: ModuleType, model: Any) -> None:
    """Keep constants as float16 where that changes none of their numbers, as with weights that were published so.

    OpenVINO's own compression would round all, the mean that VGG-19 subtracts too, which costs 2e-4 of every feature.
    """
    for constant in model.get_ops():
        if constant.get_type_name() == "Constant" and constant.get_element_type() == openvino.Type.f32:
            values = constant.data
            half = values.astype(np.float16)
            if values.size > 1 and np.array_equal(half.astype(np.float32), values):
                narrow = openvino.opset13.convert(openvino.opset13.constant(half), "f32")
                narrow.get_rt_info()["decompression_0"] = ""  # its mark for what is not to be widened before storing
                constant.output(0).replace(narrow.output(0))


def _form(name: str, network: nn.Module) -> _Form:
    """The network of nets/ as it is exported."""

    class Encoder(nn.Module):
        """(1, 3, H, W) -> relu4_1."""

        def __init__(self) -> None:
            super().__init__()
            self.net = network

        def forward(self, image: Tensor) -> Tensor:
            return self.net(image)["relu4_1"]

    class Project(Encoder):
        """(1, C, 1, n) features, their μ and σ -> (n, D) points, which entries are compared with."""

        def forward(self, z: Tensor, mean: Tensor, std: Tensor) -> Tensor:
            return self.net.project(((z - mean) / std)[0, :, 0].T)

    class Codes(Encoder):
        """A zero -> (G, K, D / G) entries. Of a network without an input OpenVINO makes none."""

        def forward(self, zero: Tensor) -> Tensor:
            return self.net.tables + zero

    class Expand(Encoder):
        """A zero -> (C, D + 1), the weight from codes to features with the bias behind it."""

        def forward(self, zero: Tensor) -> Tensor:
            return torch.cat([self.net.expand.weight, self.net.expand.bias[:, None]], 1) + zero

    if name == "vgg":
        return _Form(Encoder(), (torch.rand(1, 3, 64, 64),), ([1, 3, -1, -1],))
    if name == "decoder":
        return _Form(network, (torch.rand(1, 512, 8, 8),), ([1, 512, -1, -1],))
    channels = network.project.in_features
    one = [1, channels, 1, 1]
    if name == "project":
        example = (torch.rand(1, channels, 1, 8), torch.zeros(one), torch.ones(one))
        return _Form(Project(), example, ([1, channels, 1, -1], one, one))
    return _Form(Codes() if name == "codes" else Expand(), (torch.zeros(1),), ([1],))
