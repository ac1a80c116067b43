"""What is measured within one process; benchmarks/speed.py starts it.

    python benchmarks/inside.py NAME FOLDER

Prints one JSON object. FOLDER holds the pictures and the baseline's weights of benchmarks/materials.py. FLOPs are those
of the published networks, whatever an implementation saves.
"""

from __future__ import annotations

import json
import math
import random
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import quantart_cli as quantart
from benchmarks import baseline
from benchmarks.materials import draw
from benchmarks.speed import RUNTIMES
from quantart_cli.cli.startup import keep_memory
from quantart_cli.images import read_picture
from quantart_cli.methods.adain import DECODE, ENCODE
from quantart_cli.model import Model
from quantart_cli.runner import Image, Runner
from quantart_cli.stages import Map, Pixels, Stage
from quantart_cli.style import Style
from quantart_cli.tiling import Tiler

CONTENT, STYLE = "512x512-1.png", "512x512-2.png"
_RUNS, _WARM = 15, 3


class FloatRunner(Runner):
    """Leaves the painted picture in float32, (H, W, 3): a :class:`Runner` rounds it to uint8."""

    def __call__(self, stage: Stage, image: Image | None = None, **inputs: Any) -> dict[str, Any]:
        floats = {name: Map(1) if isinstance(each, Pixels) else each for name, each in stage.outputs.items()}
        found = super().__call__(replace(stage, outputs=floats), image, **inputs)
        for name, each in stage.outputs.items():
            if isinstance(each, Pixels):
                found[name] = self.backend.numpy(found[name].values)[0].transpose(1, 2, 0)
        return found


def in_floats(model: Model, content: np.ndarray, style: Style, tiler: Tiler, **settings: Any) -> np.ndarray:
    """The picture before it is rounded, (H, W, 3) float32 in about [0, 1]; one pass at full size."""
    chosen = model.method.settings.of(settings)
    encoded = model.program.encode_style(Runner(model.backend, Tiler()), Image.of(style.pictures[0].rgb),
                                         model.program.style_form(chosen))  # fmt: skip
    image: np.ndarray = model.program.paint(FloatRunner(model.backend, tiler), Image.of(content), encoded, chosen)
    return image[: content.shape[0], : content.shape[1]]


def painting(model: Model, content: np.ndarray, style: Style, **settings: Any) -> Callable[[], np.ndarray]:
    """Paints a picture in memory, (H, W, 3) uint8, with settings that were checked."""
    picture, chosen = read_picture(content), model.method.settings.of(settings)
    return lambda: model.paint(picture, style, chosen).picture.rgb


def timed(work: Callable[[], Any], runs: int = _RUNS, device: str = "cpu") -> float:
    """Median seconds of a call, after a few that do not count."""
    seconds = []
    for i in range(_WARM + runs):
        start = time.perf_counter()
        work()
        if device == "cuda":
            torch.cuda.synchronize()
        if i >= _WARM:
            seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def in_turns(
    works: Mapping[str, Callable[[], Any]], runs: int, clock: Callable[[], float] = time.perf_counter
) -> dict[str, float]:
    """Median seconds of several calls that take turns, after one each that does not count: all see one machine."""
    seconds: dict[str, list[float]] = {name: [] for name in works}
    for i in range(runs + 1):
        for name, work in works.items():
            start = clock()
            work()
            if i > 0:
                seconds[name].append(clock() - start)
    return {name: statistics.median(each) for name, each in seconds.items()}


