"""RAFT with random weights: its layout, what it gets, and the command."""

import numpy as np
import pytest
import safetensors.torch
import torch
from torchvision.models.optical_flow import raft_small

from quantart_cli import raft
from quantart_cli.checkpoints.models import ModelFile
from quantart_cli.errors import QuantArtError
from tests.conftest import scene
from tests.video.clips import square, write_gif


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return raft_small().eval()


@pytest.fixture
def file(network, tmp_path):
    safetensors.torch.save_file(network.state_dict(), tmp_path / "raft.safetensors")
    return ModelFile("raft.safetensors", tmp_path / "raft.safetensors", raft.NAME)


def test_the_flow_is_that_of_the_network(network, file):
    one, other = scene(136, 128, 1), scene(136, 128, 2)
    tensors = (torch.from_numpy(each).permute(2, 0, 1)[None] / 127.5 - 1 for each in (one, other))
    with torch.no_grad():
        wanted = network(*tensors)[-1][0].permute(1, 2, 0).numpy()
    assert np.allclose(raft.load(file, "cpu")(one, other), wanted, atol=1e-3)


def test_other_layouts_are_refused(network, file):
    tensors = network.state_dict()
    del tensors["update_block.flow_head.conv2.bias"]
    safetensors.torch.save_file(tensors, file.path)
    with pytest.raises(QuantArtError, match=r"lacks the tensor update_block\.flow_head\.conv2\.bias"):
        raft.load(file, "cpu")


def test_the_command(run, network, style_file, tmp_path, monkeypatch):
    monkeypatch.setenv("QUANTART_CACHE", str(tmp_path / "cache"))
    write_gif(tmp_path / "clip.gif", square(2), 40)
    clip = ("video", tmp_path / "clip.gif", style_file, "-o", tmp_path / "out.gif", "--quiet")
    clip += ("--method", "adain", "--backend", "torch", "--precision", "fp32")
    status, _, stderr = run(*clip, "--flow", "raft")
    assert status == 2
    assert stderr.startswith("quantart: weights raft-small")
    assert stderr.count("\n") == 1
    torch.save(network.state_dict(), tmp_path / "raft.pth")
    converted = tmp_path / "raft.safetensors"
    assert run("convert", tmp_path / "raft.pth", "-o", converted)[0] == 0
    assert run("download-weights", "raft-small", "--from", converted)[0] == 0
    status, _, stderr = run(*clip, "--flow", "raft")
    assert (status, stderr) == (0, "")
    assert (tmp_path / "out.gif").exists()
