"""What the pages take from the code: the table of methods, the options of each command, and the example pictures."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any

import typer
from mkdocs.structure.files import File, Files

from quantart_cli.cli.app import app
from quantart_cli.cli.methods import table

ROOT = Path(__file__).resolve().parents[1]


def on_config(config: Any) -> Any:
    """Put the pages that the navigation does not name under Methods and Guides."""
    named = re.findall(r"[\w/]+\.md", str(config.nav))
    sections = {name: pages for item in config.nav for name, pages in item.items() if isinstance(pages, list)}
    for path in sorted((ROOT / "docs").rglob("*.md")):
        page = path.relative_to(ROOT / "docs").as_posix()
        if page not in named:
            sections["Methods" if page.startswith("methods/") else "Guides"].append(page)
    return config


def on_files(files: Files, config: Any) -> Files:
    """Add the pictures of examples/, and the text of CONTRIBUTING.md that explains how a method is added."""
    for path in sorted((ROOT / "examples").glob("*.jpg")):
        files.append(File.generated(config, f"examples/{path.name}", abs_src_path=str(path)))
    text = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
    section = text.partition("## Add a method in one file\n")[2].partition("\n## ")[0]
    files.append(File.generated(config, "plugins.md", content=f"# Add a method of your own\n{section}"))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Fill in what is generated."""
    for mark, make in (("methods", _methods), ("commands", _commands)):
        markdown = markdown.replace(f"<!-- generated: {mark} -->", make()) if f": {mark} " in markdown else markdown
    return markdown


def _methods() -> str:
    return table(path.stem for path in (ROOT / "docs" / "methods").glob("*.md"))


def _commands() -> str:
    sections: list[str] = []
    _describe(typer.main.get_command(app), "quantart", sections)
    return "\n\n".join(sections)


def _describe(command: Any, path: str, sections: list[str]) -> None:
    """A section for a command, or for each command of a group."""
    for name, inner in sorted(getattr(command, "commands", {}).items()):
        _describe(inner, f"{path} {name}", sections)
    if hasattr(command, "commands") or getattr(command, "hidden", False):
        return
    lines = [f"## {path}", "", _plain(command.help or ""), ""]
    panels: dict[str, list[str]] = {}
    for parameter in command.params:
        if getattr(parameter, "hidden", False):
            continue
        argument = parameter.param_type_name == "argument"
        names = [parameter.metavar or parameter.name.upper()] if argument else parameter.opts
        shown = ", ".join(f"`{name}`" for name in names)
        panel = "Arguments" if argument else getattr(parameter, "rich_help_panel", None) or "Options"
        text = " ".join((getattr(parameter, "help", "") or "").split()).replace("|", "\\|")
        panels.setdefault(panel, []).append(f"| {shown} | {text} |")
    for panel, rows in panels.items():
        lines += [f"**{panel}**", "", "| | |", "|---|---|", *rows, ""]
    sections.append("\n".join(lines))


def _plain(help: str) -> str:
    """The help of a command; lines that are commands become a block of code."""
    paragraphs = re.split(r"\n\s*\n", inspect.cleandoc(help.replace("\b", "")))
    return "\n\n".join(
        f"```bash\n{paragraph}\n```" if re.match(r"\w* ?quantart |find ", paragraph) else paragraph
        for paragraph in paragraphs
    )
