"""``quantart info``: what is installed, what it would compute on, and whether the weights are whole."""

from __future__ import annotations

import json
import platform
from contextlib import suppress
from typing import Any

import typer

from quantart_cli import __version__
from quantart_cli.cli.options import MACHINE, with_parameters

_PACKAGES = ("torch", "torchvision", "pillow", "numpy", "safetensors", "huggingface-hub", "typer", "rich")
_EXTRAS = ("openvino",)  # told of only where they are
_DOC = """Show versions, device, precision and weights.

Says why this device and precision would be used; verifies the embedded weights (exit status 1 if one fails) and names
the downloaded ones, which quantart download-weights --verify verifies.
"""


def register(app: typer.Typer) -> None:
    app.command("info")(with_parameters(_run, _DOC, MACHINE))


def _run(values: dict[str, Any]) -> int:
    """Exit status 0 when the embedded weights are there and verified and no downloaded one is damaged, else 1."""
    from quantart_cli.engine.device import choose

    machine = choose(values["device"], values["precision"])
    weights = _weights()
    if values["json"]:
        report = {
            "quantart": __version__,
            "python": platform.python_version(),
            "packages": _versions(),
            "device": machine.device,
            "precision": machine.precision,
            "why": machine.why,
            "weights": weights,
        }
        print(json.dumps(report))
    else:
        print(f"quantart {__version__}, Python {platform.python_version()} on {platform.system()} {platform.machine()}")
        print(", ".join(f"{name} {number}" for name, number in _versions().items()))
        print(f"computes on {machine.device} in {machine.precision}: {machine.why}")
        width = max(len(row["name"]) for row in weights)
        for row in weights:
            print(f"{row['name']:{width}}  {row['state']:8}  {row['bytes'] / 1e6:5.1f} MB  {row['purpose']}")
    return 0 if all(row["state"] in ("verified", "present") for row in weights) else 1


def _versions() -> dict[str, str]:
    from importlib.metadata import PackageNotFoundError, version  # late: 20 ms of every start

    found = {}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "missing"
    for name in _EXTRAS:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def _weights() -> list[dict[str, Any]]:
    """What is embedded, hashed, and what has been downloaded, by its size."""
    from quantart_cli.checkpoints.inventory import survey
    from quantart_cli.checkpoints.manifest import embedded

    rows = survey(embedded().values(), verify=True)
    rows += [row for row in survey() if row.is_here and row.where != "embedded"]
    return [
        {
            "name": row.name,
            "state": row.state,
            "bytes": row.bytes,
            "sha256": row.sha256,
            "path": None if row.path is None else str(row.path),
            "purpose": row.purpose,
        }
        for row in rows
    ]
