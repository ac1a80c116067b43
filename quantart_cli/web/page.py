"""The page: what is on it."""

from __future__ import annotations

from typing import Any

import gradio as gr

from quantart_cli.settings import PRESERVE_COLOR
from quantart_cli.web.controls import MethodControls, status
from quantart_cli.web.order import File
from quantart_cli.web.studio import COLOURS, STYLES, Studio

CSS = """
.gradio-container {max-width: 1500px !important; overflow: clip !important}
#gallery .caption-label, #history .caption-label {font-size: 11px; padding: 1px 4px}
#history .grid-wrap {padding-top: 26px}
footer {opacity: .7}
@media (max-width: 768px) {
  /* The picture stays in sight above the sliders. */
  #columns {flex-direction: column; flex-wrap: nowrap}
  #columns > * {min-width: 0 !important; max-width: 100%; width: 100%}
  #result {display: contents}
  #result > * {max-width: 100%}
  #picture {order: -3; position: sticky; top: 0; z-index: 1000}
  #picture img {max-height: 38vh; max-width: 100%; object-fit: contain}
  #line {order: -2}
  #buttons {order: -1; flex-wrap: nowrap}
}
"""


class Page:
    """The components of the page."""

    def __init__(self, studio: Studio, styles: list[File]) -> None:
        self.studio, self.styles = studio, styles
        self.methods = studio.methods()
        with gr.Blocks(title="quantart", analytics_enabled=False, delete_cache=(3600, 86400)) as self.blocks:
            with gr.Tab("Paint"), gr.Row(elem_id="columns"):
                with gr.Column(scale=2, min_width=300):
                    self._make_pictures()
                    self._make_method()
                    self._make_regions()
                with gr.Column(scale=3, min_width=300, elem_id="result"):
                    self._make_outputs()
            with gr.Tab("Batch"):
                self._make_batch()
            with gr.Tab("Film"):
                self._make_film()
            # When the browser asked: created last, so that it is the last of the inputs.
            self.moment = gr.Number(0, visible=False)

    def _make_pictures(self) -> None:
        with gr.Row():
            self.content = _upload("Photograph", "content")
            first = _upload("Style", "style")
        self.slots, self.uploads = [], [first]
        with gr.Row():
            for i in range(1, STYLES):
                with gr.Column(visible=False, min_width=100) as slot:
                    self.uploads.append(_upload(f"Style {i + 1}", f"style-{i + 1}"))
                self.slots.append(slot)
        self.shares = [
            gr.Slider(0, 1, 1, step=0.05, label=f"Weight of style {i + 1}", visible=False) for i in range(STYLES)
        ]
        self.gallery = _gallery(
            "Styles",
            [(style.path, style.name[1:]) for style in self.styles],
            show_label=False,
            columns=3,
            height=270,
            elem_id="gallery",
            visible=bool(self.styles),
        )
        self.count = gr.Number(1, visible=False, precision=0)
        with gr.Row():
            self.more = gr.Button("Add a style", size="sm")
            self.fewer = gr.Button("Remove the last style", size="sm", visible=False)

    def _make_method(self) -> None:
        first = next(iter(self.methods))
        named = [(f"{name}: {row.good_for}" if row.good_for else name, name) for name, row in self.methods.items()]
        self.method = gr.Dropdown(named, value=first, label="Method", elem_id="method")
        self.of = {name: MethodControls(row, name == first) for name, row in self.methods.items()}
        self.groups = [each.group for each in self.of.values()]
        self.controls = [control for each in self.of.values() for control in each.controls.values()]
        with gr.Row():
            self.size = gr.Number(0, label="Size", info="Long side in pixels; 0: as the photograph.", precision=0)
            self.color = gr.Dropdown(
                list(PRESERVE_COLOR), value="none", label="Keep colours", info="luma, match: those of the photograph."
            )

    def _make_regions(self) -> None:
        with gr.Accordion("Regions", open=False) as self.regions:
            gr.Markdown(
                "Paint where each style goes: red is the first, blue the second, green the third, yellow the fourth. "
                "With one style, the rest of the photograph stays as it is."
            )
            brush = gr.Brush(default_size=40, colors=COLOURS, default_color=COLOURS[0], color_mode="fixed")
            self.editor = gr.ImageEditor(
                label="Regions",
                elem_id="regions",
                type="pil",
                sources=(),
                transforms=(),
                layers=False,
                buttons=[],
                brush=brush,
            )
            with gr.Row():
                self.use_regions = gr.Button("Use these regions", size="sm")
                self.no_regions = gr.Button("No regions", size="sm")

    def _make_outputs(self) -> None:
        self.picture = gr.ImageSlider(
            label="Before and after", type="filepath", interactive=False, elem_id="picture", buttons=["fullscreen"]
        )
        self.line = gr.HTML(status("Add a photograph and a style."), elem_id="line")
        with gr.Row(elem_id="buttons"):
            self.paint = gr.Button("Paint", variant="primary", elem_id="paint", min_width=80)
            self.stop = gr.Button("Stop", min_width=80)
            self.download = gr.DownloadButton("Download", interactive=False, elem_id="download", min_width=80)
        with gr.Accordion("The same in a terminal and in Python", open=False):
            self.command = gr.Textbox(label="Command", buttons=["copy"], interactive=False, lines=2, elem_id="command")
            self.python = gr.Textbox(label="Python", buttons=["copy"], interactive=False, lines=6, elem_id="python")
            self.masks = gr.Files(label="Masks of the command", visible=False, interactive=False)
        self.history = _gallery(
            "Painted in this session", None, columns=6, height=150, fit_columns=False, elem_id="history", visible=False
        )
        self.again = gr.Button("Use these settings again", size="sm", visible=False)

    def _make_batch(self) -> None:
        gr.Markdown("Many photographs, with the style and the settings of the tab Paint.")
        self.contents = gr.Files(label="Photographs", file_types=["image"], elem_id="contents")
        with gr.Row():
            self.paint_all = gr.Button("Paint all", variant="primary")
            self.stop_all = gr.Button("Stop")
        self.batch_line = gr.HTML(status(""), elem_id="batch-line")
        self.painted = gr.Files(label="Painted", interactive=False, elem_id="painted")

    def _make_film(self) -> None:
        gr.Markdown("A film or an animation, with the style and the settings of the tab Paint.")
        self.clip = gr.File(label="Film", elem_id="clip")
        self.steady = gr.Slider(
            0, 1, 0.7, step=0.05, label="Steady", info="How firmly strokes stay on what they paint."
        )
        with gr.Row():
            self.paint_clip = gr.Button("Paint the film", variant="primary")
            self.stop_clip = gr.Button("Stop")
        self.film_line = gr.HTML(status(""), elem_id="film-line")
        self.film = gr.File(label="Painted film", interactive=False, elem_id="film")

    @property
    def inputs(self) -> set[Any]:
        """Everything that a order depends on, and the moment."""
        pictures = {self.content, *self.uploads, *self.shares, self.count}
        return {*pictures, self.method, *self.controls, self.size, self.color, self.moment}

    @property
    def outputs(self) -> set[Any]:
        """Everything that painting changes."""
        texts = {self.line, self.command, self.python, self.masks}
        return {self.picture, *texts, self.download, self.history, self.again}


def _upload(label: str, name: str) -> gr.Image:
    """A picture that is dropped, pasted or taken by the camera."""
    sources = ["upload", "clipboard", "webcam"]
    return gr.Image(label=label, sources=sources, type="filepath", height=190, min_width=120, buttons=[], elem_id=name)


def _gallery(label: str, pictures: Any, **options: Any) -> gr.Gallery:
    """Pictures to choose from."""
    return gr.Gallery(
        pictures, label=label, object_fit="cover", allow_preview=False, interactive=False, buttons=[], **options
    )
