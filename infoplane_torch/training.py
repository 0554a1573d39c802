"""The training loop, read top to bottom: warm-up, clipping, logs, early stopping, exact resume."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import math
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.utils.tensorboard import SummaryWriter
from tqdm.auto import tqdm

from infoplane_torch.data import ImageData, batches, epoch_seed
from infoplane_torch.history import History
from infoplane_torch.information import power_from_entropy
from infoplane_torch.objective import Objective, ObjectiveTerms
from infoplane_torch.vae import VAE

Precision = Literal["32-true", "bf16-mixed"]
Accelerator = Literal["auto", "cpu", "cuda", "mps"]

_NOISE, _VALIDATION = 1, 2  # streams of `epoch_seed`; 0 is that of the batches


class DivergenceError(RuntimeError):
    """The loss or its gradient is no longer finite; the last good checkpoint is named in the message."""


@dataclass(frozen=True)
class TrainingConfig:
    """How a model is trained, all of it.

    Parameters
    ----------
    epochs : int, default 500
        Most passes over the training images.
    batch_size : int, default 128
        Images a step.
    learning_rate : float, default 1e-3
        Of Adam.
    warmup_epochs : int, default 100
        Epochs until the weight β of the KL term reaches 1: β = min(1, epoch / warmup_epochs), with the first
        epoch 1; 0 for β = 1 throughout. A warm-up that is too short costs several nats of likelihood, more
        than any penalty gains: compare models only under one schedule.
    patience : int or None, default 50
        Stop after so many epochs, counted from the end of the warm-up, without a better ELBO on the
        validation images; None never stops early.
    clip_norm : float, default 200
        Largest Euclidean norm of the gradient, which is scaled down to it; ``math.inf`` for no limit. The
        networks of penalties count in it.
    seed : int, default 0
        What order, binarisation and noise depend on, but not the initial weights, which are made before.
    precision : {"32-true", "bf16-mixed"}, default "32-true"
        Arithmetic of the networks; weights and losses are float32 in either.
    accelerator : {"auto", "cpu", "cuda", "mps"}, default "auto"
        Device to train on.
    binarize : bool, default True
        Draw grey images as Bernoulli(grey level) each epoch; False trains on the grey levels, which a
        Bernoulli likelihood does not allow.

    Raises
    ------
    ValueError
        If a field is out of its range.

    Examples
    --------
    >>> config = TrainingConfig(epochs=30, warmup_epochs=10)
    >>> config.beta(1), config.beta(10), config.beta(30)
    (0.1, 1.0, 1.0)
    """

    epochs: int = 500
    batch_size: int = 128
    learning_rate: float = 1e-3
    warmup_epochs: int = 100
    patience: int | None = 50
    clip_norm: float = 200.0
    seed: int = 0
    precision: Precision = "32-true"
    accelerator: Accelerator = "auto"
    binarize: bool = True

    def __post_init__(self) -> None:
        for name, least in (("epochs", 1), ("batch_size", 1), ("warmup_epochs", 0), ("seed", 0)):
            if getattr(self, name) < least:
                raise ValueError(f"`{name}` must be at least {least}, got {getattr(self, name)}")
        if self.patience is not None and self.patience < 1:
            raise ValueError(f"`patience` must be at least 1 or None, got {self.patience}")
        for name in ("learning_rate", "clip_norm"):
            if not getattr(self, name) > 0:
                raise ValueError(f"`{name}` must be positive, got {getattr(self, name)}")
        for name, choices in (("precision", get_args(Precision)), ("accelerator", get_args(Accelerator))):
            if getattr(self, name) not in choices:
                raise ValueError(f"`{name}` must be one of {choices}, got {getattr(self, name)!r}")

    def beta(self, epoch: int) -> float:
        """Return the weight β of the KL term in an epoch.

        Parameters
        ----------
        epoch : int
            Counted from 1.
        """
        return min(1.0, epoch / self.warmup_epochs) if self.warmup_epochs else 1.0


def train(
    vae: VAE,
    objective: Objective,
    data: ImageData,
    config: TrainingConfig,
    run_dir: str | os.PathLike[str],
    *,
    resume: bool = True,
    progress: bool = True,
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
    run_dir.mkdir(parents=True, exist_ok=True)
    fabric = Fabric(accelerator=config.accelerator, devices=1, precision=config.precision)
    learnable = [*vae.parameters(), *objective.modules.to(fabric.device).parameters()]
    adam = torch.optim.Adam(learnable, lr=config.learning_rate, fused=True)
    model, optimizer = fabric.setup(vae, adam)
    identity = _identity(vae, objective, data, config)
    if not resume:
        for old in (run_dir / "last.pt", run_dir / "best.pt", *run_dir.glob("events.out.tfevents.*")):
            old.unlink(missing_ok=True)
    history, best, best_penalties = _restore(
        run_dir / "last.pt", vae, objective, optimizer, identity, fabric.device
    )
    train_images = data.train.to(fabric.device)  # (n, channels, height, width) uint8
    valid_images = data.evaluation_images("valid", binarize=config.binarize).to(fabric.device)

    with (
        torch.random.fork_rng([fabric.device] if fabric.device.type == "cuda" else []),
        SummaryWriter(run_dir, purge_step=len(history.rows) + 1) as board,
        tqdm(
            desc=run_dir.name,
            total=config.epochs,
            initial=len(history.rows),
            unit="epoch",
            disable=not progress,
        ) as bar,
    ):
        while not _finished(history, config):
            epoch, started = len(history.rows) + 1, time.perf_counter()
            beta = config.beta(epoch)

            model.train()
            objective.modules.train()
            torch.manual_seed(epoch_seed(config.seed, epoch, stream=_NOISE))
            epoch_batches = batches(
                train_images,
                config.batch_size,
                seed=config.seed,
                epoch=epoch,
                binary=data.binary,
                binarize=config.binarize,
            )
            means = _Means()
            for step, x in enumerate(epoch_batches, start=1):  # x: (batch, channels, height, width) float32
                terms = objective(model, x, beta=beta)  # scalars, means over the batch
                optimizer.zero_grad()
                fabric.backward(terms.loss + terms.auxiliary)
                norm = fabric.clip_gradients(
                    model, optimizer, max_norm=config.clip_norm, error_if_nonfinite=False
                )
                assert norm is not None  # None only where `max_norm` is
                if not (math.isfinite(terms.loss.item()) and math.isfinite(norm.item())):
                    where = f"in epoch {epoch}, step {step}"
                    raise _divergence(
                        f"loss {terms.loss.item()}, gradient norm {norm.item()} {where}", run_dir
                    )
                optimizer.step()
                means.add(terms, len(x))

            valid_means = _validate(model, objective, valid_images, config, beta)
            row = {"epoch": epoch, "beta": beta, "learning_rate": config.learning_rate}
            row |= means.columns("train", vae.latent_dim) | valid_means.columns("valid", vae.latent_dim)
            row["seconds"] = time.perf_counter() - started
            if not math.isfinite(row["valid_elbo"]):
                raise _divergence(f"validation ELBO {row['valid_elbo']} after epoch {epoch}", run_dir)
            history = dataclasses.replace(history, rows=(*history.rows, row))
            if history.best_epoch == epoch:
                best, best_penalties = _copy(vae), _copy(objective.modules)
            _log(
                row, board
            )  # before the checkpoint: an epoch that is repeated is shown once, by `purge_step`
            checkpoint = _checkpoint(vae, objective, best, best_penalties, optimizer, history, identity)
            _save(checkpoint, run_dir / "last.pt")
            _write_atomically(run_dir / "history.csv", history.to_csv().encode())
            bar.update()
            bar.set_postfix_str(
                f"valid −ELBO {-row['valid_elbo']:.2f}, tr J/d {row['valid_fisher_trace_mean']:.2f}"
            )

    _write_atomically(run_dir / "history.csv", history.to_csv().encode())  # a kill may have come before it
    _save(best, run_dir / "best.pt")
    vae.load_state_dict(best)
    vae.eval()
    objective.modules.load_state_dict(best_penalties)
    objective.modules.eval()
    return history


@torch.no_grad()
def _validate(
    model: nn.Module, objective: Objective, images: Tensor, config: TrainingConfig, beta: float
) -> _Means:
    """Evaluate the objective on the validation images, with the same noise each time."""
    model.eval()
    objective.modules.eval()
    torch.manual_seed(epoch_seed(config.seed, 0, stream=_VALIDATION))
    means = _Means()
    for x in images.split(config.batch_size):  # (batch, channels, height, width) float32
        means.add(objective(model, x, beta=beta), len(x))
    return means


def _finished(history: History, config: TrainingConfig) -> bool:
    """Whether all epochs are done, or `patience` of them after the warm-up brought no better ELBO."""
    done = len(history.rows)
    if done >= config.epochs:
        return True
    return (
        config.patience is not None
        and done - max(history.best_epoch, config.warmup_epochs) >= config.patience
    )


class _Means:
    """Means of an objective's terms over the images of an epoch, kept on the device until they are read."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.sums: Tensor | float = 0.0
        self.count = 0

    def add(self, terms: ObjectiveTerms, count: int) -> None:
        named = {
            "loss": terms.loss,
            "elbo": terms.elbo,
            "reconstruction": terms.reconstruction,
            "kl": terms.kl,
            **{f"penalty_{name}": value for name, value in terms.penalties.items()},
            "posterior_entropy": terms.posterior_entropy,
            "fisher_trace_mean": terms.fisher_trace_mean,
            **terms.watched,
        }
        self.names = list(named)
        self.sums = self.sums + count * torch.stack([value.detach() for value in named.values()])
        self.count += count

    def columns(self, prefix: str, latent_dim: int) -> dict[str, float]:
        """Return the means; N is that of the mean entropy, not a mean of the batches' N."""
        means = torch.as_tensor(self.sums).double().cpu() / self.count
        row = dict(zip(self.names, means.tolist(), strict=True))
        row["entropy_power"] = float(
            power_from_entropy(means[self.names.index("posterior_entropy")], latent_dim)
        )
        row["product"] = row["entropy_power"] * row["fisher_trace_mean"]
        return {f"{prefix}_{name}": value for name, value in row.items()}


