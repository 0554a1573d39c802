"""One step of training, all of it on the device: gradient, clipping, optimiser, averages.

What is trained is one model, by an `infoplane_torch.training_loss.Loss` whose terms are scalars, or several,
by an `infoplane_torch.stacked_loss.StackedLoss` whose terms have one element for each. Nothing here waits for
the device. What the loop wants to know is added up beside the step, and read later.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import zip_longest
from typing import NamedTuple

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from infoplane_torch.information import power_from_entropy
from infoplane_torch.vae import kept_random_state

_WARMUP_STEPS = 3  # before a graph is recorded: libraries allocate and choose their kernels


class Means:
    """Means of named terms over the images of an epoch, added up on the device until they are read."""

    def __init__(self) -> None:
        self.sums: Tensor | None = None  # stays in its place, where a recorded step finds it
        self._names: list[str] = []
        self._count = 0

    def clear(self) -> None:
        """Begin an epoch."""
        self._count = 0
        if self.sums is not None:
            self.sums.zero_()

    def add(self, terms: dict[str, Tensor], count: int) -> None:
        """Add the means of a batch, on the device only; `counted` tells the processor.

        Parameters
        ----------
        terms : dict of str to Tensor
            Scalars, or vectors of one element for each model; the same names each time.
        count : int
            How many images they are means of.
        """
        values = torch.stack([value.detach() for value in terms.values()])
        if self.sums is None:
            self._names, self.sums = list(terms), torch.zeros_like(values)
        self.sums.add_(values, alpha=count)

    def counted(self, count: int) -> None:
        """Note that the terms of so many images were added.

        Parameters
        ----------
        count : int
            Number of images.
        """
        self._count += count

    def columns(self, prefix: str, latent_dim: int, fabric: Fabric) -> list[dict[str, float]]:
        """Return each model's means over the images of all processes; N is that of the mean entropy, no mean.

        Parameters
        ----------
        prefix : str
            What the names begin with.
        latent_dim : int
            Dimension of the code.
        fabric : Fabric
            Knows the other processes.
        """
        assert self.sums is not None
        sums = self.sums.cpu().double().reshape(len(self._names), -1)  # (terms, models)
        count = torch.full_like(sums[:1], self._count)
        if fabric.world_size > 1:
            both = torch.cat([sums, count]).to(fabric.device)
            torch.distributed.all_reduce(both)
            sums, count = both.cpu().tensor_split([len(sums)])
        return [self._row(prefix, latent_dim, means) for means in (sums / count).unbind(1)]

    def _row(self, prefix: str, latent_dim: int, means: Tensor) -> dict[str, float]:
        row = dict(zip(self._names, means.tolist(), strict=True))
        entropy = means[self._names.index("posterior_entropy")]
        row["entropy_power"] = float(power_from_entropy(entropy, latent_dim))
        row["product"] = row["entropy_power"] * row["fisher_trace_mean"]
        return {f"{prefix}_{name}": value for name, value in row.items()}


class Fault(NamedTuple):
    """The first step of an epoch at which a number was not finite.

    Attributes
    ----------
    step : int
        Counted from 1.
    loss, gradient_norm : float
        What they were then.
    """

    step: int
    loss: float
    gradient_norm: float


class WeightAverage:
    """Average of weights over the steps, Σ γ^(t−s) w_s / Σ γ^(t−s): exponential, without memory of the start.

    Parameters
    ----------
    parameters : sequence of Tensor
        The weights.
    decay : float
        γ in (0, 1).

    Notes
    -----
    The sums start at 0 and are divided by 1 − γ^t when they are used, like Adam's moments.

    Examples
    --------
    >>> weight = torch.tensor([1.0])
    >>> average = WeightAverage([weight], 0.5)
    >>> average.add()
    >>> average.steps = 1
    >>> with average.applied():
    ...     weight
    tensor([1.])
    """

    def __init__(self, parameters: Sequence[Tensor], decay: float) -> None:
        self.parameters = list(parameters)
        self.sums = [torch.zeros_like(parameter) for parameter in self.parameters]
        self.steps = 0
        self._decay = decay
        self._move = get_ema_multi_avg_fn(decay)

    def add(self) -> None:
        """Move towards the weights; who calls it counts `steps`, as a recorded call cannot."""
        self._move(self.sums, [parameter.detach() for parameter in self.parameters], None)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Put the averages in the place of the weights for the length of a block."""
        weights = [parameter.detach().clone() for parameter in self.parameters]
        with torch.no_grad():
            for parameter, value in zip(self.parameters, self.sums, strict=True):
                parameter.copy_(value / (1 - self._decay**self.steps))
            try:
                yield
            finally:
                for parameter, value in zip(self.parameters, weights, strict=True):
                    parameter.copy_(value)


