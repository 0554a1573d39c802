"""How much each row of a sample counts: as much as any other, by weights, or as often as it was seen."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from infoplane.lazy import lazy

Array = NDArray[np.float64]
Rows = NDArray[np.intp]


class Average(NamedTuple):
    """A mean over the rows of a sample.

    Attributes
    ----------
    value : float
        The mean.
    standard_error : float
        Its standard error.
    influence : ndarray of shape (n,)
        What each row adds to the error of the mean, times n; NaN at rows that were not evaluated.
    """

    value: float
    standard_error: float
    influence: Array


@dataclass(frozen=True, eq=False)
class Mass:
    """The shares of the rows in the law under study, Σ p_i δ(x_i), and of one observation in its row.

    Row i has the share p_i and is made of observations of share u_i each. Weighted rows are one observation,
    u_i = p_i = w_i/Σw; a row that was seen c_i times is c_i of them, p_i = c_i/N and u_i = 1/N with N = Σc.
    Either way the mean Σ p_i ψ_i has the variance Σ p_i u_i (ψ_i − ψ̄)², Σ w_i² (ψ_i − ψ̄)² for normalised
    weights (self-normalised importance sampling), and to leave an observation out takes u_i away.

    Attributes
    ----------
    share : ndarray of shape (n,)
        p, of sum 1.
    unit : ndarray of shape (n,)
        u.

    References
    ----------
    L. Kish, "Survey Sampling", Wiley 1965, section 8.2: the effective number of observations.
    A. B. Owen, "Monte Carlo theory, methods and examples", 2013, eq. (9.9): the variance.
    """

    share: Array
    unit: Array

    @classmethod
    def equal(cls, n: int) -> Mass:
        """Rows that count alike.

        Parameters
        ----------
        n : int
            How many.
        """
        return _Alike(n)

    @classmethod
    def of_weights(cls, weights: Array) -> Mass:
        """Rows that count by weights, of which only the ratios matter.

        Parameters
        ----------
        weights : ndarray of shape (n,)
            Positive numbers.
        """
        scaled = weights / weights.max()
        share = scaled / scaled.sum()
        return cls(share, share)

    @classmethod
    def of_counts(cls, counts: Array) -> Mass:
        """Rows that were seen several times.

        Parameters
        ----------
        counts : ndarray of shape (n,)
            Positive whole numbers.
        """
        return cls(counts / counts.sum(), np.full(counts.size, 1 / counts.sum()))

    @lazy
    def equal_units(self) -> bool:
        """Whether every observation has the same share, as without weights."""
        return bool((self.unit == self.unit[0]).all())

    @lazy
    def has_repeats(self) -> bool:
        """Whether a row was seen more than once."""
        return bool((self.share > self.unit).any())

    @property
    def alike(self) -> bool:
        """Whether every row counts as much as any other and is one observation."""
        return self.equal_units and not self.has_repeats

    def part(self, rows: Rows) -> Mass:
        """Mass of some of the rows alone.

        Parameters
        ----------
        rows : ndarray of shape (m,)
            Which rows.
        """
        total = self.share[rows].sum()
        return Mass(self.share[rows] / total, self.unit[rows] / total)

    @lazy
    def effective_n(self) -> float:
        """Number of equal observations whose mean is as precise, 1/Σ p_i u_i: Kish's 1/Σ w_i², or Σ c_i."""
        # A whole number where it is one: thresholds are compared with it.
        return float(round(1 / self.unit[0])) if self.equal_units else 1 / float(self.share @ self.unit)

    @property
    def observations(self) -> int:
        """Number of observations: rows, or Σ c_i."""
        return round(1 / self.unit[0]) if self.equal_units else self.share.size

    def average(self, terms: Array, rows: Rows | None = None) -> Average:
        """Mean of terms at the rows, its standard error and the influences.

        Parameters
        ----------
        terms : ndarray of shape (m,)
            One a row, taken as independent.
        rows : ndarray of shape (m,), optional
            Which rows; all of them by default.
        """
        n = self.share.size
        at = np.arange(n) if rows is None else rows
        part = self.part(at)
        value = float(part.share @ terms)
        # Some of the rows were chosen row by row, however many observations each of them is.
        unit = part.unit if at.size == n else part.share
        deviation = np.sqrt(part.share * unit) * (terms - value)
        # The squared shares add to 1/m; m/(m − 1) makes up for the mean that was subtracted.
        one_less = 1 - float(part.share @ unit)
        error = math.sqrt(float(deviation @ deviation) / one_less) if one_less > 0 else math.nan
        influence = np.full(n, math.nan)
        influence[at] = at.size * deviation
        return Average(value, error, influence)

    def quantiles(self, x: Array, probabilities: Array) -> Array:
        """Quantiles of a variable, interpolated between the middles of its observations in order.

        Parameters
        ----------
        x : ndarray of shape (n,)
            The values.
        probabilities : ndarray of shape (q,)
            Which quantiles.
        """
        if self.alike:
            return np.quantile(x, probabilities)
        order = np.argsort(x, kind="stable")
        ordered = self.part(order)
        end = np.cumsum(ordered.share)
        # The middles of the first and of the last observation of each row.
        middles = np.column_stack([end - ordered.share + ordered.unit / 2, end - ordered.unit / 2]).ravel()
        at = middles[0] + probabilities * (middles[-1] - middles[0])
        return np.interp(at, middles, np.repeat(x[order], 2))


class _Alike(Mass):
    """Rows that count alike, whose shares are written down when they are first asked for."""

    _n: int
    equal_units = True
    has_repeats = False

    def __init__(self, n: int) -> None:
        object.__setattr__(self, "_n", n)

    @lazy
    def share(self) -> Array:
        return np.full(self._n, 1 / self._n)

    @property
    def unit(self) -> Array:
        return self.share

    @property
    def effective_n(self) -> float:
        return float(self._n)

    @property
    def observations(self) -> int:
        return self._n

    def part(self, rows: Rows) -> Mass:
        return _Alike(rows.size)
