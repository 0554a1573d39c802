"""What `method` names: the families of estimators, and which of them "auto" takes."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np

from infoplane.errors import warn
from infoplane.estimate import Estimate, FisherShannonPoint
from infoplane.estimators import (
    KDE,
    KNN,
    BestEntropy,
    Bound,
    Copula,
    Estimator,
    Gaussian,
    LogSpline,
    Spacing,
    Stack,
    WeightedKNN,
)
from infoplane.estimators.base import EntropyFit, FisherFit, shared_covariance
from infoplane.kernels.linear_algebra import on_one_blas_thread
from infoplane.long_run import long_run_covariance
from infoplane.sample import Sample

_FAMILIES: dict[str, Callable[[], Estimator]] = {
    "gaussian": Gaussian,
    "knn": KNN,
    "kde": KDE,
    "spacing": Spacing,
    "logspline": LogSpline,
    "stack": Stack,
    "copula": Copula,
    "weighted-knn": WeightedKNN,
    "bound": Bound,
}

# Beyond this "auto" warns: only near-Gaussian shapes are measured well.
TRUSTED_DIMENSIONS = 10
# Below this many rows log-splines break up where kernels only blur.
_LOGSPLINE_ROWS = 30
# Below this many rows, and so many a dimension, the parts of a stack are too small to be fitted to; from this
# dimension on it cannot hold the Jacobians of so many rows.
_STACK_ROWS, _STACK_ROWS_A_DIMENSION, _STACK_DIMENSIONS = 50, 10, 50
# From this dimension on the smoothing bias of the kernel density estimate exceeds that of neighbours.
_KNN_FISHER_DIMENSIONS = 10
# Rate r of the bias n^{-r} of J where it falls most slowly: a density with a kink (Laplace), as measured.
_FISHER_RATE = 0.2


def estimator_of(method: str | Estimator, *, also: tuple[str, ...] = ()) -> Estimator:
    """The estimator that a method other than "auto" names.

    Parameters
    ----------
    method : str or Estimator
        A name, or the estimator itself.
    also : tuple of str, default ()
        Further names that the caller knows, for the message.

    Raises
    ------
    ValueError
        If the name is unknown.
    TypeError
        If it is neither a name nor an estimator.
    """
    if isinstance(method, str):
        if method not in _FAMILIES:
            names = ["auto", *also, *_FAMILIES]
            raise ValueError(f"`method` must be one of {names} or an estimator, got {method!r}")
        return _FAMILIES[method]()
    if isinstance(method, type) or not isinstance(method, Estimator):
        raise TypeError(f"`method` must be a name or an estimator such as KNN(k=3), got {method!r}")
    return method


def warn_beyond_trust(method: str | Estimator, d: int) -> None:
    """Warn that "auto" is not to be trusted in so many dimensions: once a call, wherever its rows lie.

    Parameters
    ----------
    method : str or Estimator
        What the caller asked for.
    d : int
        Number of dimensions.
    """
    if method == "auto" and d > TRUSTED_DIMENSIONS:
        warn(
            f"in d = {d} > {TRUSTED_DIMENSIONS} dimensions no method here resolves clustered or "
            "curved data: H may be wrong by nats and J low by half, whatever the standard errors say; "
            'compare with method="gaussian"'
        )


def with_rtol(
    method: str | Estimator, rtol: float | None, rng: np.random.Generator | int | None
) -> str | Estimator:
    """The method, told how precise a sum over pairs must be.

    Parameters
    ----------
    method : str or Estimator
        "kde" or a `KDE`, unless `rtol` is None.
    rtol : float or None
        Relative standard error that is enough.
    rng : numpy.random.Generator, int or None
        Of the choice of points; None for the estimator's own seed.

    Raises
    ------
    ValueError
        If the method has no sums over pairs.
    """
    if rtol is None:
        return method
    estimator = None if method == "auto" else estimator_of(method)
    if not isinstance(estimator, KDE):
        raise ValueError(f"`rtol` is for method 'kde', got method {method!r}")
    seed = estimator.seed if rng is None else int(np.random.default_rng(rng).integers(2**32))
    return replace(estimator, rtol=rtol, seed=seed)


def unit_of(base: float | None) -> float:
    """The unit of entropy that a base of logarithms stands for, in nats.

    Parameters
    ----------
    base : float or None
        Above 1; None for e.

    Raises
    ------
    ValueError
        If it is not above 1.
    TypeError
        If it is no number.
    """
    if base is not None and not isinstance(base, int | float | np.number):
        raise TypeError(f"`base` must be a number above 1, got {base!r}")
    if base is not None and not 1 < base < math.inf:
        raise ValueError(f"`base` must be a number above 1, got {base!r}")
    return 1.0 if base is None else math.log(base)


def fisher_estimator(method: str | Estimator, sample: Sample) -> Estimator:
    """The estimator of Fisher information and score.

    Parameters
    ----------
    method : str or Estimator
        "auto", a name or an estimator.
    sample : Sample
        The data, of which "auto" looks at shape and weights.
    """
    if method != "auto":
        return estimator_of(method)
    n, d = sample.n, sample.d
    if d == 1:
        return LogSpline() if min(n, sample.mass.effective_n) >= _LOGSPLINE_ROWS else KDE()
    if not sample.mass.alike:
        return KDE()
    if d < _STACK_DIMENSIONS and n >= max(_STACK_ROWS, _STACK_ROWS_A_DIMENSION * d):
        return Stack()
    return KDE() if d < _KNN_FISHER_DIMENSIONS else KNN()


def entropy_estimate(
    method: str | Estimator, sample: Sample, unit: float = 1.0
) -> tuple[Estimate, EntropyFit]:
    """The entropy with what is known of it.

    Parameters
    ----------
    method : str or Estimator
        "auto", a name or an estimator.
    sample : Sample
        The data.
    unit : float, default 1
        In nats.

    Returns
    -------
    estimate : Estimate
        In the unit.
    fit : EntropyFit
        In nats.
    """
    estimator, fit = entropy_fit(method, sample)
    estimate = Estimate(
        fit.value / unit,
        standard_error=fit.standard_error / unit,
        method=estimator.name,
        n=sample.mass.observations,
        d=sample.d,
        bound=fit.bound,
        skewness=fit.skewness,
        bias=_known_by(partial(_bias_of_entropy, estimator, sample, fit.value, unit), sample),
    )
    return estimate, fit


def trace_estimate(method: str | Estimator, sample: Sample) -> tuple[Estimate, FisherFit]:
    """The trace of the Fisher information with what is known of it.

    Parameters
    ----------
    method : str or Estimator
        "auto", a name or an estimator.
    sample : Sample
        The data.
    """
    estimator = fisher_estimator(method, sample)
    fit = estimator.fisher(sample)
    trace = float(np.trace(fit.matrix))
    estimate = Estimate(
        trace,
        standard_error=fit.standard_error,
        method=estimator.name,
        n=sample.mass.observations,
        d=sample.d,
        positive=True,
        bound=fit.bound,
        skewness=fit.skewness,
        bias=_known_by(partial(_bias_of_trace, estimator, sample, trace), sample),
    )
    return estimate, fit


def point_estimate(
    method: str | Estimator, sample: Sample, *, correlated: bool = False
) -> FisherShannonPoint:
    """The place in the plane, with the correlation of its coordinates.

    Parameters
    ----------
    method : str or Estimator
        "auto", a name or an estimator; for both quantities.
    sample : Sample
        The data.
    correlated : bool, default False
        Count with serial correlation of the rows, in their order, in the standard errors.
    """
    h, shannon = entropy_estimate(method, sample)
    trace, fisher = trace_estimate(method, sample)
    shared = shared_covariance(shannon, fisher)
    # Relative to tr J, as squares of data in large or small units leave the range of float64.
    size = float(trace)
    influences = np.column_stack([shannon.influence, fisher.influence / size]) if correlated else None
    if influences is not None and np.isfinite(influences).all():
        added = (long_run_covariance(influences) - influences.T @ influences / sample.n) / sample.n
        # No less than for independent rows: what the lags take away may be their noise.
        more_h, more_j = np.maximum(np.diag(added), 0.0)
        h = h.with_standard_error(math.hypot(h.standard_error, math.sqrt(more_h)))
        trace = trace.with_standard_error(math.hypot(trace.standard_error, size * math.sqrt(more_j)))
        shared += size * float(added[0, 1])
    return FisherShannonPoint.from_estimates(h, fisher.matrix, trace, covariance=shared)


def entropy_fit(method: str | Estimator, sample: Sample) -> tuple[Estimator, EntropyFit]:
    """The entropy, and the estimator that found it.

    Parameters
    ----------
    method : str or Estimator
        "auto", a name or an estimator.
    sample : Sample
        The data.
    """
    if method == "auto" and sample.mass.alike:
        return BestEntropy().best(sample)
    if method != "auto":
        estimator = estimator_of(method)
    elif sample.d == 1 and not sample.mass.has_repeats:
        estimator = Spacing()
    else:
        estimator = KDE()
    return estimator, estimator.entropy(sample)


def _known_by(bias: Callable[[], float], sample: Sample) -> Callable[[], float] | None:
    """The way to a bias, if there is one: of a histogram's rows no halves can be taken, only of its cells."""
    return bias if sample.cells is None else None


