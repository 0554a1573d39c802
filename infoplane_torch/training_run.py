"""What a training run has reached: its history, its best weights, and the checkpoint that holds both."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.utils.tensorboard import SummaryWriter

from infoplane_torch.checkpoints import read, require_same_run, run_identity, save, write_atomically
from infoplane_torch.history import History
from infoplane_torch.objective import Objective
from infoplane_torch.training_config import TrainingConfig
from infoplane_torch.training_step import Fault
from infoplane_torch.vae import VAE


class FolderInUseError(RuntimeError):
    """Another process, or thread, is training in the folder of a run."""


class DivergenceError(RuntimeError):
    """The loss or its gradient is no longer finite; the last good checkpoint is named in the message."""


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
        True if training would add no epoch.

    Examples
    --------
    >>> from infoplane_torch.history import History
    >>> from infoplane_torch.training import TrainingConfig, is_finished
    >>> is_finished(History(latent_dim=2), TrainingConfig(epochs=5))
    False
    """
    done = len(history.rows)
    if done >= config.epochs:
        return True
    waited = done - max(history.best_epoch, config.warmup_epochs)
    return config.patience is not None and waited >= config.patience


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Make the folder of a run, and keep others from training in it for a block.

    Parameters
    ----------
    folder : Path
        The folder.

    Raises
    ------
    FolderInUseError
        If another is there.

    Examples
    --------
    >>> import tempfile
    >>> from infoplane_torch.training_run import held
    >>> with tempfile.TemporaryDirectory() as folder, held(Path(folder)):
    ...     pass
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise FolderInUseError(
            f"one training at a time is possible in a folder, and another is going on in {folder}"
        ) from None
    try:
        yield
    finally:
        lock.release()


