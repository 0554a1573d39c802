"""Deliberate errors in what the laws are fed, to see that a law fails: a check of the checks."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any
from unittest.mock import patch

import numpy as np
from scipy import special

from infoplane.distributions import Affine, Logistic, Mixture, Normal
from infoplane.distributions.positive import Gamma
from infoplane.inequalities import heat_flow, single, subject, sums
from infoplane.inequalities.subject import Exact, Figure

# Mutations of what every law reads, by patches of the one class that reads it.


def _scaled_fisher(factor: float) -> list[Any]:
    plain, matrix = Exact.information, Exact.fisher.func  # type: ignore[attr-defined]

    def information(self: Exact, metric: Any = None) -> Figure:
        figure = plain(self, metric)
        return figure._replace(value=factor * figure.value, error=factor * figure.error)

    return [
        patch.object(Exact, "information", information),
        patch.object(Exact, "fisher", property(lambda self: factor * matrix(self))),
    ]


def _mean_trace() -> list[Any]:
    plain = Exact.information

    def information(self: Exact, metric: Any = None) -> Figure:
        figure = plain(self, metric)
        return figure._replace(value=figure.value / self.d) if metric is None else figure

    return [patch.object(Exact, "information", information)]


def _negative_entropy() -> list[Any]:
    plain = Exact.entropy.func  # type: ignore[attr-defined]

    def entropy(self: Exact) -> Figure:
        figure = plain(self)
        return figure._replace(value=-figure.value)

    return [patch.object(Exact, "entropy", property(entropy))]


def _power_without_d() -> list[Any]:
    def power(entropy: Figure, d: int) -> float:
        return math.exp(2 * entropy.value - 1) / (2 * math.pi)

    return [patch.object(module, "power", power) for module in (single, sums, heat_flow, subject)]


def _added_deviations() -> list[Any]:
    """Standard deviations of independent normals add, instead of variances."""
    plain = subject.convolution

    def convolution(x: Any, y: Any) -> Any:
        if isinstance(x, Normal) and isinstance(y, Normal):
            return Normal(x.loc + y.loc, x.scale + y.scale)
        return plain(x, y)

    return [patch.object(subject, "convolution", convolution)]


def _forgotten_overlap(self: Mixture) -> float:
    entropies = np.array([float(part.entropy()) for part in self.parts])
    return float(self.weights @ (entropies - np.log(self.weights)))


def _inner_covariance(self: Mixture) -> Any:
    return np.einsum("k,kab->ab", self.weights, np.stack([part.covariance() for part in self.parts]))


def _swapped_gamma(self: Gamma) -> float:
    return self.a + math.lgamma(self.a) - (1 - self.a) * float(special.digamma(self.a))


def _method(owner: type, name: str, replacement: Callable[..., Any]) -> list[Any]:
    return [patch.object(owner, name, replacement)]


MUTATIONS: dict[str, Callable[[], list[Any]]] = {
    "J halved": partial(_scaled_fisher, 0.5),
    "J doubled": partial(_scaled_fisher, 2.0),
    "tr J divided by d": _mean_trace,
    "N without its d": _power_without_d,
    "sign of H": _negative_entropy,
    "affine H without log det A": lambda: _method(
        Affine, "_entropy", lambda self: self.distribution.entropy()
    ),
    "affine J with A for its inverse": lambda: (
        _method(
            Affine,
            "_fisher",
            lambda self: self.matrix.T @ self.distribution.fisher_information() @ self.matrix,
        )
        + _method(
            Affine,
            "_trace",
            lambda self, metric: self.distribution._trace(self.matrix @ metric @ self.matrix.T),
        )
    ),
    "mixture H without the overlap": lambda: _method(Mixture, "_entropy", _forgotten_overlap),
    "mixture Σ without the means": lambda: _method(Mixture, "_covariance", _inner_covariance),
    "deviations added, not variances": _added_deviations,
    "gamma H with a sign swapped": lambda: _method(Gamma, "_standard_entropy", _swapped_gamma),
    "logistic J of 1/4": lambda: _method(Logistic, "_standard_fisher", lambda self: 0.25),
}


@contextmanager
def mutated(name: str) -> Iterator[None]:
    """Everything as it would be with that error."""
    with ExitStack() as stack:
        for change in MUTATIONS[name]():
            stack.enter_context(change)
        yield
