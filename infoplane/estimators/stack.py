"""Score models joined by cross-fitting: the Fisher information that the best combination of them attains."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

from infoplane.estimators.base import (
    Array,
    EntropyFit,
    FisherFit,
    admissible,
    bound_terms,
    evenly,
    fisher_fit,
    least_rows,
)
from infoplane.estimators.independent_score import IndependentScore
from infoplane.estimators.kernel_exponential import KernelScore
from infoplane.estimators.mixture import MixtureScore
from infoplane.estimators.score_models import (
    EllipticalScore,
    Field,
    Frame,
    GaussianScore,
    ScoreField,
    ScoreModel,
)
from infoplane.progress import stage
from infoplane.sample import Sample

Rows = NDArray[np.intp]

# Numbers in the Jacobians of one model that are held at once (40 MB).
_JACOBIAN_SIZE = 5_000_000
# Points at a time, each of which meets some hundred centres of kernels.
_POINTS = 20_000
# Rows over which the sampling variance of the field is averaged.
_SPREAD_ROWS = 2000
# Relative ridge that keeps the normal equations of fields that all but coincide solvable.
_RIDGE = 1e-9


def default_models() -> tuple[ScoreModel, ...]:
    """The normal, elliptical, independent, mixture and kernel models, with their default options."""
    return GaussianScore(), EllipticalScore(), IndependentScore(), MixtureScore(), KernelScore()


@dataclass(frozen=True)
class Stack:
    """Fisher information from score models fitted out of fold and joined by non-negative weights.

    For every smooth field v, J ⪰ −E[∇v + ∇vᵀ] − E[v vᵀ] with the gap E[(v − s)(v − s)ᵀ] (integrate by
    parts). Each model is fitted to all folds but one, its frame included, and evaluated on that one; the
    field ŝ = Σ w_p ŝ_p has the weights w ≥ 0 that maximise the trace of the bound in the robust frame of the
    sample (Breiman's stacked regressions, by score matching), and of all v = C ŝ the best linear map gives

    J = B S⁻¹ B + V̂/2, B = −mean ∇ŝ, S = mean ŝŝᵀ, C = B S⁻¹,

    the first term less what choosing the weights adds to it (Takeuchi's correction), and J raised to
    J ⪰ Σ̂⁻¹ (Cramér–Rao) where it falls below. V̂ is the sampling variance of Cŝ, which lowers the
    bound: twice the mean square of the differences between the fits of two folds, of which any two share
    three quarters of their rows (for five folds; in general V̂ is that mean square times (folds − 1)/2).

    Parameters
    ----------
    models : tuple of ScoreModel, optional
        What to join; by default `GaussianScore`, `EllipticalScore`, `IndependentScore`, `MixtureScore` and
        `KernelScore`.
    folds : int, default 5
        Number of parts, 3 to 20.
    max_points : int, default 20000
        Rows used at most (evenly spread over the sample's radii), and at most 5·10⁶/d².
    seed : int, default 0
        Of folds, centers of kernels and starts of mixtures.

    Notes
    -----
    V̂ supposes that the fits move smoothly with the data, as they do at a fixed number of components; where
    folds choose differently it is up to four times too large, hence the half. Standard errors come from the
    influence function −2 div v − |v|² of the joined field. What is left of the gap makes J low: at n = 10⁴,
    d = 2 to 10, by less than 1 % for normal, t and mixture data and by 1 % for a curved ("banana") density;
    at n = 10³ by 0 to 1 % and 2 to 4 % (d = 2 and 5) or 4 and 11 % (d = 10), and where the score jumps
    (rotated Laplace) by 20 to 26 %, at n = 10⁴ by 11 % (d = 5). The interval does not contain this bias. Do
    not use it below 10d rows, or in one dimension, where `LogSpline` costs less. Where J = ∞ (uniform,
    exponential) it returns a finite number that grows with n. About 1 s at n = 10³ and 4 to 8 s at n = 10⁴.

    References
    ----------
    A. J. Stam, Inf. Control 2 (1959) 101–112.
    A. Hyvärinen, J. Mach. Learn. Res. 6 (2005) 695–709.
    L. Breiman, "Stacked regressions", Mach. Learn. 24 (1996) 49–64.
    V. Chernozhukov et al., "Double/debiased machine learning", Econom. J. 21 (2018) C1–C68.

    Examples
    --------
    >>> import numpy as np
    >>> from infoplane import fisher_trace
    >>> from infoplane.estimators.stack import Stack
    >>> x = np.random.default_rng(0).standard_t(5, size=(800, 2))
    >>> j = fisher_trace(x, method=Stack())  # two independent t₅ variables: 2·6/8
    >>> abs(j - 1.5) < 3 * j.standard_error
    True
    """

    models: tuple[ScoreModel, ...] = field(default_factory=default_models)
    folds: int = 5
    max_points: int = 20_000
    seed: int = 0

    def __post_init__(self) -> None:
        check_options(self.models, self.folds, self.max_points)

    @property
    def name(self) -> str:
        """What `Estimate.method` says."""
        return "stack"

    def entropy(self, sample: Sample) -> EntropyFit:
        """Refuse: scores tell no normalisation.

        Parameters
        ----------
        sample : Sample
            Not used.
        """
        raise ValueError('method "stack" measures Fisher information only, not entropy')

    def fisher(self, sample: Sample) -> FisherFit:
        """Fisher information matrix in original units.

        Parameters
        ----------
        sample : Sample
            At least max(5d, 20) distinct rows.
        """
        joined = self._join(sample)
        transform = joined.frame.transform
        shrinkage = sample.covariance_shrinkage
        whitened = transform @ joined.fisher() @ transform.T
        terms = joined.terms(transform.T @ sample.metric @ transform)
        influence = np.full(sample.n, math.nan)
        influence[joined.rows] = terms - terms.mean()
        error = float(terms.std(ddof=1)) / math.sqrt(terms.size)
        return fisher_fit(sample, shrinkage * admissible(whitened / shrinkage), error, influence)

    def score(self, sample: Sample, points: Array | None) -> Array:
        """Score of the joined field in original units.

        Parameters
        ----------
        sample : Sample
            The data.
        points : ndarray of shape (m, d) or None
            Whitened points, where the fits of all folds are averaged; None for the sample's own, each by
            the fit that did not see it.
        """
        joined = self._join(sample)
        if points is not None:
            score = joined.score(joined.frame.to(points))
        else:
            score = np.empty_like(sample.whitened)
            score[joined.rows] = joined.out.score @ joined.correction.T
            unused = np.setdiff1d(np.arange(sample.n), joined.rows)
            score[unused] = joined.score(joined.frame.to(sample.whitened[unused]))
        return score @ (sample.whitener @ joined.frame.transform).T

    def _join(self, sample: Sample) -> Joined:
        rows, z, rng = shuffled_rows(sample, self.name, self.max_points, self.seed)
        frame = Frame.of(z)
        u = frame.to(z)
        n, d = u.shape
        scores = np.empty((len(self.models), n, d))
        jacobians = np.empty((len(self.models), n, d, d))
        ensembles = []
        fold = _balanced_folds(u, self.folds, rng)
        with stage("folds of score models", self.folds) as advance:
            for q in range(self.folds):
                held = fold == q
                ensembles.append(Ensemble.fit(self.models, u[~held], rng))
                scores[:, held], jacobians[:, held] = ensembles[-1].fields(u[held])
                advance(1)
        divergences = np.einsum("pnaa->pn", jacobians)
        weights = best_weights(scores, divergences)
        out = Field(np.tensordot(weights, scores, 1), np.tensordot(weights, jacobians, 1))
        few = slice(0, _SPREAD_ROWS)
        fits = np.array([np.tensordot(weights, e.fields(u[few])[0], 1) for e in ensembles])
        excess = _excess_of_weights(scores, divergences, weights)
        return Joined(rows, frame, tuple(ensembles), weights, out, excess, _variance(fits, fold[few]))


@dataclass(frozen=True, eq=False)
class Ensemble:
    """Models fitted to the same rows, in the robust frame of those rows.

    Attributes
    ----------
    frame : Frame
        The frame.
    members : tuple of ScoreField
        The fits.
    """

    frame: Frame
    members: tuple[ScoreField, ...]

    @classmethod
    def fit(cls, models: tuple[ScoreModel, ...], rows: Array, rng: np.random.Generator) -> Ensemble:
        """Fit all models.

        Parameters
        ----------
        models : tuple of ScoreModel
            The models.
        rows : ndarray of shape (n, d)
            Training rows; nothing else is seen.
        rng : numpy.random.Generator
            For the models that draw.
        """
        frame = Frame.of(rows)
        inside = frame.to(rows)
        return cls(frame, tuple(model.fit(inside, rng) for model in models))

    def fields(self, points: Array) -> tuple[Array, Array]:
        """Scores of shape (p, m, d) and Jacobians of shape (p, m, d, d), one entry a model.

        Parameters
        ----------
        points : ndarray of shape (m, d)
            Where, in the units of the training rows.
        """
        inside = self.frame.to(points)
        fields = [self.frame.back(member.field(inside)) for member in self.members]
        return np.array([f.score for f in fields]), np.array([f.jacobian for f in fields])


@dataclass(frozen=True, eq=False)
class Joined:
    """The stacked field of a sample, in the units of the sample's robust frame.

    Attributes
    ----------
    rows : ndarray of shape (m,)
        Rows of the sample that were used.
    frame : Frame
        The frame.
    ensembles : tuple of Ensemble
        One a fold.
    weights : ndarray of shape (p,)
        Of the models.
    out : Field
        Σ w_p ŝ_p at the rows, each from the ensemble that did not see it.
    excess : float
        What choosing the weights on the same rows adds to B S⁻¹ B, relative to it.
    variance : ndarray of shape (d, d)
        Sampling covariance of the field, averaged over the rows.
    """

    rows: Rows
    frame: Frame
    ensembles: tuple[Ensemble, ...]
    weights: Array
    out: Field
    excess: float
    variance: Array

    @property
    def slope(self) -> Array:
        """B = −mean ∇ŝ."""
        return -self.out.jacobian.mean(axis=0)

    @property
    def correction(self) -> Array:
        """C = B S⁻¹, the best linear map of the field."""
        second = self.out.score.T @ self.out.score / len(self.rows)
        return np.asarray(np.linalg.solve(second, self.slope).T)

    def fisher(self) -> Array:
        """J = B S⁻¹ B/(1 + excess) + V̂/2."""
        correction = self.correction
        fisher = correction @ self.slope / (1 + self.excess) + correction @ self.variance @ correction.T / 2
        return (fisher + fisher.T) / 2

    def terms(self, metric: Array) -> Array:
        """Terms tr M(−2∇v − vvᵀ) of v = Cŝ, whose mean is tr(M J) for J in the units of the frame.

        Parameters
        ----------
        metric : ndarray of shape (d, d)
            M.
        """
        return bound_terms(self.out.score, self.out.jacobian, self.correction, metric)

    def score(self, points: Array) -> Array:
        """Mean over the ensembles of C Σ w_p s_p, in blocks of points.

        Parameters
        ----------
        points : ndarray of shape (m, d)
            Where, in the frame.
        """
        out = np.empty_like(points)
        size = max(1, min(_POINTS, _JACOBIAN_SIZE // points.shape[1] ** 2))
        for first in range(0, len(points), size):
            part = slice(first, first + size)
            scores = np.mean([e.fields(points[part])[0] for e in self.ensembles], axis=0)
            out[part] = np.tensordot(self.weights, scores, 1) @ self.correction.T
        return out


def best_weights(scores: Array, divergences: Array) -> Array:
    """Weights w ≥ 0 that maximise 2bᵀw − wᵀAw, A_pq = mean s_p·s_q and b_p = −mean div s_p.

    Parameters
    ----------
    scores : ndarray of shape (p, n, d)
        One field a model.
    divergences : ndarray of shape (p, n)
        Their divergences.
    """
    gram = np.einsum("pna,qna->pq", scores, scores, optimize=True) / scores.shape[1]
    # Fields are brought to unit size first, as one model may be out of all proportion.
    size = np.sqrt(np.diag(gram))
    unit = gram / np.outer(size, size) + _RIDGE * np.eye(size.size)
    root = np.linalg.cholesky(unit)
    pull = np.linalg.solve(root, -divergences.mean(axis=1) / size)
    return np.asarray(nnls(root.T, pull)[0] / size)


def shuffled_rows(
    sample: Sample, name: str, max_points: int, seed: int
) -> tuple[Rows, Array, np.random.Generator]:
    """Check a sample, and put at most `max_points` of its whitened rows in an order without meaning.

    Parameters
    ----------
    sample : Sample
        The data.
    name : str
        The method, for messages.
    max_points : int
        The most rows.
    seed : int
        Of the order; it is drawn along the radii, so that it does not depend on that of the rows.

    Returns
    -------
    rows : ndarray of shape (m,)
        Row numbers.
    z : ndarray of shape (m, d)
        The whitened rows.
    rng : numpy.random.Generator
        For further draws.
    """
    sample.require_rows(least_rows(sample.d), name)
    sample.require_distinct_rows(name, bears=sample.n)
    rng, limit = np.random.default_rng(seed), min(max_points, _JACOBIAN_SIZE // sample.d**2)
    if limit < least_rows(sample.d):
        raise ValueError(
            f"method {name!r} must use at least {least_rows(sample.d)} rows in d = {sample.d}, and can hold "
            f"the Jacobians of only {limit}; take method 'knn' or 'gaussian'"
        )
    rows = rng.permutation(evenly(sample.radial_order, limit))
    return rows, sample.whitened[rows], rng


def check_options(models: tuple[ScoreModel, ...], folds: int, max_points: int) -> None:
    """Refuse options that make no sense.

    Parameters
    ----------
    models : tuple of ScoreModel
        At least one.
    folds : int
        From 3 to 20.
    max_points : int
        At least 20.
    """
    if not models:
        raise ValueError("`models` must hold at least one model, got none")
    if not 3 <= folds <= 20:
        raise ValueError(f"`folds` must be from 3 to 20, got {folds!r}")
    if max_points < 20:
        raise ValueError(f"`max_points` must be at least 20, got {max_points!r}")


def _excess_of_weights(scores: Array, divergences: Array, weights: Array) -> float:
    """Takeuchi's correction for the weights, tr(A⁻¹ Cov r)/n with r_p = −div s_p − s_p·s, relative to J.

    The common scale of the weights is left out (the fields are projected off the joined one): it is part of
    the linear map C, to which fits to all other folds leave next to nothing.
    """
    n = scores.shape[1]
    joined = np.tensordot(weights, scores, 1)
    gram = np.einsum("pna,qna->pq", scores, scores, optimize=True) / n
    total = float(weights @ gram @ weights)
    share = gram @ weights / total
    residual = -divergences - np.einsum("pna,na->pn", scores, joined)
    residual -= np.outer(share, weights @ residual)
    active = weights > 0
    rest = (gram - total * np.outer(share, share))[np.ix_(active, active)]
    covariance = np.cov(residual[active], bias=True).reshape(rest.shape)
    return float(np.trace(np.linalg.pinv(rest, rcond=1e-8, hermitian=True) @ covariance)) / (n * total)


def _balanced_folds(u: Array, folds: int, rng: np.random.Generator) -> Rows:
    """Fold of every row: among rows of successive distance from the center, one goes to each fold.

    What the parts differ in by chance lowers the bound; distance is what tails and scale depend on.
    """
    n = len(u)
    fold = np.empty(n, dtype=np.intp)
    rounds = [rng.permutation(folds) for _ in range(-(-n // folds))]
    fold[np.argsort(np.einsum("ij,ij->i", u, u), kind="stable")] = np.concatenate(rounds)[:n]
    return fold


def _variance(fits: Array, fold: Rows) -> Array:
    """Sampling covariance of a fit, from the differences between fits that share all folds but two.

    For fits v + Σφ(x_i)/N over N = n(q − 1)/q rows, two that leave out a fold each differ by a variance of
    2/(q − 1) of their own. Only rows that neither has left out are compared, so that both have seen them.

    Parameters
    ----------
    fits : ndarray of shape (q, m, d)
        Fields at the same rows, one a fold left out.
    fold : ndarray of shape (m,)
        Fold of each row.
    """
    q, _, d = fits.shape
    total = np.zeros((d, d))
    for a in range(q):
        for b in range(a):
            seen = (fold != a) & (fold != b)
            difference = fits[a, seen] - fits[b, seen]
            total += difference.T @ difference / len(difference)
    return total / (q * (q - 1) / 2) * (q - 1) / 2
