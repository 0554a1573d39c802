"""A training run as a folder: its configuration as JSON beside the weights, and all that they need."""

from __future__ import annotations

import dataclasses
import json
import math
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import torch

import infoplane_torch.presets as presets
from infoplane.errors import warn
from infoplane_torch.checkpoints import data_identity, read, same_images, write_atomically
from infoplane_torch.data import load, own_source
from infoplane_torch.history import History
from infoplane_torch.image_data import ImageData
from infoplane_torch.objective import Objective
from infoplane_torch.run_config import RunConfig
from infoplane_torch.training import DivergenceError, require_together, train, train_together
from infoplane_torch.training_checks import require_images
from infoplane_torch.training_run import FolderInUseError, held
from infoplane_torch.vae import VAE

__all__ = [
    "Run", "RunConfig", "first_process", "load_run", "preset", "preset_names", "start_run", "start_runs",
]  # fmt: skip

_FILE = "config.json"
# What the presets that cannot do without are called with.
_TARGETS: dict[str, tuple[float, ...]] = {"fae": (20.0, 1.0), "mae": (10.0, 1.0)}


@dataclass(frozen=True, eq=False)
class Run:
    """A trained model with what it was made by.

    Parameters
    ----------
    config : RunConfig
        Its configuration.
    vae : VAE
        The model with the weights of its best epoch, in evaluation mode.
    history : History
        Its epochs.
    objective : Objective
        What was maximised; the networks and multipliers of its penalties are those of the best epoch, for
        example ``objective.modules["information"].reverse`` of a mutual auto-encoder.
    data_identity : str
        The images that it was trained on, by their `infoplane_torch.checkpoints.data_identity`.
    """

    config: RunConfig
    vae: VAE
    history: History
    objective: Objective
    data_identity: str

    @property
    def beta(self) -> float:
        """The weight β that the KL term had in the best epoch; below 1, the warm-up had not ended."""
        return float(self.history.rows[self.history.best_epoch - 1]["beta"])

    def data(self, *, data_dir: str | os.PathLike[str] | None = None) -> ImageData:
        """Load the data that the model was trained on.

        Parameters
        ----------
        data_dir : path, optional
            Folder with the files, if it is another one now.

        Warns
        -----
        InfoplaneWarning
            If the images are others than those that the model was trained on.
        """
        data = load(self.config.data, self.config.data_dir if data_dir is None else data_dir)
        if not same_images(self.data_identity, now := data_identity(data)):
            warn(f"the model was trained on other images: {self.data_identity}, and these are {now}")
        return data

    def images(self, split: str, *, data_dir: str | os.PathLike[str] | None = None) -> torch.Tensor:
        """Load the images of a split as the model knows them: binary, or in grey levels.

        Parameters
        ----------
        split : {"train", "valid", "test"}
            Which.
        data_dir : path, optional
            Folder with the files, if it is another one now.

        Warns
        -----
        InfoplaneWarning
            If the images are others than those that the model was trained on.
        """
        return self.seen(self.data(data_dir=data_dir), split)

    def seen(self, data: ImageData, split: str) -> torch.Tensor:
        """Give the images of a split as the model knows them.

        Parameters
        ----------
        data : ImageData
            The images.
        split : {"train", "valid", "test"}
            Which.
        """
        training = self.config.training
        return data.evaluation_images(split, binarize=training.binarize, dequantize=training.dequantize)


def preset_names() -> list[str]:
    """Names of the presets: the functions of `infoplane_torch.presets` that give a configuration.

    Examples
    --------
    >>> from infoplane_torch.runs import preset_names
    >>> "vae" in preset_names() and "fae" in preset_names()
    True
    """
    functions = {n: f for n, f in vars(presets).items() if callable(f) and not isinstance(f, type)}
    return [
        name
        for name, function in functions.items()
        if getattr(function, "__annotations__", {}).get("return") == "ModelConfig"
    ]


def preset(name: str) -> presets.ModelConfig:
    """Return a preset's configuration; FAE with F = 20 and λ = 1, MAE with M = 10 and λ = 1.

    Parameters
    ----------
    name : str
        One of `preset_names`.

    Raises
    ------
    ValueError
        If there is none of that name.

    Examples
    --------
    >>> from infoplane_torch.runs import preset
    >>> preset("mae").information
    10.0
    """
    if name not in preset_names():
        raise ValueError(f"`name` must be one of {preset_names()}, got {name!r}")
    function: Callable[..., presets.ModelConfig] = getattr(presets, name)
    return function(*_TARGETS.get(name, ()))


