"""A curve in the plane: models of several F, M, β and seeds, trained side by side by one command."""

from __future__ import annotations

import dataclasses
import itertools
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import infoplane_torch.evaluation as evaluation
import infoplane_torch.figures as figures
from infoplane.estimate import FisherShannonPoint
from infoplane.plane import mean_place
from infoplane_torch.commands import controlled
from infoplane_torch.presets import ModelConfig
from infoplane_torch.runs import Run, RunConfig, start_runs
from infoplane_torch.training import DivergenceError
from infoplane_torch.training_config import TrainingConfig


@dataclass(frozen=True)
class Sweep:
    """Train models of several F, M, β and seeds side by side, each with each, and draw them in the plane.

    A run that was interrupted goes on; runs are folders like those of "train".

    Parameters
    ----------
    data : str
        digits, mnist, binarized_mnist, fashion_mnist, omniglot or svhn; or a folder of images, or an .npz
        file with an array "train".
    data_dir : path, optional
        Folder with the files of a named data set; otherwise $INFOPLANE_DATA, otherwise they are downloaded.
    out : path, optional
        Folder of the folders of the runs, and of plane.png; otherwise runs/DATA-PRESET-sweep.
    preset : str
        What the model's options begin with: one of the paper's systems.
    fisher : float
        Values of F of the penalty on the encoder's Fisher information; otherwise that of the preset.
    fisher_weight : float
        Values of its λ; otherwise that of the preset, or 1.
    information : float
        Values of M of the penalty on the mutual information; otherwise that of the preset.
    information_weight : float
        Values of its λ.
    beta : float
        Values of the weight of the KL term.
    seeds : int
        Seeds of the initial weights, the order of the images and the noise.
    split : str
        train, valid or test: the images by which the models are placed in the plane.
    model : ModelConfig
        The model and its objective, what all runs share.
    training : TrainingConfig
        How they are trained; its seed is not used.
    resume : bool
        Go on with the runs found in the folder; --no-resume starts anew.
    progress : bool
        Show a progress bar.
    """

    data: str = "digits"
    data_dir: Path | None = None
    out: Path | None = None
    preset: str = "vae"
    fisher: tuple[float, ...] = ()
    fisher_weight: tuple[float, ...] = ()
    information: tuple[float, ...] = ()
    information_weight: tuple[float, ...] = ()
    beta: tuple[float, ...] = ()
    seeds: tuple[int, ...] = (0,)
    split: str = "test"
    model: ModelConfig = field(default_factory=ModelConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    resume: bool = True
    progress: bool = True


_NUMBERS = ("fisher", "fisher_weight", "information", "information_weight", "beta")


def settings(options: Sweep) -> dict[str, ModelConfig]:
    """List the models of a sweep, but for their seeds.

    Parameters
    ----------
    options : Sweep
        What is to vary: each value with each.

    Returns
    -------
    dict of str to ModelConfig
        By what they are called, for example ``fisher5``.

    Raises
    ------
    ValueError
        If a value comes twice.

    Examples
    --------
    >>> from infoplane_torch.sweeps import Sweep, settings
    >>> list(settings(Sweep(fisher=(1, 20), beta=(0.5, 1))))
    ['fisher1-beta0.5', 'fisher1-beta1', 'fisher20-beta0.5', 'fisher20-beta1']
    """
    given = {name: values for name in _NUMBERS if (values := getattr(options, name))}
    for name, values in (*given.items(), ("seeds", options.seeds)):
        if len(set(values)) < len(values):
            raise ValueError(f"--{name.replace('_', '-')} must be distinct, got {values}")
    models = {}
    for values in itertools.product(*given.values()):
        chosen = dict(zip(given, values, strict=True))
        name = "-".join(f"{key.replace('_', '-')}{value:g}" for key, value in chosen.items())
        fisher, weight = chosen.pop("fisher", None), chosen.pop("fisher_weight", None)
        model = dataclasses.replace(options.model, **chosen)
        if fisher is not None or weight is not None:
            model = controlled(model, fisher, weight)
        models[name or options.preset] = model
    return models


def run_sweep(options: Sweep) -> None:
    """Train the models of a sweep, print where they are, and draw them.

    Parameters
    ----------
    options : Sweep
        What to train.

    Raises
    ------
    DivergenceError
        If models have diverged, after all the others are trained and drawn.
    ValueError
        As `infoplane_torch.runs.start_runs`.

    Examples
    --------
    >>> from infoplane_torch.sweeps import Sweep, run_sweep
    >>> run_sweep(Sweep(seeds=()))
    Traceback (most recent call last):
        ...
    ValueError: --seeds must name at least one
    """
    if not options.seeds:
        raise ValueError("--seeds must name at least one")
    models = settings(options)
    configs = {
        f"{name}-seed{seed}": RunConfig(
            options.data,
            None if options.data_dir is None else str(options.data_dir),
            model,
            dataclasses.replace(options.training, seed=seed),
        )
        for name, model in models.items()
        for seed in options.seeds
    }
    out = options.out or Path("runs") / f"{Path(options.data).stem}-{options.preset}-sweep"
    progress = options.progress and sys.stderr.isatty()
    runs, data = start_runs(configs, out, resume=options.resume, progress=progress)
    training = options.training
    images = data.evaluation_images(options.split, binarize=training.binarize, dequantize=training.dequantize)
    points: dict[str, list[FisherShannonPoint]] = {}
    for name in models:
        for seed in options.seeds:
            run = runs[f"{name}-seed{seed}"]
            if isinstance(run, Run):
                points.setdefault(name, []).append(evaluation.plane_point(run.vae, images, seed=seed))
        _print_setting(name, points.get(name, []), options, runs)
    if points:
        varied = [name for name in _NUMBERS if len(getattr(options, name)) > 1]
        ax = figures.curve_in_plane(points, joined=len(varied) == 1)
        figures.write(ax.figure, out / "plane.png")
    diverged = [f"{name}: {run}" for name, run in runs.items() if isinstance(run, DivergenceError)]
    if diverged:
        raise DivergenceError(f"{len(diverged)} of {len(runs)} models: " + "; ".join(diverged))


def _print_setting(
    name: str,
    points: list[FisherShannonPoint],
    options: Sweep,
    runs: Mapping[str, Run | DivergenceError],
) -> None:
    """One line: the place, over seeds, with standard errors by their spread where there are several."""
    if not points:
        print(f"{name}: none of {len(options.seeds)} seeds")
        return
    place = mean_place(points) if len(points) > 1 else points[0]
    ends = [runs[f"{name}-seed{seed}"] for seed in options.seeds]
    elbos = [max(run.history.column("valid_elbo")) for run in ends if isinstance(run, Run)]
    elbo, fisher = sum(elbos) / len(elbos), place.fisher_trace / place.d
    print(
        f"{name}: {len(points)} of {len(options.seeds)} seeds, validation ELBO {elbo:.2f}, "
        f"tr J/d {fisher:.4g}, N {place.entropy_power:.4g}, product {place.product:.4g}"
    )
