"""Seconds of the paper's VAE on a CPU: a step of training, and the likelihood of an image.

    python -m benchmarks.training

Writes results/training.json and results/training.md. Every round runs each way of doing it once, in an order
that rotates, so that what else the machine does hits all alike; ratios are taken within a round.
"""

from __future__ import annotations

import importlib.metadata
import json
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import tyro
from torch import Tensor

from benchmarks import loops
from infoplane_torch import presets
from infoplane_torch.data import load

RESULTS = Path(__file__).parent / "results"
TARGETS = {"Pythae": 1.25, "bare eager loop": 1.1, "Pythae's way": 3.0, "one sample a call": 20.0}


@dataclass(frozen=True)
class Options:
    """How much to measure."""

    rounds: int = 15
    """Rounds of training; the median over them is reported."""
    steps: int = 40
    """Steps of training a round."""
    batch_size: int = 128
    """Images a step."""
    images: int = 4
    """Images a round of likelihoods."""
    samples: int = 5000
    """Importance samples an image; one sample a call is measured with a twentieth of them."""
    threads: int = 1
    """CPU threads."""
    models: int = 4
    """Models side by side."""
    compile: bool = True
    """Measure the compiled step too."""
    data_dir: Path | None = None
    """Folder of the static binarised MNIST; without the files, random bits, which take as long."""


def main(options: Options) -> None:
    torch.set_num_threads(options.threads)
    images = binary_images(options.steps * options.batch_size, options.data_dir)
    record = {
        "machine": f"{platform.processor() or platform.machine()}, {options.threads} threads",
        "versions": {"torch": torch.__version__, "pythae": version("pythae")},
        "batch_size": options.batch_size,
        "models": options.models,
        "training": training(images, options),
        "likelihood": likelihood(images, options),
        "together": together(images, options),
    }
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "training.json").write_text(json.dumps(record, indent=2) + "\n")
    (RESULTS / "training.md").write_text(text := markdown(record))
    print(text)


def training(images: Tensor, options: Options) -> dict[str, Any]:
    """Milliseconds a step, and how many times as fast as each other way ours is."""
    ways: dict[str, Callable[[], None] | None] = {
        "infoplane": loops.ours(images, options.batch_size, "cpu"),
        "infoplane, compiled": (
            loops.ours(images, options.batch_size, "cpu", compile=True) if options.compile else None
        ),
        "bare eager loop": loops.bare_eager(images, options.batch_size, "cpu"),
        "DataLoader loop": loops.dataloader_eager(images, options.batch_size, "cpu"),
        "Pythae": loops.pythae(images, options.batch_size, "cpu"),
    }
    return compared(ways, options.rounds, options.steps)


def likelihood(images: Tensor, options: Options) -> dict[str, Any]:
    """Milliseconds an image with `samples` importance samples."""
    torch.manual_seed(0)
    vae, _ = presets.build(presets.vae())
    x, part = images[: options.images].float(), options.samples // 20
    ways = {
        "infoplane": lambda: loops.our_likelihood(vae, x, options.samples),
        "Pythae's way": lambda: loops.pythae_style_likelihood(vae, x, options.samples),
        "one sample a call": lambda: loops.naive_likelihood(vae, x, part),
    }
    factors = {"one sample a call": options.samples / part}
    return compared(ways, max(3, options.rounds // 3), options.images, factors)


def together(images: Tensor, options: Options) -> dict[str, Any]:
    """Milliseconds a step of several models side by side, and of as many one after another."""
    few = images[: max(1, options.steps // options.models) * options.batch_size]
    singles = [loops.ours(few, options.batch_size, "cpu") for _ in range(options.models)]

    def one_after_another() -> None:
        for epoch in singles:
            epoch()

    ways: dict[str, Callable[[], None] | None] = {
        "infoplane": loops.ours_together(few, options.batch_size, "cpu", options.models),
        "one after another": one_after_another,
    }
    return compared(ways, options.rounds, max(1, options.steps // options.models))


def compared(
    ways: dict[str, Callable[[], Any] | None],
    rounds: int,
    units: int,
    factors: dict[str, float] | None = None,
) -> dict[str, Any]:
    """Medians of processor milliseconds a unit, and of the ratios to ours within a round."""
    present = {name: way for name, way in ways.items() if way is not None}
    for way in present.values():
        way()
    times: dict[str, list[float]] = {name: [] for name in present}
    for number in range(rounds):
        names = list(present)
        names = names[number % len(names) :] + names[: number % len(names)]
        for name in names:
            started = time.process_time()
            present[name]()
            spent = (time.process_time() - started) / units
            times[name].append(1e3 * spent * (factors or {}).get(name, 1.0))
    return {
        name: None
        if name not in present
        else {
            "ms": statistics.median(times[name]),
            "ratio": statistics.median(a / b for a, b in zip(times[name], times["infoplane"], strict=True)),
            "target": TARGETS.get(name),
        }
        for name in ways
    }


def markdown(record: dict[str, Any]) -> str:
    parts = [
        "# Training and likelihood on a CPU",
        f"The paper's VAE (784–5×300–40), batch {record['batch_size']}; {record['machine']}; "
        f"torch {record['versions']['torch']}, Pythae {record['versions']['pythae'] or 'not installed'}. "
        "Medians of processor time; ratios: median over rounds of the time it takes over ours. "
        "`python -m benchmarks.training`.",
    ]
    titles = {
        "training": "ms a step",
        "likelihood": "ms an image, 5,000 samples",
        "together": f"ms a step of {record['models']} models",
    }
    for key, title in titles.items():
        rows = [f"| | {title} | times ours | target |", "|---|---|---|---|"]
        for name, cell in record[key].items():
            if cell is None:
                rows.append(f"| {name} | not installed | | |")
            else:
                target = "" if cell["target"] is None else f"≥ {cell['target']:g}"
                rows.append(f"| {name} | {cell['ms']:.2f} | {cell['ratio']:.2f} | {target} |")
        parts.append("\n".join(rows))
    return "\n\n".join(parts) + "\n"


def binary_images(count: int, data_dir: Path | None) -> Tensor:
    """Static binarised MNIST where its files are at hand, else random bits of the same shape."""
    try:
        train = load("binarized_mnist", data_dir).train if data_dir else None
    except FileNotFoundError:
        train = None
    if train is None:
        draws = torch.rand(count, 1, 28, 28, generator=torch.Generator().manual_seed(0))
        return (draws < 0.13).to(torch.uint8)
    return train[:count]


def version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


if __name__ == "__main__":
    main(tyro.cli(Options))
