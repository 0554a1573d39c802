"""What a law speaks of: a distribution, whose figures are exact, or a sample, whose figures have errors."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from typing import Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from infoplane.distributions import Distribution, MultivariateNormal, Normal, convolution
from infoplane.distributions.base import Array
from infoplane.estimate import Estimate
from infoplane.estimators import Bound, Estimator
from infoplane.estimators.base import covariance
from infoplane.methods import entropy_estimate, estimator_of, trace_estimate, warn_beyond_trust
from infoplane.sample import Sample, as_array

Law = Distribution | ArrayLike
Ties = Literal["raise", "dither"]
Influence = NDArray[np.float64]

# How much less than the direction asked for the others count, when an estimator is asked for one direction:
# enough to be rid of them, little enough for it to whiten the data.
_ASIDE = 1e-6


class Figure(NamedTuple):
    """A number and what is known of its error.

    Attributes
    ----------
    value : float
        The number.
    error : float
        Its standard error; 0 if it is exact.
    influence : ndarray of shape (n,), optional
        What each row of a sample adds to the error, times n.
    draws : int, default 0
        Of Monte Carlo.
    method : str, default ""
        What made it.
    """

    value: float
    error: float = 0.0
    influence: Influence | None = None
    draws: int = 0
    method: str = ""


class Subject(Protocol):
    """A random vector, as far as laws ask."""

    @property
    def d(self) -> int:
        """Number of dimensions."""

    @property
    def entropy(self) -> Figure:
        """H."""

    @property
    def fisher(self) -> Array:
        """J."""

    @property
    def scatter(self) -> Array:
        """Σ."""

    def information(self, metric: Array | None = None) -> Figure:
        """tr(M J); M is the identity by default."""

    def spread(self, metric: Array) -> Figure:
        """tr(M Σ)."""

    def plus(self, other: Subject) -> Subject:
        """Sum with an independent vector."""

    def smoothed(self, variance: float) -> Subject:
        """Sum with independent normal noise of a variance."""

    def residual(self, value: float, terms: Sequence[tuple[float, Figure]]) -> float:
        """A number, with its error if it has one, from derivatives by figures and these."""


class Exact:
    """A distribution.

    Parameters
    ----------
    law : Distribution
        It.
    """

    def __init__(self, law: Distribution) -> None:
        self.law = law
        self.d = law.d

    @cached_property
    def entropy(self) -> Figure:
        """H."""
        return _figure(self.law.entropy())

    @cached_property
    def fisher(self) -> Array:
        """J."""
        return self.law.fisher_information()

    @cached_property
    def scatter(self) -> Array:
        """Σ."""
        return self.law.covariance()

    def information(self, metric: Array | None = None) -> Figure:
        """tr(M J).

        Parameters
        ----------
        metric : ndarray of shape (d, d), optional
            M, positive semi-definite.
        """
        return _figure(self.law.fisher_trace() if metric is None else self.law._trace(metric))

    def spread(self, metric: Array) -> Figure:
        """tr(M Σ).

        Parameters
        ----------
        metric : ndarray of shape (d, d)
            M.
        """
        return Figure(float(np.sum(metric * self.scatter)))

    def plus(self, other: Subject) -> Subject:
        """Distribution of the sum.

        Parameters
        ----------
        other : Exact
            Of an independent vector.
        """
        assert isinstance(other, Exact)
        return Exact(convolution(self.law, other.law))

    def smoothed(self, variance: float) -> Subject:
        """Distribution after the heat flow.

        Parameters
        ----------
        variance : float
            Time.
        """
        if variance == 0:
            return self
        if self.d == 1:
            return Exact(convolution(self.law, Normal(scale=math.sqrt(variance))))
        return Exact(convolution(self.law, MultivariateNormal(np.zeros(self.d), variance * np.eye(self.d))))

    def residual(self, value: float, terms: Sequence[tuple[float, Figure]]) -> float:
        """A plain number; with Monte Carlo the sum of all errors, as they may share their draws.

        Parameters
        ----------
        value : float
            It.
        terms : sequence of (float, Figure)
            Derivatives, and by what.
        """
        error = math.fsum(abs(slope) * figure.error for slope, figure in terms)
        if error == 0 or not math.isfinite(value):
            return value
        draws = max(figure.draws for _, figure in terms)
        return Estimate(value, standard_error=error, method="monte-carlo", n=draws, d=self.d)


class Observed:
    """A sample.

    Parameters
    ----------
    x : ndarray of shape (n, d)
        Its rows.
    method : str or Estimator
        How to estimate.
    widths : ndarray of shape (d,)
        Of the noise that resolved ties, 0 without.
    noise : ndarray of shape (n, d), optional
        Standard normal, for smoothing.
    """

    def __init__(self, x: Array, method: str | Estimator, widths: Array, noise: Array | None = None) -> None:
        self.x, self.method, self._widths, self._noise = x, method, widths, noise
        self.d = x.shape[1]

    @cached_property
    def entropy(self) -> Figure:
        """H."""
        estimate, fit = entropy_estimate(self.method, self._sample)
        return Figure(float(estimate), estimate.standard_error, fit.influence, method=estimate.method)

    @cached_property
    def fisher(self) -> Array:
        """J."""
        return trace_estimate(self.method, self._sample)[1].matrix

    @cached_property
    def scatter(self) -> Array:
        """Σ."""
        return np.atleast_2d(np.cov(self.x.T))

    def information(self, metric: Array | None = None) -> Figure:
        """tr(M J) = tr J of M^{−1/2} x, which is what estimators know the error of.

        Parameters
        ----------
        metric : ndarray of shape (d, d), optional
            M, positive semi-definite.
        """
        sample = self._sample
        if metric is not None:
            values, vectors = np.linalg.eigh(metric)
            change = (vectors / np.sqrt(np.maximum(values, _ASIDE * values[-1]))) @ vectors.T
            sample = replace(Sample.of(self.x @ change), widths=self._widths @ np.abs(change))
        estimate, fit = trace_estimate(self.method, sample)
        return Figure(float(estimate), estimate.standard_error, fit.influence, method=estimate.method)

    def spread(self, metric: Array) -> Figure:
        """tr(M Σ).

        Parameters
        ----------
        metric : ndarray of shape (d, d)
            M.
        """
        gaps = self.x - self.x.mean(axis=0)
        value = float(np.sum(metric * self.scatter))
        influence = np.einsum("ia,ab,ib->i", gaps, metric, gaps) - value
        return Figure(value, float(influence.std()) / math.sqrt(len(gaps)), influence)

    def plus(self, other: Subject) -> Subject:
        """Sample of the sum.

        Parameters
        ----------
        other : Observed
            Independent, of the same number of rows.
        """
        assert isinstance(other, Observed)
        return Observed(self.x + other.x, self.method, np.maximum(self._widths, other._widths))

    def smoothed(self, variance: float) -> Subject:
        """Sample with noise, the same for all variances.

        Parameters
        ----------
        variance : float
            Of the noise.
        """
        if variance == 0:
            return self
        assert self._noise is not None
        return Observed(self.x + math.sqrt(variance) * self._noise, self.method, self._widths)

    def part(self, columns: list[int]) -> Observed:
        """Some of the columns.

        Parameters
        ----------
        columns : list of int
            Which.
        """
        return Observed(self.x[:, columns], self.method, self._widths[columns])

    @property
    def _sample(self) -> Sample:
        return replace(Sample.of(self.x), widths=self._widths)

    def residual(self, value: float, terms: Sequence[tuple[float, Figure]]) -> float:
        """An estimate, whose error takes the correlation of the figures into account.

        Parameters
        ----------
        value : float
            It.
        terms : sequence of (float, Figure)
            Derivatives, and by what.
        """
        variance = 0.0
        for i, (slope, figure) in enumerate(terms):
            variance += (slope * figure.error) ** 2
            for other_slope, other in terms[:i]:
                if figure.influence is not None and other.influence is not None:
                    own, others = slope * figure.influence, other_slope * other.influence
                    variance += 2 * covariance(own, others)
        name = "+".join(dict.fromkeys(figure.method for _, figure in terms if figure.method))
        error = math.sqrt(max(variance, 0.0))
        return Estimate(value, standard_error=error, method=name, n=len(self.x), d=self.d)


def subject_of(
    x: Law,
    method: str | Estimator,
    *,
    name: str = "x",
    ties: Ties = "raise",
    rng: np.random.Generator | int | None = None,
    flowing: bool = False,
) -> Subject:
    """A distribution or a sample, ready for a law.

    Parameters
    ----------
    x : Distribution or array_like of shape (n,) or (n, d)
        It.
    method : str or Estimator
        How to estimate, from a sample.
    name : str, default "x"
        How messages call it.
    ties : {"raise", "dither"}, default "raise"
        What becomes of rounded rows.
    rng : numpy.random.Generator or int, optional
        Source of noise for "dither", and of that of smoothing.
    flowing : bool, default False
        Whether a sample will be smoothed.

    Raises
    ------
    ValueError
        If the method bounds what it measures.
    """
    subject = _subject(x, method, name=name, ties=ties, rng=rng, flowing=flowing)
    if isinstance(subject, Observed):
        warn_beyond_trust(method, subject.d)
    return subject


def rows_of(
    x: ArrayLike,
    *,
    name: str = "x",
    ties: Ties = "raise",
    rng: np.random.Generator | int | None = None,
) -> tuple[Array, Array]:
    """Rows of a sample, whose ties are resolved once for all figures of a law.

    Parameters
    ----------
    x : array_like of shape (n,) or (n, d)
        The sample.
    name : str, default "x"
        How messages call it.
    ties : {"raise", "dither"}, default "raise"
        What becomes of rounded rows.
    rng : numpy.random.Generator or int, optional
        Source of noise for "dither".

    Returns
    -------
    rows : ndarray of shape (n, d)
        The rows.
    widths : ndarray of shape (d,)
        Of the noise, 0 without.
    """
    if ties == "raise":
        rows = as_array(x, name=name)
        return rows, np.zeros(rows.shape[1])
    sample = Sample.of(x, name=name, ties=ties, rng=rng)
    return sample.values, sample.widths


def pair_of(
    x: Law,
    y: Law,
    method: str | Estimator,
    *,
    ties: Ties = "raise",
    rng: np.random.Generator | int | None = None,
) -> tuple[Subject, Subject]:
    """Two independent vectors that can be added.

    Parameters
    ----------
    x, y : Distribution or array_like of shape (n,) or (n, d)
        Two distributions or two samples.
    method : str or Estimator
        How to estimate, from samples.
    ties : {"raise", "dither"}, default "raise"
        What becomes of rounded rows.
    rng : numpy.random.Generator or int, optional
        Source of noise for "dither", for both in turn.
    """
    source = None if rng is None else np.random.default_rng(rng)
    one = subject_of(x, method, name="x", ties=ties, rng=source)
    other = _subject(y, method, name="y", ties=ties, rng=source)
    if type(one) is not type(other):
        raise TypeError("`x` and `y` must both be distributions, or both be samples")
    if one.d != other.d:
        raise ValueError(f"`x` and `y` must have the same number of dimensions, got {one.d} and {other.d}")
    if isinstance(one, Observed) and isinstance(other, Observed) and len(one.x) != len(other.x):
        raise ValueError(
            f"`x` and `y` must have the same number of rows, got {len(one.x)} and {len(other.x)}"
        )
    return one, other


def _subject(
    x: Law,
    method: str | Estimator,
    *,
    name: str,
    ties: Ties = "raise",
    rng: np.random.Generator | int | None = None,
    flowing: bool = False,
) -> Subject:
    if isinstance(x, Distribution):
        return Exact(x)
    if method != "auto" and isinstance(estimator_of(method), Bound):
        raise ValueError(
            '`method` must give estimates for a residual, got "bound", whose residual is no bound'
        )
    source = None if rng is None else np.random.default_rng(rng)
    rows, widths = rows_of(x, name=name, ties=ties, rng=source)
    noise = source.standard_normal(rows.shape) if flowing and source is not None else None
    return Observed(rows, method, widths, noise)


def power(entropy: Figure, d: int) -> float:
    """Entropy power N.

    Parameters
    ----------
    entropy : Figure
        H.
    d : int
        Number of dimensions.
    """
    return math.exp(2 * entropy.value / d - 1) / (2 * math.pi)


def root(matrix: Array) -> Array:
    """Symmetric square root of a positive definite matrix.

    Parameters
    ----------
    matrix : ndarray of shape (d, d)
        It.
    """
    values, vectors = np.linalg.eigh(matrix)
    return np.asarray((vectors * np.sqrt(values)) @ vectors.T, dtype=np.float64)


def inverse(matrix: Array) -> Array:
    """Inverse of a positive definite matrix.

    Parameters
    ----------
    matrix : ndarray of shape (d, d)
        It.
    """
    return np.asarray(np.linalg.inv(matrix), dtype=np.float64)


def _figure(value: float) -> Figure:
    if isinstance(value, Estimate):
        return Figure(float(value), value.standard_error, draws=value.n)
    return Figure(value)
