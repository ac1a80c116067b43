"""Controls made from the settings of the methods: new methods and plug-ins get theirs by themselves."""

from __future__ import annotations

import html
from collections.abc import Mapping
from dataclasses import Field, fields
from typing import Any, get_type_hints

import gradio as gr

from quantart_cli.registry import Method
from quantart_cli.settings import rule_of

_AT_ONCE = 4
"""Settings that are shown; a method with more of them hides the others until they are asked for."""


class MethodControls:
    """The controls of one method, in a group that is shown when the method is chosen.

    Attributes:
        group: to show and to hide.
        controls: by the name of the setting.
    """

    def __init__(self, method: Method, visible: bool) -> None:
        self.method = method
        self._types = get_type_hints(method.settings)
        items = fields(method.settings)
        with gr.Column(visible=visible) as self.group:
            gr.Markdown(method.summary)
            self.controls = {item.name: self._control(item) for item in items[:_AT_ONCE]}
            if len(items) > _AT_ONCE:
                with gr.Accordion("More settings", open=False):
                    self.controls.update((item.name, self._control(item)) for item in items[_AT_ONCE:])

    def _control(self, item: Field[Any]) -> Any:
        rule, value_type = rule_of(item), self._types[item.name]
        about = {"label": item.name.replace("_", " ").capitalize(), "info": rule.help, "value": item.default}
        if rule.choices is not None:
            return gr.Dropdown(list(rule.choices), **about)
        if value_type is str:
            words = [word for word in (rule.metavar or "").split("|") if word.islower() and word.isalpha()]
            return gr.Dropdown(words, allow_custom_value=True, **about) if words else gr.Textbox(**about)
        if rule.low is not None and rule.high is not None and rule.high - rule.low <= 100:
            step = 1 if value_type is int else (rule.high - rule.low) / 20
            return gr.Slider(rule.low, rule.high, step=step, **about)
        return gr.Number(minimum=rule.low, maximum=rule.high, precision=0 if value_type is int else None, **about)

    def settings(self, values: Mapping[Any, Any]) -> dict[str, Any]:
        """The settings by name, from the values of all controls of the page. An empty control is the default."""
        found = {}
        for name, control in self.controls.items():
            if values[control] not in (None, ""):
                found[name] = self._types[name](values[control])
        return found


def status(text: str) -> str:
    """A line that screen readers read when it changes, as HTML."""
    return f'<div role="status" aria-live="polite">{html.escape(text)}</div>'
