"""What the command line can do: one record of options and one function a command."""

from __future__ import annotations

import dataclasses
import json
import math
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import matplotlib as mpl
import torch
import tyro
from torch import Tensor

import infoplane_torch.evaluation as evaluation
import infoplane_torch.figures as figures
from infoplane.estimate import Estimate, FisherShannonPoint
from infoplane_torch.checkpoints import write_atomically
from infoplane_torch.image_data import ImageData
from infoplane_torch.likelihoods import PixelCNN
from infoplane_torch.mutual_information import MutualInformation
from infoplane_torch.penalties import FisherInformation
from infoplane_torch.posteriors import DiagonalGaussian
from infoplane_torch.presets import FLOW_DRAWS, ModelConfig
from infoplane_torch.runs import Run, RunConfig, first_process, load_run, start_run
from infoplane_torch.training_config import TrainingConfig
from infoplane_torch.vae import evaluating

_FEW = 500  # images, or pairs, where one is dear
# What is printed beside a number of evaluation.json.
_NOTES = {
    "aggregated_information": " (I of code and image over {n} images, at most log {n})",
    "information_bound": " (Î ≤ I of the model, which the penalty controls, by {n} pairs)",
}

Runs = Annotated[tuple[Path, ...], tyro.conf.Positional]
OneRun = Annotated[Path, tyro.conf.Positional]


