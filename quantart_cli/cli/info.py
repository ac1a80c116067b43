"""``quantart info``: what is installed, what it would compute on, whether the weights are whole, and the cache."""

from __future__ import annotations

import platform
import shlex
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Annotated, Any

import typer

from quantart_cli import __version__
from quantart_cli.cli.console import write_json, write_line
from quantart_cli.cli.options import DeviceOptions

_PACKAGES = ("torch", "torchvision", "pillow", "numpy", "safetensors", "huggingface-hub", "typer", "rich")
_EXTRAS = ("openvino",)  # shown only where they are installed
_CUDA_PACKAGES = ("nvidia-", "triton")
_MUCH = 100_000_000


@dataclass(frozen=True, kw_only=True)
class InfoOptions(DeviceOptions):
    """Show versions, device, precision, weights and cache; or how a picture was painted.

    Without a picture: says why this device and precision would be used; verifies the weights that come with quantart
    (exit status 1 if one fails) and names the downloaded ones, which quantart download-weights --verify verifies.

    With a picture: shows its recipe, and the command that paints like it.

    quantart info

    quantart info out.png

    quantart info --device cpu --json
    """

    picture: Annotated[
        str | None, typer.Argument(metavar="PICTURE", help="A picture that quantart painted.", show_default=False)
    ] = None


def run(options: InfoOptions) -> int:
    """Exit status 0 when the embedded weights are there and verified and no downloaded one is damaged, else 1."""
    options.check()
    if options.picture is not None:
        return _show_recipe(options.picture, options.json)
    from quantart_cli.checkpoints.cache import cache_folder
    from quantart_cli.cli.cache import describe, parts_of
    from quantart_cli.device import choose_device

    spec = choose_device(options.device, options.precision)
    weights, folder = _weights(), cache_folder()
    cached = sum(part.bytes for part in parts_of(folder))
    unused = 0 if spec.device_type == "cuda" else _cuda_bytes()
    if options.json:
        write_json(
            {
                "quantart": __version__,
                "python": platform.python_version(),
                "packages": _versions(),
                "device": spec.device,
                "precision": spec.precision,
                "why": spec.reason,
                "weights": weights,
                "cache": {"folder": None if folder is None else str(folder), "bytes": cached},
                "unused_cuda_bytes": unused,
            }
        )
    else:
        width = max(len(row["name"]) for row in weights)
        lines = [
            f"quantart {__version__}, Python {platform.python_version()} on {platform.system()} {platform.machine()}",
            ", ".join(f"{name} {number}" for name, number in _versions().items()),
            f"computes on {spec.device} in {spec.precision}: {spec.reason}",
            *(
                f"{row['name']:{width}}  {row['state']:8}  {row['bytes'] / 1e6:5.1f} MB  {row['purpose']}"
                for row in weights
            ),
            describe(folder, cached),
        ]
        if unused > _MUCH:
            lines.append(
                f"{unused / 1e9:.1f} GB of CUDA libraries are installed and not used here: PyTorch for the CPU has "
                "none, see https://pytorch.org/get-started/locally"
            )
        write_line("\n".join(lines))
    return 0 if all(row["state"] in ("verified", "present") for row in weights) else 1


def _show_recipe(path: str, as_json: bool) -> int:
    """How a picture was painted; returns the exit status."""
    from quantart_cli.files import printable
    from quantart_cli.images import formats, read_picture
    from quantart_cli.recipe import parse_recipe

    film = (formats.describe_unreadable(path) or "").startswith(formats.FILM)
    text = None if film else read_picture(path, frame=0).metadata.recipe  # frame 0: of an animation as well
    recipe = parse_recipe(text, printable(path))
    if as_json:
        write_json({"recipe": asdict(recipe)})
        return 0
    shown = {**recipe.settings, **recipe.options}
    lines = [
        f"painted by quantart {recipe.quantart}, {recipe.method}, on {recipe.backend} in {recipe.precision}",
        *(f"  {name.replace('_', '-')} {value}" for name, value in shown.items()),
        f"content  {recipe.content or 'from no file'}",
        *(f"style    {' @'.join(map(str, each.values()))}" for each in recipe.styles),
        *(f"{name.replace('_', '-')}  {each}" for name, values in recipe.regions.items() for each in values),
        *(f"weights  {checksum} {name}" for name, checksum in recipe.weights.items()),
        shlex.join(recipe.command()),
    ]
    write_line("\n".join(printable(line, 4000) for line in lines))
    return 0


def _versions() -> dict[str, str]:
    from importlib.metadata import PackageNotFoundError, version

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


def _cuda_bytes() -> int:
    """Bytes of installed packages that only a torch for CUDA uses, and of the CUDA parts of torch itself."""
    from importlib.metadata import distributions

    total = 0
    for package in distributions():
        name = (package.metadata["Name"] or "").lower()
        is_torch = name == "torch"
        if not is_torch and not name.startswith(_CUDA_PACKAGES):
            continue
        for file in package.files or ():
            if not is_torch or "cuda" in file.name:
                total += file.size or 0
    return total


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
