"""An optimisation that is interrupted and resumed gives the same picture, bit for bit."""

import pytest
import torch

from quantart_cli.errors import QuantArtError
from quantart_cli.methods.checkpoint import load_state, save_state
from quantart_cli.methods.gatys import Gatys
from quantart_cli.methods.gatys_settings import GatysSettings
from quantart_cli.methods.inputs import OptimisationInputs, State
from quantart_cli.methods.style_losses import Gaussian
from quantart_cli.nets.vgg import VGG19


@pytest.fixture(scope="module")
def method(vgg):
    own = VGG19()
    own.load_state_dict(vgg.state_dict())
    return Gatys(own.requires_grad_(False))


@pytest.fixture(
    scope="module",
    params=[{}, {"optimizer": "adam"}, {"style_loss": "gaussian", "init": "noise"}],
    ids=["lbfgs", "adam", "gaussian"],
)
def uninterrupted(request, method, parity):
    """Content, style, settings and all steps."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Gaussian, "sample", 50)
        content = parity["content"][..., :40, :48]
        style = method.encode_style([(parity["style_1"][..., :48, :48], None)], [1.0])
        settings = GatysSettings(steps=14, pyramid="24,48", **request.param)
        yield content, style, settings, list(method.steps(content, style, settings, seed=3))


@pytest.mark.parametrize("stop", [4, 9, 11])  # in the first level, at its last step, in the last level
def test_it_ends_where_the_uninterrupted_one_does(method, uninterrupted, tmp_path, stop):
    content, style, settings, records = uninterrupted
    assert [record.size[0] for record in records] == [24] * 9 + [48] * 5
    file = tmp_path / "state.safetensors"
    save_state(file, records[stop - 1].state(), {"seed": 3})
    state = load_state(file, {"seed": 3})
    rest = list(method.steps(content, style, settings, inputs=OptimisationInputs(resume=state), seed=3))
    assert [record.step for record in rest] == list(range(stop + 1, 15))
    assert torch.equal(rest[-1].image(), records[-1].image())
    assert rest[-1].losses == records[-1].losses


def test_a_plateau_is_remembered(method, parity, tmp_path):
    content = parity["content"][..., :32, :32]
    style = method.encode_style([(content.flip(2), None)], [1.0])
    settings = GatysSettings(steps=300, tolerance=0.6)
    records = list(method.steps(content, style, settings))
    assert len(records) < 300
    save_state(tmp_path / "s", records[-5].state(), {})
    inputs = OptimisationInputs(resume=load_state(tmp_path / "s", {}))
    rest = list(method.steps(content, style, settings, inputs=inputs))
    assert rest[-1].step == records[-1].step


def test_checkpoints_of_something_else_are_one_line(tmp_path):
    file = tmp_path / "c.safetensors"
    state = State(32, 5, "lbfgs", {"x": torch.rand(2)}, {"value": 0.1 + 0.2, "recent": [1 / 3]})
    save_state(file, state, {"steps": 300, "content": "a" * 64, "styles": ["b"]})
    again = load_state(file, {"steps": 300, "content": "a" * 64, "styles": ["b"]})
    assert torch.equal(again.tensors["x"], state.tensors["x"])
    assert (again.side, again.step, again.optimizer, again.numbers) == (32, 5, "lbfgs", state.numbers)
    for facts, said in (
        ({"steps": 100}, "was made with steps 300, not 100"),
        ({"content": "c" * 64}, "was made with another content: give"),
        ({"styles": ["c"]}, "another styles"),
        ({"mask": []}, "another mask"),
    ):
        with pytest.raises(QuantArtError, match=said) as error:
            load_state(file, facts)
        assert "\n" not in str(error.value)
    with pytest.raises(QuantArtError, match="there is no checkpoint"):
        load_state(tmp_path / "none", {})
    (tmp_path / "broken").write_bytes(b"PK" * 50)
    with pytest.raises(QuantArtError, match="not a checkpoint of a painting, or damaged"):
        load_state(tmp_path / "broken", {})


def test_a_last_level_without_steps_is_only_enlarged(method, parity):
    content = parity["content"][..., :40, :48]
    style = method.encode_style([(parity["style_1"][..., :48, :48], None)], [1.0])
    steps = list(method.steps(content, style, GatysSettings(steps=1, pyramid="24,48")))
    assert [step.size[0] for step in steps] == [24, 48]
    assert [step.step for step in steps] == [1, 1]
    assert steps[-1].image().shape == content.shape


def test_a_checkpoint_of_the_last_step_has_the_whole_picture(method, uninterrupted, tmp_path):
    content, style, settings, records = uninterrupted
    save_state(tmp_path / "state", records[-1].state(), {})
    inputs = OptimisationInputs(resume=load_state(tmp_path / "state", {}))
    (last,) = method.steps(content, style, settings, inputs=inputs, seed=3)
    assert torch.equal(last.image(), records[-1].image())
