"""What ``quantart gatys`` does beside painting: masks read, previews, frames, a trace, checkpoints."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterable
from itertools import takewhile
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from quantart_cli.cli.console import say
from quantart_cli.cli.painting import Extras
from quantart_cli.errors import QuantArtError
from quantart_cli.images import Picture, check_output, read_picture, save_picture
from quantart_cli.images.names import is_stream, printable, reason

if TYPE_CHECKING:
    from quantart_cli.methods.guidance import Guidance, State

_CHECKPOINT_EVERY = 60.0  # seconds


class Session(Extras):
    """One run.

    Args:
        values: of the command's options.
    """

    def __init__(self, values: dict[str, Any]) -> None:
        super().__init__()
        self.values = values
        self._checkpoint = checkpoint_of(values)
        self._facts: dict[str, Any] = {}
        self._last: Any = None
        self._written = self._start = time.monotonic()
        self._trace: IO[str] | None = None

    def read(self, content: Picture, styles: list[Picture]) -> None:
        self.content = content
        self.guidance = self._guidance(content, styles)
        inputs = [self.values["content"], *self.values["styles"], *self._others()]
        output = self.values["output"]
        self._check_apart(inputs)
        given = {"format": self.values["format"], "background": self.values["background"]}
        check_output(output, inputs, has_alpha=content.alpha is not None, **given)
        if self.values["preview"] is not None:
            check_output(
                self.values["preview"],
                inputs,
                has_alpha=content.alpha is not None,
                background=self.values["background"],
            )
        folder = os.path.dirname(os.path.realpath(self._checkpoint or "."))
        if not os.path.isdir(folder):
            raise QuantArtError(
                f"--checkpoint {printable(self._checkpoint)}: make the folder {printable(folder)} first"
            )
        if self.values["dry_run"]:
            return
        if self.values["resume"] and self._checkpoint is None:
            raise QuantArtError("--resume needs a checkpoint, and -o - has none beside it: give --checkpoint FILE")
        if self.values["resume"] and not os.path.exists(self._checkpoint or ""):
            raise QuantArtError(f"there is no checkpoint {printable(self._checkpoint)}: leave --resume out to begin")
        if self._checkpoint is not None and os.path.exists(self._checkpoint):
            from quantart_cli.engine.resuming import check_checkpoint

            check_checkpoint(self._checkpoint)
        if self.values["save_frames"] is not None:
            _make_folder(self.values["save_frames"])
        if self.values["trace"] is not None:
            self._trace = _table(self.values["trace"], goes_on=self.values["resume"])

    def prepare(self, model: Any, content: Picture, style: Any, controls: Any) -> dict[str, Any]:
        from dataclasses import replace

        from quantart_cli.engine.resuming import facts_of, load_state

        self._facts = facts_of(
            content,
            style.pictures,
            style.weights,
            controls,
            self.guidance,
            seed=self.values["seed"],
            preserve_color=self.values["preserve_color"],
            precision=model.machine.precision,
            device=model.machine.device,
            weights=model.weights,
        )
        guidance = self.guidance
        if self._checkpoint is not None and self.values["resume"]:
            guidance = replace(guidance, resume=load_state(self._checkpoint, self._facts))
            if self._trace is not None:
                _cut_table(self.values["trace"], guidance.resume.step)
        elif self._checkpoint is not None and os.path.exists(self._checkpoint) and not self.values["quiet"]:
            say(f"{printable(self._checkpoint)} of an interrupted run is begun anew: --resume would go on from it")
        return {"guidance": guidance}

    def step(self, record: Any) -> None:
        self._last = record
        if self._trace is not None:
            losses = [sum(record.losses.values()), *record.losses.values()]
            seconds = time.monotonic() - self._start
            row = [record.step, *record.size, f"{seconds:.2f}", *(f"{loss:.9g}" for loss in losses)]
            self._trace.write(",".join(map(str, row)) + "\n")
        try:
            self._show(record)
            if time.monotonic() - self._written >= _CHECKPOINT_EVERY:
                self._keep(record.state())
        except QuantArtError as error:  # a full disk: what is painted is worth more than to stop for it
            if str(error) not in self.notes:
                self.notes.append(str(error))

    def done(self, stopped: bool) -> None:
        if self._trace is not None:
            self._trace.close()
        if self._checkpoint is None:
            return
        if stopped and self._last is not None:
            self._keep(self._last.state())
            self.notes.append(f"the same command with --resume goes on from {printable(self._checkpoint)}")
        elif not stopped:
            with contextlib.suppress(OSError):
                os.unlink(self._checkpoint)

    def _keep(self, state: State) -> None:
        from quantart_cli.engine.resuming import save_state

        self._written = time.monotonic()
        if self._checkpoint is not None:
            save_state(self._checkpoint, state, self._facts)

    def _show(self, record: Any) -> None:
        """Preview and frame, where it is their turn."""
        every, frames = self.values["preview_every"], self.values["save_frames"]
        if every is not None and record.step % every == 0:
            self._save(record, self.values["preview"] or self.values["output"], self.values["preview"] is None)
        if frames is not None and record.step % self.values["frames_every"] == 0:
            self._save(record, os.path.join(frames, f"frame-{record.step:06}.png"), False)

    def _save(self, record: Any, target: str, as_output: bool) -> None:
        from quantart_cli.engine.canvas import Canvas

        canvas = Canvas(self.content, self.values["preserve_color"] == "luma")
        canvas.put_all(record.image())
        save_picture(
            self.content.with_rgb(canvas.rgb),
            target,
            format=self.values["format"] if as_output else None,
            background=self.values["background"],
            quality=self.values["quality"],
            strip_metadata=self.values["strip_metadata"],
        )

    def _guidance(self, content: Picture, styles: list[Picture]) -> Guidance:
        """Masks and the picture to start from, read and checked."""
        from quantart_cli.methods.guidance import Guidance, mask_of

        limit, masks, style_masks = self.values["max_pixels"], [], []
        for path in self.values["mask"] or ():
            picture = read_picture(path, max_pixels=limit)
            self._tell_size(picture, content)
            masks.append(mask_of(picture, content.size))
        for i, path in enumerate(self.values["style_mask"] or ()):
            picture = read_picture(path, max_pixels=limit)
            self._tell_size(picture, styles[i if len(styles) > 1 and i < len(styles) else 0])
            style_masks.append(mask_of(picture))
        start = self.values["start"]
        first = None if start is None else read_picture(start, max_pixels=limit).rgb
        guidance = Guidance(tuple(masks), tuple(style_masks), first)
        guidance.styles_of_regions(len(styles))
        return guidance

    def _check_apart(self, inputs: Iterable[str]) -> None:
        """What is written here is no input, not the output, and not written twice; a checkpoint is even removed."""
        taken = [(given, "an input and would be overwritten: choose another file") for given in inputs]
        taken.append((self.values["output"], "the output: give it a file of its own"))
        for name in ("preview", "checkpoint", "trace"):
            target = self.values[name]
            if target is None:
                continue
            for other, what in taken:
                if not is_stream(other) and _same(target, other):
                    raise QuantArtError(f"--{name} {printable(target)} is {what}")
            taken.append((target, f"--{name} as well: give each a file of its own"))

    def _tell_size(self, mask: Picture, picture: Picture) -> None:
        if mask.size != picture.size:
            (w, h), (width, height) = mask.size, picture.size
            self.notes.append(f"mask {printable(mask.name)} of {w} × {h} was resized to {width} × {height}")

    def _others(self) -> list[str]:
        files = [*(self.values["mask"] or ()), *(self.values["style_mask"] or ()), self.values["start"]]
        return [file for file in files if file is not None]


def checkpoint_of(values: dict[str, Any]) -> str | None:
    """The file of a run's checkpoint; None where there is none, as with -o -."""
    if values["checkpoint"] is not None:
        return str(values["checkpoint"])
    output = values["output"]
    regular = not is_stream(output) and (os.path.isfile(output) or not os.path.exists(output))
    return f"{output}.checkpoint.safetensors" if regular else None