def flops(network: nn.Module, *shape: int) -> int:
    """Floating-point operations, two a multiplication with its addition, of a network on an input of that shape."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network.to("meta")(torch.empty(shape, device="meta"))
    return counter.get_total_flops()


def published_flops(height: int, width: int) -> dict[str, int]:
    """Of VGG to relu4_1 and of the decoder for a picture of that size, without the first 1×1 layer of the former."""
    z = (1, 512, -(-height // 8), -(-width // 8))
    encoder = baseline.vgg19()[1 : baseline.RELU4_1]
    return {"encoder": flops(encoder, 1, 3, height, width), "decoder": flops(baseline.decoder(), *z)}


def convolution(dtype: torch.dtype) -> tuple[Callable[[], Any], int]:
    """What a CPU's peak is measured with, ten convolutions of 256 channels at 128², and its FLOPs."""
    x = torch.randn(1, 256, 128, 128, dtype=dtype).contiguous(memory_format=torch.channels_last)
    layer = nn.Conv2d(256, 256, 3, padding=1).to(dtype).to(memory_format=torch.channels_last)
    return lambda: [layer(x) for _ in range(10)], 10 * 2 * 9 * 256 * 256 * 128 * 128


def product(dtype: torch.dtype) -> float:
    """FLOP/s of a GPU in a product of matrices of 8192²."""
    a = torch.randn(8192, 8192, device="cuda", dtype=dtype)
    return 2 * 8192**3 / timed(lambda: a @ a, 50, "cuda")


@torch.no_grad()
def warm_baseline(folder: Path) -> dict[str, float]:
    """The baseline's pictures a second at 512², with the style encoded each time and before; keeps its picture."""
    vgg, decoder = baseline.load(folder)
    content, style = baseline.read(folder / CONTENT), baseline.read(folder / STYLE)
    encoded = vgg(style)
    np.save(folder / "baseline.npy", decoder(baseline.adain(vgg(content), encoded)).clamp(0, 1).numpy())
    every_time = timed(lambda: decoder(baseline.adain(vgg(content), vgg(style))), 5)
    before = timed(lambda: decoder(baseline.adain(vgg(content), encoded)), 5)
    return {"rate": 1 / every_time, "rate_style_before": 1 / before}


def warm(folder: Path) -> dict[str, float]:
    """Our pictures a second at 512² with the style encoded before, and the PSNR to what warm_baseline has kept."""
    keep_memory()
    model = quantart.load("adain", device="cpu", backend="torch")
    paint = painting(model, read(folder / CONTENT), model.encode_style(folder / STYLE))
    image = paint().astype(np.float32).transpose(2, 0, 1)[None] / 255
    return {
        "rate": 1 / timed(paint),
        "psnr": psnr(torch.from_numpy(image), torch.from_numpy(np.load(folder / "baseline.npy"))),
    }


def share(folder: Path) -> dict[str, float]:
    """TFLOP/s of the encoder, of the decoder and of a whole picture at 512², and those of the machine."""
    keep_memory()
    model = quantart.load("adain", device="cpu", backend="torch")
    content, run = Image.of(read(folder / CONTENT)), Runner(model.backend, Tiler())
    z, same, zeros = run(ENCODE, content)["z"], np.ones(512, np.float32), np.zeros(512, np.float32)
    count = published_flops(512, 512)
    peak, count["peak"] = convolution(model.spec.dtype)
    count["all"] = count["encoder"] + count["decoder"]
    works = {
        "peak": torch.inference_mode()(peak),
        "encoder": lambda: run(ENCODE, content),
        "decoder": lambda: run(DECODE, z=z, slope=same, shift=zeros),
        "all": painting(model, read(folder / CONTENT), model.encode_style(folder / STYLE)),
    }
    return {name: count[name] / seconds / 1e12 for name, seconds in in_turns(works, _RUNS).items()}


def tiled(folder: Path) -> dict[str, float]:
    """Largest difference between tiled and whole, float32 before rounding, over random sizes and tiles."""
    numbers, worst = random.Random(0), {}
    for name, settings in (("adain", {}), ("quantart", {"brush": "none"})):
        model, worst[name] = quantart.load(name, device="cpu", precision="fp32", backend="torch"), 0.0
        style = model.encode_style(folder / STYLE)
        for i in range(12):
            height, width, side = numbers.randint(1, 700), numbers.randint(1, 700), 8 * numbers.randint(8, 50)
            content = np.array(draw(width, height, i))
            whole, cut = (in_floats(model, content, style, tiler, **settings) for tiler in (Tiler(), Tiler(side)))
            difference = float(abs(whole - cut).max())
            worst[name] = difference if math.isnan(difference) else max(worst[name], difference)
    return worst


