"""What a command that takes updates does beside painting: previews, frames, a table of losses, checkpoints."""

from __future__ import annotations

import contextlib
import os
import time
from dataclasses import replace
from itertools import takewhile
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, ClassVar

from quantart_cli.cli.console import say
from quantart_cli.cli.options import OptimisingOptions, PreviewingOptions
from quantart_cli.errors import QuantArtError
from quantart_cli.files import is_stream, printable, reason
from quantart_cli.images import Picture, check_output, read_picture, save_picture
from quantart_cli.methods.inputs import Masks, OptimisationInputs

if TYPE_CHECKING:
    from quantart_cli.methods.base import Step
    from quantart_cli.model import Model
    from quantart_cli.style import Style

_CHECKPOINT_EVERY = 60.0  # seconds


class Previews:
    """One run that writes previews. Construction reads and checks everything that needs no torch.

    Args:
        content: the picture, at the size to be painted.

    Attributes:
        notes: remarks for a person, one line each.
    """

    names: ClassVar[tuple[str, ...]] = ("preview",)
    """Options that name files."""

    def __init__(self, options: PreviewingOptions, content: Picture, masks: Masks) -> None:
        self.options, self.content, self.inputs = options, content, masks
        self.notes: list[str] = []
        self._model: Model | None = None
        self._check_files(options.inputs)

    def _check_files(self, inputs: list[str]) -> None:
        """Check that nothing that is written is an input, the output, or written twice."""
        options = self.options
        has_alpha = self.content.alpha is not None
        taken = [(given, "an input and would be overwritten: choose another file") for given in inputs]
        taken.append((options.output, "the output: give it a file of its own"))
        for name in self.names:
            target = getattr(options, name)
            if target is None:
                continue
            for other, what in taken:
                if not is_stream(other) and _same(target, other):
                    raise QuantArtError(f"--{name} {printable(target)} is {what}")
            taken.append((target, f"--{name} as well: give each a file of its own"))
        check_output(options.output, inputs, format=options.format, has_alpha=has_alpha, background=options.background)
        if options.preview is not None:
            check_output(options.preview, inputs, has_alpha=has_alpha, background=options.background)

    def prepare(self, model: Model, style: Style) -> Masks:
        """The inputs of :meth:`Model.paint`."""
        self._model = model
        return self.inputs

    def step(self, step: Step) -> None:
        """Write what is due after a step."""
        if step.image is None:  # of the painting before
            return
        try:
            self._write_pictures(step)
        except QuantArtError as error:  # a full disk is no reason to lose what is painted
            if str(error) not in self.notes:
                self.notes.append(str(error))

    def _write_pictures(self, step: Step) -> None:
        options, every = self.options, self.options.preview_every
        if every is not None and step.step % every == 0:
            if options.preview is None:
                self._save(step, options.output, options.format)
            else:
                self._save(step, options.preview, None)

    def _save(self, step: Step, target: str, format: str | None) -> None:
        assert self._model is not None
        picture = self._model.picture_at(step, self.content, self.options.preserve_color)
        save_picture(picture, target, **{**self.options.writing, "format": format})

    def finish(self, stopped: bool) -> None:
        """After the picture was written."""


