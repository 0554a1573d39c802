"""Laws of a vector and its parts: information is not negative, chain rules, superadditivity, projections."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from infoplane.dependence import (
    conditional_entropy,
    conditional_mutual_information,
    mutual_information,
)
from infoplane.distributions import (
    Distribution,
    GaussianMixture,
    MultivariateNormal,
    Product,
)
from infoplane.distributions.base import Array, indices_of
from infoplane.distributions.quadrature import box_rule
from infoplane.estimate import Estimate
from infoplane.estimators import Estimator
from infoplane.inequalities.subject import (
    Law,
    Observed,
    Subject,
    Ties,
    inverse,
    root,
    rows_of,
    subject_of,
)
from infoplane.measures import entropy

# Trapezoids over a condition: their step in the least standard deviation of a component in any direction, as
# within that the conditional entropy changes; and their reach in those of the condition.
_FINE, _FAR = 0.4, 7.0


def nonnegative_information(
    x: Law,
    columns: Iterable[int],
    *,
    method: str | Estimator = "auto",
    ties: Ties = "raise",
    rng: np.random.Generator | int | None = None,
) -> float:
    """Mutual information of two parts, I = H(X₁) + H(X₂) − H(X₁, X₂) ≥ 0, in nats.

    Equality: independent parts, and no others.

    Parameters
    ----------
    x : Distribution or array_like of shape (n, d)
        The joint distribution, or a sample of it.
    columns : iterable of int
        Coordinates of the first part; the others are the second.
    method : str or estimator, default "auto"
        How to estimate from a sample, as in `infoplane.mutual_information`.
    ties : {"raise", "dither"}, default "raise"
        What becomes of rounded data, as in `infoplane.entropy`.
    rng : numpy.random.Generator or int, optional
        Source of noise for "dither".

    Returns
    -------
    float
        The mutual information; from a sample, or where Monte Carlo is used, an `Estimate`.

    Raises
    ------
    NotImplementedError
        If the distributions of the parts are not known, see `infoplane.distributions.Distribution.marginal`.
    ValueError, TypeError
        If the columns do not divide the coordinates, and as `infoplane.mutual_information`.

    References
    ----------
    C. E. Shannon, Bell Syst. Tech. J. 27 (1948) 623–656, section 20; T. M. Cover, J. A. Thomas, *Elements of
    Information Theory*, 2nd ed., section 8.6.

    Examples
    --------
    >>> from infoplane.distributions import MultivariateNormal
    >>> from infoplane.inequalities import nonnegative_information
    >>> x = MultivariateNormal([0, 0], [[1, 0.8], [0.8, 1]])
    >>> round(nonnegative_information(x, [0]), 6)  # −½ log(1 − 0.8²)
    0.510826
    """
    if not isinstance(x, Distribution):
        rows = rows_of(x, ties=ties, rng=rng)[0]
        first, second = _divided(columns, rows.shape[1])
        return mutual_information(rows[:, first], rows[:, second], method=method)
    v = subject_of(x, method, ties=ties, rng=rng)
    parts = [subject_of(x.marginal(c), method) for c in _divided(columns, x.d)]
    terms = [(1.0, parts[0].entropy), (1.0, parts[1].entropy), (-1.0, v.entropy)]
    return v.residual(math.fsum(slope * h.value for slope, h in terms), terms)


def chain_rule(
    x: Law,
    columns: Iterable[int],
    *,
    method: str | Estimator = "auto",
    ties: Ties = "raise",
    rng: np.random.Generator | int | None = None,
) -> float:
    """Chain rule of entropy, H(X₁, X₂) − H(X₁) − H(X₂ | X₁) = 0, in nats.

    Parameters
    ----------
    x : MultivariateNormal, GaussianMixture, Product, or array_like of shape (n, d)
        The joint distribution, or a sample of it.
    columns : iterable of int
        Coordinates of X₁; the others are X₂.
    method : str or estimator, default "auto"
        How to estimate from a sample, as in `infoplane.conditional_entropy`.
    ties : {"raise", "dither"}, default "raise"
        What becomes of rounded data, as in `infoplane.entropy`.
    rng : numpy.random.Generator or int, optional
        Source of noise for "dither".

    Returns
    -------
    float
        The difference. H(X₂ | X₁) of a distribution is the mean of the entropies of its conditional
        distributions, by quadrature over one coordinate X₁ of a mixture. From a sample it is an `Estimate`,
        whose standard error is the sum of those of the three terms, and thus an upper limit.

    Raises
    ------
    NotImplementedError
        If the conditional distributions are not known.
    ValueError, TypeError
        If the columns do not divide the coordinates, and as `infoplane.conditional_entropy`.

    References
    ----------
    C. E. Shannon, Bell Syst. Tech. J. 27 (1948) 623–656, section 20; T. M. Cover, J. A. Thomas, *Elements of
    Information Theory*, 2nd ed., Theorem 8.6.2.

    Examples
    --------
    >>> from infoplane.distributions import GaussianMixture
    >>> from infoplane.inequalities import chain_rule
    >>> x = GaussianMixture([0.4, 0.6], [[-1, 0], [1, 2]], [[1, 0.5], [0.5, 1]])
    >>> abs(chain_rule(x, [0])) < 1e-8
    True
    """
    if isinstance(x, Distribution):
        first, second = _divided(columns, x.d)
        v, part = subject_of(x, method, ties=ties, rng=rng), subject_of(x.marginal(first), method)
        value = v.entropy.value - part.entropy.value - _conditional_entropy(x, first, second)
        return v.residual(value, [(1.0, v.entropy), (-1.0, part.entropy)])
    rows = rows_of(x, ties=ties, rng=rng)[0]
    first, second = _divided(columns, rows.shape[1])
    plain = method if method != "ksg" else "auto"
    joint, alone = entropy(rows, method=plain), entropy(rows[:, first], method=plain)
    rest = conditional_entropy(rows[:, second], given=rows[:, first], method=method)
    return _difference(joint, alone, rest)


def information_chain_rule(
    x: Law,
    first: Iterable[int],
    second: Iterable[int],
    *,
    method: str | Estimator = "auto",
    ties: Ties = "raise",
    rng: np.random.Generator | int | None = None,
) -> float:
    """Chain rule of information, I(A; (B, C)) − I(A; C) − I(A; B | C) = 0, in nats.

    Parameters
    ----------
    x : array_like of shape (n, d)
        A sample of (A, B, C).
    first, second : iterable of int
        Coordinates of A and of B; the others are C.
    method : str or estimator, default "auto"
        As in `infoplane.mutual_information`.
    ties : {"raise", "dither"}, default "raise"
        What becomes of rounded data, as in `infoplane.entropy`.
    rng : numpy.random.Generator or int, optional
        Source of noise for "dither".

    Returns
    -------
    Estimate
        The difference, which is due to noise and to the biases of the three estimates. Its standard error is
        the sum of theirs, and thus an upper limit.

    Raises
    ------
    TypeError
        If `x` is a distribution: of its exact entropies the rule is an identity.
    ValueError
        If the columns do not leave any, and as `infoplane.mutual_information`.

    References
    ----------
    T. M. Cover, J. A. Thomas, *Elements of Information Theory*, 2nd ed., Theorem 2.5.2.

    Examples
    --------
    >>> import numpy as np
    >>> from infoplane.inequalities import information_chain_rule
    >>> x = np.random.default_rng(0).standard_normal((1000, 3))
    >>> x[:, 0] += x[:, 1] + x[:, 2]
    >>> difference = information_chain_rule(x, [0], [1])
    >>> abs(difference) < 3 * difference.standard_error
    True
    """
    if isinstance(x, Distribution):
        raise TypeError("`x` must be a sample: of exact entropies the rule is an identity")
    rows = rows_of(x, ties=ties, rng=rng)[0]
    if rows.shape[1] < 3:
        raise ValueError(f"`x` must have at least three columns, one each of A, B and C, got {rows.shape[1]}")
    a, others = _divided(first, rows.shape[1])
    b = indices_of(second, "second")
    c = [column for column in others if column not in b]
    if not b or not set(b) <= set(others) or not c:
        raise ValueError(f"`second` must be some, but not all, of the columns {others}, got {b}")
    whole = mutual_information(rows[:, a], rows[:, b + c], method=method)
    part = mutual_information(rows[:, a], rows[:, c], method=method)
    rest = conditional_mutual_information(rows[:, a], rows[:, b], given=rows[:, c], method=method)
    return _difference(whole, part, rest)


def superadditivity(
    x: Law,
    columns: Iterable[int],
    *,
    method: str | Estimator = "auto",
    ties: Ties = "raise",
    rng: np.random.Generator | int | None = None,
) -> float:
    """Carlen's superadditivity of Fisher information, 1 − (T(X₁) + T(X₂))/T(X₁, X₂) ≥ 0 with T = tr J.

    Equality: independent parts, and no others.

    Parameters
    ----------
    x : Distribution or array_like of shape (n, d)
        The joint distribution, or a sample of it.
    columns : iterable of int
        Coordinates of X₁; the others are X₂.
    method : str or estimator, default "auto"
        How to estimate from a sample, as in `infoplane.fisher_trace`.
    ties : {"raise", "dither"}, default "raise"
        What becomes of rounded data, as in `infoplane.entropy`.
    rng : numpy.random.Generator or int, optional
        Source of noise for "dither".

    Returns
    -------
    float
        The residual; from a sample, or where Monte Carlo is used, an `Estimate`; `nan` where J is infinite.

    Raises
    ------
    NotImplementedError
        If the distributions of the parts are not known.
    ValueError, TypeError
        If the columns do not divide the coordinates, and as `infoplane.fisher_trace`.

    References
    ----------
    E. A. Carlen, "Superadditivity of Fisher's information and logarithmic Sobolev inequalities", J. Funct.
    Anal. 101 (1991) 194–211.

    Examples
    --------
    >>> from infoplane.distributions import MultivariateNormal
    >>> from infoplane.inequalities import superadditivity
    >>> x = MultivariateNormal([0, 0], [[1, 0.6], [0.6, 1]])
    >>> round(superadditivity(x, [0]), 12)  # 0.6²
    0.36
    """
    v, parts = _parts(x, columns, method, ties, rng)
    whole, pieces = v.information(), [p.information() for p in parts]
    if not math.isfinite(whole.value):
        return math.nan
    ratio = math.fsum(p.value for p in pieces) / whole.value
    terms = [(ratio / whole.value, whole), *((-1 / whole.value, p) for p in pieces)]
    return v.residual(1 - ratio, terms)


def projection(
    x: Law,
    columns: Iterable[int],
    *,
    method: str | Estimator = "auto",
    ties: Ties = "raise",
    rng: np.random.Generator | int | None = None,
) -> float:
    """Data processing of J under projection: J(X₁) ⪯ ((J⁻¹)₁₁)⁻¹, the information left if X₂ is not seen.

    The residual is 1 − λ ≥ 0, λ the largest eigenvalue of C^{1/2} J(X₁) C^{1/2} with C = (J⁻¹)₁₁.

    Equality: if one direction of X₁ is normal or independent of X₂; in all directions for normal
    distributions and for independent parts.

    Parameters
    ----------
    x : Distribution or array_like of shape (n, d)
        The joint distribution, or a sample of it.
    columns : iterable of int
        Coordinates of X₁; the others are X₂.
    method : str or estimator, default "auto"
        How to estimate from a sample, as in `infoplane.fisher_trace`.
    ties : {"raise", "dither"}, default "raise"
        What becomes of rounded data, as in `infoplane.entropy`.
    rng : numpy.random.Generator or int, optional
        Source of noise for "dither".

    Returns
    -------
    float
        The residual, as of `superadditivity`.

    Raises
    ------
    NotImplementedError, ValueError, TypeError
        As `superadditivity`.

    References
    ----------
    R. Zamir, IEEE Trans. Inf. Theory 44 (1998) 1246–1250: Fisher information under linear maps.

    Examples
    --------
    >>> from infoplane.distributions import MultivariateNormal, MultivariateT
    >>> from infoplane.inequalities import projection
    >>> scatter = [[1, 0.6], [0.6, 1]]
    >>> abs(projection(MultivariateNormal([0, 0], scatter), [0])) < 1e-12
    True
    >>> round(projection(MultivariateT([0, 0], scatter, df=3), [0]), 12)  # 1 − (4/6)/(5/7)
    0.066666666667
    """
    v, parts = _parts(x, columns, method, ties, rng)
    if not np.isfinite(v.fisher).all():
        return math.nan
    first = list(_divided(columns, v.d)[0])
    free = inverse(v.fisher)
    half = root(free[np.ix_(first, first)])
    values, vectors = np.linalg.eigh(half @ parts[0].fisher @ half)
    largest, direction = float(values[-1]), half @ vectors[:, -1]
    # λ = u·J₁u, u·C⁻¹u = 1: C moves by −(J⁻¹ dJ J⁻¹)₁₁, and with it λ by λ times that along w = C⁻¹u.
    weight = free[:, first] @ np.linalg.solve(free[np.ix_(first, first)], direction)
    terms = [
        (-1.0, parts[0].information(np.outer(direction, direction))),
        (largest, v.information(np.outer(weight, weight))),
    ]
    return v.residual(1 - largest, terms)


def _parts(
    x: Law,
    columns: Iterable[int],
    method: str | Estimator,
    ties: Ties,
    rng: np.random.Generator | int | None,
) -> tuple[Subject, list[Subject]]:
    v = subject_of(x, method, ties=ties, rng=rng)
    divided = _divided(columns, v.d)
    if isinstance(x, Distribution):
        return v, [subject_of(x.marginal(c), method) for c in divided]
    assert isinstance(v, Observed)
    return v, [v.part(c) for c in divided]


def _divided(columns: Iterable[int], d: int) -> tuple[list[int], list[int]]:
    first = indices_of(columns, "columns")
    second = [column for column in range(d) if column not in first]
    if not first or not second or len(first) + len(second) != d:
        raise ValueError(f"`columns` must be some, but not all, of 0 to {d - 1}, got {first}")
    return first, second


def _conditional_entropy(x: Distribution, first: list[int], second: list[int]) -> float:
    """H(X₂ | X₁) from conditional distributions, without the joint entropy."""
    if isinstance(x, Product) and _separated(x, first):
        return x.marginal(second).entropy()
    if isinstance(x, MultivariateNormal):
        s = x.cov
        slopes = np.linalg.solve(s[np.ix_(first, first)], s[np.ix_(first, second)])
        rest = s[np.ix_(second, second)] - s[np.ix_(second, first)] @ slopes
        return MultivariateNormal(np.zeros(len(second)), rest).entropy()
    if isinstance(x, GaussianMixture) and len(first) == 1:
        return _mean_entropy(x, first)
    raise NotImplementedError(f"no conditional distributions of {type(x).__name__} given {first}")


def _separated(x: Product, first: list[int]) -> bool:
    return all(len({c in first for c in range(b.start, b.stop)}) == 1 for b in x.blocks)


def _mean_entropy(x: GaussianMixture, first: list[int]) -> float:
    condition = x.marginal(first)
    assert isinstance(condition, GaussianMixture)
    deviations: Array = np.sqrt(condition.covariances[:, 0])
    low, high = (condition.means - _FAR * deviations).min(0), (condition.means + _FAR * deviations).max(0)
    least = float(np.linalg.eigvalsh(x.covariances)[:, 0].min())
    nodes, weight = box_rule(low, high, _FINE * math.sqrt(least))
    mass = np.exp(condition.logpdf(nodes)) * weight
    used = mass > 1e-14
    entropies = [x.conditional(first, node).entropy() for node in nodes[used]]
    return float(mass[used] @ np.array(entropies))


def _difference(whole: Estimate, one: Estimate, other: Estimate) -> Estimate:
    return Estimate(
        float(whole) - float(one) - float(other),
        standard_error=math.fsum(e.standard_error for e in (whole, one, other)),
        method=whole.method,
        n=whole.n,
        d=whole.d,
    )
