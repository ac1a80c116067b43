"""Painting without flicker: each frame goes on from the last one, moved by the optical flow.

A frame painted alone differs from the next for three reasons. Each has its remedy, for feed-forward methods all three:

* The grid of the network: a position is 8 pixels, and a picture that moves by 5 meets another part of the grid. Where
  the whole picture moves, as in a pan, the grid moves with it: the picture is padded on the left and on top by as many
  pixels as it has moved, modulo 8. A pan is then painted as a still.
* The statistics of the frame: the moments of stages are smoothed over time.
* The features and the entries of the style that each position gets: the features that the decoder gets are blended with
  the last ones where the flow holds, and a position keeps the last entries as long as the features of the content there
  are nearly those for which they were chosen.

What remains is blended in pixels. At a cut nothing is kept.

Methods that optimise get the initialisation and the losses of Ruder, Dosovitskiy and Brox 2016 (Artistic style transfer
for videos): they start from the warped last frame, and are kept near to it, and to one of some frames before, where the
flow holds.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from quantart_cli import flow
from quantart_cli.color import match_color
from quantart_cli.flow import Array, Motion
from quantart_cli.images import Picture, fill_transparent
from quantart_cli.methods.base import FeedForward
from quantart_cli.methods.inputs import OptimisationInputs, Past
from quantart_cli.model import Model
from quantart_cli.result import Result
from quantart_cli.runner import Image, MapOf, Runner
from quantart_cli.settings import Settings
from quantart_cli.stages import Pixels, Stage, Summed
from quantart_cli.style import Style

_CUT = 0.3  # the flow holds for less than this share of a frame: it is another scene
_FAST = 1.0  # pixels a frame from which the grid follows the picture: half a pixel is lost by rounding
_MOST_FEATURES, _MOST_PIXELS = 0.95, 0.9  # shares of the last frame at --steady 1
_CHANGED = 0.3  # squared difference of features, relative, at which a position gets new entries
_QUICK = 4  # pictures whose width is a multiple of so many positions are painted more quickly
_BEFORE = 10  # frames between a frame and the one whose long-term loss it has
_FAR = 1.0  # positions between an entry and the place it belongs to at which it is given up

Kept = dict[str, dict[str, Array]]
"""Call of a stage -> its inputs or moments by name."""


class Steady:
    """Paints the frames of a clip one after the other.

    Args:
        steady: 0 paints each frame alone, 1 changes as little as possible.
        estimate: the motion between two frames, (H, W, 3) uint8 each.
        **how: preserve_color, tile and seed, as of ``Model.paint``.
    """

    def __init__(
        self,
        model: Model,
        style: Style,
        settings: Settings,
        steady: float,
        estimate: Callable[[Array, Array], Motion] = flow.estimate,
        **how: Any,
    ) -> None:
        self.model, self.style, self.settings, self.steady, self.how = model, style, settings, steady, how
        self.estimate = estimate
        period = 0
        if isinstance(model.program, FeedForward):
            period = math.lcm(model.program.multiple, *(stage.grain for stage in model.program.stages(settings)))
        self.memory = Memory(min(steady, _MOST_FEATURES), period)
        # The last frames as they are and as painted, (H, W, 3) uint8: one, or for methods that optimise some.
        self.frames: deque[tuple[Array, Array]] = deque(maxlen=_BEFORE if model.optimises else 1)

    @property
    def content(self) -> Array | None:
        """The last frame, (H, W, 3) uint8."""
        return self.frames[-1][0] if self.frames else None

    @property
    def last(self) -> Array | None:
        """The same as painted."""
        return self.frames[-1][1] if self.frames else None

    def paint(self, content: Picture, motion: Motion | None) -> Result:
        """Paint the next frame; arguments and errors as of ``Model.paint``.

        Args:
            content: of the same size as the frames before.
            motion: since the last frame; None: there is none.
        """
        if motion is None or not self.frames or motion.holds.mean() < _CUT:
            self.frames.clear()
            motion = None
        if self.steady == 0:
            result = self.model.paint(content, self.style, self.settings, **self.how)
        elif self.model.optimises:
            inputs = None if motion is None else self._past(content.rgb, motion)
            result = self.model.paint(content, self.style, self.settings, inputs=inputs, **self.how)
        else:
            self.memory.begin(motion, content)
            result = self.model.paint(content, self.style, self.settings, make_runner=self.memory.runner, **self.how)
            if motion is not None:
                rgb, share = result.picture.rgb, min(self.steady**2, _MOST_PIXELS) * motion.holds[..., None]
                mixed = flow.warp(self.frames[-1][1].astype(np.float32), motion.flow)
                mixed -= rgb
                mixed *= share
                mixed += rgb
                result = replace(result, picture=result.picture.with_rgb(_bytes(mixed)))
        self.frames.append((content.rgb, result.picture.rgb))
        return result

    def _past(self, content: Array, motion: Motion) -> OptimisationInputs:
        """What an optimisation starts from, and what it keeps.

        A frame of longer ago counts where none of the later ones holds (Ruder et al. 2016, equations 8 and 9). One
        picture and one weight for each pixel are enough: Σ c_j (x - ω_j)² and Σ c_j (x - Σ c_j ω_j / Σ c_j)² have the
        same gradient.
        """
        sums, weight = np.zeros(content.shape, np.float32), np.zeros(content.shape[:2], np.float32)
        for number in dict.fromkeys((-1, -len(self.frames))):
            before, painted = self.frames[number]
            found = motion if number == -1 else self.estimate(before, content)
            share = (found.holds - weight).clip(0)
            sums += share[..., None] * flow.warp(painted.astype(np.float32), found.flow)
            weight += share
        start = _bytes(content + sums - weight[..., None] * content)
        s = min(self.steady, _MOST_FEATURES)
        past = Past(sums / np.maximum(255 * weight, 1e-6)[..., None], weight * np.float32(s / (1 - s)))
        return OptimisationInputs(start=start, past=past)

    def state(self) -> dict[str, Array]:
        """Everything that the next frame depends on."""
        names = ("content", "last")
        frames = {name: np.stack(each) for name, each in zip(names, zip(*self.frames, strict=True), strict=False)}
        return {**self.memory.state(), **frames}

    def restore(self, state: Mapping[str, Array]) -> None:
        """Continue from a state."""
        self.memory.restore(state)
        self.frames.clear()
        self.frames.extend(zip(state.get("content", ()), state.get("last", ()), strict=True))


class Memory:
    """What is kept of the last frame by the runner of a feed-forward method.

    Args:
        share: of the last frame in features and moments, 0 to 1.
    """

    def __init__(self, share: float, period: int) -> None:
        self.share, self.period = share, period
        self.motion: Motion | None = None
        self.width = 0  # of the frames
        self.shift = self.last_shift = np.zeros(2)  # x, y in pixels: how far the grid has followed the picture
        self.kept: Kept = {}
        self.new: Kept = {}

    def begin(self, motion: Motion | None, content: Picture) -> None:
        """A new frame. ``motion`` is since the last one; None: nothing is kept."""
        self.kept, self.new = ({} if motion is None else self.new), {}
        self.motion, self.width, self.last_shift = motion, content.width, self.shift
        if content.alpha is not None:  # opacities are at whole positions of the grid: it stays
            self.shift = np.zeros(2)
        elif motion is not None and (holds := motion.holds > 0.5).any():
            common = np.median(motion.flow[holds], axis=0)
            self.shift = self.shift + common * (np.abs(common) >= _FAST)

    def runner(self, *arguments: Any) -> Runner:
        """A runner of this frame; arguments as of :class:`Runner`."""
        return _SteadyRunner(self, *arguments)

    def state(self) -> dict[str, Array]:
        """As arrays by name."""
        found = {f"{call}/{name}": values for call, own in self.new.items() for name, values in own.items()}
        return {**found, "shift": self.shift}

    def restore(self, state: Mapping[str, Array]) -> None:
        """Continue from :meth:`state`."""
        self.shift, self.new = state["shift"], {}
        for name, values in state.items():
            call, slash, own = name.partition("/")
            if slash:
                self.new.setdefault(call, {})[own] = values


class _SteadyRunner(Runner):
    """Runs the stages of one frame, and brings in what the memory holds."""

    def __init__(self, memory: Memory, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._memory = memory
        self._calls: dict[str, int] = {}
        self._scale, self._size = 1.0, (0, 0)  # of the picture that was encoded last, relative to the frame; in pixels

    def __call__(self, stage: Stage, image: Image | None = None, **inputs: Any) -> dict[str, Any]:
        number = self._calls[stage.name] = self._calls.get(stage.name, 0) + 1
        call = f"{stage.name} {number}"
        if image is not None:
            self._scale, self._size = image.size[1] / self._memory.width, image.pixels.shape[:2]
            image = self._on_moved_grid(image)
        paints = [name for name, output in stage.outputs.items() if isinstance(output, Pixels)]
        if paints:
            inputs = self._blended(call, stage, inputs)
        found = super().__call__(stage, image, **inputs)
        left, top = self._offset(self._memory.shift)
        for name, output in stage.outputs.items():
            if isinstance(output, Summed):
                found[name] = self._smoothed(f"{call} {name}", found[name])
        for name in paints:
            if self._memory.shift.any():
                found[name] = found[name][top : top + self._size[0], left : left + self._size[1]]
        return found

    def _offset(self, shift: Array) -> tuple[int, int]:
        """Pixels by which the picture is padded on the left and on top."""
        x, y = np.rint(shift * self._scale).astype(int) % self._memory.period
        return int(x), int(y)

    def _on_moved_grid(self, image: Image) -> Image:
        """The picture, padded by mirroring. Its size is the same for all offsets: networks may be compiled for it."""
        if not self._memory.shift.any():
            return image
        (left, top), period = self._offset(self._memory.shift), self._memory.period
        x, y = (period if moves else 0 for moves in self._memory.shift)
        width = image.pixels.shape[1]
        more = -(width + x) % (_QUICK * period)
        around = ((top, y - top), (left, x - left + (more if more < width / 16 else 0)), (0, 0))
        return Image(np.pad(image.pixels, around, mode="symmetric"), image.size)

    def _smoothed(self, call: str, now: Any) -> Any:
        """Moments or covariances between those of the last frame and those of this one."""
        last = self._memory.kept.get(call)
        if last is not None:
            now = type(now)(
                **{name: old + (1 - self._memory.share) * (vars(now)[name] - old) for name, old in last.items()}
            )
        self._memory.new[call] = dict(vars(now))
        return now

    def _blended(self, call: str, stage: Stage, inputs: dict[str, Any]) -> dict[str, Any]:
        """The inputs of a decoder with those of the last frame: entries are kept, features blended."""
        names = [name for name in stage.maps if name not in ("image", "weight")]
        now = {
            name: np.ascontiguousarray(self.backend.numpy(inputs[name].values)[0].transpose(1, 2, 0)) for name in names
        }
        entries = [name for name in names if name in stage.integers]
        # Maps with one number for each entry, such as their weights, go with them.
        counts = {now[name].shape[2] for name in entries}
        entries += [name for name in names if name not in entries and now[name].shape[2] in counts]
        features = [name for name in names if name not in entries]
        last = self._memory.kept.get(call)
        if entries and features:
            chosen_for = now[features[0]]
            own = {"chosen for": chosen_for, "drift": np.zeros((*chosen_for.shape[:2], 2), np.float32)}
            if last is not None:
                places, holds = self._places(stage.maps[entries[0]][0], chosen_for.shape[:2])
                self._keep(own, {name: now[name] for name in entries}, last, places, holds, now)
            now |= own
        for name in features:
            if last is not None:
                places, holds = self._places(stage.maps[name][0], now[name].shape[:2])
                share = (self._memory.share * holds)[..., None]
                moved = flow.sample(last[name], places)
                moved -= now[name]
                moved *= share
                now[name] = np.add(now[name], moved, out=moved)
        self._memory.new[call] = now
        maps = {name: self.backend.to_map(_planes(now[name]), inputs[name].values) for name in names}
        return {**inputs, **{name: MapOf(values, inputs[name].stride) for name, values in maps.items()}}

    def _keep(
        self,
        own: dict[str, Array],
        entries: dict[str, Array],
        last: dict[str, Array],
        places: Array,
        holds: Array,
        now: dict[str, Array],
    ) -> None:
        """Give positions their last entries.

        Positions are whole, motions are not: ``drift`` is how far, in positions, the entry is from where it belongs.
        The entry that comes nearest to a position is the one it keeps.
        """
        height, width = last["drift"].shape[:2]
        limit = np.array([width - 1, height - 1])
        near = np.rint(places).astype(np.intp).clip(0, limit)
        nearest = np.rint(places - last["drift"][near[..., 1], near[..., 0]]).astype(np.intp).clip(0, limit)
        source = nearest[..., 1], nearest[..., 0]
        drift = nearest + last["drift"][source] - places
        before = last["chosen for"][source]
        changed = ((own["chosen for"] - before) ** 2).sum(2) / ((before**2).sum(2) + 1e-6)
        keeps = ((holds > 0.5) & (np.abs(drift).max(2) < _FAR) & (changed < _CHANGED))[..., None]
        own["drift"] = np.where(keeps, drift, 0).astype(np.float32)
        own["chosen for"] = np.where(keeps, before, own["chosen for"])
        for name, values in entries.items():
            now[name] = np.where(keeps, last[name][source], values)

    def _places(self, stride: int, size: tuple[int, int]) -> tuple[Array, Array]:
        """Where the positions of a map were in that of the last frame (h, w, 2), and if the flow holds (h, w)."""
        motion, scale = self._memory.motion, self._scale
        assert motion is not None
        rows, columns = np.mgrid[: size[0], : size[1]].astype(np.float32)
        now, last = (np.array(self._offset(shift)) for shift in (self._memory.shift, self._memory.last_shift))
        at = ((np.stack([columns, rows], 2) + 0.5) * stride - now) / scale - 0.5  # in the frame
        side = max(1, round(stride / scale))
        known = flow.blurred(np.dstack([motion.flow, motion.holds]), side)
        found = flow.sample(known, at.astype(np.float32))
        places = ((at + found[..., :2] + 0.5) * scale + last) / stride - 0.5
        return places.astype(np.float32), found[..., 2]


def _planes(values: Array) -> Array:
    """(h, w, C) as (1, C, h, w); some positions at a time, which is four times as fast."""
    height, width, channels = values.shape
    rows = values.reshape(-1, channels)
    found = np.empty((channels, len(rows)), values.dtype)
    for first in range(0, len(rows), 64):
        found[:, first : first + 64] = rows[first : first + 64].T
    return found.reshape(1, channels, height, width)


def recolored(style: Picture, reference: Picture) -> Picture:
    """A style picture in the colours of a frame: for all frames the same."""
    floats = (fill_transparent(each).astype(np.float32) / 255 for each in (style, reference))
    opacities = (None if each.alpha is None else each.alpha.astype(np.float32) / 255 for each in (style, reference))
    return style.with_rgb(_bytes(match_color(*floats, *opacities) * 255))


def _bytes(values: Array) -> Array:
    """Rounded, as uint8; ``values`` are changed."""
    np.rint(values, out=values)
    return values.clip(0, 255, out=values).astype(np.uint8)
