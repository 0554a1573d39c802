"""What the paper compares, under which protocol, and runs that can be stopped at any time."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from infoplane_torch import evaluation
from infoplane_torch.checkpoints import write_atomically
from infoplane_torch.data import ImageData, load
from infoplane_torch.presets import ModelConfig, fae, iaf_vae, mae, pixel_vae, vae
from infoplane_torch.runs import Run, RunConfig, load_run, start_run
from infoplane_torch.training import TrainingConfig, is_finished

_BLOCK = 250  # test images evaluated between two looks at the clock
_PLANE_IMAGES = 1000  # flows need Monte Carlo: the mean over so many images is known to a per cent


@dataclass(frozen=True)
class Protocol:
    """How models are trained and measured, the same for all of them.

    Parameters
    ----------
    data : str
        Name of a data set.
    images : tuple of int or None
        Training, validation and test images, at most; None for all.
    hidden : tuple of int
        Widths of the fully connected layers.
    latent_dim : int
        Dimension of the code.
    training : TrainingConfig
        Epochs and all else.
    seeds : tuple of int
        Of the repetitions.
    weights : tuple of float
        λ to choose from, by the ELBO of the validation images in the first seed.
    samples : int
        Importance samples for each test image.
    pixel : dict
        Options of the PixelVAE.
    pixel_epochs : int or None
        Its epochs, a quarter of them for the warm-up; None for those of the others.
    pixel_samples : int or None
        Its importance samples; None for those of the others.
    """

    data: str
    images: tuple[int | None, int | None, int | None]
    hidden: tuple[int, ...]
    latent_dim: int
    training: TrainingConfig
    seeds: tuple[int, ...]
    weights: tuple[float, ...]
    samples: int
    pixel: dict[str, Any] = dataclasses.field(default_factory=dict)
    pixel_epochs: int | None = None
    pixel_samples: int | None = None

    def training_of(self, model: ModelConfig) -> TrainingConfig:
        """How long a model is trained, and how."""
        if model.likelihood != "pixel_cnn" or self.pixel_epochs is None:
            return self.training
        epochs = self.pixel_epochs
        return dataclasses.replace(self.training, epochs=epochs, warmup_epochs=max(1, epochs // 4))

    def samples_of(self, model: ModelConfig) -> int:
        """Importance samples for each test image of a model."""
        if model.likelihood != "pixel_cnn" or self.pixel_samples is None:
            return self.samples
        return self.pixel_samples


# Sizes, data, samples and the range of λ stand in the text; warm-up, batch and patience in the authors' code.
FULL = Protocol(
    data="binarized_mnist",
    images=(None, None, None),
    hidden=(300,) * 5,
    latent_dim=40,
    training=TrainingConfig(epochs=500, batch_size=100, learning_rate=4e-4, warmup_epochs=100, patience=50),
    seeds=(0, 1, 2),
    weights=(0.01, 0.1, 1.0, 10.0),
    samples=5000,
)
# What one core trains in two hours and a half: a falling learning rate makes up for many epochs.
SHORT = dataclasses.replace(
    FULL,
    images=(None, None, 1000),
    training=TrainingConfig(
        epochs=40, batch_size=100, learning_rate=1e-3, schedule="cosine", warmup_epochs=30, patience=None
    ),
    seeds=(0,),
    weights=(1.0,),
    pixel={"channels": (16, 16, 32), "pixel_channels": 16, "pixel_layers": 3},
    pixel_epochs=5,
    pixel_samples=50,
)
QUICK = Protocol(
    data="binarized_mnist",
    images=(3000, 500, 100),
    hidden=(200, 200),
    latent_dim=20,
    training=TrainingConfig(epochs=12, batch_size=100, learning_rate=1e-3, warmup_epochs=6, patience=None),
    seeds=(0, 1),
    weights=(1.0,),
    samples=200,
    pixel={"channels": (8, 8, 16), "pixel_channels": 8, "pixel_layers": 2, "pixel_kernel": 3},
)


@dataclass(frozen=True)
class System:
    """A row of Table 1.

    Parameters
    ----------
    name : str
        What tables and pictures call it.
    paper : float or None
        Its negative log-likelihood in the paper.
    configure : callable
        Turns λ and further options into a `ModelConfig`.
    weighted : bool, default False
        Whether there is a λ.
    pixels : bool, default False
        Whether it is a PixelVAE, and takes the protocol's options of one.
    """

    name: str
    paper: float | None
    configure: Callable[..., ModelConfig]
    weighted: bool = False
    pixels: bool = False


def _fae(fisher: float) -> Callable[..., ModelConfig]:
    return lambda weight, **options: fae(fisher, weight, **options)


def _mae(information: float) -> Callable[..., ModelConfig]:
    return lambda weight, **options: mae(information, weight, **options)


TABLE = (
    System("VAE", 85.56, lambda weight, **options: vae(**options)),
    System("FAE(F=0)", 83.2, _fae(0.0), weighted=True),
    System("FAE(F=20)", 79.30, _fae(20.0), weighted=True),
    System("MAE(M=0)", 81.58, _mae(0.0), weighted=True),
    System("MAE(M=10)", 80.86, _mae(10.0), weighted=True),
    System("IAF", 79.85, lambda weight, **options: iaf_vae(**options)),
    System("PixelVAE", 79.21, lambda weight, **options: pixel_vae(**options), pixels=True),
)
# What the parts of this package reach together; nothing in the paper stands beside them.
BEST = (
    System("VAE, RealNVP prior", None, lambda weight, **options: vae(prior="realnvp", **options)),
    System("IAF, RealNVP prior", None, lambda weight, **options: iaf_vae(prior="realnvp", **options)),
    System(
        "FAE(F=20, Lagrangian), VampPrior",
        None,
        lambda weight, **options: fae(20.0, weight, form="lagrangian", prior="vamp", **options),
        weighted=True,
    ),
    System(
        "PixelVAE, IAF, RealNVP prior",
        None,
        lambda weight, **options: pixel_vae(posterior="iaf", prior="realnvp", **options),
        pixels=True,
    ),
    System(
        "FAE(F=20), PixelVAE, RealNVP prior",
        None,
        lambda weight, **options: pixel_vae(
            prior="realnvp", penalties=fae(20.0, weight).penalties, **options
        ),
        weighted=True,
        pixels=True,
    ),
)


class OutOfTimeError(Exception):
    """The budget is spent; everything reached so far is on the disk."""


@dataclass(frozen=True)
class Study:
    """Runs of a protocol in a folder.

    Parameters
    ----------
    protocol : Protocol
        What is done.
    folder : Path
        Where tables and figures are kept.
    runs : Path
        Where runs are kept: those of one configuration are one, whatever the protocol.
    data_dir : Path or None
        Folder with the files of the data.
    deadline : float
        Clock time (`time.time`) after which nothing new is begun.
    device : str
        Where to train and to measure.
    """

    protocol: Protocol
    folder: Path
    runs: Path
    data_dir: Path | None
    deadline: float
    device: str

    def config(self, system: System, weight: float, seed: int, **options: Any) -> RunConfig:
        """The configuration of a run; `options` are further fields of `ModelConfig`."""
        protocol = self.protocol
        options = {"hidden": protocol.hidden, "latent_dim": protocol.latent_dim, **options}
        if system.pixels:
            options |= protocol.pixel
        source, data_dir = self._source()
        model = system.configure(weight, **options)
        return RunConfig(
            source,
            None if data_dir is None else str(data_dir),
            model,
            dataclasses.replace(protocol.training_of(model), seed=seed, accelerator=self.device),
        )

    def trained(self, config: RunConfig) -> Run:
        """Train until done, or raise `OutOfTimeError` after the epoch in which the time was up."""
        folder = self.place(config)
        if not (folder / "finished").exists():
            left = self.deadline - time.time()
            if left <= 0:
                raise OutOfTimeError(f"the start of {folder.name}")
            run, _ = start_run(config, folder, max_seconds=left)
            if not is_finished(run.history, config.training):
                done = f"epoch {len(run.history.rows)} of {config.training.epochs}"
                raise OutOfTimeError(f"{folder.name}: {done}")
            (folder / "finished").touch()
        return load_run(folder, device=self.device)

    def place(self, config: RunConfig) -> Path:
        """Folder of a run: readable, and different for different configurations."""
        model = config.to_dict()
        model["training"].pop("accelerator")
        digest = hashlib.sha256(json.dumps(model, sort_keys=True).encode()).hexdigest()[:10]
        return self.runs / f"{Path(config.data).stem}-{digest}-seed{config.training.seed}"

    def chosen_weight(self, system: System, **options: Any) -> float:
        """λ with the best ELBO on the validation images, in the first seed."""
        if not system.weighted:
            return 0.0
        weights = self.protocol.weights
        if len(weights) == 1:
            return weights[0]
        elbo = {
            weight: max(
                self.trained(self.config(system, weight, self.protocol.seeds[0], **options)).history.column(
                    "valid_elbo"
                )
            )
            for weight in weights
        }
        return max(elbo, key=lambda weight: elbo[weight])

    def data(self, run: Run) -> ImageData:
        """The data of a run; `data_dir` is for named data sets, not for files that were made from them."""
        return run.data(data_dir=self.data_dir if run.config.data_dir else None)

    def test_images(self, run: Run) -> torch.Tensor:
        """The test images of the protocol: all, or as many drawn once for all models."""
        images = run.seen(self.data(run), "test")
        count = self.protocol.images[2]
        if count is None or count >= len(images):
            return images
        return images[torch.randperm(len(images), generator=torch.Generator().manual_seed(0))[:count]]

    def log_likelihoods(self, config: RunConfig, run: Run) -> tuple[np.ndarray, np.ndarray]:
        """log p(x) and effective sample sizes of the test images, kept block by block."""
        images, samples = self.test_images(run), self.protocol.samples_of(config.model)
        file = self.place(config) / f"likelihood-{len(images)}-{samples}.npz"
        done = dict(np.load(file)) if file.exists() else {"log_likelihood": np.empty(0), "ess": np.empty(0)}
        while (start := len(done["ess"])) < len(images):
            if time.time() > self.deadline:
                raise OutOfTimeError(f"{file.parent.name}: likelihood of {start} of {len(images)} images")
            found = evaluation.log_likelihood(
                run.vae, images[start : start + _BLOCK], num_samples=samples, seed=start
            )
            done["log_likelihood"] = np.append(done["log_likelihood"], found.log_likelihood.cpu())
            done["ess"] = np.append(done["ess"], found.effective_sample_size.cpu())
            _save_arrays(file, done)
        return done["log_likelihood"], done["ess"]

    def measured(self, config: RunConfig, run: Run) -> dict[str, Any]:
        """All figures of a finished run on the test images, kept as JSON."""
        values, ess = self.log_likelihoods(config, run)
        samples = self.protocol.samples_of(config.model)
        file = self.place(config) / f"measured-{len(values)}-{samples}.json"
        if file.exists():
            kept: dict[str, Any] = json.loads(file.read_text())
            return kept
        images = self.test_images(run)
        bound = evaluation.elbo(run.vae, images)
        point = evaluation.plane_point(run.vae, images[:_PLANE_IMAGES], num_samples=64)
        information = evaluation.aggregated_posterior_information(run.vae, images)
        found = {
            "images": len(values),
            "samples": samples,
            "epochs": len(run.history.rows),
            "best_epoch": run.history.best_epoch,
            "seconds": sum(run.history.column("seconds")),
            "nll": -float(values.mean()),
            "nll_se": float(values.std(ddof=1) / np.sqrt(len(values))),
            "ess_median": float(np.median(ess)),
            "negative_elbo": float(bound.negative_elbo),
            "reconstruction": float(bound.reconstruction),
            "kl": float(bound.kl),
            "information": float(information.information),
            "entropy_power": float(point.entropy_power),
            "fisher_mean": float(point.fisher_trace) / point.d,
            "product": float(point.product),
            "active_units": evaluation.active_units(run.vae, images),
        }
        write_atomically(file, json.dumps(found, indent=2).encode() + b"\n")
        return found

    def write(self, name: str, text: str) -> None:
        """Write a table, or the numbers of one, into the folder.

        Parameters
        ----------
        name : str
            Of the file.
        text : str
            Its content.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        write_atomically(self.folder / name, text.encode())

    def _source(self) -> tuple[str, Path | None]:
        """The data set by name, or a file with the first images of it."""
        limits = self.protocol.images
        if limits[:2] == (None, None):
            return self.protocol.data, self.data_dir
        file = self.runs / f"{self.protocol.data}-{limits[0]}-{limits[1]}.npz"
        if not file.exists():
            _save_arrays(file, _first(load(self.protocol.data, self.data_dir), limits))
        return str(file), None


def unfinished(missing: Sequence[str]) -> str:
    """A list in Markdown of what the budget did not allow, if anything."""
    lines = "".join(f"- {each}\n" for each in missing)
    return f"Not finished, and the same command goes on:\n\n{lines}\n" if missing else ""


def _first(data: ImageData, limits: tuple[int | None, int | None, int | None]) -> dict[str, np.ndarray]:
    """Images drawn at random for training and validation, and all for tests, as `load` reads them again."""
    arrays = {}
    for split, limit in zip(("train", "valid", "test"), (*limits[:2], None), strict=True):
        images = getattr(data, split)
        order = torch.randperm(len(images), generator=torch.Generator().manual_seed(1))[:limit]
        kept = order if limit is not None else slice(None)
        arrays[split] = images[kept].numpy()
        labels = getattr(data, f"{split}_labels")
        if labels is not None:
            arrays[f"{split}_labels"] = labels[kept].numpy()
    return arrays


def _save_arrays(file: Path, arrays: dict[str, np.ndarray]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_suffix(".part.npz")
    np.savez_compressed(partial, **arrays)
    partial.replace(file)
