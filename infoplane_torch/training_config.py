"""How a model is trained: one record, and the schedules of β and of the learning rate that it describes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

Precision = Literal["32-true", "bf16-mixed"]
Accelerator = Literal["auto", "cpu", "cuda", "mps"]
Schedule = Literal["constant", "cosine", "step", "plateau"]


@dataclass(frozen=True)
class TrainingConfig:
    """How a model is trained, all of it.

    Parameters
    ----------
    epochs : int, default 500
        Most passes over the training images.
    batch_size : int, default 128
        Images a step, over all processes.
    learning_rate : float, default 1e-3
        Of Adam, at the start.
    warmup_epochs : int, default 100
        Epochs until the weight β of the KL term reaches 1: β = min(1, epoch / warmup_epochs), with the first
        epoch 1; 0 for β = 1 throughout. A warm-up that is too short costs several nats of likelihood, more
        than any penalty gains: compare models only under one schedule.
    patience : int or None, default 50
        Stop after so many epochs, counted from the end of the warm-up, without a better ELBO on the
        validation images; None never stops early.
    clip_norm : float, default 200
        Largest Euclidean norm of the gradient, which is scaled down to it; inf for no limit. The
        networks of penalties count in it.
    seed : int, default 0
        What order, binarisation and noise depend on; of a run that is started by its configuration, as by the
        command line, the initial weights too. `infoplane_torch.training.train` is given a model that has
        them.
    precision : {"32-true", "bf16-mixed"}, default "32-true"
        Arithmetic of the networks; weights and losses are float32 in either.
    accelerator : {"auto", "cpu", "cuda", "mps"}, default "auto"
        Device to train on.
    binarize : bool, default True
        Draw grey images as Bernoulli(grey level) each epoch; False trains on the grey levels, which a
        Bernoulli likelihood does not allow.
    schedule : {"constant", "cosine", "step", "plateau"}, default "constant"
        Learning rate over the epochs: constant; half a cosine from the first epoch down to the last; times
        `schedule_factor` every `schedule_epochs`; or times it after `schedule_epochs` without a better ELBO
        on the validation images, counted from the end of the warm-up.
    schedule_epochs : int, default 30
        Of the "step" and "plateau" schedules.
    schedule_factor : float, default 0.1
        Of the "step" and "plateau" schedules, between 0 and 1.
    minimum_learning_rate : float, default 0
        No schedule goes below it; "cosine" ends there.
    ema_decay : float or None, default None
        Evaluate and keep, instead of the last weights, their average over the steps with weights that fade
        by this factor a step, for example 0.999; None takes the weights themselves.
    compile : bool, default False
        Compile the step by `torch.compile`: half a minute at the start, on a GPU fewer kernels a step.
    cuda_graph : bool or None, default None
        Record the whole step as one CUDA graph, so that the processor's time for a hundred kernels a step is
        saved; None records on a single GPU wherever the model allows it, and falls back with a warning.
    devices : int, default 1
        Devices of this machine to train on, one process each, or processes on a CPU; each sees its equal
        part of each batch. Under ``torchrun`` its numbers count.
    nodes : int, default 1
        Machines.
    validation_batch_size : int, default 1000
        Images at a time in validation, which keeps no gradients, in each process.
    checkpoint_seconds : float, default 10
        Save after an epoch if so long ago nothing was saved; 0 saves after each. What is lost by a kill is
        computed again to the same bits. Of several models side by side, as many times that.
    dequantize : bool, default False
        Add uniform noise of one grey level, (k + u)/256, anew each epoch and once to what is evaluated: for a
        Gaussian likelihood, as the density of images of few levels has no bound. Needs `binarize` = False.

    Raises
    ------
    ValueError
        If a field is out of its range.

    Examples
    --------
    >>> config = TrainingConfig(epochs=30, warmup_epochs=10, schedule="step", schedule_epochs=20)
    >>> config.beta(1), config.beta(10), config.beta(30)
    (0.1, 1.0, 1.0)
    >>> config.learning_rate_in(20), config.learning_rate_in(21)
    (0.001, 0.0001)
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
    schedule: Schedule = "constant"
    schedule_epochs: int = 30
    schedule_factor: float = 0.1
    minimum_learning_rate: float = 0.0
    ema_decay: float | None = None
    compile: bool = False
    cuda_graph: bool | None = None
    devices: int = 1
    nodes: int = 1
    validation_batch_size: int = 1000
    checkpoint_seconds: float = 10.0
    dequantize: bool = False

    def __post_init__(self) -> None:
        for name, least in (
            ("epochs", 1),
            ("batch_size", 1),
            ("warmup_epochs", 0),
            ("seed", 0),
            ("schedule_epochs", 1),
            ("devices", 1),
            ("nodes", 1),
            ("validation_batch_size", 1),
            ("checkpoint_seconds", 0),
        ):
            if not getattr(self, name) >= least:
                raise ValueError(f"`{name}` must be at least {least}, got {getattr(self, name)}")
        if self.patience is not None and self.patience < 1:
            raise ValueError(f"`patience` must be at least 1 or None, got {self.patience}")
        for name in ("learning_rate", "clip_norm"):
            if not getattr(self, name) > 0:
                raise ValueError(f"`{name}` must be positive, got {getattr(self, name)}")
        if not 0 <= self.minimum_learning_rate <= self.learning_rate:
            raise ValueError(
                "`minimum_learning_rate` must be between 0 and `learning_rate`, got "
                f"{self.minimum_learning_rate} and {self.learning_rate}"
            )
        for name, share in (("schedule_factor", self.schedule_factor), ("ema_decay", self.ema_decay)):
            if share is not None and not 0 < share < 1:
                raise ValueError(f"`{name}` must be between 0 and 1, got {share}")
        for name, choices in (
            ("precision", get_args(Precision)),
            ("accelerator", get_args(Accelerator)),
            ("schedule", get_args(Schedule)),
        ):
            if getattr(self, name) not in choices:
                raise ValueError(f"`{name}` must be one of {choices}, got {getattr(self, name)!r}")
        if self.dequantize and self.binarize:
            raise ValueError("`dequantize` must have grey levels, got `binarize` = True")

    def to_dict(self) -> dict[str, Any]:
        """Return plain numbers and words, ready for JSON, by which a run is recognised.

        Options that came after runs were kept are left out where they are off, as in the records of those.
        """
        fields = asdict(self)
        return fields if self.dequantize else {key: fields[key] for key in fields if key != "dequantize"}

    def beta(self, epoch: int) -> float:
        """Return the weight β of the KL term in an epoch.

        Parameters
        ----------
        epoch : int
            Counted from 1.
        """
        return min(1.0, epoch / self.warmup_epochs) if self.warmup_epochs else 1.0

    def learning_rate_in(self, epoch: int, valid_elbo: Sequence[float] = ()) -> float:
        """Return the learning rate in an epoch, a function of nothing but what went before.

        Parameters
        ----------
        epoch : int
            Counted from 1.
        valid_elbo : sequence of float
            ELBO on the validation images after each of the epochs before; "plateau" goes by it.
        """
        highest, lowest = self.learning_rate, self.minimum_learning_rate
        if self.schedule == "constant":
            return highest
        if self.schedule == "cosine":
            return lowest + (highest - lowest) * 0.5 * (1 + math.cos(math.pi * (epoch - 1) / self.epochs))
        if self.schedule == "step":
            drops = (epoch - 1) // self.schedule_epochs
        else:
            drops = _plateaus(valid_elbo[self.warmup_epochs :], self.schedule_epochs)
        return max(lowest, highest * self.schedule_factor**drops)


def _plateaus(values: Sequence[float], length: int) -> int:
    """How many times `length` values in succession were no better than the best before them."""
    best, waited, count = -math.inf, 0, 0
    for value in values:
        waited = 0 if value > best else waited + 1
        best = max(best, value)
        if waited == length:
            count, waited = count + 1, 0
    return count