class TrainingStep:
    """One step: its call trains on a batch and adds up what there is to know.

    Parameters
    ----------
    fabric : Fabric
        Device and processes.
    loss : nn.Module
        A `Loss` or a `StackedLoss`, perhaps compiled and wrapped for several processes.
    optimizer : torch.optim.Optimizer
        Steps the parameters of `loss`; if `record` is on, its learning rate is a tensor on the device.
    clip_norm : float
        Largest Euclidean norm of the gradient of a model.
    average : WeightAverage or None
        To be moved after each step.
    record : bool or None
        Record the step for each size of batch as a CUDA graph, and replay it from then on; None tries.
    shape : tuple of int, default ()
        Shape of the terms of `loss`.
    generators : sequence of torch.Generator, default ()
        What `loss` draws from beside PyTorch's global random state.
    """

    def __init__(
        self,
        fabric: Fabric,
        loss: nn.Module,
        optimizer: torch.optim.Optimizer,
        *,
        clip_norm: float,
        average: WeightAverage | None,
        record: bool | None,
        shape: tuple[int, ...] = (),
        generators: Sequence[torch.Generator] = (),
    ) -> None:
        self.means = Means()
        self._fabric, self._loss, self._optimizer = fabric, loss, optimizer
        self._clip_norm, self._average = clip_norm, average
        self._record, self._must_record = record is not False, record is True
        self._parameters = [p for group in optimizer.param_groups for p in group["params"]]
        self._shape, self._generators = shape, generators
        self._beta = torch.ones((), device=fabric.device)
        self._count = torch.zeros((), device=fabric.device)
        self._fault = torch.zeros(3, *shape, device=fabric.device)  # step (0: none), loss, norm of gradient
        self._graphs: dict[int, tuple[torch.cuda.CUDAGraph, Tensor]] = {}

    def begin_epoch(self, *, beta: float, learning_rate: float) -> None:
        """Set what is constant in an epoch, and begin to count anew.

        Parameters
        ----------
        beta : float
            Weight of the KL term.
        learning_rate : float
            Of the optimizer.
        """
        self._beta.fill_(beta)
        self._count.zero_()
        self._fault.zero_()
        self.means.clear()
        for group in self._optimizer.param_groups:
            if isinstance(group["lr"], Tensor):
                group["lr"].fill_(learning_rate)
            else:
                group["lr"] = learning_rate

    def __call__(self, x: Tensor) -> None:
        """Train on one batch.

        Parameters
        ----------
        x : Tensor of shape (*shape, B, *event_shape)
            Images on the device; this process's part of the batch.
        """
        count = self._images_in(x)
        if self._record and count not in self._graphs:
            self._record_for(x)
        if self._record:
            graph, images = self._graphs[count]
            images.copy_(x)
            graph.replay()
        else:
            self._step(x)
        self.means.counted(count)
        if self._average is not None:
            self._average.steps += 1

    def faults(self) -> list[Fault | None]:
        """Return each model's first fault of the epoch in any process, if any; waits for the device."""
        found = self._fault.clone()
        if self._fabric.world_size > 1:
            torch.distributed.all_reduce(found, op=torch.distributed.ReduceOp.MAX)
        numbers = found.reshape(3, -1).T.tolist()
        return [Fault(int(step), loss, norm) if step else None for step, loss, norm in numbers]

    def _step(self, x: Tensor) -> None:
        loss, terms = self._loss(x, self._beta)
        self._optimizer.zero_grad()
        self._fabric.backward(loss)
        norm = self._clip()
        self._optimizer.step()
        with torch.no_grad():
            if self._average is not None:
                self._average.add()
            self.means.add(terms, self._images_in(x))
            self._count += 1
            now = torch.stack((self._count.expand_as(norm), terms["loss"], norm))
            first = ~(now.isfinite().all(0) | self._fault[0].bool())
            self._fault.copy_(torch.where(first, now, self._fault))

    def _clip(self) -> Tensor:
        """Scale each model's gradient down to the largest norm, and return what its norm was."""
        if not self._shape:
            return nn.utils.clip_grad_norm_(self._parameters, self._clip_norm)
        (weights,) = self._parameters
        assert weights.grad is not None
        norm = torch.linalg.vector_norm(weights.grad, dim=1)  # the rows are models
        weights.grad.mul_((self._clip_norm / (norm + 1e-6)).clamp(max=1)[:, None])
        return norm

    def _images_in(self, x: Tensor) -> int:
        return x.shape[len(self._shape)]

    def _record_for(self, x: Tensor) -> None:
        """Record a step for batches of this size, or give up recording; the run's state stays as it was."""
        images = x.clone()
        before = [value.clone() for value in self._state()]
        drawn = [generator.get_state() for generator in self._generators]
        with kept_random_state(self._fabric.device):
            try:
                self._warm_up(images)
            except RuntimeError as error:
                if self._must_record:
                    raise
                warnings.warn(
                    f"the step cannot be recorded as a CUDA graph and runs eagerly: {error}", stacklevel=2
                )
                self._record = False
            else:
                self._graphs[self._images_in(x)] = self._recorded(images), images
        for generator, state in zip(self._generators, drawn, strict=True):
            generator.set_state(state)
        with torch.no_grad():
            # What the first steps made anew, the optimizer's moments and the sums, begins at 0.
            for value, old in zip_longest(self._state(), before):
                value.zero_() if old is None else value.copy_(old)

    def _warm_up(self, images: Tensor) -> None:
        """Run the step aside as often as a recording wants; what waits for the device is an error at last.

        Found only while recording, it would leave PyTorch's generator and allocator in the midst of that for
        good, and no step could be run eagerly any more.
        """
        here = torch.cuda.current_stream(self._fabric.device)
        aside = torch.cuda.Stream(self._fabric.device)
        aside.wait_stream(here)
        mode = torch.cuda.get_sync_debug_mode()
        try:
            with torch.cuda.stream(aside):
                for number in range(1, _WARMUP_STEPS + 1):
                    if number == _WARMUP_STEPS:
                        torch.cuda.set_sync_debug_mode("error")
                    self._step(images)
        finally:
            torch.cuda.set_sync_debug_mode(mode)
            here.wait_stream(aside)

    def _recorded(self, images: Tensor) -> torch.cuda.CUDAGraph:
        graph = torch.cuda.CUDAGraph()
        for generator in self._generators:
            graph.register_generator_state(generator)
        with torch.cuda.graph(graph):
            self._step(images)
        return graph

    def _state(self) -> list[Tensor]:
        """All that a step changes, in a fixed order in which what it makes anew comes last."""
        moments = self._optimizer.state_dict()["state"]
        return [
            *self._parameters,
            *self._loss.buffers(),
            *([] if self._average is None else self._average.sums),
            self._count,
            self._fault,
            *(value for index in sorted(moments) for value in moments[index].values()),
            *([] if self.means.sums is None else [self.means.sums]),
        ]
