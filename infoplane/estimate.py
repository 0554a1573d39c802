"""Numbers that know how sure they are: `Estimate`, and the `FisherShannonPoint` made of them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from statistics import NormalDist
from typing import Any, Literal, NoReturn

import numpy as np
from numpy.typing import NDArray

from infoplane.limits import one_sided_reach


class Estimate(float):
    """A number estimated from a sample: a `float` that also carries its standard error.

    It behaves as its value in arithmetic, comparisons and NumPy; the result of such an operation is a
    plain `float`, because the error of a sum or a product is not known from the errors of its parts.

    Parameters
    ----------
    value : float
        The estimate.
    standard_error : float
        Its standard error, in the same unit; `nan` where none is known.
    method : str
        What was really used to compute it, for example ``"knn"``.
    n, d : int
        Number of observations and of dimensions.
    positive : bool, default False
        Whether the quantity is positive, like an entropy power; the interval is then symmetric on the
        log scale and never reaches zero.
    bound : {"upper", "lower"}, optional
        That the value is no estimate but a bound, in expectation: not below ("upper") or not above the truth.
    skewness : float, default 0
        Of the terms whose mean the value is; used for the limit of a bound.
    bias : float or callable, optional
        What is known of the bias, or a function without arguments that finds it when first asked.

    Examples
    --------
    >>> from infoplane import Estimate
    >>> h = Estimate(1.42131, standard_error=0.00712, method="knn", n=10_000, d=1)
    >>> h
    1.4213 ± 0.0071 (knn, n=10000)
    >>> h + 1
    2.42131
    >>> f"{h:.2f}"
    '1.42'
    """

    __slots__ = ("_bias", "_bound", "_d", "_method", "_n", "_positive", "_skewness", "_standard_error")

    _standard_error: float
    _method: str
    _n: int
    _d: int
    _positive: bool
    _bound: Literal["upper", "lower"] | None
    _skewness: float
    _bias: float | Callable[[], float] | None

    def __new__(
        cls,
        value: float,
        *,
        standard_error: float,
        method: str,
        n: int,
        d: int,
        positive: bool = False,
        bound: Literal["upper", "lower"] | None = None,
        skewness: float = 0.0,
        bias: float | Callable[[], float] | None = None,
    ) -> Estimate:
        """Join a value with what is known of it."""
        self = super().__new__(cls, value)
        for name, field in (
            ("_standard_error", float(standard_error)),
            ("_method", method),
            ("_n", int(n)),
            ("_d", int(d)),
            ("_positive", bool(positive)),
            ("_bound", bound),
            ("_skewness", float(skewness)),
            ("_bias", bias),
        ):
            object.__setattr__(self, name, field)
        return self

    @property
    def standard_error(self) -> float:
        """Standard error of the value."""
        return self._standard_error

    @property
    def method(self) -> str:
        """The method that was really used, never ``"auto"``."""
        return self._method

    @property
    def n(self) -> int:
        """Number of observations."""
        return self._n

    @property
    def d(self) -> int:
        """Number of dimensions."""
        return self._d

    @property
    def positive(self) -> bool:
        """Whether the quantity is positive by definition."""
        return self._positive

    @property
    def bound(self) -> Literal["upper", "lower"] | None:
        """Which side of the truth the value lies on, in expectation; None for an estimate."""
        return self._bound

    @property
    def skewness(self) -> float:
        """Skewness of the terms whose mean the value is, where it was given."""
        return self._skewness

    @property
    def bias(self) -> float:
        """Bias that the halves of the sample betray, in the unit of the value; `nan` if they were not asked.

        (mean of the estimates from two halves − value)/(2^r − 1), for a bias that falls like n^{−r}: r = 2/d
        for the entropy (nearest neighbours), 2/3 at most (edges on a line), 1/5 for the Fisher information
        (the slowest met: a density with a kink). It costs two more estimates when first asked for, until when
        the sample is kept. It is noisy, and not meant to be subtracted. Pickling keeps it only if it has been
        asked for; histograms, information and residuals have none.
        """
        if self._bias is _left_behind:
            return math.nan
        bias = self._bias() if callable(self._bias) else self._bias
        number = math.nan if bias is None else float(bias)
        object.__setattr__(self, "_bias", number)
        return number

    def with_standard_error(self, standard_error: float) -> Estimate:
        """Return the same estimate with another standard error.

        Parameters
        ----------
        standard_error : float
            For example one that counts with correlated rows; `nan` if none is known.

        Raises
        ------
        ValueError
            If it is negative.
        """
        if standard_error < 0:
            raise ValueError(f"`standard_error` must not be negative, got {standard_error!r}")
        return type(self)(float(self), **{**self._known, "standard_error": standard_error})

    def interval(
        self, level: float = 0.95, *, method: Literal["normal", "conservative"] = "normal"
    ) -> tuple[float, float]:
        """Confidence interval.

        Parameters
        ----------
        level : float, default 0.95
            Probability that the interval is meant to cover the truth, in (0, 1).
        method : {"normal", "conservative"}, default "normal"
            "normal" is value ± z·se, which does not include the bias of the method: see the method's notes
            for when it is negligible. "conservative" adds |`bias`| to the half-width: for clustered or
            curved data in many dimensions, and densities with kinks.

        Returns
        -------
        tuple of float
            Lower and upper end. For a positive quantity they are value·exp(∓half-width/value). For a bound
            the interval is one-sided (its other end is ±∞, or 0), holds whatever the bias, and `method`
            makes no difference.

        Raises
        ------
        ValueError
            If `level` is out of range, or "conservative" is asked of an estimate that knows no bias.

        Examples
        --------
        >>> from infoplane import Estimate
        >>> h = Estimate(2.0, standard_error=0.1, method="knn", n=100, d=1, bias=0.2)
        >>> low, high = h.interval()
        >>> round(low, 3), round(high, 3)
        (1.804, 2.196)
        >>> low, high = h.interval(method="conservative")
        >>> round(low, 3), round(high, 3)
        (1.604, 2.396)
        """
        if not 0 < level < 1:
            raise ValueError(f"`level` must lie in (0, 1), got {level!r}")
        if method not in ("normal", "conservative"):
            raise ValueError(f"`method` must be 'normal' or 'conservative', got {method!r}")
        if self._bound is not None:
            return self._one_sided(level)
        half = NormalDist().inv_cdf(0.5 + level / 2) * self._standard_error
        if method == "conservative":
            if math.isnan(self.bias):
                raise ValueError(f"a conservative interval needs the estimate's bias, {self._why_unknown}")
            half += abs(self.bias)
        return self._shifted(-half), self._shifted(half)

    @property
    def _why_unknown(self) -> str:
        if self._bias is _left_behind:
            return (
                "which is found from the sample, and that stayed behind when the estimate was pickled "
                "(or made in another process, as by `n_jobs`): ask for `bias` before"
            )
        return f"which nothing tells of this one ({self._method}): its sample cannot be halved"

    def _one_sided(self, level: float) -> tuple[float, float]:
        least = 0.0 if self._positive else -math.inf
        if self._bound == "upper":
            return least, self._shifted(one_sided_reach(self._standard_error, self._skewness, self._n, level))
        reach = one_sided_reach(self._standard_error, -self._skewness, self._n, level)
        return max(least, float(self) - reach), math.inf

    def _shifted(self, step: float) -> float:
        """An end of the interval, on the log scale if the quantity is positive."""
        value = float(self)
        return value * math.exp(step / value) if self._positive and value > 0 else value + step

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"an Estimate cannot be changed: {name!r}")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"an Estimate cannot be changed: {name!r}")

    def __repr__(self) -> str:
        value, error = float(self), self._standard_error
        if math.isfinite(value) and math.isfinite(error) and error > 0:
            # Two digits of the error, and the value to the same place.
            decimals = 1 - math.floor(math.log10(error))
            if decimals <= 8 and abs(value) < 1e9:
                shown = f"{value:.{max(0, decimals)}f} ± {error:.{max(0, decimals)}f}"
            else:
                digits = max(0, math.floor(math.log10(max(abs(value), error))) + decimals)
                shown = f"{value:.{digits}e} ± {error:.1e}"
        else:
            shown = f"{value:.6g} ± {error:.2g}"
        method = self._method if self._bound is None else f"{self._bound} bound"
        return f"{shown} ({method}, n={self._n})"

    __str__ = __repr__

    def __copy__(self) -> Estimate:
        # It cannot be changed, and a copy by way of a pickle would lose the bias.
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Estimate:
        return self

    def __format__(self, spec: str) -> str:
        return format(float(self), spec) if spec else str(self)

    @property
    def _known(self) -> dict[str, Any]:
        """All that is known of the value, as the constructor takes it."""
        return {name.removeprefix("_"): getattr(self, name) for name in self.__slots__}

    def __reduce__(self) -> tuple[Any, ...]:
        known = self._known
        if callable(known["bias"]):
            known["bias"] = _left_behind
        return partial(type(self), **known), (float(self),)


def _left_behind() -> float:
    """The bias of an estimate that was pickled before it was asked for it."""
    return math.nan


@dataclass(frozen=True, eq=False)
class FisherShannonPoint:
    """A place in the Fisher–Shannon plane, with standard errors.

    Attributes
    ----------
    entropy : Estimate
        Differential entropy H in nats.
    entropy_power : Estimate
        N = exp(2H/d)/(2πe), in squared units of the data.
    fisher_information : ndarray of shape (d, d)
        Fisher information matrix J = E[s sᵀ], s = ∇ log f, in inverse squared units of the data.
    fisher_trace : Estimate
        tr J.
    product : Estimate
        N·tr J/d, without unit: at least 1, and equal to 1 for isotropic Gaussians (Stam's inequality).
        An estimate may fall below 1 by its sampling error. If N and tr J are bounds, an upper and a lower
        one, their product bounds nothing and has the standard error `nan`.
    """

    entropy: Estimate
    entropy_power: Estimate
    fisher_information: NDArray[np.float64]
    fisher_trace: Estimate
    product: Estimate

    @classmethod
    def from_estimates(
        cls,
        entropy: Estimate,
        fisher_information: NDArray[np.float64],
        fisher_trace: Estimate,
        *,
        covariance: float = 0.0,
    ) -> FisherShannonPoint:
        """Derive entropy power and product from H, J and the sampling covariance of Ĥ and tr Ĵ.

        Parameters
        ----------
        entropy : Estimate
            Ĥ in nats.
        fisher_information : ndarray of shape (d, d)
            Ĵ.
        fisher_trace : Estimate
            tr Ĵ.
        covariance : float, default 0
            Cov(Ĥ, tr Ĵ); spread-out data have a large H and a small J, so it is usually negative.
        """
        d = entropy.d
        power = power_of_entropy(entropy)
        value = float(power) * float(fisher_trace) / d
        of_power = (2 / d * entropy.standard_error) ** 2
        of_trace = (fisher_trace.standard_error / fisher_trace) ** 2
        relative_variance = max(of_power + of_trace + 2 * (2 / d) * covariance / fisher_trace, 0.0)
        # For normal data the errors cancel to first order: the product of the two is what is left.
        relative_variance += of_power * of_trace
        bounds = entropy.bound is not None or fisher_trace.bound is not None
        methods = dict.fromkeys((entropy.method, fisher_trace.method))
        product = Estimate(
            value,
            standard_error=math.nan if bounds else value * math.sqrt(relative_variance),
            method="+".join(methods),
            n=entropy.n,
            d=d,
            positive=True,
            bias=lambda: value * (abs(2 / d * entropy.bias) + abs(fisher_trace.bias / fisher_trace)),
        )
        return cls(entropy, power, fisher_information, fisher_trace, product)

    @property
    def d(self) -> int:
        """Number of dimensions."""
        return self.entropy.d

    @property
    def n(self) -> int:
        """Number of observations."""
        return self.entropy.n

    def __repr__(self) -> str:
        rows = (
            ("H", self.entropy),
            ("N", self.entropy_power),
            ("tr J", self.fisher_trace),
            ("N·tr J/d", self.product),
        )
        body = "\n".join(f"  {name:<9}{value}" for name, value in rows)
        return f"FisherShannonPoint(d={self.d})\n{body}"


def power_of_entropy(entropy: Estimate) -> Estimate:
    """Entropy power N = exp(2H/d)/(2πe) of an estimated entropy, corrected for the curvature of exp.

    With Ĥ ~ N(H, se²), E[exp(2Ĥ/d)] = exp(2H/d + 2se²/d²); the factor is divided out, except of an upper
    bound, which it leaves one. The standard error is N·(2/d)·se(Ĥ), and the log-scale interval is the
    image of the interval of H.

    Parameters
    ----------
    entropy : Estimate
        Ĥ in nats.

    Raises
    ------
    OverflowError
        If N lies outside the range of normal float64 numbers.
    """
    d, error = entropy.d, entropy.standard_error
    curvature = 2 * (error / d) ** 2 if math.isfinite(error) and entropy.bound is None else 0.0
    log_power = 2 / d * float(entropy) - curvature - math.log(2 * math.pi * math.e)
    if not -708 < log_power < 709:
        raise OverflowError(
            f"the entropy power exp({log_power:.1f}) is outside the range of float64; "
            "rescale `x`, or use its entropy"
        )
    power = math.exp(log_power)
    return Estimate(
        power,
        standard_error=power * 2 / d * error,
        method=entropy.method,
        n=entropy.n,
        d=d,
        positive=True,
        bound=entropy.bound,
        skewness=entropy.skewness,
        bias=lambda: power * 2 / d * entropy.bias,
    )
