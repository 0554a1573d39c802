"""The training loop, read top to bottom: schedules, validation, logs, early stopping, exact resume."""

from __future__ import annotations

import math
import os
import time
import warnings
from collections.abc import Sequence
from contextlib import ExitStack, nullcontext
from typing import NamedTuple, cast

import torch
from lightning_fabric import Fabric
from lightning_fabric.strategies.ddp import DDPStrategy
from torch import Tensor, distributed, nn
from tqdm.auto import tqdm

from infoplane.errors import InfoplaneWarning
from infoplane_torch.history import History
from infoplane_torch.image_data import ImageData, batches, epoch_seed
from infoplane_torch.stacked_loss import StackedLoss
from infoplane_torch.training_config import TrainingConfig
from infoplane_torch.training_loss import Loss
from infoplane_torch.training_run import DivergenceError, TrainingRun, held
from infoplane_torch.training_step import Means, TrainingStep, WeightAverage
from infoplane_torch.vae import kept_random_state

_NOISE, _VALIDATION, _STREAMS = 1, 2, 3  # streams of `epoch_seed`; 0 is that of the batches
_LOOK_EVERY = 50  # steps between looks at whether all was finite, each of which waits for the device


class _Images(NamedTuple):
    """The images on the device: those to train on as bytes, this process's share of the others as floats."""

    train: Tensor
    valid: Tensor
    binary: bool


class _Clock:
    """How long all processes may go on; the first one's clock rules."""

    def __init__(self, fabric: Fabric, max_seconds: float) -> None:
        self.fabric, self.is_up = fabric, False
        self._deadline = time.monotonic() + max_seconds

    def look(self) -> None:
        """Look at the clock, after an epoch: one at least is trained."""
        self.is_up = self.fabric.broadcast(time.monotonic() > self._deadline)


def train_runs(
    runs: Sequence[TrainingRun],
    data: ImageData,
    *,
    resume: bool,
    progress: bool,
    max_seconds: float = math.inf,
) -> list[History | DivergenceError]:
    """Train one run, or several side by side, to their ends.

    Parameters
    ----------
    runs : sequence of TrainingRun
        Their configurations differ in nothing but the seed.
    data : ImageData
        Training and validation images.
    resume : bool
        Go on from what their folders hold; False starts anew.
    progress : bool
        Show a progress bar.
    max_seconds : float, default ``math.inf``
        Stop all after the epoch in which so much time has passed.

    Returns
    -------
    list of History or DivergenceError
        How each has ended.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from infoplane_torch import presets
    >>> from infoplane_torch.checkpoints import data_identity
    >>> from infoplane_torch.data import load
    >>> from infoplane_torch.training_loop import train_runs
    >>> data = load("digits")
    >>> model, objective = presets.build(presets.vae(event_shape=data.shape, hidden=(16,), latent_dim=2))
    >>> config = TrainingConfig(epochs=1, warmup_epochs=1, accelerator="cpu")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     run = TrainingRun(model, objective, data_identity(data), config, Path(folder))
    ...     (history,) = train_runs([run], data, resume=True, progress=False)
    >>> history.best_epoch
    1
    """
    config = runs[0].config
    fabric = _launched(config)
    _require_shares(data, config, fabric)
    if len(runs) > 1 and fabric.world_size > 1:
        raise ValueError(f"models are trained together in one process, got {fabric.world_size}")
    clock = _Clock(fabric, max_seconds)
    with ExitStack() as folders:
        if fabric.is_global_zero:
            for run in runs:
                folders.enter_context(held(run.folder))
        for run in runs:
            run.begin(fabric, resume=resume)
        _train_all(runs, data, clock, progress=progress)
        fabric.barrier()  # whoever goes on finds the files
    for run in runs:
        run.load_best()
    return [run.history if run.divergence is None else run.divergence for run in runs]


