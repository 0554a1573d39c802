"""Training of a model, or of several side by side."""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Sequence
from pathlib import Path

from infoplane_torch.checkpoints import data_identity
from infoplane_torch.history import History
from infoplane_torch.image_data import ImageData
from infoplane_torch.member_numbers import require_stackable
from infoplane_torch.objective import Objective
from infoplane_torch.training_checks import require_images, warn_of_training
from infoplane_torch.training_config import Accelerator, Precision, Schedule, TrainingConfig
from infoplane_torch.training_loop import train_runs
from infoplane_torch.training_loss import Loss
from infoplane_torch.training_run import DivergenceError, FolderInUseError, TrainingRun, is_finished
from infoplane_torch.vae import VAE

__all__ = [
    "Accelerator", "DivergenceError", "FolderInUseError", "Precision", "Schedule", "TrainingConfig",
    "is_finished", "train", "train_together",
]  # fmt: skip


def train(
    vae: VAE,
    objective: Objective,
    data: ImageData,
    config: TrainingConfig,
    run_dir: str | os.PathLike[str],
    *,
    resume: bool = True,
    progress: bool = True,
    max_seconds: float = math.inf,
) -> History:
    """Train a model in place and leave it with the weights of its best epoch, in evaluation mode.

    A run that is killed at any moment and started again goes on after its last whole epoch, and ends with the
    same bits as one that was never interrupted (on a CPU, with the same number of threads).

    Parameters
    ----------
    vae : VAE
        The model; its weights are overwritten when a run is resumed. It stays on the training device.
    objective : Objective
        What is maximised. The state and networks of its penalties are trained, saved and resumed with it.
    data : ImageData
        Training and validation images.
    config : TrainingConfig
        All the rest.
    run_dir : path
        Folder for ``last.pt`` (last and best weights, optimizer, history, configuration: enough to go on),
        ``history.csv``, TensorBoard's log and, at the end, ``best.pt`` (the state dict of the best epoch).
    resume : bool, default True
        Go on from ``last.pt`` if it is there; False starts anew and overwrites.
    progress : bool, default True
        Show a progress bar.
    max_seconds : float, default ``math.inf``
        Stop after the epoch in which so much time has passed, as if killed there: the same call goes on.

    Returns
    -------
    History
        Of all epochs, those before an interruption too.

    Raises
    ------
    DivergenceError
        If the loss or the gradient is no longer finite.
    ValueError
        If `run_dir` holds a run of another model, objective, data set or configuration. `epochs` and
        `accelerator` may differ: a finished run can be made longer. If the likelihood does not know such
        images, as a Bernoulli grey ones.
    FolderInUseError
        If another process, or thread, is training in `run_dir`.

    Warns
    -----
    InfoplaneWarning
        If β does not reach 1, or a continuous likelihood meets pixels that are only 0 and 1.

    Notes
    -----
    The randomness of an epoch is a function of (seed, epoch) alone, so no state of a random number generator
    has to be saved, validation cannot disturb training, and the caller's generators are left as they were.
    The objective's `modules`, if any, are trained in place by the same optimizer, one step on their own loss
    for each of the model's; Adam scales each parameter by itself, so neither changes the other's step. They
    too are left as they were in the best epoch. Validation uses the same noise in each epoch.
    Early stopping and the best epoch go by the ELBO, whatever the penalties are; no likelihood is estimated
    here.

    Without a configuration beside them, `infoplane_torch.runs.load_run` cannot open the weights: make the
    model again and load them by ``vae.load_state_dict(torch.load(f"{run_dir}/best.pt", weights_only=True))``.

    Examples
    --------
    >>> import tempfile
    >>> from infoplane_torch import presets
    >>> from infoplane_torch.data import load
    >>> data = load("digits")
    >>> config = presets.fae(20, 1.0, event_shape=data.shape, hidden=(16,), latent_dim=2)
    >>> model, objective = presets.build(config)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     training = TrainingConfig(epochs=2, warmup_epochs=1)
    ...     history = train(model, objective, data, training, folder, progress=False)
    >>> len(history.rows), model.training
    (2, False)
    """
    require_images(vae, data, config)
    warn_of_training(vae, data, config)
    run = TrainingRun(vae, objective, data_identity(data), config, Path(run_dir))
    (outcome,) = train_runs([run], data, resume=resume, progress=progress, max_seconds=max_seconds)
    if isinstance(outcome, DivergenceError):
        raise outcome
    return outcome


