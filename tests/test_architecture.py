"""Who may import whom: rooms of the house, no cycles, and torch only where it computes. Read from the sources."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "quantart_cli"


@dataclass(frozen=True)
class Import:
    """An import statement, of one module.

    Attributes:
        target: dotted name of what is imported; of "from a import b" it is a.b if that is a module, else a.
        line: where.
        at_start: executed when the module is imported: not in a function, and not for type checkers alone.
        typing: for type checkers alone.
    """

    target: str
    line: int
    at_start: bool
    typing: bool


@cache
def modules() -> dict[str, tuple[Import, ...]]:
    """All modules of the package by dotted name, with what they import."""
    paths = {_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}
    return {
        name: tuple(_imports(ast.parse(path.read_text()), set(paths), name, True, False))
        for name, path in paths.items()
    }


def _name(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _imports(node: ast.AST, known: set[str], name: str, at_start: bool, typing: bool) -> Iterator[Import]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            yield from (Import(each.name, child.lineno, at_start, typing) for each in child.names)
        elif isinstance(child, ast.ImportFrom):
            assert child.level == 0, f"{name}:{child.lineno} imports relatively"
            for each in child.names:
                inner = f"{child.module}.{each.name}"
                yield Import(inner if inner in known else str(child.module), child.lineno, at_start, typing)
        elif isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            yield from _imports(child, known, name, False, typing)
        elif isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            for inner_node in child.body:
                yield from _imports(ast.Module([inner_node], []), known, name, False, True)
            for inner_node in child.orelse:
                yield from _imports(ast.Module([inner_node], []), known, name, at_start, typing)
        else:
            yield from _imports(child, known, name, at_start, typing)


def room(name: str) -> str:
    """The folder of a module, or the module itself where it is in none."""
    return ".".join(name.split(".")[:2])


def within(name: str, *places: str) -> bool:
    """Whether a module is one of these, or inside one."""
    return any(name == place or name.startswith(f"{place}.") for place in places)


def violations(who: tuple[str, ...], whom: tuple[str, ...], *, except_for: tuple[str, ...] = ()) -> list[str]:
    """Imports, anywhere but for type checkers, of some modules by others."""
    return [
        f"{name}:{each.line} imports {each.target}"
        for name, imports in modules().items()
        for each in imports
        if within(name, *who) and within(each.target, *whom) and not each.typing and not within(name, *except_for)
    ]


def q(*names: str) -> tuple[str, ...]:
    return tuple(f"quantart_cli.{name}" for name in names)


def test_every_module_that_is_imported_exists():
    missing = [
        f"{name}:{each.line} imports {each.target}"
        for name, imports in modules().items()
        for each in imports
        if within(each.target, "quantart_cli") and each.target not in modules()
    ]
    assert missing == []


def test_no_cycles():
    graph = {
        name: [each.target for each in imports if each.at_start and each.target in modules() and each.target != name]
        for name, imports in modules().items()
    }
    done: set[str] = set()

    def visit(name: str, path: tuple[str, ...]) -> None:
        assert name not in path, " -> ".join([*path[path.index(name) :], name])
        if name not in done:
            for target in graph[name]:
                visit(target, (*path, name))
            done.add(name)

    for name in graph:
        visit(name, ())


def test_networks_know_nothing_but_networks():
    others = [
        f"{name}:{each.line} imports {each.target}"
        for name, imports in modules().items()
        for each in imports
        if within(name, *q("nets")) and within(each.target, "quantart_cli")
        if not within(each.target, *q("nets", "errors"))
    ]
    assert others == []


# Highest first: a room imports rooms below it.
CLI, MANY = ("cli",), ("batch", "web", "video", "training", "evaluation")
PAINTING = ("model", "model_files", "style", "result", "work", "torch_methods", "raft", "recipe")
LOWEST = ("settings", "device", "scratch", "files", "presets")


@pytest.mark.parametrize(
    ("who", "whom"),
    [
        (("images",), (*CLI, *MANY, *PAINTING, "nets", "methods", "backends", "registry", "runner", "checkpoints")),
        (("checkpoints",), (*CLI, *MANY, *PAINTING, "methods", "backends", "registry", "runner", "images.reading")),
        (("methods",), (*CLI, *MANY, *PAINTING, "backends", "registry", "images.reading", "images.output")),
        (("backends",), (*CLI, *MANY, *PAINTING, "methods", "registry", "images")),
        (("runner", "stages", "tiling", "memory", "memo"), (*CLI, *MANY, *PAINTING, "methods", "backends", "nets")),
        (LOWEST, (*CLI, *MANY, *PAINTING, "methods", "backends", "runner")),
        (("registry",), (*CLI, *MANY, *PAINTING, "backends", "nets", "images")),
        (PAINTING, (*CLI, *MANY, "nets")),
        (("batch",), (*CLI, "web", "video", "training", "evaluation", "nets", "methods.gatys")),
        (("video",), (*CLI, "batch", "web", "training", "evaluation", "nets", "backends", "registry")),
        (("flow",), (*CLI, *MANY, *PAINTING, "nets", "methods", "backends", "registry", "runner", "checkpoints")),
        (("training", "evaluation"), (*CLI, "batch", "web", "video")),
        (("web",), (*CLI, "batch", "training", "evaluation", "nets", "backends")),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) and value else None,
)
def test_no_import_goes_up(who, whom):
    assert violations(q(*who), q(*whom)) == []


def test_only_the_command_line_imports_the_command_line():
    everything = tuple(name for name in modules() if not within(name, *q("cli", "__main__")))
    found = [
        f"{name}:{each.line} imports {each.target}"
        for name in everything
        for each in modules()[name]
        if within(each.target, *q("cli"))
    ]
    assert found == []


@pytest.mark.parametrize("library", ["torch", "torchvision", "safetensors.torch"])
def test_pictures_import_no_torch(library):
    assert violations(q("images", "files", "color", "flow", "video"), (library,)) == []


def test_torchvision_serves_trainings_metrics_and_raft_alone():
    everything = ("quantart_cli",)
    assert violations(q("training"), ("torchvision",))
    # info says which version is installed.
    assert violations(everything, ("torchvision",), except_for=q("training", "evaluation", "raft", "cli.info")) == []


def test_gradio_serves_the_page_alone():
    assert violations(("quantart_cli",), ("gradio", "fastapi", "uvicorn"), except_for=q("web")) == []


LIGHT = (
    "registry",
    "settings",
    "stages",
    "runner",
    "tiling",
    "memory",
    "memo",
    "device",
    "model",
    "scratch",
    "style_cache",
)


@pytest.mark.parametrize("name", [*LIGHT, "backends.openvino_backend", "cli"])
def test_torch_is_not_imported_at_start(name):
    """Neither by the module nor by what it imports."""
    waiting, seen = [f"quantart_cli.{name}"], {}
    while waiting:
        current = waiting.pop()
        for each in modules()[current]:
            if each.at_start:
                where = (*seen.get(current, ()), f"{current}:{each.line}")
                assert not within(each.target, "torch", "torchvision", "openvino", "ray"), " -> ".join(where)
                if each.target in modules() and each.target not in seen:
                    seen[each.target] = where
                    waiting.append(each.target)


def test_methods_are_known_by_name_in_the_registry_alone():
    """No other module compares with the name of a method, or looks one up."""
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        name = _name(path)
        if not within(name, *q("model", "runner", "stages", "tiling", "memory", "device", "backends", "torch_methods")):
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Compare):
                texts = {each.value for each in ast.walk(node) if isinstance(each, ast.Constant)}
                found += [f"{name}:{node.lineno}" for _ in texts & {"quantart", "adain", "gatys"}]
    assert found == []