class Session(Previews):
    """One run of an optimising method, with frames, a table of losses and checkpoints; arguments as of its base."""

    options: OptimisingOptions
    inputs: OptimisationInputs
    names = ("preview", "checkpoint", "trace")

    def __init__(self, options: OptimisingOptions, content: Picture, masks: Masks) -> None:
        self._checkpoint = checkpoint_of(options)
        self._facts: dict[str, Any] = {}
        self._last: Step | None = None
        self._written = self._start = time.monotonic()
        self._trace: IO[str] | None = None
        start = None if options.start is None else read_picture(options.start, max_pixels=options.max_pixels).rgb
        super().__init__(options, content, OptimisationInputs(masks.masks, masks.style_masks, start))
        if not options.dry_run:
            self._open_files()

    def _check_files(self, inputs: list[str]) -> None:
        super()._check_files([*inputs, *filter(None, [self.options.start])])
        folder = os.path.dirname(os.path.realpath(self._checkpoint or "."))
        if not os.path.isdir(folder):
            shown = printable(self._checkpoint)
            raise QuantArtError(f"--checkpoint {shown}: make the folder {printable(folder)} first")

    def _open_files(self) -> None:
        options, checkpoint = self.options, self._checkpoint
        if options.resume and checkpoint is None:
            raise QuantArtError("--resume needs a checkpoint, and -o - has none beside it: give --checkpoint FILE")
        if options.resume and not os.path.exists(checkpoint or ""):
            raise QuantArtError(f"there is no checkpoint {printable(checkpoint)}: leave --resume out to begin")
        if checkpoint is not None and os.path.exists(checkpoint):
            from quantart_cli.methods.checkpoint import check_checkpoint

            check_checkpoint(checkpoint)
        if options.save_frames is not None:
            try:
                Path(options.save_frames).mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise QuantArtError(
                    f"--save-frames {printable(options.save_frames)} cannot be made: {reason(error)}"
                ) from None
        if options.trace is not None:
            try:
                self._trace = open(options.trace, "a" if options.resume else "w", encoding="utf-8", buffering=1)  # noqa: SIM115
            except OSError as error:
                raise QuantArtError(f"--trace {printable(options.trace)} cannot be written: {reason(error)}") from None

    def prepare(self, model: Model, style: Style) -> OptimisationInputs:
        """The inputs of the optimisation, with the state to continue from.

        Raises:
            QuantArtError: the checkpoint is of another picture or of other options.
        """
        from quantart_cli.methods.checkpoint import facts_of, load_state

        options, self._model = self.options, model
        self._facts = facts_of(
            self.content,
            style.pictures,
            style.shares,
            options.settings,
            self.inputs,
            method=model.method.name,
            seed=options.seed,
            preserve_color=options.preserve_color,
            precision=model.spec.precision,
            device=model.spec.device,
            weights=model.checksums,
        )
        if self._checkpoint is None:
            return self.inputs
        if options.resume:
            state = load_state(self._checkpoint, self._facts)
            if options.trace is not None:
                _cut_table(options.trace, state.step)
            return replace(self.inputs, resume=state)
        if os.path.exists(self._checkpoint) and not options.quiet:
            say(f"{printable(self._checkpoint)} of an interrupted run is replaced: --resume would continue it")
        return self.inputs

    def step(self, step: Step) -> None:
        self._last = step
        if self._trace is not None:
            self._write_row(self._trace, step)
        super().step(step)

    def _write_row(self, trace: IO[str], step: Step) -> None:
        if trace.tell() == 0:
            trace.write(",".join(["step,width,height,seconds,total", *step.losses]) + "\n")
        losses = [sum(step.losses.values()), *step.losses.values()]
        seconds = time.monotonic() - self._start
        row = [step.step, *step.size, f"{seconds:.2f}", *(f"{loss:.9g}" for loss in losses)]
        trace.write(",".join(map(str, row)) + "\n")

    def _write_pictures(self, step: Step) -> None:
        super()._write_pictures(step)
        options = self.options
        if options.save_frames is not None and step.step % options.frames_every == 0:
            self._save(step, os.path.join(options.save_frames, f"frame-{step.step:06}.png"), None)
        if time.monotonic() - self._written >= _CHECKPOINT_EVERY:
            self._keep(step)

    def finish(self, stopped: bool) -> None:
        """After the picture was written: keep the checkpoint if Ctrl-C ended the optimisation, else remove it."""
        if self._trace is not None:
            self._trace.close()
        if self._checkpoint is None:
            return
        if not stopped:
            with contextlib.suppress(OSError):
                os.unlink(self._checkpoint)
        elif self._last is not None and self._keep(self._last):
            self.notes.append(f"the same command with --resume continues from {printable(self._checkpoint)}")

    def _keep(self, step: Step) -> bool:
        """Write a checkpoint, if there is a file for it and the method can continue; returns whether."""
        from quantart_cli.methods.checkpoint import save_state

        self._written = time.monotonic()
        if self._checkpoint is None or step.state is None:
            return False
        save_state(self._checkpoint, step.state(), self._facts)
        return True


def checkpoint_of(options: OptimisingOptions) -> str | None:
    """The file of a run's checkpoint; None where there is none, as with -o -."""
    if options.checkpoint is not None:
        return options.checkpoint
    output = options.output
    regular = not is_stream(output) and (os.path.isfile(output) or not os.path.exists(output))
    return f"{output}.checkpoint.safetensors" if regular else None


def _cut_table(path: str, step: int) -> None:
    """Remove the rows after the checkpoint, whose steps are taken again."""
    with contextlib.suppress(OSError, ValueError):
        head, *rows = Path(path).read_bytes().splitlines(keepends=True)
        kept = takewhile(lambda row: row.endswith(b"\n") and int(row.partition(b",")[0]) <= step, rows)
        os.truncate(path, len(head) + sum(map(len, kept)))


def _same(path: str, other: str) -> bool:
    if os.path.realpath(path) == os.path.realpath(other):
        return True
    return os.path.exists(path) and os.path.exists(other) and os.path.samefile(path, other)