def start_run(
    config: RunConfig,
    folder: str | os.PathLike[str],
    *,
    resume: bool = True,
    progress: bool = True,
    max_seconds: float = math.inf,
) -> tuple[Run, ImageData]:
    """Train what a configuration describes, or go on with it, and keep the configuration in the folder.

    Parameters
    ----------
    config : RunConfig
        The configuration.
    folder : path
        Where to keep everything; what `infoplane_torch.training.train` writes, and ``config.json``.
    resume : bool, default True
        Go on where an interrupted run stopped; False starts anew.
    progress : bool, default True
        Show a progress bar.
    max_seconds : float, default ``math.inf``
        Stop after the epoch in which so much time has passed: the same call goes on.

    Returns
    -------
    Run, ImageData
        The trained model, and the data that it was trained on.

    Raises
    ------
    ValueError
        As `infoplane_torch.training.train`, `infoplane_torch.data.load` and the configurations; and if a
        likelihood of many grey levels is to be trained on images that are made binary.

    Examples
    --------
    >>> import tempfile
    >>> from infoplane_torch import presets
    >>> from infoplane_torch.runs import RunConfig, load_run, start_run
    >>> from infoplane_torch.training import TrainingConfig
    >>> model = presets.vae(event_shape=(1, 8, 8), hidden=(16,), latent_dim=2)
    >>> training = TrainingConfig(epochs=1, warmup_epochs=1, accelerator="cpu")
    >>> config = RunConfig("digits", None, model, training)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = start_run(config, folder, progress=False)
    ...     load_run(folder).vae.sample(3).shape
    torch.Size([3, 1, 8, 8])
    """
    folder = Path(folder)
    data = load(config.data, config.data_dir)
    config, vae, objective = _made(config, data)
    if not resume or not (folder / "last.pt").exists():  # otherwise `train` holds it against the old one
        _keep_first(config, folder)
    history = train(
        vae,
        objective,
        data,
        config.training,
        folder,
        resume=resume,
        progress=progress,
        max_seconds=max_seconds,
    )
    if first_process():
        _keep(config, folder)  # of a run made longer
    return Run(config, vae, history, objective, data_identity(data)), data


def start_runs(
    configs: Mapping[str, RunConfig],
    folder: str | os.PathLike[str],
    *,
    resume: bool = True,
    progress: bool = True,
    max_seconds: float = math.inf,
) -> tuple[dict[str, Run | DivergenceError], ImageData]:
    """Train what several configurations describe side by side, or go on with it: several F, or several seeds.

    Parameters
    ----------
    configs : mapping of str to RunConfig
        By the names of their folders. They may differ in `training.seed`, and in the numbers of penalties and
        β of the model.
    folder : path
        Where the folders of the runs are: ordinary ones, as `start_run` makes them.
    resume : bool, default True
        Go on where interrupted runs stopped; False starts anew.
    progress : bool, default True
        Show a progress bar.
    max_seconds : float, default ``math.inf``
        Stop after the epoch in which so much time has passed: the same call goes on.

    Returns
    -------
    dict of str to Run or DivergenceError, ImageData
        The trained models by name, or what ended their training; and the data.

    Raises
    ------
    ValueError
        As `start_run`; and if configurations differ in more than they may, as
        `infoplane_torch.training.train_together` says, which does the work.

    Examples
    --------
    >>> import dataclasses, tempfile
    >>> from infoplane_torch import presets
    >>> from infoplane_torch.runs import RunConfig, load_run, start_runs
    >>> from infoplane_torch.training import TrainingConfig
    >>> training = TrainingConfig(epochs=1, warmup_epochs=1, accelerator="cpu")
    >>> sizes = {"event_shape": (1, 8, 8), "hidden": (16,), "latent_dim": 2}
    >>> models = {f"fisher{fisher}": presets.fae(fisher, 1.0, **sizes) for fisher in (1, 20)}
    >>> configs = {name: RunConfig("digits", None, model, training) for name, model in models.items()}
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     runs, _ = start_runs(configs, folder, progress=False)
    ...     load_run(f"{folder}/fisher20").config == runs["fisher20"].config
    True
    """
    sources = {(config.data, config.data_dir) for config in configs.values()}
    if len(sources) != 1:
        raise ValueError(f"`configs` must name the same data, got {sorted(map(str, sources))}")
    data = load(*sources.pop())
    made = {name: _made(config, data) for name, config in configs.items()}
    folders = {name: Path(folder) / name for name in configs}
    models = [(vae, objective) for _, vae, objective in made.values()]
    training = [config.training for config, _, _ in made.values()]
    require_together(models, training, [*folders.values()])
    for name, (config, _, _) in made.items():
        if not resume or not (folders[name] / "last.pt").exists():
            _keep_first(config, folders[name])
    ends = train_together(
        models,
        data,
        training,
        [*folders.values()],
        resume=resume,
        progress=progress,
        max_seconds=max_seconds,
    )
    runs: dict[str, Run | DivergenceError] = {}
    images = data_identity(data)
    for (name, (config, vae, objective)), end in zip(made.items(), ends, strict=True):
        _keep(config, folders[name])
        if isinstance(end, DivergenceError):
            runs[name] = end
        else:
            runs[name] = Run(config, vae, end, objective, images)
    return runs, data


