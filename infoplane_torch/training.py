"""The training loop, read top to bottom: schedules, validation, logs, early stopping, exact resume."""

from __future__ import annotations

import dataclasses
import math
import os
import time
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any, cast

import torch
from lightning_fabric import Fabric
from lightning_fabric.strategies.ddp import DDPStrategy
from torch import Tensor, distributed, nn
from torch.utils.tensorboard import SummaryWriter
from tqdm.auto import tqdm

from infoplane_torch.checkpoints import require_same_run, run_identity, save, write_atomically
from infoplane_torch.history import History
from infoplane_torch.image_data import ImageData, batches, epoch_seed
from infoplane_torch.objective import Objective
from infoplane_torch.training_config import Accelerator, Precision, Schedule, TrainingConfig
from infoplane_torch.training_step import Loss, Means, TrainingStep, WeightAverage
from infoplane_torch.vae import VAE

__all__ = [
    "Accelerator",
    "DivergenceError",
    "Precision",
    "Schedule",
    "TrainingConfig",
    "is_finished",
    "train",
]

_NOISE, _VALIDATION, _STREAMS = 1, 2, 3  # streams of `epoch_seed`; 0 is that of the batches
_LOOK_EVERY = 50  # steps between looks at whether all was finite, each of which waits for the device


class DivergenceError(RuntimeError):
    """The loss or its gradient is no longer finite; the last good checkpoint is named in the message."""


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
        `accelerator` may differ: a finished run can be made longer.

    Notes
    -----
    The randomness of an epoch is a function of (seed, epoch) alone, so no state of a random number generator
    has to be saved, validation cannot disturb training, and the caller's generators are left as they were.
    The objective's `modules`, if any, are trained in place by the same optimizer, one step on their own loss
    for each of the model's; Adam scales each parameter by itself, so neither changes the other's step. They
    too are left as they were in the best epoch. Validation uses the same noise in each epoch.
    Early stopping and the best epoch go by the ELBO, whatever the penalties are; no likelihood is estimated
    here.

    Examples
    --------
    >>> import tempfile
    >>> from infoplane_torch import presets
    >>> from infoplane_torch.data import load
    >>> data = load("digits")
    >>> config = presets.fae(20, 1.0, event_shape=data.shape, hidden=(16,), latent_dim=2)
    >>> model, objective = presets.build(config)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     history = train(model, objective, data, TrainingConfig(epochs=2), folder, progress=False)
    >>> len(history.rows), model.training
    (2, False)
    """
    run_dir = Path(run_dir)
    fabric = _launched(config)
    _require_shares(data, config, fabric)
    loss = Loss(vae, objective, precision=config.precision).to(fabric.device)
    record = _records(config, fabric)
    rate = config.learning_rate
    adam = torch.optim.Adam(
        loss.parameters(),
        lr=rate if record is False else torch.tensor(rate, device=fabric.device),
        fused=True,
        capturable=record is not False,
    )
    average = None if config.ema_decay is None else WeightAverage([*vae.parameters()], config.ema_decay)
    run = _Run(vae, objective, adam, average, run_identity(vae, objective, data, config), run_dir)
    if fabric.is_global_zero:
        run_dir.mkdir(parents=True, exist_ok=True)
        if not resume:
            for old in (run_dir / "last.pt", run_dir / "best.pt", *run_dir.glob("events.out.tfevents.*")):
                old.unlink(missing_ok=True)
    run.restore(fabric)
    compiled = cast(nn.Module, torch.compile(loss, dynamic=False)) if config.compile else loss
    wrapped, optimizer = fabric.setup(compiled, adam)
    step = TrainingStep(
        fabric, wrapped, optimizer, clip_norm=config.clip_norm, average=average, record=record
    )
    train_images = data.train.to(fabric.device)  # (n, channels, height, width) uint8
    valid_images = data.evaluation_images("valid", binarize=config.binarize)
    valid_images = valid_images.tensor_split(fabric.world_size)[fabric.global_rank].to(fabric.device)

    with (
        torch.random.fork_rng([fabric.device] if fabric.device.type == "cuda" else []),
        SummaryWriter(run_dir, purge_step=run.epoch + 1) if fabric.is_global_zero else nullcontext() as board,
        tqdm(
            desc=run_dir.name,
            total=config.epochs,
            initial=run.epoch,
            unit="epoch",
            disable=not (progress and fabric.is_global_zero),
        ) as bar,
    ):
        saved, overdue = time.monotonic(), False
        deadline = saved + max_seconds
        while not (overdue or is_finished(run.history, config)):
            epoch, started = run.epoch + 1, time.perf_counter()
            beta = config.beta(epoch)
            learning_rate = config.learning_rate_in(epoch, run.history.column("valid_elbo"))

            loss.train()
            torch.manual_seed(epoch_seed(config.seed, epoch, stream=_NOISE + _STREAMS * fabric.global_rank))
            step.begin_epoch(beta=beta, learning_rate=learning_rate)
            epoch_batches = batches(
                train_images,
                config.batch_size,
                seed=config.seed,
                epoch=epoch,
                binary=data.binary,
                binarize=config.binarize,
                share=(fabric.global_rank, fabric.world_size),
            )
            for number, x in enumerate(epoch_batches, start=1):  # x: (share, channels, height, width) float32
                step(x)
                if number % _LOOK_EVERY == 0:
                    run.require_finite(step, epoch)
            run.require_finite(step, epoch)

            with nullcontext() if average is None else average.applied():
                row = {"epoch": epoch, "beta": beta, "learning_rate": learning_rate}
                row |= step.means.columns("train", vae.latent_dim, fabric)
                valid_means = _validate(loss, valid_images, config, beta, fabric)
                row |= valid_means.columns("valid", vae.latent_dim, fabric)
                row["seconds"] = time.perf_counter() - started
                run.add(fabric.broadcast(row))  # one clock, so that all processes hold the same history

            overdue = fabric.broadcast(time.monotonic() > deadline)
            if board is not None:
                _log(row, board)  # before the checkpoint: an epoch that is repeated is shown once
                due = time.monotonic() - saved >= config.checkpoint_seconds
                if due or overdue or is_finished(run.history, config):
                    run.save()
                    saved = time.monotonic()
            bar.update()
            bar.set_postfix_str(
                f"valid −ELBO {-row['valid_elbo']:.2f}, tr J/d {row['valid_fisher_trace_mean']:.2f}"
            )

    if fabric.is_global_zero:
        run.save_best()
    fabric.barrier()  # whoever goes on finds the files
    run.load_best()
    return run.history


def _launched(config: TrainingConfig) -> Fabric:
    """Start or join the processes that the configuration, torchrun or a cluster asks for."""
    devices, nodes = config.devices, config.nodes
    if distributed.is_available() and distributed.is_torchelastic_launched():
        devices = int(os.environ["LOCAL_WORLD_SIZE"])
        nodes = int(os.environ["WORLD_SIZE"]) // devices
    # Buffers agree already: a penalty averages what it needs, see `mean_over_processes`.
    strategy = DDPStrategy(broadcast_buffers=False, gradient_as_bucket_view=True)
    fabric = Fabric(
        accelerator=config.accelerator,
        devices=devices,
        num_nodes=nodes,
        strategy=strategy if devices * nodes > 1 else "auto",
    )
    fabric.launch()
    return fabric


def _require_shares(data: ImageData, config: TrainingConfig, fabric: Fabric) -> None:
    processes = fabric.world_size
    if config.batch_size % processes:
        raise ValueError(
            f"`batch_size` must be a multiple of the {processes} processes, got {config.batch_size}"
        )
    for split, images in (("train", data.train), ("valid", data.valid)):
        if len(images) < processes:
            raise ValueError(
                f"`data` must hold an image for each of the {processes} processes in each split, "
                f"got {len(images)} in {split}"
            )


def _records(config: TrainingConfig, fabric: Fabric) -> bool | None:
    """Whether steps are recorded as CUDA graphs: surely, surely not, or if it can be done."""
    can = fabric.device.type == "cuda" and fabric.world_size == 1
    if config.cuda_graph and not can:
        raise ValueError(
            f"`cuda_graph` must be False or None except on a single GPU, got True on {fabric.world_size} × "
            f"{fabric.device.type}"
        )
    return config.cuda_graph if can else False


@torch.no_grad()
def _validate(loss: Loss, images: Tensor, config: TrainingConfig, beta: float, fabric: Fabric) -> Means:
    """Evaluate the objective on this process's validation images, with the same noise each time."""
    loss.eval()
    torch.manual_seed(epoch_seed(config.seed, 0, stream=_VALIDATION + _STREAMS * fabric.global_rank))
    means = Means()
    weight = torch.tensor(beta, device=fabric.device)
    for x in images.split(config.validation_batch_size):  # (batch, channels, height, width) float32
        means.add(loss(x, weight)[1], len(x))
        means.counted(len(x))
    return means


