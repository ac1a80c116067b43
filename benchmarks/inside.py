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
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks import baseline
from benchmarks.materials import draw
from quantart_cli import api
from quantart_cli.engine.allocator import keep_memory
from quantart_cli.engine.build import build
from quantart_cli.engine.device import choose
from quantart_cli.engine.machine import Machine
from quantart_cli.engine.tiling import Tiles
from quantart_cli.methods.controls import CONTROLS
from quantart_cli.methods.features import decode, encode

CONTENT, STYLE = "512x512-1.png", "512x512-2.png"
_RUNS, _WARM = 15, 3


def tensor(picture: np.ndarray | PIL.Image.Image, device: str = "cpu") -> Tensor:
    """An RGB picture, (H, W, 3) uint8 -> (1, 3, H, W) uint8."""
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None].to(device)


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


def in_turns(works: Mapping[str, Callable[[], Any]], runs: int) -> dict[str, float]:
    """Median seconds of several calls that take turns, after one each that does not count: all see one machine."""
    seconds: dict[str, list[float]] = {name: [] for name in works}
    for i in range(runs + 1):
        for name, work in works.items():
            start = time.perf_counter()
            work()
            if i > 0:
                seconds[name].append(time.perf_counter() - start)
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


@torch.inference_mode()
def warm(folder: Path) -> dict[str, float]:
    """Our pictures a second at 512² with the style encoded before, and the PSNR to what warm_baseline has kept."""
    keep_memory()
    method = build("adain", choose("cpu"))
    content, style = (tensor(read(folder / name)) for name in (CONTENT, STYLE))
    encoded, controls = method.encode_style([(style, None)], [1.0]), CONTROLS["adain"]()
    image = method.stylize(content, encoded, controls)
    seconds = timed(lambda: method.stylize(content, encoded, controls))
    theirs = torch.from_numpy(np.load(folder / "baseline.npy"))
    return {"rate": 1 / seconds, "psnr": psnr(image.clamp(0, 1), theirs)}


@torch.inference_mode()
def share(folder: Path) -> dict[str, float]:
    """TFLOP/s of the encoder, of the decoder and of a whole picture at 512², and those of the machine."""
    keep_memory()
    machine = choose("cpu")
    method = build("adain", machine)
    content, style = (tensor(read(folder / name)) for name in (CONTENT, STYLE))
    encoded, controls = method.encode_style([(style, None)], [1.0]), CONTROLS["adain"]()
    features, count = encode(method.vgg, content), published_flops(512, 512)
    z = features.z.float()
    peak, count["peak"] = convolution(machine.dtype)
    count["all"] = count["encoder"] + count["decoder"]
    works = {
        "peak": peak,
        "encoder": lambda: encode(method.vgg, content),
        "decoder": lambda: decode(method.decoder, lambda _: z, features.grid, (512, 512)),
        "all": lambda: method.stylize(content, encoded, controls),
    }
    return {name: count[name] / seconds / 1e12 for name, seconds in in_turns(works, _RUNS).items()}


@torch.inference_mode()
def tiled(folder: Path) -> dict[str, float]:
    """Largest difference between tiled and whole, float32, over random sizes and tiles."""
    numbers, worst = random.Random(0), {}
    for name in ("adain", "quantart"):
        method, worst[name] = build(name, Machine("cpu", "fp32", "as the case says")), 0.0
        style = method.encode_style([(tensor(read(folder / STYLE)), None)], [1.0])
        for i in range(12):
            height, width, side = numbers.randint(1, 700), numbers.randint(1, 700), 8 * numbers.randint(8, 50)
            content = tensor(draw(width, height, i))
            whole, cut = (
                method.stylize(content, style, CONTROLS[name](), tiles=tiles) for tiles in (Tiles(), Tiles(side))
            )
            difference = float((whole - cut).abs().max())
            worst[name] = difference if math.isnan(difference) else max(worst[name], difference)
    return worst


def methods(folder: Path) -> dict[str, float]:
    """Seconds of AdaIN and of QuantArt on a picture in memory, as the Python API paints it, at 512² and 2048².

    "plain" is QuantArt with the decoder of AdaIN, as of a codebook that comes without one of its own.
    """
    keep_memory()
    found: dict[str, float] = {}
    models = {name: api.load(name.split()[0], device="cpu") for name in ("adain", "quantart", "quantart plain")}
    plain = models["quantart plain"]._networks
    plain.quantized = plain.decoder
    styles = {name: model.encode_style(folder / STYLE) for name, model in models.items()}
    for side, rounds in ((512, 9), (2048, 3)):
        content = read(folder / f"{side}x{side}-1.{'png' if side == 512 else 'jpg'}")
        works = {f"{name}-{side}": partial(model.stylize, content, styles[name]) for name, model in models.items()}
        found |= in_turns(works, rounds)
    return found


@torch.inference_mode()
def gpu(folder: Path) -> dict[str, Any]:
    """On a GPU: seconds of a picture that lies there, pictures a second from and to the host, share of the peak."""
    if not torch.cuda.is_available():
        return {}
    machine = choose("cuda")
    peak = product(machine.dtype)
    found: dict[str, Any] = {"name": torch.cuda.get_device_name(), "peak": peak / 1e12, "cases": []}
    for name in ("adain", "quantart"):
        method, controls = build(name, machine), CONTROLS[name]()
        encoded = method.encode_style([(tensor(read(folder / STYLE), "cuda"), None)], [1.0])
        for width, height in ((512, 512), (1024, 1024), (3840, 2160)):
            host = tensor(draw(width, height, 1)).contiguous().pin_memory()
            there = host.to("cuda")
            seconds = timed(lambda m=method, c=there, e=encoded, k=controls: m.stylize(c, e, k), 20, "cuda")
            rate = _throughput(lambda x, m=method, e=encoded, k=controls: m.stylize(x, e, k), host)
            reached = sum(published_flops(height, width).values()) / seconds
            case = {"method": name, "size": f"{width}×{height}", "seconds": seconds, "rate": rate}
            found["cases"].append({**case, "share": reached / peak})
    for name in ("adain", "quantart"):
        pictures = []
        for device in ("cpu", "cuda"):
            model = api.load(name, device=device, precision="fp32")
            pictures.append(np.asarray(model.stylize(folder / CONTENT, folder / STYLE), np.int16))
        found[f"difference-{name}"] = int(abs(pictures[0] - pictures[1]).max())
    return found


def _throughput(stylize: Callable[[Tensor], Tensor], host: Tensor, count: int = 20) -> float:
    """Pictures a second, copies from and to pinned memory included, waited for once at the end."""
    results = [torch.empty(host.shape, dtype=torch.uint8, pin_memory=True) for _ in range(2)]

    def paint_all() -> None:
        for i in range(count):
            image = stylize(host.to("cuda", non_blocking=True))
            results[i % 2].copy_(image.clamp_(0, 1).mul_(255).round_().to(torch.uint8), non_blocking=True)

    return count / timed(paint_all, 3, "cuda")


def read(path: Path) -> np.ndarray:
    """(H, W, 3) uint8."""
    return np.array(PIL.Image.open(path).convert("RGB"))


def psnr(a: Tensor, b: Tensor) -> float:
    """Of pictures in [0, 1], in dB."""
    return float(-10 * (a - b).square().mean().log10())


NAMES = {f.__name__: f for f in (warm_baseline, warm, share, tiled, methods, gpu)}

if __name__ == "__main__":
    print(json.dumps(NAMES[sys.argv[1]](Path(sys.argv[2]))))