def _made(config: RunConfig, data: ImageData) -> tuple[RunConfig, VAE, Objective]:
    """The configuration with the shape and place of the data, and the fresh model that it describes."""
    _require_levels(config, data)
    own = own_source(config.data, config.data_dir)
    if own is not None:
        config = dataclasses.replace(config, data=str(own), data_dir=None)
    elif config.data_dir is not None:
        config = dataclasses.replace(config, data_dir=os.path.abspath(config.data_dir))
    if tuple(config.model.event_shape) != data.shape:
        config = dataclasses.replace(config, model=dataclasses.replace(config.model, event_shape=data.shape))
    torch.manual_seed(config.training.seed)
    vae, objective = presets.build(config.model)
    require_images(vae, data, config.training)  # before anything is written
    return config, vae, objective


def _keep(config: RunConfig, folder: Path) -> None:
    """Write the configuration into the folder of its run."""
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / _FILE, json.dumps(config.to_dict(), indent=2).encode() + b"\n")


def _keep_first(config: RunConfig, folder: Path) -> None:
    """Write the configuration of a run that begins, but not over that of another which is going on.

    Whoever is there is another process of this run, which writes the same, or training will refuse to begin.
    """
    with suppress(FolderInUseError), held(folder):
        _keep(config, folder)


def _require_levels(config: RunConfig, data: ImageData) -> None:
    """Refuse to teach a model of grey levels that there are two of them."""
    model = config.model
    of_levels = "logistic_mixture" in (
        model.likelihood,
        model.pixels if model.likelihood == "pixel_cnn" else "",
    )
    if of_levels and model.levels > 2 and (data.binary or config.training.binarize):
        found = "binary data" if data.binary else "`training.binarize` = True"
        raise ValueError(f"a logistic mixture must have images of {model.levels} grey levels, got {found}")


def load_run(folder: str | os.PathLike[str], *, device: str | torch.device = "cpu") -> Run:
    """Load a run from its folder, finished or not.

    Parameters
    ----------
    folder : path
        What `start_run` wrote.
    device : str or torch.device, default "cpu"
        Where to put the model.

    Returns
    -------
    Run
        With the weights of the best epoch so far.

    Raises
    ------
    FileNotFoundError
        If the folder holds no run, or one that has not finished an epoch.
    ValueError
        If its configuration or its checkpoint cannot be read, or they do not fit each other.

    Notes
    -----
    A folder that `infoplane_torch.training.train` made by itself has no configuration: see there.

    Examples
    --------
    >>> from infoplane_torch.runs import load_run
    >>> load_run("runs/none")
    Traceback (most recent call last):
        ...
    FileNotFoundError: runs/none is no run: it has no config.json
    """
    folder = Path(folder)
    for name, meaning in ((_FILE, "is no run"), ("last.pt", "has not saved an epoch yet")):
        if not (folder / name).is_file():
            raise FileNotFoundError(f"{folder} {meaning}: it has no {name}")
    try:
        config = RunConfig.from_dict(json.loads((folder / _FILE).read_text()))
    except ValueError as error:
        raise ValueError(f"{folder / _FILE} cannot be read: {error}") from error
    checkpoint = read(folder / "last.pt")
    vae, objective = presets.build(config.model)
    try:
        vae.load_state_dict(checkpoint["best_model"])
        objective.modules.load_state_dict(
            checkpoint.get("best_penalties", {})
        )  # older runs had no such state
    except RuntimeError as error:
        raise ValueError(
            f"{folder / 'last.pt'} holds the weights of another model than {_FILE} describes, perhaps of "
            f"another version: {error}"
        ) from error
    objective.modules.to(device).eval()
    history = History(checkpoint["history"]["latent_dim"], tuple(checkpoint["history"]["rows"]))
    return Run(config, vae.to(device).eval(), history, objective, checkpoint["identity"]["data"])


def first_process() -> bool:
    """Tell whether this is the only process of a run, or the first of several.

    Examples
    --------
    >>> from infoplane_torch.runs import first_process
    >>> first_process()
    True
    """
    distributed = torch.distributed
    return not (distributed.is_available() and distributed.is_initialized()) or distributed.get_rank() == 0