def _train_all(runs: Sequence[TrainingRun], data: ImageData, clock: _Clock, *, progress: bool) -> None:
    """Train runs to their ends, those that are as far as each other side by side."""
    config, fabric = runs[0].config, clock.fabric
    valid = data.evaluation_images("valid", binarize=config.binarize, dequantize=config.dequantize)
    valid = valid.tensor_split(fabric.world_size)[fabric.global_rank].to(fabric.device)
    images = _Images(data.train.to(fabric.device), valid, data.binary)
    with (
        kept_random_state(fabric.device),
        ExitStack() as boards,
        tqdm(
            desc=runs[0].folder.name if len(runs) == 1 else f"{len(runs)} models",
            total=config.epochs,
            initial=min(run.epoch for run in runs),
            unit="epoch",
            disable=not (progress and fabric.is_global_zero),
        ) as bar,
    ):
        if fabric.is_global_zero:
            for run in runs:
                boards.enter_context(run.logging())
        while (left := [run for run in runs if not run.ended]) and not clock.is_up:
            # Those that a kill left behind catch up; then all go on side by side, until one of them ends.
            epoch = min(run.epoch for run in left)
            group = [run for run in left if run.epoch == epoch]
            ahead = [run.epoch for run in left if run.epoch > epoch]
            # The last one left needs no stack; one that catches up does, to compute the same bits.
            stacked = len(left) > 1
            last_epoch = min(ahead, default=config.epochs)
            _train_group(group, images, clock, bar, stacked=stacked, last_epoch=last_epoch)
            for run in group if len(runs) > 1 else []:
                if run.divergence is not None:
                    warnings.warn(f"{run.folder}: {run.divergence}", InfoplaneWarning, stacklevel=4)
    for run in runs:
        if fabric.is_global_zero and run.divergence is None:
            run.save_best()


def _train_group(
    runs: Sequence[TrainingRun],
    images: _Images,
    clock: _Clock,
    bar: tqdm,
    *,
    stacked: bool,
    last_epoch: int,
) -> None:
    """Train runs that have done as many epochs side by side, until one of them ends or all reach the last."""
    config, latent_dim, fabric = runs[0].config, runs[0].vae.latent_dim, clock.fabric
    losses = [Loss(run.vae, run.objective, precision=config.precision).to(fabric.device) for run in runs]
    loss = StackedLoss(losses) if stacked else losses[0]
    evaluated = _evaluated(loss, losses, runs, images.valid[:2])
    record = _records(config, fabric)
    rate = config.learning_rate
    adam = torch.optim.Adam(
        loss.parameters(),
        lr=rate if record is False else torch.tensor(rate, device=fabric.device),
        fused=True,
        capturable=record is not False,
    )
    average = None if config.ema_decay is None else WeightAverage(loss.averaged(), config.ema_decay)
    _restore(loss, adam, average, runs)
    compiled = cast(nn.Module, torch.compile(loss, dynamic=False)) if config.compile else loss
    wrapped, optimizer = fabric.setup(compiled, adam)
    step = TrainingStep(
        fabric,
        wrapped,
        optimizer,
        clip_norm=config.clip_norm,
        average=average,
        record=record,
        shape=loss.shape,
        generators=loss.generators,
    )

    while not any(run.ended for run in runs) and runs[0].epoch < last_epoch and not clock.is_up:
        epoch, started = runs[0].epoch + 1, time.perf_counter()
        beta = config.beta(epoch)
        learning_rate = config.learning_rate_in(epoch, runs[0].history.column("valid_elbo"))

        loss.train()
        loss.seed(_seeds(runs, epoch, _NOISE, fabric))
        step.begin_epoch(beta=beta, learning_rate=learning_rate)
        epoch_batches = batches(
            images.train,
            config.batch_size,
            seed=[run.config.seed for run in runs] if loss.shape else config.seed,
            epoch=epoch,
            binary=images.binary,
            binarize=config.binarize,
            dequantize=config.dequantize,
            share=(fabric.global_rank, fabric.world_size),
        )
        # x: (*loss.shape, share of the batch, channels, height, width) float32
        for number, x in enumerate(epoch_batches, start=1):
            step(x)
            if number % _LOOK_EVERY == 0 and all(step.faults()):
                break
        for run, fault in zip(runs, faults := step.faults(), strict=True):
            if fault is not None:
                run.fail(fault)
        if all(faults):
            break

        with nullcontext() if average is None else average.applied():
            rows = step.means.columns("train", latent_dim, fabric)
            valid_rows = [
                row
                for module, its_runs in evaluated
                for row in _validate(module, its_runs, images.valid, beta, fabric).columns(
                    "valid", latent_dim, fabric
                )
            ]
            row = {"epoch": epoch, "beta": beta, "learning_rate": learning_rate}
            seconds = fabric.broadcast(time.perf_counter() - started)  # one clock for all processes
            for run, train_row, valid_row in zip(runs, rows, valid_rows, strict=True):
                if run.divergence is None:
                    run.add(row | train_row | valid_row | {"seconds": seconds})

        clock.look()
        if fabric.is_global_zero:
            _log_and_save(runs, loss, adam, average, last_epoch, at_once=clock.is_up)
        bar.update(epoch - bar.n)
        bar.set_postfix_str(_summary(runs))
    loss.release()


