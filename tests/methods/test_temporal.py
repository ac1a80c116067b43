"""The temporal loss of methods that optimise: its value and gradient by hand, and what it does."""

import copy

import numpy as np
import pytest
import torch

from quantart_cli.methods.gatys import Gatys
from quantart_cli.methods.gatys_settings import GatysSettings
from quantart_cli.methods.inputs import OptimisationInputs, Past
from quantart_cli.methods.nnst import NNST
from quantart_cli.methods.nnst_settings import NNSTSettings
from quantart_cli.methods.objective import Objective, Temporal, TiledExtractor, with_slope
from quantart_cli.methods.style_losses import STYLE_LOSSES
from quantart_cli.tiling import Tiler
from tests.conftest import scene

SIDE = 32
SHALLOW = {"steps": 20, "tolerance": 0, "style_layers": "relu1_1,relu2_1", "content_layers": "relu2_2"}
METHODS = {
    "gatys": (Gatys, GatysSettings(pyramid="none", **SHALLOW)),
    "gatys in levels": (Gatys, GatysSettings(pyramid="16", **SHALLOW)),
    "nnst": (NNST, NNSTSettings(steps="6,2", recolor="no")),
}


def test_value_and_gradient_by_hand():
    draw = np.random.default_rng(0)
    omega, c, x = (draw.random(shape, np.float32) for shape in ((32, 34, 3), (32, 34), (32, 34, 3)))
    c[:, :10] = 0
    image = torch.from_numpy(x).permute(2, 0, 1)[None]
    value, slope = with_slope(image, Temporal(Past(omega, c), (32, 34), 5.0, torch.device("cpu")))
    assert value == pytest.approx(5 * (c[..., None] * (x - omega) ** 2).sum() / x.size, rel=1e-5)
    wanted = 2 * 5 * c[..., None] * (x - omega) / x.size
    assert np.allclose(slope[0].permute(1, 2, 0), wanted, atol=1e-7)
    assert not slope[..., :10].any()


def test_the_objective_adds_it(vgg):
    past = Past(scene(SIDE, SIDE, 3).astype(np.float32) / 255, np.ones((SIDE, SIDE), np.float32))
    temporal = Temporal(past, (SIDE, SIDE), 2.0, torch.device("cpu"))
    image = torch.rand(1, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    eyes = TiledExtractor(copy.deepcopy(vgg).requires_grad_(False), ["relu1_1"], Tiler(), "max")
    found = []
    for own in (None, temporal):
        loss = STYLE_LOSSES["gram"]()
        objective = Objective(eyes, loss, {}, {"relu1_1": 1.0}, [], image * 0.5, None, (1.0, 0.0, 0.0), 0, own)
        found.append(objective.evaluate(image))
    (value, slope), (with_value, with_gradient) = found
    own_value, own_slope = with_slope(image, temporal)
    assert with_value == pytest.approx(value + own_value, rel=1e-5)
    assert torch.allclose(with_gradient, slope + own_slope, atol=1e-7)


@pytest.mark.parametrize("name", METHODS)
def test_what_did_not_move_stays_near_to_the_last_frame(vgg, name):
    """Both start from the last frame; on the left, the loss keeps it."""
    kind, settings = METHODS[name]
    method = kind(copy.deepcopy(vgg).requires_grad_(False))
    content, style, last = (scene(SIDE, SIDE, seed) for seed in (5, 2, 9))
    tensor = [torch.from_numpy(each).permute(2, 0, 1)[None] for each in (content, style)]
    encoded = method.encode_style([(tensor[1], None)], [1.0])
    weight = np.zeros((SIDE, SIDE), np.float32)
    weight[:, : SIDE // 2] = 19  # --steady 0.95
    past = Past(last.astype(np.float32) / 255, weight)
    change = []
    for own in (None, past):
        inputs = OptimisationInputs(start=last, past=own)
        *_, step = method.steps(tensor[0], encoded, settings, inputs=inputs)
        off = (step.image()[0].permute(1, 2, 0).numpy() - past.picture) ** 2
        change.append([off[:, : SIDE // 2 - 4].mean(), off[:, SIDE // 2 + 4 :].mean()])
    (left, right), (kept, free) = change
    assert kept < 0.5 * left
    assert free > 0.5 * right