@dataclass(frozen=True)
class Train:
    """Train a model, or go on with a run that was interrupted.

    Parameters
    ----------
    data : str
        digits, mnist, binarized_mnist, fashion_mnist, omniglot or svhn; or a folder of images, or an .npz
        file with an array "train".
    data_dir : path, optional
        Folder with the files of a named data set; otherwise $INFOPLANE_DATA, otherwise they are downloaded.
        Of one's own images, where they are instead.
    out : path, optional
        Folder of the run; otherwise runs/DATA-PRESET.
    preset : str
        What the model's options begin with: one of the paper's systems.
    fisher : float, optional
        F of the penalty on the encoder's Fisher information; otherwise that of the preset.
    fisher_weight : float, optional
        Its λ; otherwise that of the preset, or 1.
    model : ModelConfig
        The model and its objective.
    training : TrainingConfig
        How it is trained.
    resume : bool
        Go on with the run found in the folder; --no-resume starts anew.
    progress : bool
        Show a progress bar.
    """

    data: str = "digits"
    data_dir: Path | None = None
    out: Path | None = None
    preset: str = "vae"
    fisher: float | None = None
    fisher_weight: float | None = None
    model: ModelConfig = field(default_factory=ModelConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    resume: bool = True
    progress: bool = True


@dataclass(frozen=True)
class Evaluate:
    """Print likelihood, bound, informations and place in the plane of a run on images not trained on.

    Also writes them to evaluation.json in its folder.

    Parameters
    ----------
    run : path
        Folder of the run.
    split : str
        train, valid or test.
    images : int, optional
        So many of them, drawn at random; otherwise all.
    samples : int
        Importance samples an image for the likelihood.
    batch_size : int
        Images at a time for the likelihood; more are faster on a GPU.
    data_dir : path, optional
        Folder with the files of the data, if it is not that of the run.
    device : str
        cpu, cuda, …; auto takes a GPU if there is one.
    seed : int
        Of the draws.
    """

    run: OneRun
    split: str = "test"
    images: int | None = None
    samples: int = 5000
    batch_size: int = 4
    data_dir: Path | None = None
    device: str = "auto"
    seed: int = 0


@dataclass(frozen=True)
class Plane:
    """Draw runs in the Fisher–Shannon plane, and print where they are.

    Parameters
    ----------
    runs : path
        Folders of the runs.
    out : path
        The picture to write.
    trajectories : bool
        Draw the way of each through the epochs too.
    split : str
        train, valid or test.
    images : int, optional
        So many of them, drawn at random; otherwise all.
    data_dir : path, optional
        Folder with the files of the data, if it is not that of the run.
    device : str
        cpu, cuda, …; auto takes a GPU if there is one.
    seed : int
        Of the draws.
    """

    runs: Runs
    out: Path = Path("plane.png")
    trajectories: bool = False
    split: str = "test"
    images: int | None = None
    data_dir: Path | None = None
    device: str = "auto"
    seed: int = 0


@dataclass(frozen=True)
class Sample:
    """Draw images from a run's model, as a picture.

    Parameters
    ----------
    run : path
        Folder of the run.
    n : int
        Number of images.
    mean : bool
        Show E[x|z], which looks smoother than a sample and is none.
    out : path, optional
        The picture to write; otherwise samples.png in the folder of the run.
    device : str
        cpu, cuda, …; auto takes a GPU if there is one.
    seed : int
        Of the draws.
    """

    run: OneRun
    n: int = 64
    mean: bool = False
    out: Path | None = None
    device: str = "auto"
    seed: int = 0


@dataclass(frozen=True)
class Reconstruct:
    """Show images and what a run's model makes of them, as a picture.

    Parameters
    ----------
    run : path
        Folder of the run.
    n : int
        Number of images, drawn at random.
    split : str
        train, valid or test.
    out : path, optional
        The picture to write; otherwise reconstructions.png in the folder of the run.
    data_dir : path, optional
        Folder with the files of the data, if it is not that of the run.
    device : str
        cpu, cuda, …; auto takes a GPU if there is one.
    seed : int
        Of the choice.
    """

    run: OneRun
    n: int = 12
    split: str = "test"
    out: Path | None = None
    data_dir: Path | None = None
    device: str = "auto"
    seed: int = 0


def _train(options: Train) -> None:
    model = options.model
    if options.fisher is not None or options.fisher_weight is not None:
        model = controlled(model, options.fisher, options.fisher_weight)
    config = RunConfig(
        options.data, None if options.data_dir is None else str(options.data_dir), model, options.training
    )
    out = options.out or Path("runs") / f"{Path(options.data).stem}-{options.preset}"
    run, data = start_run(
        config, out, resume=options.resume, progress=options.progress and sys.stderr.isatty()
    )
    if first_process():
        best = run.history.rows[run.history.best_epoch - 1]
        print(
            f"{out}: {data.name}, {_pixels(run, data)}, {len(run.history.rows)} epochs, the best "
            f"{run.history.best_epoch} at β = {run.beta:.3g} with a validation ELBO of "
            f"{best['valid_elbo']:.2f} nats, tr J/d {best['valid_fisher_trace_mean']:.3g}, "
            f"N {best['valid_entropy_power']:.3g}"
        )


def controlled(model: ModelConfig, fisher: float | None, weight: float | None) -> ModelConfig:
    """Give a model the penalty on its encoder's Fisher information that the options ask for.

    Parameters
    ----------
    model : ModelConfig
        The model, perhaps with such a penalty, whose other options are kept.
    fisher, weight : float or None
        F and λ; None leaves them as they are.

    Raises
    ------
    ValueError
        If only the weight is given, and there is no such penalty.

    Examples
    --------
    >>> from infoplane_torch.commands import controlled
    >>> controlled(ModelConfig(), 20.0, None).penalties[0]
    FisherInformation(target=20.0, weight=1.0, of='posterior', form='abs', reduction='mean')
    """
    others = tuple(penalty for penalty in model.penalties if penalty.of != "posterior")
    own = [penalty for penalty in model.penalties if penalty.of == "posterior"]
    if not own and fisher is None:
        raise ValueError("--fisher-weight needs --fisher, or a preset with a penalty on the encoder")
    given = {"target": fisher, "weight": weight}
    changes: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    draws = FLOW_DRAWS if model.posterior == "iaf" else FisherInformation.num_samples
    base = own[0] if own else FisherInformation(0.0, 1.0, num_samples=draws)
    return dataclasses.replace(model, penalties=(dataclasses.replace(base, **changes), *others))


def _pixels(run: Run, data: ImageData) -> str:
    """What the model sees of the images: figures are compared only where it is the same."""
    training = run.config.training
    return data.pixels(binarize=training.binarize, dequantize=training.dequantize)


def _evaluate(options: Evaluate) -> None:
    run, data, x = _loaded(options.run, options)
    vae = run.vae
    nll = evaluation.negative_log_likelihood(
        vae, x, num_samples=options.samples, batch_size=options.batch_size, seed=options.seed
    )
    bound = evaluation.elbo(vae, x, num_samples=10, seed=options.seed)
    point = evaluation.plane_point(vae, x, seed=options.seed)
    numbers: dict[str, Estimate] = {
        "nll": nll.nll,
        "negative_elbo": bound.negative_elbo,
        "reconstruction": bound.reconstruction,
        "kl": bound.kl,
        "fisher_trace": point.fisher_trace,
        "entropy_power": point.entropy_power,
        "product": point.product,
    }
    numbers |= _informations(run, x, seed=options.seed)
    print(
        f"{options.run}: {len(x)} images of {options.split} of {data.name}, {_pixels(run, data)}, trained to "
        f"β = {run.beta:.3g}; {options.samples} importance samples each"
    )
    for name, estimate in numbers.items():
        error = f"{estimate.standard_error:.3f}" if math.isfinite(estimate.standard_error) else "–"
        print(f"{name:<24}{estimate:>10.3f} ± {error}" + _NOTES.get(name, "").format(n=estimate.n))
    active = evaluation.active_units(vae, x) if len(x) > 1 else None
    shown = "–" if active is None else active
    print(f"{'median ESS':<24}{nll.ess_median:>10.1f}\n{'active units':<24}{shown:>10} of {vae.latent_dim}")
    record: dict[str, Any] = {
        name: {
            "value": _number(estimate),
            "standard_error": _number(estimate.standard_error),
            "n": estimate.n,
        }
        for name, estimate in numbers.items()
    }
    record |= {"ess_median": nll.ess_median, "active_units": active, "images": len(x)}
    record |= {"split": options.split, "samples": options.samples, "seed": options.seed}
    record |= {"data": data.name, "pixels": _pixels(run, data), "beta": run.beta}
    write_atomically(options.run / "evaluation.json", json.dumps(record, indent=2).encode() + b"\n")


def _informations(run: Run, x: Tensor, *, seed: int) -> dict[str, Estimate]:
    """What codes and images tell of each other: I of the encoder, and Î of a mutual auto-encoder.

    The first takes a density of each code under the posterior of each image, so that few are taken where that
    is dear; it is at most the logarithm of their number.
    """
    vae = run.vae
    gaussian = isinstance(vae.posterior, DiagonalGaussian)
    few = x if gaussian else x[torch.randperm(len(x), generator=torch.Generator().manual_seed(seed))[:_FEW]]
    aggregated = evaluation.aggregated_posterior_information(
        vae, few, batch_size=500 if gaussian else 50, seed=seed
    )
    numbers = {"aggregated_information": aggregated.information}
    penalty = dict(run.objective.modules.items()).get("information")
    if isinstance(penalty, MutualInformation):
        pairs = _FEW if isinstance(vae.likelihood, PixelCNN) else 10_000
        numbers["information_bound"] = evaluation.variational_information(
            vae, penalty.reverse, num_samples=pairs, seed=seed
        )
    return numbers


def _number(value: float) -> float | None:
    """A number as JSON knows it: what is not finite is null."""
    return float(value) if math.isfinite(value) else None


def _plane(options: Plane) -> None:
    if not options.runs:
        raise ValueError("name at least one folder of a run")
    points: dict[str, FisherShannonPoint] = {}
    histories = {}
    for folder in options.runs:
        run, _, x = _loaded(folder, options)
        name = folder.name if folder.name not in points else str(folder)
        points[name] = point = evaluation.plane_point(run.vae, x, seed=options.seed)
        histories[name] = run.history
        print(
            f"{name}: tr J/d {point.fisher_trace / point.d:.4g}, N {point.entropy_power:.4g}, "
            f"product {point.product:.4g}"
        )
    ax = figures.models_in_plane(points, histories=histories if options.trajectories else None)
    figures.write(ax.figure, options.out)


def _sample(options: Sample) -> None:
    run = load_run(options.run, device=_device(options.device))
    with evaluating(run.vae, seed=options.seed):
        try:
            images = run.vae.sample(options.n, mean=options.mean)
        except NotImplementedError as error:
            raise ValueError(
                f"--mean needs a likelihood that knows E[x|z]; this one does not: {error}"
            ) from error
    figures.write(figures.grid(images), options.out or options.run / "samples.png")


def _reconstruct(options: Reconstruct) -> None:
    run, _, x = _loaded(options.run, options, count=options.n)
    figure = figures.reconstructions({options.run.name: run.vae}, x)
    figures.write(figure, options.out or options.run / "reconstructions.png")


def _loaded(
    folder: Path, options: Evaluate | Plane | Reconstruct, *, count: int | None = None
) -> tuple[Run, ImageData, Tensor]:
    """A run, its data, and images of the split that the options name: the same for each run of these data."""
    run = load_run(folder, device=_device(options.device))
    data = run.data(data_dir=options.data_dir)
    x = run.seen(data, options.split)
    count = getattr(options, "images", None) if count is None else count
    if count is not None and count < 1:
        raise ValueError(f"the number of images must be at least 1, got {count}")
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(options.seed))
    return run, data, x if count is None else x[order[:count]]


def _device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError) as error:  # the second if torch was built without CUDA
        raise ValueError(f"--device must name a device of this machine, got {name!r}: {error}") from error


RUN: dict[type, Callable[[Any], None]] = {
    Train: _train,
    Evaluate: _evaluate,
    Plane: _plane,
    Sample: _sample,
    Reconstruct: _reconstruct,
}
mpl.use("Agg")  # pictures are written, never shown
