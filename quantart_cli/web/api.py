"""Calls of the page for programs, by Gradio's client: ``/methods`` and ``/paint``."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import gradio as gr

from quantart_cli.errors import QuantArtError, check_choice
from quantart_cli.registry import Method
from quantart_cli.settings import rule_of
from quantart_cli.web.events import Events
from quantart_cli.web.jobs import paint_one
from quantart_cli.web.order import Order


def add_calls(events: Events) -> None:
    """Add the calls to the page of these events."""
    rows = events.page.methods

    def methods() -> dict[str, Any]:
        """The methods and their settings: default, range or choices, and help."""
        return {name: _described(row) for name, row in rows.items()}

    def paint(
        content: str | None,
        styles: list[str] | None,
        method: str,
        settings: Any,
        weights: Any,
        size: float | None,
        preserve_color: str,
        request: gr.Request,
    ) -> str:
        """Paint a picture at full size; returns its file."""
        try:
            if content is None:
                raise QuantArtError("content is missing: give a picture")
            check_choice("method", method, rows)
            pictures = [events.file(path) for path in [content, *(styles or [])]]
            order = Order(
                method=method,
                content=pictures[0],
                styles=tuple(pictures[1:]),
                style_weights=tuple(weights or ()),
                settings=dict(settings or {}),
                size=int(size or 0) or None,
                preserve_color=preserve_color,
            )
            session = events.session(request)
            return paint_one(events.studio, session, session.begin(), order)
        except QuantArtError as error:
            raise gr.Error(str(error), print_exception=False) from None

    with events.page.blocks, gr.Column(visible=False):
        inputs = [
            gr.File(label="content"),
            gr.Files(label="styles"),
            gr.Textbox("quantart", label="method"),
            gr.JSON({}, label="settings"),
            gr.JSON([], label="weights"),
            gr.Number(0, label="size", precision=0),
            gr.Textbox("none", label="preserve_color"),
        ]
        gr.Button().click(paint, inputs, gr.File(label="picture"), api_name="paint", concurrency_limit=16)
        gr.Button().click(methods, None, gr.JSON(label="methods"), api_name="methods")


def _described(row: Method) -> dict[str, Any]:
    settings = {}
    for item in fields(row.settings):
        rule = rule_of(item)
        given = {"low": rule.low, "high": rule.high, "choices": rule.choices, "form": rule.metavar}
        known = {key: value for key, value in given.items() if value is not None}
        settings[item.name] = {"default": item.default, "help": rule.help, **known}
    return {"summary": row.summary, "needs_style": row.needs_style, "settings": settings}