def _divergence(found: str, run_dir: Path) -> DivergenceError:
    last = run_dir / "last.pt"
    kept = f"the last good checkpoint is {last}" if last.exists() else "there is no checkpoint yet"
    return DivergenceError(
        f"training has diverged: {found}; {kept}; "
        "a smaller `learning_rate`, `clip_norm` or penalty weight may help"
    )


def _identity(
    vae: nn.Module, objective: Objective, data: ImageData, config: TrainingConfig
) -> dict[str, str]:
    """Say what a run consists of, to recognise it when it is resumed."""
    fields = dataclasses.asdict(config)
    free = ("epochs", "accelerator")
    digest = hashlib.sha256()
    for images in (data.train, data.valid):
        digest.update(images.cpu().contiguous().numpy().data)
    return {
        "model": repr(vae),
        "objective": repr(objective),
        "data": f"{data.name}, SHA-256 {digest.hexdigest()}",
        "configuration": repr({name: value for name, value in fields.items() if name not in free}),
    }


def _copy(module: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in module.state_dict().items()}


def _checkpoint(
    vae: nn.Module,
    objective: Objective,
    best: dict[str, Tensor],
    best_penalties: dict[str, Tensor],
    optimizer: torch.optim.Optimizer,
    history: History,
    identity: Mapping[str, str],
) -> dict[str, Any]:
    return {
        "model": vae.state_dict(),
        "penalties": objective.modules.state_dict(),
        "best_model": best,
        "best_penalties": best_penalties,
        "optimizer": optimizer.state_dict(),
        "epoch": len(history.rows),
        "history": dataclasses.asdict(history),
        "identity": dict(identity),
    }