def is_finished(history: History, config: TrainingConfig) -> bool:
    """Whether all epochs are done, or `patience` of them after the warm-up brought no better ELBO.

    Parameters
    ----------
    history : History
        Of a run.
    config : TrainingConfig
        Its configuration.

    Returns
    -------
    bool
        True if `train` would add no epoch.

    Examples
    --------
    >>> from infoplane_torch.history import History
    >>> is_finished(History(latent_dim=2), TrainingConfig(epochs=5))
    False
    """
    done = len(history.rows)
    if done >= config.epochs:
        return True
    return (
        config.patience is not None
        and done - max(history.best_epoch, config.warmup_epochs) >= config.patience
    )


class _Run:
    """What a run has reached: its history, its best weights, and the checkpoint that holds both."""

    def __init__(
        self,
        vae: VAE,
        objective: Objective,
        optimizer: torch.optim.Optimizer,
        average: WeightAverage | None,
        identity: Mapping[str, str],
        folder: Path,
    ) -> None:
        self.history = History(vae.latent_dim)
        self._vae, self._penalties, self._optimizer = vae, objective.modules, optimizer
        self._average, self._identity, self._folder = average, identity, folder
        self._best: dict[str, Tensor] = {}
        self._best_penalties: dict[str, Tensor] = {}

    @property
    def epoch(self) -> int:
        return len(self.history.rows)

    def add(self, row: Mapping[str, Any]) -> None:
        """Add an epoch, whose weights are in place; refuse one whose ELBO is not finite."""
        if not math.isfinite(row["valid_elbo"]):
            raise self._divergence(f"validation ELBO {row['valid_elbo']} after epoch {self.epoch + 1}")
        self.history = dataclasses.replace(self.history, rows=(*self.history.rows, dict(row)))
        if self.history.best_epoch == self.epoch:
            self._best, self._best_penalties = _copy(self._vae), _copy(self._penalties)

    def require_finite(self, step: TrainingStep, epoch: int) -> None:
        if fault := step.fault():
            raise self._divergence(
                f"loss {fault.loss}, gradient norm {fault.gradient_norm} in epoch {epoch}, step {fault.step}"
            )

    def _divergence(self, found: str) -> DivergenceError:
        last = self._folder / "last.pt"
        kept = f"the last good checkpoint is {last}" if last.exists() else "there is no checkpoint yet"
        return DivergenceError(
            f"training has diverged: {found}; {kept}; "
            "a smaller `learning_rate`, `clip_norm` or penalty weight may help"
        )

    def restore(self, fabric: Fabric) -> None:
        """Go on from the checkpoint, if there is one; the first process reads it for all."""
        path, checkpoint = self._folder / "last.pt", None
        if fabric.is_global_zero and path.exists():
            checkpoint = torch.load(path, map_location="cpu", weights_only=True)
        checkpoint = fabric.broadcast(checkpoint)
        if checkpoint is None:
            return
        require_same_run(checkpoint, self._identity, self._folder)
        self._vae.load_state_dict(checkpoint["model"])
        self._penalties.load_state_dict(checkpoint.get("penalties", {}))  # older runs had none with a state
        group = self._optimizer.param_groups[0]
        options = {name: group[name] for name in ("lr", "fused", "capturable")}  # of this device
        self._optimizer.load_state_dict(checkpoint["optimizer"])
        self._optimizer.param_groups[0].update(options)
        if self._average is not None:
            for value, old in zip(self._average.sums, checkpoint["average"]["sums"], strict=True):
                value.copy_(old)
            self._average.steps = checkpoint["average"]["steps"]
        self.history = History(checkpoint["history"]["latent_dim"], tuple(checkpoint["history"]["rows"]))
        self._best, self._best_penalties = checkpoint["best_model"], checkpoint.get("best_penalties", {})

    def save(self) -> None:
        average = self._average
        checkpoint = {
            "model": self._vae.state_dict(),
            "penalties": self._penalties.state_dict(),
            "best_model": self._best,
            "best_penalties": self._best_penalties,
            "optimizer": self._optimizer.state_dict(),
            "average": None if average is None else {"sums": average.sums, "steps": average.steps},
            "epoch": self.epoch,
            "history": dataclasses.asdict(self.history),
            "identity": dict(self._identity),
        }
        save(checkpoint, self._folder / "last.pt")
        write_atomically(self._folder / "history.csv", self.history.to_csv().encode())

    def save_best(self) -> None:
        # The history again, because a kill may have come before it.
        write_atomically(self._folder / "history.csv", self.history.to_csv().encode())
        save(self._best, self._folder / "best.pt")

    def load_best(self) -> None:
        """Leave the model with the weights of its best epoch, in evaluation mode."""
        self._vae.load_state_dict(self._best)
        self._vae.eval()
        self._penalties.load_state_dict(self._best_penalties)
        self._penalties.eval()


def _copy(module: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in module.state_dict().items()}


def _log(row: Mapping[str, float], board: SummaryWriter) -> None:
    for name, value in row.items():
        prefix, _, rest = name.partition("_")
        tag = f"{rest}/{prefix}" if prefix in ("train", "valid") else name  # both splits in one diagram
        board.add_scalar(tag, value, int(row["epoch"]))
    board.flush()
