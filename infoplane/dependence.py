"""How much variables tell of each other: mutual information, conditional entropy, and both conditioned."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from infoplane.errors import DegenerateSampleError, warn
from infoplane.estimate import Estimate
from infoplane.estimators import BestEntropy, Bound, Estimator, Gaussian
from infoplane.estimators.base import EntropyFit, least_rows
from infoplane.estimators.copula import normal_scores
from infoplane.estimators.copula_information import conditional_copula_information, copula_information
from infoplane.estimators.entropy_sums import InformationFit, collapse, entropy_sum, plain_entropy
from infoplane.estimators.shared_balls import shared_ball_information
from infoplane.kernels.linear_algebra import on_one_blas_thread
from infoplane.methods import TRUSTED_DIMENSIONS, estimator_of, unit_of
from infoplane.progress import shown
from infoplane.sample import Sample, as_array

Ties = Literal["raise", "dither"]

# Ranks of n rows resolve log n less this for each pair of variables; some of it before, accuracy is lost.
_UNRESOLVED, _COARSE = 2.6, 3.5
# Entropies of the data as given are not looked at below this many nats, however few the rows.
_STRONG = 2.0
# Rise of the entropy with scale (`collapse`) from which points are taken to lie on a curve.
_COLLAPSED = 0.4


@on_one_blas_thread
def mutual_information(
    x: ArrayLike,
    y: ArrayLike,
    *,
    method: str | Estimator = "auto",
    base: float | None = None,
    ties: Ties = "raise",
    rng: np.random.Generator | int | None = None,
    progress: bool = False,
) -> Estimate:
    """Mutual information I(X; Y) = E log f(X, Y)/(f(X) f(Y)) = H(X) + H(Y) − H(X, Y), in nats.

    It is symmetric, zero for independent variables and else positive, and invertible maps of X and of Y
    leave it as it is: under increasing maps of each column "auto" does so exactly.

    Parameters
    ----------
    x : array_like of shape (n,) or (n, d_x)
        n independent observations of d_x variables, taken jointly.
    y : array_like of shape (n,) or (n, d_y)
        Those of the other variables in the same rows.
    method : {"auto", "ksg", "entropies", "gaussian", "knn", "kde", …} or estimator
        How to estimate. "auto", the default, measures the copula by weighted neighbours of normal scores;
        "ksg" counts the neighbours in the marginals (of normal scores, k = 3); "gaussian" is exact for normal
        data; with "entropies" (those of `entropy`) and any other method of `entropy` the three terms are
        estimated by it.
    base : float, optional
        Unit: e (None) for nats, 2 for bits, 10 for hartleys.
    ties : {"raise", "dither"}, default "raise"
        What becomes of rounded data, as in `entropy`; the same noise then enters into all terms.
    rng : numpy.random.Generator or int, optional
        Source of noise for "dither".
    progress : bool, default False
        Show stages that take long, as in `entropy`.

    Returns
    -------
    Estimate
        The mutual information with its standard error. It may fall below zero by its error.

    Raises
    ------
    DegenerateSampleError
        If a sample has ties (except with "gaussian") or no density, or if columns of `x` and `y` together are
        linearly dependent: the mutual information is then infinite.
    ValueError
        If `x` and `y` differ in their number of rows, and as in `entropy`.
    TypeError
        As in `entropy`.

    Warns
    -----
    InfoplaneWarning
        If the points seem to lie on a curve, so that the estimate only bounds I from below, or if "auto" is
        used above d_x + d_y = 10.

    Notes
    -----
    Mutual information of a variable with itself is infinite, not its entropy. "ksg" and all estimates of
    "auto" are unbiased at independence, and low where the joint density changes within the distance of
    neighbours: at n = 10³ by 0.1 nats for a uniform variable with uniform noise of a tenth of its width, and
    in ten dimensions by nats for clustered or oscillating dependence; in those common heavy tails add 0.1.
    Intervals do not include that; those of "auto" cover 92 to 96 % for two variables of smooth joint density
    (n ≥ 10³) and more than that for weakly dependent vectors. "ksg" cannot exceed log n. Where "auto"
    finds more than log n − 3.5 nats, it also takes entropies of the data as given, and the higher of both:
    beyond what ranks resolve only rescaling leaves the result exactly as it is. Cost as of `entropy`.

    References
    ----------
    C. E. Shannon, Bell Syst. Tech. J. 27 (1948) 379–423, section 12.
    J. Ma, Z. Sun, "Mutual information is copula entropy", Tsinghua Sci. Technol. 16 (2011) 51–54.
    A. Kraskov, H. Stögbauer, P. Grassberger, Phys. Rev. E 69 (2004) 066138, eq. (9): "ksg".

    Examples
    --------
    >>> import numpy as np
    >>> from infoplane import mutual_information
    >>> x, noise = np.random.default_rng(0).standard_normal((2, 2000))
    >>> y = np.exp(0.8 * x + 0.6 * noise)  # I = −½ log(1 − 0.8²) = 0.511
    >>> i = mutual_information(x, y)
    >>> abs(i - 0.511) < 2 * i.standard_error
    True
    >>> i == mutual_information(1000 * x, np.log(y))
    True
    """
    with shown(progress):
        pair = _paired(method, base, ties, rng, x=x, y=y)
        fit = _mutual_information(method, *pair)
        return _estimate(fit, pair, base)


@on_one_blas_thread
def conditional_entropy(
    x: ArrayLike,
    *,
    given: ArrayLike,
    method: str | Estimator = "auto",
    base: float | None = None,
    ties: Ties = "raise",
    rng: np.random.Generator | int | None = None,
    progress: bool = False,
) -> Estimate:
    """Conditional entropy H(X | Y) = H(X, Y) − H(Y) = H(X) − I(X; Y), in nats.

    Under x → a x + b it grows by d_x log|a|; invertible maps of the condition leave it as it is.

    Parameters
    ----------
    x : array_like of shape (n,) or (n, d_x)
        n independent observations of d_x variables, taken jointly.
    given : array_like of shape (n,) or (n, d_y)
        The condition in the same rows.
    method : {"auto", "ksg", "entropies", "gaussian", "knn", "kde", …} or estimator
        How to estimate. With "auto", the default, and "ksg" it is H(X) as by `entropy` less I(X; Y) as by
        `mutual_information`, with others the difference of two entropies.
    base : float, optional
        Unit: e (None) for nats, 2 for bits, 10 for hartleys.
    ties : {"raise", "dither"}, default "raise"
        What becomes of rounded data, as in `entropy`; the same noise then enters into all terms.
    rng : numpy.random.Generator or int, optional
        Source of noise for "dither".
    progress : bool, default False
        Show stages that take long, as in `entropy`.

    Returns
    -------
    Estimate
        The conditional entropy with its standard error; like an entropy it may be negative.

    Raises
    ------
    DegenerateSampleError, ValueError, TypeError
        As in `mutual_information`.

    Warns
    -----
    InfoplaneWarning
        As in `mutual_information`.

    Notes
    -----
    The bias is that of the entropy less that of the mutual information, see there.

    References
    ----------
    C. E. Shannon, Bell Syst. Tech. J. 27 (1948) 623–656, section 20.

    Examples
    --------
    >>> import numpy as np
    >>> from infoplane import conditional_entropy
    >>> x, noise = np.random.default_rng(0).standard_normal((2, 2000))
    >>> h = conditional_entropy(x + noise, given=x)  # that of the noise, ½ log 2πe = 1.419
    >>> abs(h - 1.419) < 2 * h.standard_error
    True
    """
    with shown(progress):
        pair = _paired(method, base, ties, rng, x=x, given=given)
        if method in ("auto", "ksg"):
            fit = _mutual_information(method, *pair)
            shared = EntropyFit(fit.value, fit.standard_error, fit.influence)
            parts = [(1, BestEntropy().entropy(pair[0])), (-1, shared)]
            return _estimate(entropy_sum(parts, fit.method), pair, base)
        estimator = _named(method)
        parts = [(1, estimator.entropy(_joint(*pair))), (-1, estimator.entropy(pair[1]))]
        return _estimate(entropy_sum(parts, _label(method, estimator)), pair, base)


@on_one_blas_thread
def conditional_mutual_information(
    x: ArrayLike,
    y: ArrayLike,
    *,
    given: ArrayLike,
    method: str | Estimator = "auto",
    base: float | None = None,
    ties: Ties = "raise",
    rng: np.random.Generator | int | None = None,
    progress: bool = False,
) -> Estimate:
    """Conditional mutual information I(X; Y | Z) = H(X, Z) + H(Y, Z) − H(X, Y, Z) − H(Z), in nats.

    What Y tells of X beyond what Z does, I(X; (Y, Z)) − I(X; Z): symmetric in X and Y, zero where they are
    independent given Z and else positive. Invertible maps of X, of Y and of Z leave it as it is, increasing
    ones of each column exactly ("auto").

    Parameters
    ----------
    x : array_like of shape (n,) or (n, d_x)
        n independent observations of d_x variables, taken jointly.
    y : array_like of shape (n,) or (n, d_y)
        Those of the other variables in the same rows.
    given : array_like of shape (n,) or (n, d_z)
        The condition in the same rows.
    method : {"auto", "ksg", "entropies", "gaussian", "knn", "kde", …} or estimator
        As in `mutual_information`; "ksg" is here the estimate of Frenzel and Pompe, and "auto", the default,
        raises it towards four entropies of normal scores where they are higher by more than noise.
    base : float, optional
        Unit: e (None) for nats, 2 for bits, 10 for hartleys.
    ties : {"raise", "dither"}, default "raise"
        What becomes of rounded data, as in `entropy`; the same noise then enters into all terms.
    rng : numpy.random.Generator or int, optional
        Source of noise for "dither".
    progress : bool, default False
        Show stages that take long, as in `entropy`.

    Returns
    -------
    Estimate
        The conditional mutual information with its standard error. It may fall below zero by its error.

    Raises
    ------
    DegenerateSampleError, ValueError, TypeError
        As in `mutual_information`.

    Warns
    -----
    InfoplaneWarning
        If "auto" is used above d_x + d_y + d_z = 10.

    Notes
    -----
    The bias is mostly negative and larger than that of a mutual information, as three variables are measured
    at least: at n = 10³ below 0.03 nats for normal data, 0.07 for clusters that change with the condition,
    but 0.35 for uniform noise about a curve in it. It is small at conditional independence, where sums of
    entropies ("entropies", "knn") are off by 0.1.

    References
    ----------
    S. Frenzel, B. Pompe, "Partial mutual information for coupling analysis of multivariate time series",
    Phys. Rev. Lett. 99 (2007) 204101.

    Examples
    --------
    >>> import numpy as np
    >>> from infoplane import conditional_mutual_information
    >>> z, a, b = np.random.default_rng(0).standard_normal((3, 2000))
    >>> i = conditional_mutual_information(z + a, z + b, given=z)  # z is all they share
    >>> abs(i) < 2 * i.standard_error
    True
    """
    with shown(progress):
        triple = _paired(method, base, ties, rng, x=x, y=y, given=given)
        one, other, condition = triple
        if method in ("auto", "ksg"):
            scores = [normal_scores(sample.values) for sample in triple]
            if method == "ksg":
                return _estimate(shared_ball_information(*scores), triple, base)
            return _estimate(conditional_copula_information(*scores), triple, base)
        estimator = _named(method)
        parts = [
            (1, estimator.entropy(_joint(one, condition))),
            (1, estimator.entropy(_joint(other, condition))),
            (-1, estimator.entropy(_joint(*triple))),
            (-1, estimator.entropy(condition)),
        ]
        fit = entropy_sum(parts, _label(method, estimator), degrees=one.d * other.d)
        return _estimate(fit, triple, base)


def _mutual_information(method: str | Estimator, x: Sample, y: Sample) -> InformationFit:
    if method == "auto":
        return _best_information(x, y)
    if method == "ksg":
        return shared_ball_information(normal_scores(x.values), normal_scores(y.values))
    estimator = _named(method)
    parts = [(1, estimator.entropy(x)), (1, estimator.entropy(y)), (-1, estimator.entropy(_joint(x, y)))]
    return entropy_sum(parts, _label(method, estimator), degrees=x.d * y.d)


def _best_information(x: Sample, y: Sample) -> InformationFit:
    """The copula's, or beyond what ranks resolve the higher of it and of entropies of the data as given."""
    pairs = min(x.d, y.d)
    limit = pairs * (math.log(x.n) - _UNRESOLVED)
    scores = normal_scores(x.values), normal_scores(y.values)
    try:
        ranked = copula_information(*scores)
    except DegenerateSampleError:
        # The ranks of one column are those of another, or their reverse.
        ranked = InformationFit(limit, math.nan, np.full(x.n, math.nan), "copula")
    weak = ranked.value < max(math.log(x.n) - _COARSE, _STRONG)
    if not weak:
        parts = [(1, plain_entropy(x)), (1, plain_entropy(y)), (-1, plain_entropy(_joint(x, y)))]
        plain = entropy_sum(parts, "entropies", degrees=x.d * y.d)
        ranked = ranked._replace(value=min(ranked.value, limit))
        if plain.value > ranked.value:
            _warn_of_curves(collapse(_joint(x, y)), x.n)
            return plain
    if x.d == y.d == 1:
        known = math.isfinite(ranked.standard_error)
        _warn_of_curves(collapse(Sample.of(np.hstack(scores))) if known else 1.0, x.n)
    return ranked