def _evaluated(
    loss: Loss | StackedLoss, losses: Sequence[Loss], runs: Sequence[TrainingRun], x: Tensor
) -> list[tuple[Loss | StackedLoss, Sequence[TrainingRun]]]:
    """By what the runs are validated: as they are trained or, where a stack cannot be, one after another."""
    if isinstance(loss, StackedLoss):
        loss.require_possible(x)
        if not loss.can_be_evaluated(x):
            return [(one, [run]) for one, run in zip(losses, runs, strict=True)]
    return [(loss, runs)]


def _restore(
    loss: Loss | StackedLoss,
    adam: torch.optim.Optimizer,
    average: WeightAverage | None,
    runs: Sequence[TrainingRun],
) -> None:
    """Give the optimizer and the averages what the runs have reached."""
    states = [run.optimizer for run in runs if run.optimizer is not None]
    if not states:
        return
    loss.load_optimizer_states(adam, states)
    if average is not None:
        loss.load_average_sums(average.sums, [run.average_sums for run in runs])
        average.steps = runs[0].average_steps


def _log_and_save(
    runs: Sequence[TrainingRun],
    loss: Loss | StackedLoss,
    adam: torch.optim.Optimizer,
    average: WeightAverage | None,
    last_epoch: int,
    *,
    at_once: bool,
) -> None:
    """Log the epoch; keep what the runs have reached, in files where that is due."""
    config = runs[0].config
    for run in runs:
        if run.divergence is None:
            run.log()  # before the checkpoint: an epoch that is repeated is shown once
    since = time.monotonic() - min(run.saved for run in runs)
    due = at_once or since >= config.checkpoint_seconds * len(runs)
    if not due and not any(run.ended for run in runs) and runs[0].epoch < last_epoch:
        return
    for run, state in zip(runs, loss.optimizer_states(adam), strict=True):
        run.optimizer = state
    if average is not None:
        for run, sums in zip(runs, loss.average_sums(average.sums), strict=True):
            run.average_sums, run.average_steps = sums, average.steps
    for run in runs:
        if run.divergence is None and (due or run.finished):
            run.save()


def _summary(runs: Sequence[TrainingRun]) -> str:
    """The last epoch, for the progress bar."""
    rows = [run.history.rows[-1] for run in runs if run.divergence is None]
    if not rows:
        return "diverged"
    columns = []
    for name, column, sign in (("valid −ELBO", "valid_elbo", -1), ("tr J/d", "valid_fisher_trace_mean", 1)):
        values = [sign * row[column] for row in rows]
        few = f"{min(values):.2f}" if len(values) == 1 else f"{min(values):.2f} … {max(values):.2f}"
        columns.append(f"{name} {few}")
    return ", ".join(columns)


def _seeds(runs: Sequence[TrainingRun], epoch: int, stream: int, fabric: Fabric) -> list[int]:
    """Of each run's noise in this process."""
    stream += _STREAMS * fabric.global_rank
    return [epoch_seed(run.config.seed, epoch, stream=stream) for run in runs]


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
def _validate(
    loss: Loss | StackedLoss, runs: Sequence[TrainingRun], images: Tensor, beta: float, fabric: Fabric
) -> Means:
    """Evaluate the objectives on this process's validation images, with the same noise each time."""
    loss.eval()
    loss.seed(_seeds(runs, 0, _VALIDATION, fabric))
    means = Means()
    weight = torch.tensor(beta, device=fabric.device)
    for x in images.split(runs[0].config.validation_batch_size):  # (batch, channels, height, width) float32
        means.add(loss(x.expand(*loss.shape, *x.shape), weight)[1], len(x))
        means.counted(len(x))
    return means