class TrainingRun:
    """One model on its way, alone or beside others, and its folder.

    Parameters
    ----------
    vae : VAE
        The model.
    objective : Objective
        What is maximised.
    data : str
        The images, by their `infoplane_torch.checkpoints.data_identity`.
    config : TrainingConfig
        How it is trained.
    folder : Path
        Where everything is kept.

    Attributes
    ----------
    history : History
        The epochs done.
    divergence : DivergenceError or None
        What ended the run before its time.
    optimizer : mapping or None
        The optimizer's state after the epochs done.
    average_sums, average_steps
        The state of the `WeightAverage`, if there is one.
    saved : float
        When the last checkpoint was written, or the run begun, by `time.monotonic`.
    """

    def __init__(
        self, vae: VAE, objective: Objective, data: str, config: TrainingConfig, folder: Path
    ) -> None:
        self.vae, self.objective, self.config, self.folder = vae, objective, config, folder
        self.history = History(vae.latent_dim)
        self.divergence: DivergenceError | None = None
        self.optimizer: Mapping[str, Any] | None = None
        self.average_sums: Sequence[Tensor] = ()
        self.average_steps = 0
        self.saved = time.monotonic()
        self._identity = run_identity(vae, objective, data, config)
        self._penalties = objective.modules
        self._best: dict[str, Tensor] = {}
        self._best_penalties: dict[str, Tensor] = {}
        self._board: SummaryWriter | None = None

    @property
    def epoch(self) -> int:
        """How many epochs are done."""
        return len(self.history.rows)

    @property
    def finished(self) -> bool:
        """Whether all epochs are done that the configuration wants."""
        return is_finished(self.history, self.config)

    @property
    def ended(self) -> bool:
        """Whether there is nothing more to train."""
        return self.finished or self.divergence is not None

    def add(self, row: Mapping[str, Any]) -> None:
        """Add an epoch, whose weights are in place; one whose ELBO is not finite ends the run.

        Parameters
        ----------
        row : mapping
            A row of the history.
        """
        if not math.isfinite(row["valid_elbo"]):
            self._diverge(f"validation ELBO {row['valid_elbo']} after epoch {self.epoch + 1}")
            return
        self.history = dataclasses.replace(self.history, rows=(*self.history.rows, dict(row)))
        if self.history.best_epoch == self.epoch:
            self._best, self._best_penalties = _copy(self.vae), _copy(self._penalties)

    def fail(self, fault: Fault) -> None:
        """End the run for a number in the epoch under way that is not finite.

        Parameters
        ----------
        fault : Fault
            Where.
        """
        self._diverge(
            f"loss {fault.loss}, gradient norm {fault.gradient_norm} in epoch {self.epoch + 1}, "
            f"step {fault.step}"
        )

    def _diverge(self, found: str) -> None:
        last = self.folder / "last.pt"
        kept = f"the last good checkpoint is {last}" if last.exists() else "there is no checkpoint yet"
        self.divergence = DivergenceError(
            f"training has diverged: {found}; {kept}; "
            "a smaller `learning_rate`, `clip_norm` or penalty weight may help"
        )

    def begin(self, fabric: Fabric, *, resume: bool) -> None:
        """Go on from the folder's checkpoint, if any; the first process reads it for all.

        Parameters
        ----------
        fabric : Fabric
            Knows the other processes.
        resume : bool
            False removes what is there.
        """
        path, checkpoint = self.folder / "last.pt", None
        if fabric.is_global_zero:
            if not resume:
                for old in (path, self.folder / "best.pt", *self.folder.glob("events.out.tfevents.*")):
                    old.unlink(missing_ok=True)
            if path.exists():
                checkpoint = read(path)
        checkpoint = fabric.broadcast(checkpoint)
        if checkpoint is None:
            return
        require_same_run(checkpoint, self._identity, self.folder)
        self.vae.load_state_dict(checkpoint["model"])
        self._penalties.load_state_dict(checkpoint.get("penalties", {}))  # older runs had none with a state
        self.optimizer = checkpoint["optimizer"]
        if (average := checkpoint["average"]) is not None:
            self.average_sums, self.average_steps = average["sums"], average["steps"]
        self.history = History(checkpoint["history"]["latent_dim"], tuple(checkpoint["history"]["rows"]))
        self._best, self._best_penalties = checkpoint["best_model"], checkpoint.get("best_penalties", {})

    @contextmanager
    def logging(self) -> Iterator[None]:
        """Keep TensorBoard's log open for a block; epochs after the checkpoint are forgotten."""
        with SummaryWriter(self.folder, purge_step=self.epoch + 1) as self._board:
            yield

    def log(self) -> None:
        """Log the last epoch."""
        assert self._board is not None
        row = self.history.rows[-1]
        for name, value in row.items():
            prefix, _, rest = name.partition("_")
            tag = f"{rest}/{prefix}" if prefix in ("train", "valid") else name  # both splits in one diagram
            self._board.add_scalar(tag, value, int(row["epoch"]))
        self._board.flush()

    def save(self) -> None:
        """Write the checkpoint and the history."""
        average = {"sums": list(self.average_sums), "steps": self.average_steps}
        checkpoint = {
            "model": _copy(self.vae),  # copied, because a file would hold the whole of what it is a view of
            "penalties": _copy(self._penalties),
            "best_model": self._best,
            "best_penalties": self._best_penalties,
            "optimizer": self.optimizer,
            "average": average if self.average_sums else None,
            "epoch": self.epoch,
            "history": dataclasses.asdict(self.history),
            "identity": dict(self._identity),
        }
        save(checkpoint, self.folder / "last.pt")
        self.saved = time.monotonic()
        write_atomically(self.folder / "history.csv", self.history.to_csv().encode())

    def save_best(self) -> None:
        """Write the best weights; and the history again, because a kill may have come before it."""
        write_atomically(self.folder / "history.csv", self.history.to_csv().encode())
        save(self._best, self.folder / "best.pt")

    def load_best(self) -> None:
        """Leave the model with the weights of its best epoch, if there is one, in evaluation mode."""
        if self._best:
            self.vae.load_state_dict(self._best)
            self._penalties.load_state_dict(self._best_penalties)
        self.vae.eval()
        self._penalties.eval()


def _copy(module: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in module.state_dict().items()}