VARIANTS: dict[str, dict[str, Any]] = {
    "quantart": {},
    "quantart, one pass": {"brush": "none"},
    "quantart, codebook art": {"codebook": "art"},
}
"""Settings of QuantArt that are compared with AdaIN: the default paints coarse to fine."""


def methods(folder: Path) -> dict[str, float]:
    """Seconds of AdaIN and of QuantArt on a picture in memory, as the Python API paints it, at 512² and 2048²."""
    keep_memory()
    found: dict[str, float] = {}
    models = {name: quantart.load(name, device="cpu", backend="torch") for name in ("adain", "quantart")}
    styles = {name: model.encode_style(folder / STYLE) for name, model in models.items()}
    for side, rounds in ((512, 9), (2048, 3)):
        content = read(folder / f"{side}x{side}-1.{'png' if side == 512 else 'jpg'}")
        works: dict[str, Callable[[], Any]] = {
            f"{name}-{side}": partial(models[model].stylize, content, styles[model], **settings)
            for name, (model, settings) in {
                "adain": ("adain", {}), **{name: ("quantart", settings) for name, settings in VARIANTS.items()}
            }.items()
        }  # fmt: skip
        found |= in_turns(works, rounds)
    return found


def cost(folder: Path) -> dict[str, float]:
    """CPU seconds of AdaIN and of QuantArt in one pass on a picture in memory, the style encoded before."""
    keep_memory()
    found: dict[str, float] = {}
    for runtime in RUNTIMES:
        models = {name: quantart.load(name, device="cpu", backend=runtime) for name in ("adain", "quantart")}
        styles = {name: model.encode_style(folder / STYLE) for name, model in models.items()}
        for side, rounds in ((512, 9), (2048, 3)):
            content = read(folder / f"{side}x{side}-1.{'png' if side == 512 else 'jpg'}")
            works = {
                f"{runtime}-{name}-{side}": partial(model.stylize, content, styles[name], **settings)
                for name, model in models.items()
                for settings in ({"brush": "none"} if name == "quantart" else {},)
            }
            found |= in_turns(works, rounds, time.process_time)
    return found


def gpu(folder: Path) -> dict[str, Any]:
    """On a GPU: seconds of a picture from and to the host's memory, share of the peak, difference to the CPU."""
    if not torch.cuda.is_available():
        return {}
    found: dict[str, Any] = {"name": torch.cuda.get_device_name(), "cases": []}
    for name in ("adain", "quantart"):
        model = quantart.load(name, device="cuda", backend="torch")
        peak = product(model.spec.dtype)
        found["peak"], style = peak / 1e12, model.encode_style(folder / STYLE)
        for width, height in ((512, 512), (1024, 1024), (3840, 2160)):
            seconds = timed(painting(model, np.array(draw(width, height, 1)), style), 20, "cuda")
            reached = sum(published_flops(height, width).values()) / seconds
            case = {"method": name, "size": f"{width}×{height}", "seconds": seconds}
            found["cases"].append({**case, "share": reached / peak})
    for name in ("adain", "quantart"):
        pictures = []
        for device in ("cpu", "cuda"):
            model = quantart.load(name, device=device, precision="fp32", backend="torch")
            pictures.append(np.asarray(model.stylize(folder / CONTENT, folder / STYLE), np.int16))
        found[f"difference-{name}"] = int(abs(pictures[0] - pictures[1]).max())
    return found


def read(path: Path) -> np.ndarray:
    """(H, W, 3) uint8."""
    return np.array(PIL.Image.open(path).convert("RGB"))


def psnr(a: Tensor, b: Tensor) -> float:
    """Of pictures in [0, 1], in dB."""
    return float(-10 * (a - b).square().mean().log10())


NAMES = {f.__name__: f for f in (warm_baseline, warm, share, tiled, methods, cost, gpu)}

if __name__ == "__main__":
    print(json.dumps(NAMES[sys.argv[1]](Path(sys.argv[2]))))