def train_together(
    models: Sequence[tuple[VAE, Objective]],
    data: ImageData,
    configs: Sequence[TrainingConfig],
    run_dirs: Sequence[str | os.PathLike[str]],
    *,
    resume: bool = True,
    progress: bool = True,
    max_seconds: float = math.inf,
) -> list[History | DivergenceError]:
    """Train several models of one architecture side by side, on one device, as `train` would each of them.

    On a GPU that a single model leaves idle most of the time, a curve in the plane then costs little more
    than one of its points.

    Parameters
    ----------
    models : sequence of (VAE, Objective)
        Different weights, seeds, β, and numbers of penalties (target and weight); all else is the same.
    data : ImageData
        Training and validation images.
    configs : sequence of TrainingConfig
        One for each model; they may differ in `seed`.
    run_dirs : sequence of path
        A folder for each model, with what `train` writes.
    resume : bool, default True
        Go on from what is there; False starts anew and overwrites.
    progress : bool, default True
        Show a progress bar.
    max_seconds : float, default ``math.inf``
        Stop after the epoch in which so much time has passed, as if killed there: the same call goes on.

    Returns
    -------
    list of History or DivergenceError
        One for each model. A model that diverges is given up with a warning, and the others go on.

    Raises
    ------
    ValueError
        If models or configurations differ in more than that; a folder holds another run; the images do not
        fit, as `train` says; or the models cannot be stacked: see `infoplane_torch.stacked_loss.StackedLoss`.

    Warns
    -----
    InfoplaneWarning
        When a model diverges; and as `train`.

    Notes
    -----
    Each model sees its own order of images, with its own pixels and noise: those of its seed, the same as
    alone. So its run is that of `train`, to rounding, and the folders are ordinary ones: a run that was begun
    alone can go on beside others, and the reverse. Models of one seed read their images once.

    A model that stops early is frozen and leaves the stack; one that is behind, because the process was
    killed while checkpoints were written, first catches up. On a CPU a resumed run ends with the same bits.
    Checkpoints come ``len(models)`` times as rarely as `checkpoint_seconds` says, since they take as many
    times as long. The ``seconds`` of an epoch are those of all models that it trained.

    *When not to use it:* on a CPU, where products of matrices are the bound and nothing is gained; with
    ``compile``, several devices, or the "plateau" schedule, under which learning rates part.

    Examples
    --------
    >>> import tempfile
    >>> from infoplane_torch import presets
    >>> from infoplane_torch.data import load
    >>> data = load("digits")
    >>> sizes = {"event_shape": data.shape, "hidden": (16,), "latent_dim": 2}
    >>> models = [presets.build(presets.fae(fisher, 1.0, **sizes)) for fisher in (1, 5, 20)]
    >>> configs = [TrainingConfig(epochs=2, warmup_epochs=1, accelerator="cpu")] * 3
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     run_dirs = [f"{folder}/fisher{fisher}" for fisher in (1, 5, 20)]
    ...     histories = train_together(models, data, configs, run_dirs, progress=False)
    >>> [len(history.rows) for history in histories]
    [2, 2, 2]
    """
    folders = [Path(folder) for folder in run_dirs]
    require_together(models, configs, folders)
    vae, config = models[0][0], configs[0]  # the others have the same likelihood, epochs and images
    require_images(vae, data, config)
    warn_of_training(vae, data, config)
    images = data_identity(data)
    runs = [
        TrainingRun(vae, objective, images, config, folder)
        for (vae, objective), config, folder in zip(models, configs, folders, strict=True)
    ]
    return train_runs(runs, data, resume=resume, progress=progress, max_seconds=max_seconds)


def require_together(
    models: Sequence[tuple[VAE, Objective]],
    configs: Sequence[TrainingConfig],
    run_dirs: Sequence[str | os.PathLike[str]],
) -> None:
    """Refuse what `train_together` cannot do, before anything is written.

    Parameters
    ----------
    models, configs, run_dirs
        As `train_together` takes them.

    Raises
    ------
    ValueError
        If models or configurations differ in more than they may, or folders are one.

    Examples
    --------
    >>> from infoplane_torch import presets
    >>> from infoplane_torch.training import require_together
    >>> models = [presets.build(presets.vae()) for _ in range(2)]
    >>> require_together(models, [TrainingConfig(), TrainingConfig(epochs=3)], ["runs/a", "runs/b"])
    Traceback (most recent call last):
        ...
    ValueError: `configs` may differ in `seed` alone, but number 1 has epochs=3 and number 0 epochs=500
    """
    folders = [Path(folder) for folder in run_dirs]
    if not models or not len(models) == len(configs) == len(folders):
        raise ValueError(
            "`models`, `configs` and `run_dirs` must be as many, at least one, got "
            f"{len(models)}, {len(configs)} and {len(folders)}"
        )
    if len({folder.absolute() for folder in folders}) < len(folders):
        raise ValueError(f"`run_dirs` must be distinct, got {[str(folder) for folder in folders]}")
    first = configs[0]
    for number, config in enumerate(configs):
        for field in dataclasses.fields(config):
            one, other = getattr(first, field.name), getattr(config, field.name)
            if field.name != "seed" and one != other:
                raise ValueError(
                    f"`configs` may differ in `seed` alone, but number {number} has {field.name}={other!r} "
                    f"and number 0 {field.name}={one!r}"
                )
    if len(models) > 1:
        for name, wanted in (("compile", False), ("devices", 1), ("nodes", 1)):
            if getattr(first, name) != wanted:
                raise ValueError(
                    f"`{name}` must be {wanted} to train models together, got {getattr(first, name)}"
                )
        if first.schedule == "plateau":
            raise ValueError('`schedule` must not be "plateau" to train models together: their rates part')
        require_stackable([Loss(vae, objective) for vae, objective in models])
