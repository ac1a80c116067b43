"""What happens on the page when something is moved or clicked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import gradio as gr

from quantart_cli.errors import QuantArtError
from quantart_cli.web.controls import status
from quantart_cli.web.films import paint_film
from quantart_cli.web.jobs import Session, Superseded, View, batch, bug, look, sentence
from quantart_cli.web.order import File, Order
from quantart_cli.web.page import Page
from quantart_cli.web.studio import COLOURS, STYLES

_MOMENT = "(...values) => [...values.slice(0, -1), Date.now()]"
Values = Mapping[Any, Any]
Updates = dict[Any, Any]


class Events:
    """Connects the components of a page. Programs cannot call these events: they have those of api.py.

    Attributes:
        sessions: the visitors, by Gradio's name of their session.
    """

    def __init__(self, page: Page) -> None:
        self.page, self.studio = page, page.studio
        self.sessions: dict[str, Session] = {}
        with page.blocks:
            self._listen()

    def _listen(self) -> None:
        page = self.page
        quiet: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
        # Values come as the browser sends them: Gradio would open uploads by itself, and stop at what it cannot read.
        quiet = {**quiet, "preprocess": False}
        often = {**quiet, "js": _MOMENT, "concurrency_limit": 16, "trigger_mode": "multiple"}
        painting = {**often, "inputs": page.inputs, "outputs": page.outputs}
        gr.on(list(self._triggers()), self._look, **painting)
        page.paint.click(self._paint, **painting)
        gr.on([page.stop.click, page.stop_all.click, page.stop_clip.click], self._stop, queue=False, **quiet)
        page.paint_all.click(self._batch, {*page.inputs, page.contents}, [page.batch_line, page.painted], **often)
        film = {*page.inputs, page.clip, page.steady}
        page.paint_clip.click(self._film, film, [page.film_line, page.film], **often)
        page.method.change(self._show_method, page.method, page.groups, **quiet)
        slots = [page.count, *page.slots, *page.shares, page.fewer, page.more]
        page.more.click(lambda count: self._show_styles(count + 1), page.count, slots, **quiet)
        page.fewer.click(lambda count: self._show_styles(count - 1), page.count, slots, **quiet).then(
            self._look, **painting
        )
        page.gallery.select(self._choose_style, page.count, page.uploads, **quiet)
        page.history.select(self._choose_painting, None, page.outputs, **quiet)
        restored = [*slots, page.content, *page.uploads, page.method, page.size, page.color, *page.groups]
        page.again.click(self._again, None, [*restored, *page.controls], **quiet)
        page.regions.expand(self._show_regions, page.content, page.editor, **quiet)
        regions = {"inputs": [page.editor, page.count], "outputs": page.line, **quiet, "preprocess": True}
        page.use_regions.click(self._keep_regions, **regions).then(self._look, **painting)
        page.no_regions.click(self._drop_regions, None, page.line, **quiet).then(self._look, **painting)
        page.blocks.unload(self._leave)

    def _triggers(self) -> Iterator[Any]:
        """What paints again: sliders while they move, texts and numbers when they are entered."""
        page = self.page
        for control in [*page.controls, *page.shares, page.size, page.color]:
            if isinstance(control, (gr.Textbox, gr.Number)):
                yield control.submit
            else:
                yield control.input
        yield from (each.change for each in (page.method, page.content, *page.uploads))

    def session(self, request: gr.Request) -> Session:
        """What is known of a visitor."""
        return self.sessions.setdefault(request.session_hash or "", Session())

    def _leave(self, request: gr.Request) -> None:
        self.session(request).begin()  # ends what is being painted
        self.sessions.pop(request.session_hash or "", None)

    def file(self, path: str) -> File:
        """A file that a browser names, which must be in the private folder.

        Raises:
            QuantArtError: it is not.
        """
        if not Path(path).resolve().is_relative_to(self.studio.folder):
            raise QuantArtError("that file was not uploaded")
        is_preset = Path(path).parent == self.studio.folder / "styles"
        return File(path, f"@{Path(path).stem}" if is_preset else Path(path).name)

    def order(self, values: Values, session: Session, content: File | None = None) -> Order:
        """What the controls say.

        Args:
            values: by control.
            session: whose masks are used.
            content: instead of the photograph of the page.

        Raises:
            QuantArtError: the photograph is missing.
        """
        page = self.page
        if content is None and values[page.content] is None:
            raise QuantArtError("add a photograph")
        method, count = values[page.method], int(values[page.count])
        pairs = [(upload, share) for upload, share in zip(page.uploads, page.shares, strict=True) if values[upload]]
        used = pairs[:count] if page.methods[method].needs_style else []
        return Order(
            method=method,
            content=content or self.file(values[page.content]["path"]),
            styles=tuple(self.file(values[upload]["path"]) for upload, _ in used),
            style_weights=tuple(float(values[weight]) for _, weight in used),
            settings=page.of[method].settings(values),
            size=int(values[page.size] or 0) or None,
            preserve_color=values[page.color],
            masks=session.masks,
        )

    def _look(self, values: Updates, request: gr.Request) -> Iterator[Updates]:
        yield from self._run(values, request, at_once=False)

    def _paint(self, values: Updates, request: gr.Request) -> Iterator[Updates]:
        yield from self._run(values, request, at_once=True)

    def _run(self, values: Values, request: gr.Request, at_once: bool) -> Iterator[Updates]:
        session = self.session(request)
        try:
            job = session.begin(float(values[self.page.moment] or 0))
            order = self.order(values, session)
            order.checked()
        except Superseded:
            return
        except QuantArtError as error:
            yield {self.page.line: status(sentence(str(error)))}
            return
        if order == session.last and not at_once:
            return
        texts = self._texts(order)  # with each view: those of an older job must not come later
        for view in look(self.studio, session, job, order, at_once):
            yield texts | self._update(view, session)

    def _texts(self, order: Order) -> Updates:
        masks, machine = [mask.path for mask in order.masks], self.studio.machine
        return {
            self.page.command: order.command(machine),
            self.page.python: order.python(machine),
            self.page.masks: gr.update(value=masks, visible=bool(masks)),
        }

    def _update(self, view: View, session: Session) -> Updates:
        page = self.page
        found: Updates = {page.line: status(view.line)}
        if view.before is not None:
            found[page.picture] = (view.before, view.after)
        if view.painting is not None:
            thumbnails = [(each.thumbnail, each.order.method) for each in session.history]
            found[page.download] = gr.update(value=view.painting.file, interactive=True)
            found[page.history] = gr.update(value=thumbnails, visible=True, selected_index=None)
        return found

    def _stop(self, request: gr.Request) -> None:
        session = self.session(request)
        session.stopped = session.newest

    def _show_method(self, method: str) -> list[Any]:
        return [gr.update(visible=name == method) for name in self.page.of]

    def _show_styles(self, count: float) -> list[Any]:
        shown = max(1, min(int(count), STYLES))
        slots = [gr.update(visible=i < shown) for i in range(1, STYLES)]
        shares = [gr.update(visible=1 < shown > i) for i in range(STYLES)]
        return [shown, *slots, *shares, gr.update(visible=shown > 1), gr.update(visible=shown < STYLES)]

    def _choose_style(self, count: float, event: gr.SelectData) -> list[Any]:
        """A picture of the gallery becomes the last style shown."""
        path = self.page.styles[event.index].path
        return [path if i == int(count) - 1 else gr.update() for i in range(STYLES)]

    def _choose_painting(self, event: gr.SelectData, request: gr.Request) -> Updates:
        session, page = self.session(request), self.page
        painting = session.chosen = session.history[event.index]
        found = self._update(View("Painted before.", painting.before, painting.after), session)
        found |= {page.download: gr.update(value=painting.file, interactive=True), page.again: gr.update(visible=True)}
        return found | self._texts(painting.order)

    def _again(self, request: gr.Request) -> list[Any]:
        """The controls as they were for a painting of the history."""
        session, page = self.session(request), self.page
        assert session.chosen is not None  # or there were no button
        order = session.chosen.order
        session.masks = order.masks
        shown = self._show_styles(len(order.styles))
        for i, share in enumerate(order.style_weights):
            shown[STYLES + i]["value"] = share
        styles = [order.styles[i].path if i < len(order.styles) else None for i in range(STYLES)]
        controls = [
            order.settings[setting] if name == order.method else gr.update()
            for name, each in page.of.items()
            for setting in each.controls
        ]
        others = [order.content.path, *styles, order.method, order.size or 0, order.preserve_color]
        return [*shown, *others, *self._show_method(order.method), *controls]

    def _show_regions(self, content: Updates | None) -> str | None:
        """The photograph, to draw on."""
        return None if content is None else self.studio.shown(self.file(content["path"]).path, 800)

    def _keep_regions(self, drawn: Updates | None, count: float, request: gr.Request) -> str:
        masks = self.studio.masks((drawn or {}).get("layers") or [], COLOURS[: int(count)])
        self.session(request).masks = masks
        return status("The regions are used." if masks else "Nothing is marked: everything is painted.")

    def _drop_regions(self, request: gr.Request) -> str:
        self.session(request).masks = ()
        return status("Everything is painted.")

    def _batch(self, values: Updates, request: gr.Request) -> Iterator[Updates]:
        session, page = self.session(request), self.page
        with self._problems() as problems:
            contents = [self.file(each["path"]) for each in values[page.contents] or []]
            if not contents:
                raise QuantArtError("add photographs")
            order = self.order(values, session, contents[0])
            order.checked()
            for line, painted in batch(self.studio, session, session.begin(), order, contents):
                yield {page.batch_line: status(line), page.painted: painted}
        for problem in problems:
            yield {page.batch_line: status(problem)}

    def _film(self, values: Updates, request: gr.Request) -> Iterator[Updates]:
        session, page = self.session(request), self.page
        with self._problems() as problems:
            if values[page.clip] is None:
                raise QuantArtError("add a film")
            clip = self.file(values[page.clip]["path"])
            order = self.order(values, session, clip)
            steady = float(values[page.steady])
            for line, film in paint_film(self.studio, session, session.begin(), order, clip, steady):
                yield {page.film_line: status(line), **({} if film is None else {page.film: film})}
        for problem in problems:
            yield {page.film_line: status(problem)}

    @contextmanager
    def _problems(self) -> Iterator[list[str]]:
        """Exceptions in the body become a line in the list."""
        found: list[str] = []
        try:
            yield found
        except QuantArtError as error:
            found.append(sentence(self.studio.without_folder(str(error))))
        except Exception:
            found.append(bug())