def _restore(
    path: Path,
    vae: VAE,
    objective: Objective,
    optimizer: torch.optim.Optimizer,
    identity: Mapping[str, str],
    device: torch.device,
) -> tuple[History, dict[str, Tensor], dict[str, Tensor]]:
    """Load a checkpoint, if there is one; return its history, best weights and penalties' best state."""
    if not path.exists():
        return History(vae.latent_dim), {}, {}
    checkpoint = torch.load(path, map_location=device, weights_only=True)
    for part, now in identity.items():
        if (then := checkpoint["identity"][part]) != now:
            raise ValueError(
                f"`run_dir` {path.parent} holds a run with another {part}: it was\n  {then}\n"
                f"and is now\n  {now}\n"
                "name another folder, or start anew with `resume=False`"
            )
    vae.load_state_dict(checkpoint["model"])
    objective.modules.load_state_dict(checkpoint.get("penalties", {}))  # older runs had none with a state
    optimizer.load_state_dict(checkpoint["optimizer"])
    history = History(checkpoint["history"]["latent_dim"], tuple(checkpoint["history"]["rows"]))
    return history, checkpoint["best_model"], checkpoint.get("best_penalties", {})


def _save(content: dict[str, Any], path: Path) -> None:
    buffer = io.BytesIO()
    torch.save(content, buffer)
    _write_atomically(path, buffer.getvalue())


def _write_atomically(path: Path, content: bytes) -> None:
    """Replace a file at once: whoever reads `path`, after a crash too, finds the old content or the new."""
    temporary = path.with_name(path.name + ".tmp")
    with temporary.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)
    if os.name == "posix":  # elsewhere a folder cannot be opened
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)  # so that the new name survives a power cut
        finally:
            os.close(folder)


def _log(row: Mapping[str, float], board: SummaryWriter) -> None:
    for name, value in row.items():
        prefix, _, rest = name.partition("_")
        tag = f"{rest}/{prefix}" if prefix in ("train", "valid") else name  # both splits in one diagram
        board.add_scalar(tag, value, int(row["epoch"]))
    board.flush()