@on_one_blas_thread
def _bias_of_entropy(estimator: Estimator, sample: Sample, value: float, unit: float) -> float:
    halves = [_for_half(estimator).entropy(half).value for half in sample.halves()]
    return extrapolated_bias("entropy", value, halves, sample.d) / unit


@on_one_blas_thread
def _bias_of_trace(estimator: Estimator, sample: Sample, value: float) -> float:
    halves = [float(np.trace(_for_half(estimator).fisher(half).matrix)) for half in sample.halves()]
    return extrapolated_bias("fisher", value, halves, sample.d)


def _for_half(estimator: Estimator) -> Estimator:
    """What measures half of a sample: the same, but blocks whose size is given are to be half as large."""
    halved: Callable[[], Estimator] | None = getattr(estimator, "halved", None)
    return estimator if halved is None else halved()


def extrapolated_bias(quantity: str, value: float, halves: list[float], d: int) -> float:
    """Bias from that of halves, for one that falls like n^{−r}.

    Parameters
    ----------
    quantity : {"entropy", "fisher"}
        H, where r = 2/d as for nearest neighbours, but 2/3 at most, as of spacings across edges; or tr J,
        where r = 1/5 as at a kink, the slowest met.
    value : float
        From all rows.
    halves : list of float
        From halves of them.
    d : int
        Number of dimensions.
    """
    rate = 2 / max(d, 3) if quantity == "entropy" else _FISHER_RATE
    return (float(np.mean(halves)) - value) / (2**rate - 1)
