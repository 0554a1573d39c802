"""Spacings of order statistics: the entropy of one variable."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.special import digamma, polygamma

from infoplane.errors import DegenerateSampleError
from infoplane.estimators.base import Array, Ascending, EntropyFit, least_rows
from infoplane.estimators.entropy_only import EntropyOnly
from infoplane.kernels.spacings import log_spacings, moments_of_log_spacings
from infoplane.sample import Sample

# Binary exponents of data whose differences stay in range, down to the last place of the largest.
_MODERATE = 900


@dataclass(frozen=True)
class Spacing(EntropyOnly):
    """Entropy of one variable from its spacings, in nats: Vasicek's estimate with the exact constants.

    With x₍₁₎ < … < x₍ₙ₎ in order, lo = max(i − m, 1), hi = min(i + m, n) and o_i = hi − lo,
    H = (1/n) Σ [log(x₍hi₎ − x₍lo₎) − ψ(o_i)] + ψ(n + 1). For a uniform density the mean of the logarithm
    of a spacing of order o is ψ(o) − ψ(n + 1), so the estimate is unbiased there, ends included.

    With weights of sum 1, H = Σ w_i [log(x₍hi₎ − x₍lo₎) − log W_i + log(o_i/n) − ψ(o_i) + ψ(n + 1) + c_i],
    W_i the weight between the ends of the spacing, which count by half. Where weights scatter within a
    spacing, with relative variance v, W_i exceeds its mean by v/o_i, as it holds w_i itself, and log W_i
    falls short by v/2o_i for the noise of the others: c_i = ½(Σ w_j²/W_i² − 1/o_i) = v/2o_i makes up for
    both. Equal weights leave the formula above.

    Parameters
    ----------
    m : int, optional
        Half the order of the spacings; by default the larger of 2 and n^{1/3}/2.5, rounded.

    Notes
    -----
    Cost O(n log n), bounded by one sort of the values, which takes three quarters of the time at n = 10⁶;
    influences of the rows need a sort of row numbers too, if they are asked for. The bias comes from the
    change of the density within a spacing and is below the standard error for the default m, which makes the
    estimate nearly efficient: its standard error exceeds sd(log f)/√n by what the noise of the spacings adds,
    1/(3·2m) of variance in the limit. Do not use it in two or more dimensions (see `Copula`), nor on rounded
    data: ties are refused, and so are `counts`. Weights should change little within a spacing, as a smooth
    function of x does.

    References
    ----------
    O. Vasicek, "A test for normality based on sample entropy", J. R. Stat. Soc. B 38 (1976) 54–59.
    N. Cressie, "On the logarithms of high-order spacings", Biometrika 63 (1976) 343–355: the variance.
    D. A. Darling, "On a class of problems related to the random division of an interval", Ann. Math. Statist.
    24 (1953) 239–253: the moments of the logarithm of a spacing.

    Examples
    --------
    >>> import numpy as np
    >>> from infoplane import entropy
    >>> from infoplane.estimators.spacing import Spacing
    >>> x = np.random.default_rng(0).standard_normal(10_000)  # H = ½ log 2πe = 1.4189
    >>> abs(entropy(x, method=Spacing()) - 1.4189) < 0.03
    True
    """

    m: int | None = None

    def __post_init__(self) -> None:
        if self.m is not None and (not isinstance(self.m, int | np.integer) or self.m < 1):
            raise ValueError(f"`m` must be a positive integer, got {self.m!r}")

    @property
    def name(self) -> str:
        """What `Estimate.method` says."""
        return "spacing"

    def entropy(self, sample: Sample) -> EntropyFit:
        """Differential entropy in nats.

        Parameters
        ----------
        sample : Sample
            One variable, at least max(20, 2m + 1) distinct values.
        """
        if sample.d != 1:
            raise ValueError(
                f"method {self.name!r} measures one variable, got d = {sample.d} columns in `{sample.name}`; "
                'method="knn" takes several'
            )
        sample.require_rows(max(least_rows(1), 2 * (self.m or 0) + 1), self.name)
        sample.require_distinct_rows(self.name, weights=True)
        return self._plain(sample) if sample.mass.alike else self._weighted(sample)

    def _plain(self, sample: Sample) -> EntropyFit:
        """From the moments of the terms, which are kept nowhere unless they are asked for."""
        line = _Line(sample.ordered, self.m)
        value, variance = line.moments()
        of_density = max(variance - line.noise, 0.0)
        error = math.sqrt((of_density + line.mean_variance) / sample.n)
        return EntropyFit(value, error, Ascending(sample, lambda: line.terms(-value)))

    def _weighted(self, sample: Sample) -> EntropyFit:
        mass = sample.mass
        terms, noise, variance = spacing_terms(
            sample.values[:, 0], self.m, name=sample.name, share=mass.share
        )
        value, error, influence = mass.average(terms)
        n = mass.effective_n
        of_density = max(n * error**2 - noise, 0.0)
        return EntropyFit(value, math.sqrt((of_density + variance) / n), influence)


def spacing_terms(
    x: Array, m: int | None = None, *, name: str = "x", share: Array | None = None
) -> tuple[Array, float, float]:
    """Estimates of −log f at every point of a line, from the spacing about it.

    Parameters
    ----------
    x : ndarray of shape (n,)
        The points, in any order.
    m : int, optional
        As in `Spacing`.
    name : str, default "x"
        How the error message calls the points.
    share : ndarray of shape (n,), optional
        Weights of the points, of sum 1; equal by default.

    Returns
    -------
    terms : ndarray of shape (n,)
        In the order of `x`; their (weighted) mean is the entropy.
    noise : float
        The part of the variance of a single term that its spacing adds to that of log f.
    variance : float
        What the spacings add to n times the variance of the mean of the terms.

    Raises
    ------
    DegenerateSampleError
        If more than m points coincide, so that a spacing is zero.
    """
    order = np.argsort(x)
    line = _Line(x[order], m)
    if not line.is_resolved:
        raise DegenerateSampleError(
            f"`{name}` repeats a value more than {line.m} times: a sample with ties has no density"
        )
    ordered, noise = line.terms(), line.noise
    if share is not None:
        n, orders = x.size, _by_order(np.arange(line.m, 2 * line.m + 1.0), x.size)
        within = _within(share[order], line.m)
        scatter = _within(share[order] ** 2, line.m) / within**2 - 1 / orders  # v/o
        ordered -= np.log(within) - np.log(orders / n) - scatter / 2
        noise = float(share[order] @ _by_order(line.noises, n))
    terms = np.empty(x.size)
    terms[order] = ordered
    return terms, noise, line.mean_variance


class _Line:
    """Points in ascending order, and −log f at each from the spacing about it."""

    def __init__(self, ordered: Array, m: int | None) -> None:
        self.n = ordered.size
        self.m = m or max(2, round(self.n ** (1 / 3) / 2.5))
        # Differences of the data as given lose no digit; an exact power of two keeps 1e±300 in range.
        exponent = int(np.frexp(max(abs(ordered[0]), abs(ordered[-1])))[1])
        scaled = abs(exponent) > _MODERATE
        self._ordered = np.ldexp(ordered, -exponent) if scaled else ordered
        # Only the orders m … 2m occur, rising at one end and falling at the other.
        self._orders = np.arange(self.m, 2 * self.m + 1)
        unit = exponent * math.log(2) if scaled else 0.0
        self._offsets = digamma(self.n + 1) + unit - digamma(self._orders)

    @property
    def is_resolved(self) -> bool:
        """Whether no spacing is zero."""
        x, m = self._ordered, self.m
        return bool(np.all(x[2 * m :] > x[: -2 * m]) and x[m] > x[0] and x[-1] > x[-1 - m])

    @property
    def noises(self) -> Array:
        """Variances of the logarithms of spacings of the orders m … 2m."""
        return np.asarray(polygamma(1, self._orders))

    @property
    def noise(self) -> float:
        """Mean over the points of the variance that its spacing adds to a term."""
        at_ends = 2 * float(self.noises[:-1].sum())
        return (at_ends + (self.n - 2 * self.m) * float(self.noises[-1])) / self.n

    @property
    def mean_variance(self) -> float:
        """What the spacings add to n times the variance of the mean of the terms."""
        return _mean_variance(2 * self.m)

    def terms(self, shift: float = 0.0) -> Array:
        """Terms at all points, moved by a number."""
        x, n, m = self._ordered, self.n, self.m
        result = np.empty(n)
        log_spacings(x, 2 * m, self._offsets[-1] + shift, result[m : n - m])
        low, high = self._at_ends()
        result[:m], result[n - m :] = low + shift, high + shift
        return result

    def moments(self) -> tuple[float, float]:
        """Mean of the terms, and their variance about it with n − 1 for the number."""
        n, m = self.n, self.m
        ends = np.concatenate(self._at_ends())
        mean, squares = moments_of_log_spacings(self._ordered, 2 * m)
        mean += self._offsets[-1]
        apart = ends.mean() - mean
        squares += np.square(ends - ends.mean()).sum() + apart**2 * 2 * m * (n - 2 * m) / n
        return float(mean + apart * 2 * m / n), float(squares) / (n - 1)

    def _at_ends(self) -> tuple[Array, Array]:
        x, n, m = self._ordered, self.n, self.m
        low = np.log(x[m : 2 * m] - x[0]) + self._offsets[:-1]
        high = np.log(x[-1] - x[n - 2 * m : n - m]) + self._offsets[-2::-1]
        return low, high


def _by_order(values: Array, n: int) -> Array:
    """Values for the orders m … 2m at the order of each of n spacings."""
    m = values.size - 1
    result = np.full(n, values[m])
    result[:m], result[n - m :] = values[:m], values[m - 1 :: -1]
    return result


def _mean_variance(order: int) -> float:
    """n·Var of the mean logarithm of all overlapping spacings of an order (Cressie 1976, theorem 5.1)."""
    return (2 * order**2 - 2 * order + 1) * float(polygamma(1, order)) - 2 * order + 1


def _within(masses: Array, m: int) -> Array:
    """Sums from i − m to i + m, as far as there are points, with half of the first and of the last."""
    n = masses.size
    kernel = np.ones(2 * m + 1)
    kernel[[0, -1]] = 0.5
    # Sums of positive terms, never differences of cumulated ones, keep small weights exact.
    total = np.convolve(masses, kernel)[m : m + n]
    total[:m] -= masses[0] / 2
    total[n - m :] -= masses[-1] / 2
    return total
