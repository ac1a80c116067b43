"""Stages exported from torch modules to OpenVINO."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from types import ModuleType
from typing import Any

import numpy as np
import torch

from quantart_cli.backends.openvino_backend import compile_options, convert, core, library
from quantart_cli.backends.torch_backend import TorchBackend
from quantart_cli.checkpoints.models import ModelFile
from quantart_cli.device import DeviceSpec
from quantart_cli.stages import Map, Stage

_GRID = 8  # positions a side of the tile that is traced, at the coarsest stride
_ANY = 48  # length of a dimension of any length, while tracing


def export(stage: Stage, files: Mapping[str, ModelFile], precision: str, maps: str) -> bytes:
    """A stage compiled by OpenVINO for tiles of any size.

    Args:
        stage: the stage.
        files: weights by part.
        precision: that it computes in, "fp32" or "bf16".
        maps: the type of the maps that go in and come out, "fp32" or "bf16".

    Returns:
        the compiled network.
    """
    backend = TorchBackend(DeviceSpec("cpu", "fp32", "to be exported"), files)
    module = backend.build(stage.net, exact=True).eval()
    example, shapes = _inputs(module, stage, torch.bfloat16 if stage.exact and maps == "bf16" else torch.float32)
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # from torch: tracing is deprecated
        if stage.usual and not stage.scalars:
            module = _WithScalars(module, stage.usual)
            module(*example)  # it computes its weights now, and not in the graph
        model = convert(module, example_input=tuple(example), input=[library().PartialShape(shape) for shape in shapes])
    openvino = library()
    _simplify(openvino, model)
    _compress(openvino, model, precision)
    if maps == "bf16":
        model = _half_maps(openvino, model, stage)
    return bytes(core().compile_model(model, "CPU", compile_options(precision)).export_model().getvalue())


class _WithScalars(torch.nn.Module):
    """A network of a stage with fixed values of its scalars."""

    def __init__(self, network: torch.nn.Module, values: tuple[float, ...]) -> None:
        super().__init__()
        self.network, self.values = network, values

    def forward(self, *inputs: torch.Tensor) -> Any:
        return self.network(*inputs, *self.values)


def _inputs(module: Any, stage: Stage, dtype: torch.dtype) -> tuple[list[Any], list[list[int]]]:
    """Example inputs and shapes of a stage; its maps of floats have this dtype."""
    coarsest = max([8, *(stride for stride, _ in stage.maps.values())])
    own: Mapping[str, int] = getattr(module, "channels", {})  # of maps whose channels depend on the weights
    example: list[Any] = []
    shapes: list[list[int]] = []
    for name, (stride, channels) in stage.maps.items():
        channels = own.get(name, channels)
        side = _GRID * coarsest // stride
        values = torch.rand(1, channels, side, side, dtype=torch.float32 if name in ("image", "weight") else dtype)
        example.append(torch.zeros_like(values, dtype=torch.int32) if name in stage.integers else values)
        shapes.append([1, channels, -1, -1])
    for name, shape in stage.whole.items():
        values = torch.rand([_ANY if length == -1 else length for length in shape])
        example.append(torch.zeros_like(values, dtype=torch.int32) if name in stage.integers else values)
        shapes.append(list(shape))
    for _ in stage.scalars:
        example.append(torch.tensor(4.0))
        shapes.append([])
    return example, shapes


def _half_maps(openvino: ModuleType, model: Any, stage: Stage) -> Any:
    """Maps of floats go in and come out as bf16, which is what networks of that precision compute in."""
    edit = openvino.preprocess.PrePostProcessor(model)
    names = [*stage.maps, *stage.whole, *stage.scalars]
    for i, name in enumerate(names):
        is_map = name in stage.maps or len(stage.whole.get(name, ())) == 4
        if is_map and name not in ("image", "weight") and model.inputs[i].get_element_type() == openvino.Type.f32:
            edit.input(i).tensor().set_element_type(openvino.Type.bf16)
    for i, output in enumerate(stage.outputs.values()):
        if isinstance(output, Map) and model.outputs[i].get_element_type() == openvino.Type.f32:
            edit.output(i).tensor().set_element_type(openvino.Type.bf16)
    return edit.build()


def _simplify(openvino: ModuleType, model: Any) -> None:
    """Save passes over memory, which cost up to a tenth of the time where convolutions are fast.

    torch's max pooling has a second output, indices, that costs a copy of the first. An upsampled map that is then
    padded by reflection is upsampled to the padded size at once: that repeats x₀ three times, x₁ twice, and so on.
    """
    make = openvino.opset13
    for node in model.get_ordered_ops():
        if node.get_type_name() == "MaxPool":
            attributes = node.get_attributes()
            pooled = openvino.opset1.max_pool(
                node.input_value(0),
                attributes["strides"],
                attributes["pads_begin"],
                attributes["pads_end"],
                attributes["kernel"],
                "ceil",
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


def _compress(openvino: ModuleType, model: Any, precision: str) -> None:
    """Store constants as float16 where that changes none of their numbers, as with published fp16 weights.

    OpenVINO's own compression would round all of them, the mean that VGG-19 subtracts too, which costs 2e-4 of every
    feature. Weights of convolutions in bf16 are stored as what they are rounded to anyway.
    """
    make = openvino.opset13
    for constant in model.get_ops():
        if constant.get_type_name() == "Constant" and constant.get_element_type() == openvino.Type.f32:
            values = constant.data
            half = values.astype(np.float16)
            if values.size > 1 and np.array_equal(half.astype(np.float32), values):
                narrow = make.constant(half)
            elif precision == "bf16" and _is_convolved(constant):
                narrow = make.constant(values, openvino.Type.bf16)
            else:
                continue
            wide = make.convert(narrow, "f32")
            wide.get_rt_info()["decompression_0"] = ""  # OpenVINO's mark: keep it compressed
            constant.output(0).replace(wide.output(0))


def _is_convolved(constant: Any) -> bool:
    """Whether a constant is nothing but the weights of convolutions."""
    users = constant.output(0).get_target_inputs()
    return {(each.get_node().get_type_name(), each.get_index()) for each in users} == {("Convolution", 1)}
