"""Seconds of the paper's VAE on one GPU: epochs, likelihoods, and how far from what the card allows.

    python -m benchmarks.gpu

Writes results/gpu.json and results/gpu.md; without a GPU it says "not measured: no GPU" and leaves the files
of an earlier measurement as they are.
"""

from __future__ import annotations

import dataclasses
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import tyro
from torch import Tensor, nn

from benchmarks import loops
from benchmarks.training import RESULTS, binary_images, version
from infoplane_torch import information, presets
from infoplane_torch.image_data import ImageData
from infoplane_torch.training import TrainingConfig, train_together
from infoplane_torch.training_config import Precision

# What is asked for, on an H100: times as fast as the other ways, and seconds.
TARGETS = {"DataLoader loop": 20.0, "Pythae": 15.0}
SECONDS = {"500 epochs": 30.0, "likelihood": 5.0}


@dataclass(frozen=True)
class Options:
    """How much to measure."""

    rounds: int = 3
    """Rounds; each runs every way of training once."""
    images: int = 50_000
    """Images an epoch."""
    batch_size: int = 128
    """Images a step."""
    epochs: int = 20
    """Epochs of a whole run, with validation and checkpoints, from which 500 are reckoned."""
    models: int = 16
    """Models side by side."""
    test_images: int = 10_000
    """Images of the likelihood."""
    samples: int = 5000
    """Importance samples an image."""
    pixel_images: int = 5000
    """Images an epoch of the PixelVAE."""
    points: int = 100_000
    """Points of the estimators of samples, in ten dimensions."""
    data_dir: Path | None = None
    """Folder of the static binarised MNIST; without the files, random bits, which take as long."""
    device: str = "cuda"
    """Device; "cpu" only tries the program out."""
    out: Path = RESULTS
    """Folder of the results."""


def main(options: Options) -> None:
    if options.device == "cuda" and not torch.cuda.is_available():
        print("not measured: no GPU")
        if not (options.out / "gpu.json").exists():
            write({"measured": False}, options.out)
        return
    images = binary_images(options.images, options.data_dir)
    record: dict[str, Any] = {
        "measured": True,
        "device": torch.cuda.get_device_name() if options.device == "cuda" else options.device,
        "versions": {"torch": torch.__version__, "pythae": version("pythae")},
        "options": {name: str(value) for name, value in dataclasses.asdict(options).items()},
        "epochs": epochs(images, options),
        "run": whole_run(images, options, models=1),
        "together": together(images, options),
        "likelihood": likelihood(images, options, "32-true"),
        "likelihood in bfloat16": likelihood(images, options, "bf16-mixed"),
        "pixel_vae": pixel_vae(images, options),
        "samples": samples(options),
        "bounds": bounds(images, options),
    }
    write(record, options.out)


def epochs(images: Tensor, options: Options) -> dict[str, dict[str, float] | None]:
    """Seconds an epoch of training alone, and how many times that of our fastest way."""
    batch, device = options.batch_size, options.device
    record = device == "cuda"
    ways = {
        "infoplane, recorded and compiled": loops.ours(images, batch, device, compile=True, record=record),
        "infoplane, recorded": loops.ours(images, batch, device, record=record),
        "infoplane, eager": loops.ours(images, batch, device),
        "bare eager loop": loops.bare_eager(images, batch, device),
        "DataLoader loop": loops.dataloader_eager(images, batch, device),
        "Pythae": loops.pythae(images, batch, device),
    }
    times: dict[str, list[float]] = {name: [] for name, way in ways.items() if way is not None}
    for number in range(options.rounds + 1):  # the first compiles and records, and is not counted
        for name in times:
            seconds = timed(ways[name], device)
            if number:
                times[name].append(seconds)
    medians = {name: statistics.median(values) for name, values in times.items()}
    fastest = min(value for name, value in medians.items() if name.startswith("infoplane"))
    return {
        name: {"seconds": medians[name], "ratio": medians[name] / fastest} if name in medians else None
        for name in ways
    }