def _warn_of_curves(collapsed: float, rows: int) -> None:
    if collapsed > _COLLAPSED:
        warn(
            f"the {rows} rows of `x` and `y` seem to lie on a curve: one may be a function of the other, "
            "and mutual information infinite; the estimate bounds it from below and grows with n"
        )


def _paired(
    method: str | Estimator,
    base: float | None,
    ties: Ties,
    rng: np.random.Generator | int | None,
    **arrays: ArrayLike,
) -> tuple[Sample, ...]:
    """Validate options and samples of the same rows, together and each on its own."""
    unit_of(base)
    estimator = None if method in ("auto", "ksg") else _named(method)
    if isinstance(estimator, Bound):
        raise ValueError(
            "`method` must give estimates of entropy, got a bound, whose difference bounds nothing"
        )
    values = {name: as_array(array, name=name) for name, array in arrays.items()}
    rows = [len(array) for array in values.values()]
    if len(set(rows)) > 1:
        names = [f"`{name}`" for name in values]
        raise ValueError(
            f"{', '.join(names[:-1])} and {names[-1]} must have the same number of rows (observations), "
            f"got {' and '.join(map(str, rows))}"
        )
    # One source of noise for all, which are not alike where they are given the same seed.
    source = None if rng is None else np.random.default_rng(rng)
    samples = tuple(Sample.of(x, name=name, ties=ties, rng=source) for name, x in values.items())
    joint = _joint(*samples)
    if estimator is None:
        joint.require_rows(least_rows(joint.d), str(method))
    if not isinstance(estimator, Gaussian):
        for sample in (*samples, joint):
            # Ranks bear the few ties in a column that chance makes; estimators look for themselves.
            name = str(method) if estimator is None else estimator.name
            sample.require_distinct_rows(name, bears=sample.n)
    if method == "auto" and joint.d > TRUSTED_DIMENSIONS:
        warn(
            f"in d = {joint.d} > {TRUSTED_DIMENSIONS} dimensions taken together no method here resolves "
            "clustered or curved dependence: I may be low by nats, whatever the standard error says; compare "
            'with method="gaussian"'
        )
    return samples


def _joint(*samples: Sample) -> Sample:
    names = [sample.name for sample in samples]
    try:
        joint = Sample.of(np.hstack([sample.values for sample in samples]), name=" and ".join(names))
    except DegenerateSampleError as error:
        # Each sample has passed on its own.
        raise DegenerateSampleError(
            f"{error}; a column of one sample is a linear function of others, and shared information infinite"
        ) from error
    return replace(joint, widths=np.concatenate([sample.widths for sample in samples]))


def _named(method: str | Estimator) -> Estimator:
    return BestEntropy() if method == "entropies" else estimator_of(method, also=("ksg", "entropies"))


def _label(method: str | Estimator, estimator: Estimator) -> str:
    return method if isinstance(method, str) else estimator.name


def _estimate(fit: InformationFit, samples: tuple[Sample, ...], base: float | None) -> Estimate:
    unit = unit_of(base)
    return Estimate(
        fit.value / unit,
        standard_error=fit.standard_error / unit,
        method=fit.method,
        n=samples[0].n,
        d=sum(sample.d for sample in samples),
    )
