"""The nodes keep ComfyUI's contract: its names, its types of inputs, tensors (B, H, W, 3) in [0, 1]."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch

from quantart_cli.images import read_picture
from tests.conftest import scene

FOLDER = Path(__file__).resolve().parents[2] / "integrations" / "comfyui"


@pytest.fixture(scope="module")
def nodes():
    """Loaded by path, as ComfyUI does it."""
    spec = importlib.util.spec_from_file_location("custom_nodes.quantart", FOLDER / "__init__.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def image(width, height, seed, count=1):
    return torch.stack([torch.from_numpy(scene(width, height, seed + i)) for i in range(count)]).float() / 255


def test_every_node_has_what_comfyui_asks_for(nodes):
    assert set(nodes.NODE_CLASS_MAPPINGS) == set(nodes.NODE_DISPLAY_NAME_MAPPINGS)
    for node in nodes.NODE_CLASS_MAPPINGS.values():
        assert callable(getattr(node(), node.FUNCTION))
        assert node.CATEGORY == "quantart"
        assert isinstance(node.RETURN_TYPES, tuple)
        assert len(node.RETURN_NAMES) == len(node.RETURN_TYPES)
        for kind in ("required", "optional"):
            for declared in node.INPUT_TYPES().get(kind, {}).values():
                assert isinstance(declared, tuple)
                assert isinstance(declared[0], (str, list))


def run(nodes, name, **inputs):
    """Call a node with its declared defaults and these inputs, by name as ComfyUI does."""
    node = nodes.NODE_CLASS_MAPPINGS[name]
    given = {}
    for field, declared in {**node.INPUT_TYPES()["required"], **node.INPUT_TYPES().get("optional", {})}.items():
        if field in inputs:
            given[field] = inputs[field]
        elif isinstance(declared[0], list):
            given[field] = declared[1]["default"] if len(declared) > 1 else declared[0][0]
        elif len(declared) > 1 and "default" in declared[1]:
            given[field] = declared[1]["default"]
    (result,) = getattr(node(), node.FUNCTION)(**given)
    return result


@pytest.mark.parametrize("method", ["adain", "quantart"])
def test_a_batch_is_painted_as_the_library_paints_it(nodes, method):
    model = run(nodes, "QuantArtLoad", method=method)
    style = run(nodes, "QuantArtStyle", model=model, images=image(50, 40, 7))
    contents = image(48, 40, 1, count=2)
    painted = run(nodes, "QuantArtStylize", model=model, style=style, images=contents, fidelity=0.4, strength=0.8)
    assert painted.shape == contents.shape
    assert painted.dtype == torch.float32
    options = {"alpha": 0.8} if method == "adain" else {"fidelity": 0.4, "strength": 0.8}
    for content, found in zip(contents, painted, strict=True):
        expected = np.asarray(model.stylize(content.numpy(), style, **options))
        assert np.array_equal((found.numpy() * 255).round().astype(np.uint8), expected)


def test_a_mask_keeps_the_rest(nodes):
    model = run(nodes, "QuantArtLoad", method="adain")
    style = run(nodes, "QuantArtStyle", model=model, images=image(50, 40, 7))
    content = image(48, 40, 1)
    mask = torch.zeros(1, 40, 48)
    mask[:, :, 30:] = 1
    painted = run(nodes, "QuantArtStylize", model=model, style=style, images=content, mask=mask)
    assert torch.equal(painted[:, :, :20], content[:, :, :20])
    assert not torch.equal(painted[:, :, 36:], content[:, :, 36:])


def test_several_style_images_are_blended(nodes):
    model = run(nodes, "QuantArtLoad", method="adain")
    style = run(nodes, "QuantArtStyle", model=model, images=image(50, 40, 7, count=3), size=64)
    assert len(style.pictures) == 3
    assert style.shares == pytest.approx([1 / 3] * 3)
    assert style.pictures[0].size == read_picture(scene(50, 40, 7)).size


def test_refining_paints_on(nodes):
    model = run(nodes, "QuantArtLoad", method="quantart")
    style = run(nodes, "QuantArtStyle", model=model, images=image(64, 64, 7))
    content = image(64, 64, 1)
    refined = run(nodes, "QuantArtRefine", model=model, style=style, images=content, updates=1)
    expected = np.asarray(model.stylize(content[0].numpy(), style, refine=1))
    assert np.array_equal((refined[0].numpy() * 255).round().astype(np.uint8), expected)
    assert not np.array_equal(expected, np.asarray(model.stylize(content[0].numpy(), style)))