def together(images: Tensor, options: Options) -> dict[str, float]:
    """Seconds of a curve: an epoch of several models side by side and of one, and a whole run of them."""
    batch, device, record = options.batch_size, options.device, options.device == "cuda"
    one = loops.ours(images, batch, device, record=record)
    several = loops.ours_together(images, batch, device, options.models, record=record)
    times: dict[str, list[float]] = {"one": [], "several": []}
    for number in range(options.rounds + 1):  # the first records, and is not counted
        for name, way in (("one", one), ("several", several)):
            seconds = timed(way, device)
            if number:
                times[name].append(seconds)
    result = {name: statistics.median(values) for name, values in times.items()}
    run = whole_run(images, options, models=options.models)
    return result | {"500 epochs": run["500 epochs"], "start": run["start"]}


def whole_run(images: Tensor, options: Options, *, models: int) -> dict[str, float]:
    """Seconds of training itself: with validation on a fifth as many images, logs and checkpoints."""
    valid = images[: max(1, len(images) // 5)]
    data = ImageData("mnist", images, valid, valid, binary=True)
    seconds = {}
    for length in (1, 1, 1 + options.epochs):  # the first run ever starts libraries too, and is not counted
        torch.manual_seed(0)
        config = TrainingConfig(
            epochs=length,
            batch_size=options.batch_size,
            accelerator=options.device,
            compile=options.device == "cuda" and models == 1,
            warmup_epochs=0,
            patience=None,
        )
        family = [presets.fae(float(fisher), 1.0) for fisher in range(models)]
        built = [presets.build(config) for config in (family if models > 1 else [presets.vae()])]
        with tempfile.TemporaryDirectory() as folder:
            folders = [Path(folder) / str(number) for number in range(models)]
            configs = [dataclasses.replace(config, seed=number) for number in range(models)]
            began = time.perf_counter()
            train_together(built, data, configs, folders, progress=False)
            seconds[length] = time.perf_counter() - began
    an_epoch = (seconds[1 + options.epochs] - seconds[1]) / options.epochs
    return {"start": seconds[1] - an_epoch, "epoch": an_epoch, "500 epochs": seconds[1] + 499 * an_epoch}


def likelihood(images: Tensor, options: Options, precision: Precision) -> dict[str, float]:
    """Seconds for the importance-sampled likelihood of all test images."""
    torch.manual_seed(0)
    vae, _ = presets.build(presets.vae())
    vae = vae.to(options.device)
    x = images[: options.test_images].float().to(options.device)
    sizes = {"chunk_size": 1000, "batch_size": 128} if options.device == "cuda" else {}

    def measure(count: int) -> Callable[[], Tensor]:
        return lambda: loops.our_likelihood(vae, x[:count], options.samples, precision=precision, **sizes)

    timed(measure(min(len(x), 128)), options.device)
    return {"seconds": timed(measure(len(x)), options.device), "images": len(x)}


def pixel_vae(images: Tensor, options: Options) -> dict[str, float]:
    """Images a second of training the PixelVAE of the paper's size, by ways to run the same step."""
    few, batch, device = images[: options.pixel_images], options.batch_size, options.device
    config, record = presets.pixel_vae(), device == "cuda"
    ways = {
        "eager": loops.ours(few, batch, device, config=config),
        "recorded": loops.ours(few, batch, device, config=config, record=record),
        "recorded, bfloat16": loops.ours(
            few, batch, device, config=config, record=record, precision="bf16-mixed"
        ),
        "recorded and compiled, bfloat16": loops.ours(
            few, batch, device, config=config, record=record, precision="bf16-mixed", compile=record
        ),
    }
    rates = {}
    for name, way in ways.items():
        timed(way, device)  # compiles and records
        rates[name] = len(few) / min(timed(way, device) for _ in range(options.rounds))
    return rates


def samples(options: Options) -> dict[str, float]:
    """Seconds of the differentiable estimators of a sample in ten dimensions, value and gradient."""
    z = torch.randn(options.points, 10, device=options.device).requires_grad_()
    names = ("knn_entropy", "kde_entropy", "kde_fisher_trace")
    return {
        name: least(lambda name=name: getattr(information, name)(z).backward(), options.device, rounds=2)
        for name in names
    }


def bounds(images: Tensor, options: Options) -> dict[str, float]:
    """What an epoch takes at the least, in seconds, by the rates that this device is measured to have."""
    steps = -(-len(images) // options.batch_size)
    layers = [module for module in presets.build(presets.vae())[0].modules() if isinstance(module, nn.Linear)]
    # Forward, and the two gradients backward; the first layer's input needs none.
    products = [2 * layer.in_features * layer.out_features * options.batch_size for layer in layers]
    flops = 3 * sum(products) - products[0]
    # Each parameter in float32 is read forward and backward, its gradient written; Adam reads four numbers
    # and writes three.
    traffic = 4 * 10 * sum(parameter.numel() for layer in layers for parameter in layer.parameters())
    result = {
        "arithmetic": steps * flops / matrix_rate(options.device),
        "memory": steps * traffic / bandwidth(options.device),
    }
    if options.device == "cuda":
        kernels = kernels_a_step(images, options)
        result["kernels a step"] = kernels
        result["launches from the processor"] = steps * kernels * launch_seconds(recorded=False)
        result["launches within a recorded graph"] = steps * kernels * launch_seconds(recorded=True)
    return result


def matrix_rate(device: str) -> float:
    """Floating-point operations a second of a large float32 product, with PyTorch's settings as they are."""
    n = 8192 if device == "cuda" else 512
    a = torch.randn(n, n, device=device)
    return 2 * n**3 / least(lambda: a @ a, device)


def bandwidth(device: str) -> float:
    """Bytes a second, read and written, of a copy too large for any cache."""
    n = 2**28 if device == "cuda" else 2**22
    a, b = torch.zeros(n, device=device), torch.zeros(n, device=device)
    return 8 * n / least(lambda: b.copy_(a), device)


def launch_seconds(*, recorded: bool, count: int = 1000) -> float:
    """Seconds that one of many tiny kernels takes."""
    x = torch.zeros(1, device="cuda")

    def run() -> None:
        for _ in range(count):
            x.add_(1)

    if recorded:
        graph = torch.cuda.CUDAGraph()
        run()
        with torch.cuda.graph(graph):
            run()
        return least(graph.replay, "cuda") / count
    return least(run, "cuda") / count


def kernels_a_step(images: Tensor, options: Options) -> int:
    """How many kernels the eager step runs, by the profiler."""
    few = images[: 2 * options.batch_size]
    epoch = loops.ours(few, options.batch_size, "cuda")
    epoch()
    activities = [torch.profiler.ProfilerActivity.CUDA, torch.profiler.ProfilerActivity.CPU]
    with torch.profiler.profile(activities=activities) as profile:
        epoch()
        torch.cuda.synchronize()
    on_device = [e for e in profile.events() if e.device_type == torch.autograd.DeviceType.CUDA]
    return len(on_device) // 2


def least(work: Callable[[], Any], device: str, *, rounds: int = 5) -> float:
    work()
    return min(timed(work, device) for _ in range(rounds))


def timed(work: Callable[[], Any] | None, device: str) -> float:
    assert work is not None
    if device == "cuda":
        torch.cuda.synchronize()
    began = time.perf_counter()
    work()
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - began


def write(record: dict[str, Any], folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "gpu.json").write_text(json.dumps(record, indent=2) + "\n")
    (folder / "gpu.md").write_text(markdown(record))
    print(markdown(record))


def markdown(record: dict[str, Any]) -> str:
    parts = ["# Training and likelihood on a GPU"]
    if not record["measured"]:
        return (
            "\n\n".join([*parts, "not measured: no GPU. `python -m benchmarks.gpu` on a machine with one."])
            + "\n"
        )
    chosen = record["options"]
    parts.append(
        f"The paper's VAE (784–5×300–40), {chosen['images']} images, batch {chosen['batch_size']}; "
        f"{record['device']}; torch {record['versions']['torch']}. `python -m benchmarks.gpu`."
    )
    rows = ["| training alone | s an epoch | times our fastest | target |", "|---|---|---|---|"]
    for name, cell in record["epochs"].items():
        target = f"≥ {TARGETS[name]:g}" if name in TARGETS else ""
        shown = f"{cell['seconds']:.4f} | {cell['ratio']:.2f} | {target}" if cell else "not installed | |"
        rows.append(f"| {name} | {shown} |")
    parts.append("\n".join(rows))
    run, nll = record["run"], record["likelihood"]
    parts.append(
        "| whole jobs | s | target |\n|---|---|---|\n"
        f"| 500 epochs by `train`, validation and checkpoints included (reckoned from {chosen['epochs']}) | "
        f"{run['500 epochs']:.1f}, of which {run['start']:.1f} to start | < {SECONDS['500 epochs']:g} |\n"
        f"| likelihood of {nll['images']} images, {chosen['samples']} samples each | {nll['seconds']:.2f} | "
        f"< {SECONDS['likelihood']:g} |\n"
        f"| the same in bfloat16 | {record['likelihood in bfloat16']['seconds']:.2f} | |"
    )
    rates = record["pixel_vae"]
    rows = ["| training the PixelVAE | images a second | times eager |", "|---|---|---|"]
    rows += [f"| {name} | {rate:.0f} | {rate / rates['eager']:.2f} |" for name, rate in rates.items()]
    parts.append("\n".join(rows))
    rows = [f"| of {chosen['points']} points in 10 dimensions | s, value and gradient |", "|---|---|"]
    rows += [f"| `{name}` | {seconds:.2f} |" for name, seconds in record["samples"].items()]
    parts.append("\n".join(rows))
    both = record["together"]
    times, count = both["several"] / both["one"], chosen["models"]
    least = [int(count) * record["bounds"][name] for name in ("arithmetic", "memory")]
    parts.append(
        f"| a curve of {count} models (different F and seeds) side by side | s | times one |\n|---|---|---|\n"
        f"| an epoch of training alone, recorded | {both['several']:.4f} | {times:.2f} |\n"
        f"| the same of one model, recorded | {both['one']:.4f} | 1 |\n"
        f"| 500 epochs by `train_together`, validation and checkpoints included | {both['500 epochs']:.1f}, "
        f"of which {both['start']:.1f} to start | {both['500 epochs'] / run['500 epochs']:.2f} |\n"
        f"| an epoch takes at least, by arithmetic and by memory | {least[0]:.4f}, {least[1]:.4f} | |"
    )
    reached = min(cell["seconds"] for name, cell in record["epochs"].items() if cell and "infoplane" in name)
    rows = ["| an epoch takes at least, by | s | of the epoch |", "|---|---|---|"]
    for name, seconds in record["bounds"].items():
        if name != "kernels a step":
            rows.append(f"| {name} | {seconds:.4f} | {100 * seconds / reached:.0f} % |")
    parts.append("\n".join(rows))
    if "kernels a step" in record["bounds"]:
        parts.append(
            f"The eager step runs {record['bounds']['kernels a step']} kernels; the launch bounds are "
            "so many times an empty one, and compiled code has fewer. Rates are measured on this card by a "
            "large product, a large copy, and a thousand tiny kernels."
        )
    return "\n\n".join(parts) + "\n"


if __name__ == "__main__":
    main(tyro.cli(Options))
