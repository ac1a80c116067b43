"""``quantart repaint``: paint again by the recipe in a picture, with changes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from quantart_cli.checkpoints.hashing import sha256_of
from quantart_cli.errors import QuantArtError
from quantart_cli.files import check_target, is_stream, printable
from quantart_cli.images import read_picture
from quantart_cli.presets import locate
from quantart_cli.recipe import Recipe, parse_recipe
from quantart_cli.registry import Method, find

_PAINTED = typer.Argument(metavar="PAINTED", help="A picture that quantart painted.")
_OUTPUT = typer.Option("--output", "-o", metavar="FILE", help="The picture to write.")
_OTHER = typer.Option("--other", help="Take other pictures and weights than those it was painted from.")


class _Repaint(TyperCommand):
    """Its usage names the pictures, which the command of the method reads."""

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        return [*super().collect_usage_pieces(ctx), "CONTENT", "[STYLE...]"]


def register(app: typer.Typer) -> None:
    # Everything else on the command line is for the command of the method.
    settings = {"allow_extra_args": True, "ignore_unknown_options": True}
    app.command("repaint", cls=_Repaint, context_settings=settings)(repaint)


def repaint(
    ctx: typer.Context,
    painted: Annotated[str, _PAINTED],
    output: Annotated[str, _OUTPUT],
    other: Annotated[bool, _OTHER] = False,
) -> int:
    """Paint a picture again by the recipe in its metadata, with changes.

    Give the content again, and the styles unless they are presets: a recipe holds no paths, but it knows the pictures
    by their sha256. Every option of the method may follow, and replaces what the recipe says.

    quantart repaint out.png photo.jpg painting.jpg -o again.png

    quantart repaint out.png photo.jpg --fidelity 0.4 -o again.png

    quantart repaint out.png other.jpg --other -o same-look.png
    """
    if painted.startswith("-") and not is_stream(painted):  # an option of the method, which are not known here yet
        raise QuantArtError(f"PAINTED comes before the options of its method: write {printable(painted)} after it")
    recipe = parse_recipe(read_picture(painted).metadata.recipe, printable(painted))
    if not is_stream(output):
        check_target(output, [painted])
    method = find(recipe.method)
    assert ctx.parent is not None
    command: Any = ctx.parent.command.commands[method.command_name]  # type: ignore[attr-defined]
    # Two more files than are given: what is missing is said here, everything else by the parser.
    everything = ["--output", output, "", "", *ctx.args]
    parsed = command.make_context("repaint", everything, parent=ctx.parent, default_map={}, allow_extra_args=True)
    given = parsed.params
    # A method that takes no pictures of styles leaves all files but the first over.
    files = [given["content"], *given.get("styles", ()), *parsed.args][2:]
    content, styles = (files or [None])[0], files[1:]
    if content is None:
        raise QuantArtError(f"the content of {printable(painted)} is missing: give it after {printable(painted)}")
    presets = [] if styles else _presets(recipe, painted)
    if not other:
        _compare_pictures(recipe, painted, content, styles or presets)
        _compare_regions(recipe, painted, given)
        _compare_weights(recipe, painted, method, given)
    chosen = [content, *styles, *presets]
    # The recipe's options come first: of an option that is given twice the last counts.
    rest = _without(ctx.args, [content, *styles])
    arguments = [*recipe.flags(), *_alpha_masks(recipe, given), *rest, "--output", output, "--", *chosen]
    # Defaults of one's own would be changes nobody asked for.
    with command.make_context("repaint", arguments, parent=ctx.parent, default_map={}) as inner:
        status: int = command.invoke(inner)
    return status


def _without(arguments: Sequence[str], files: Sequence[str]) -> list[str]:
    """The arguments that are not these files, each taken out once, from the first on."""
    left, wanted = [], list(files)
    for each in arguments:
        if wanted and each == wanted[0]:
            del wanted[0]
        else:
            left.append(each)
    return [each for each in left if each != "--"]


def _presets(recipe: Recipe, painted: str) -> list[str]:
    found = [f"@{each['preset']}" if each.get("preset") else "" for each in recipe.styles]
    if not all(found):
        them = "it" if len(found) == 1 else "them"
        raise QuantArtError(
            f"{printable(painted)} was painted in {_styles(recipe)}: give {them} again after the content"
        )
    return found


def _styles(recipe: Recipe) -> str:
    return f"{len(recipe.styles)} style{'' if len(recipe.styles) == 1 else 's'}"


def _compare_pictures(recipe: Recipe, painted: str, content: str, styles: Sequence[str]) -> None:
    shown = printable(painted)
    if len(styles) != len(recipe.styles):
        raise QuantArtError(f"{shown} was painted in {_styles(recipe)}, not {len(styles)}: give as many")
    wanted = [(content, recipe.content, "content")]
    wanted += [(given, each.get("sha256"), "style") for given, each in zip(styles, recipe.styles, strict=True)]
    for given, checksum, what in wanted:
        if checksum is None:
            continue
        if is_stream(given) or "://" in given:
            raise QuantArtError(f"{printable(given)} cannot be compared with the recipe: give a file, or --other")
        if _checksum(given) != checksum:
            raise QuantArtError(
                f"{printable(given)} is not the {what} that {shown} was painted from: give that, or --other to paint "
                "this one"
            )


def _compare_regions(recipe: Recipe, painted: str, given: dict[str, Any]) -> None:
    from quantart_cli.recipe import region

    for name, wanted in recipe.regions.items():
        if all(each in ("alpha", "not:alpha") for each in wanted):
            continue
        now = given.get(name) or ()
        now = (now,) if isinstance(now, str) else now
        if tuple(region(each) for each in now) != wanted:
            flag = f"--{name.replace('_', '-')}"
            raise QuantArtError(
                f"{printable(painted)} was painted with {len(wanted)} {flag}: give the same again, or --other"
            )


def _alpha_masks(recipe: Recipe, given: dict[str, Any]) -> list[str]:
    wanted = recipe.regions.get("mask", ())
    return [f"--mask={each}" for each in wanted if each in ("alpha", "not:alpha") and not given.get("mask")]


def _compare_weights(recipe: Recipe, painted: str, method: Method, given: dict[str, Any]) -> None:
    from quantart_cli.checkpoints.models import find_model
    from quantart_cli.model_files import files_of

    if given.get("download"):
        return
    file = find_model(given["model"], tuple(method.models)) if given.get("model") else None
    now = {each.checksum for each in files_of(method, file)[0].values()}
    if now != set(recipe.weights.values()):
        names = ", ".join(map(printable, recipe.weights))
        raise QuantArtError(
            f"{printable(painted)} was painted with other weights ({names}): give them with --model, or --other"
        )


def _checksum(path: str) -> str:
    try:
        return sha256_of(Path(locate(path)))
    except OSError:
        read_picture(path)  # says what is wrong with it
        raise