def _table(path: str, goes_on: bool) -> IO[str]:
    """A table of losses, opened; one that is there is added to when a run goes on."""
    shown = printable(path)
    try:
        file = open(path, "a" if goes_on else "w", encoding="utf-8", buffering=1)  # noqa: SIM115
    except OSError as error:
        raise QuantArtError(f"--trace {shown} cannot be written: {reason(error)}") from None
    if file.tell() == 0:
        file.write("step,width,height,seconds,total,content,style,tv\n")
    return file


def _cut_table(path: str, step: int) -> None:
    """Leave out the steps after the checkpoint, which are taken again: a kill comes later than the last checkpoint."""
    with contextlib.suppress(OSError, ValueError):
        head, *rows = Path(path).read_bytes().splitlines(keepends=True)
        kept = takewhile(lambda row: row.endswith(b"\n") and int(row.partition(b",")[0]) <= step, rows)
        os.truncate(path, len(head) + sum(map(len, kept)))


def _make_folder(path: str) -> None:
    try:
        Path(path).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise QuantArtError(f"--save-frames {printable(path)} cannot be made: {reason(error)}") from None


def _same(path: str, other: str) -> bool:
    if os.path.realpath(path) == os.path.realpath(other):
        return True
    return os.path.exists(path) and os.path.exists(other) and os.path.samefile(path, other)
