"""Gaussian mixtures fitted by expectation–maximisation: density and score in closed form."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from infoplane.estimators.kernel_density import TAIL_FREEDOM, student_background
from infoplane.estimators.score_models import Array, Field, squared_distances

_LOG_2PI = math.log(2 * math.pi)
_STEPS = 100
# Mean log-likelihood gained in a step, below which a candidate and the chosen one have converged.
_ROUGH, _FINE = 1e-4, 1e-6
_LLOYD_STEPS = 5
# Rows for each entry of a covariance above which a component loses nothing by having its own.
_ROWS_OF_COVARIANCE = 200
# Rows on which the number of components is chosen; the winner is refined on all.
_SELECTION_ROWS = 4000


@dataclass(frozen=True, eq=False)
class Mixture:
    """A mixture (1 − ε)·Σ π_k N(m_k, (R_kR_kᵀ)⁻¹) + ε·t, t a standard multivariate Student t with ν = 4.

    Attributes
    ----------
    log_weights : ndarray of shape (K,)
        log π.
    means : ndarray of shape (K, d)
        m.
    roots : ndarray of shape (K, d, d)
        R, triangular roots of the precisions.
    background : float
        ε: the t carries the tails, where the score of normal components would grow without end.
    """

    log_weights: Array
    means: Array
    roots: Array
    background: float

    def joint(self, points: Array) -> Array:
        """log π_k + log N(point; m_k, Σ_k), of shape (m, K).

        Parameters
        ----------
        points : ndarray of shape (m, d)
            Where.
        """
        d = points.shape[1]
        out = np.empty((len(points), len(self.means)))
        for k, (mean, root) in enumerate(zip(self.means, self.roots, strict=True)):
            y = (points - mean) @ root
            out[:, k] = np.log(np.diag(root)).sum() - 0.5 * np.einsum("ij,ij->i", y, y)
        return out + self.log_weights - 0.5 * d * _LOG_2PI

    def log_density(self, points: Array) -> Array:
        """Log density, of shape (m,).

        Parameters
        ----------
        points : ndarray of shape (m, d)
            Where.
        """
        return _posterior(self._with_background(points)[0])[1]

    def sample(self, n: int, rng: np.random.Generator) -> Array:
        """Draw rows, of shape (n, d), the background's among them.

        Parameters
        ----------
        n : int
            Number of rows.
        rng : numpy.random.Generator
            Draws them.
        """
        d = self.means.shape[1]
        shares = (1 - self.background) * np.exp(self.log_weights)
        component = rng.choice(len(shares) + 1, size=n, p=np.append(shares, 1 - shares.sum()))
        rows: Array = rng.standard_normal((n, d))
        for k, (mean, root) in enumerate(zip(self.means, self.roots, strict=True)):
            own = component == k
            rows[own] = mean + np.linalg.solve(root.T, rows[own].T).T
        tails = component == len(shares)
        rows[tails] *= np.sqrt(TAIL_FREEDOM / rng.chisquare(TAIL_FREEDOM, size=(int(tails.sum()), 1)))
        return rows

    def field(self, points: Array) -> Field:
        """Score and Jacobian: s = Σ p_c s_c, ∇s + ssᵀ = Σ p_c (∇s_c + s_c s_cᵀ), p the posterior weights.

        Parameters
        ----------
        points : ndarray of shape (m, d)
            Where.
        """
        joint, tail_score, tail_jacobian = self._with_background(points)
        posterior, _ = _posterior(joint)
        p = posterior[:, -1]
        score = p[:, None] * tail_score
        jacobian = tail_jacobian + tail_score[:, :, None] * tail_score[:, None, :]
        jacobian *= p[:, None, None]
        for mean, root, p in zip(self.means, self.roots, posterior.T[:-1], strict=True):
            precision = root @ root.T
            s = (mean - points) @ precision
            ps = p[:, None] * s
            score += ps
            jacobian += ps[:, :, None] * s[:, None, :] - p[:, None, None] * precision
        jacobian -= score[:, :, None] * score[:, None, :]
        return Field(score, jacobian)

    def _with_background(self, points: Array) -> tuple[Array, Array, Array]:
        log_density, score, jacobian = student_background(points)
        joint = self.joint(points) + math.log1p(-self.background)
        return np.column_stack([joint, log_density + math.log(self.background)]), score, jacobian


@dataclass(frozen=True)
class MixtureScore:
    """Score of a Gaussian mixture; Schwarz's criterion (BIC) chooses number and kind of components.

    Components have covariances of their own, or (if that is likelier, with few rows in many dimensions) all
    the same one. Every covariance is mixed with one pseudo-observation of the data's own size, so
    that no component collapses on a point; a Student t of mass 1/n lies under them.

    Parameters
    ----------
    components : tuple of int, default (1, 2, 3, 4, 6, 8, 12, 16)
        Numbers to choose from, ascending.
    """

    components: tuple[int, ...] = (1, 2, 3, 4, 6, 8, 12, 16)

    def fit(self, rows: Array, rng: np.random.Generator) -> Mixture:
        """Fit by expectation–maximisation from a k-means start.

        Parameters
        ----------
        rows : ndarray of shape (n, d)
            Training rows.
        rng : numpy.random.Generator
            Draws the start.
        """
        n, d = rows.shape
        few = rows[rng.permutation(n)[:_SELECTION_ROWS]]
        kinds = (False,) if n > _ROWS_OF_COVARIANCE * d * (d + 1) / 2 else (False, True)
        candidates = [self._chosen(few, rng, tied=tied) for tied in kinds]
        chosen = int(np.argmin([criterion for criterion, _ in candidates]))
        return _maximised(rows, candidates[chosen][1], tied=kinds[chosen], gain=_FINE)

    def _chosen(self, rows: Array, rng: np.random.Generator, *, tied: bool) -> tuple[float, Mixture]:
        """The lowest criterion and its mixture; larger ones are tried until two in a row do not help."""
        n, d = rows.shape
        best, worse = (math.inf, _start(rows, 1, rng)), 0
        for k in self.components:
            parameters = k * d + (1 if tied else k) * d * (d + 1) / 2 + k - 1
            if worse == 2 or parameters > n / 2:
                break
            mixture = _maximised(rows, _start(rows, k, rng), tied=tied, gain=_ROUGH)
            likelihood = float(mixture.log_density(rows).sum())
            criterion = parameters * math.log(n) - 2 * likelihood
            worse = 0 if criterion < best[0] else worse + 1
            best = min(best, (criterion, mixture), key=lambda candidate: candidate[0])
        return best


def _start(rows: Array, k: int, rng: np.random.Generator) -> Mixture:
    """Clusters of k-means (Lloyd's steps from the k-means++ start of Arthur and Vassilvitskii 2007)."""
    n, d = rows.shape
    centers = rows[[rng.integers(n)]]
    for _ in range(k - 1):
        squared = squared_distances(rows, centers).min(axis=1)
        centers = np.vstack([centers, rows[rng.choice(n, p=squared / squared.sum())]])
    for _ in range(_LLOYD_STEPS if k > 1 else 0):
        nearest = squared_distances(rows, centers).argmin(axis=1)
        member = np.eye(k)[nearest]
        # A center that lost all its rows stays where it is.
        sizes = member.sum(axis=0)[:, None]
        centers = np.where(sizes > 0, member.T @ rows / np.maximum(sizes, 1), centers)
    nearest = squared_distances(rows, centers).argmin(axis=1)
    # A few outliers need no component, as the background explains them: start again without them.
    lonely = np.bincount(nearest, minlength=k)[nearest] <= d
    if lonely.any() and n - np.count_nonzero(lonely) > k * (d + 1):
        return _start(rows[~lonely], k, rng)
    return _mixture(rows, np.eye(k)[nearest], tied=False)


def _maximised(rows: Array, mixture: Mixture, *, tied: bool, gain: float) -> Mixture:
    """Steps of expectation and maximisation until the mean log-likelihood gains less than `gain`."""
    previous = -math.inf
    background = student_background(rows)[0] + math.log(mixture.background)
    for _ in range(_STEPS):
        posterior, log_density = _posterior(np.column_stack([mixture.joint(rows), background]))
        likelihood = float(log_density.mean())
        if likelihood - previous < gain:
            break
        previous = likelihood
        # Rows that the background explains have no say in the components.
        mixture = _mixture(rows, posterior[:, :-1], tied=tied)
    return mixture


def _posterior(joint: Array) -> tuple[Array, Array]:
    """Posterior weights of the components and log density, from the log joint density."""
    top = joint.max(axis=1)
    posterior = np.exp(joint - top[:, None])
    total = posterior.sum(axis=1)
    posterior /= total[:, None]
    return posterior, top + np.log(total)


def _mixture(rows: Array, member: Array, *, tied: bool) -> Mixture:
    """The mixture that memberships of shape (n, K) tell, with one pseudo-observation a covariance."""
    n, d = rows.shape
    k = member.shape[1]
    sizes = member.sum(axis=0)
    means = (member.T @ rows) / np.maximum(sizes, 1e-300)[:, None]
    prior = np.eye(d) * k ** (-2 / d)
    scatter = np.empty((k, d, d))
    for j in range(k):
        centred = rows - means[j]
        scatter[j] = (centred * member[:, j, None]).T @ centred
    if tied:
        covariances = np.broadcast_to((scatter.sum(axis=0) + prior) / (sizes.sum() + 1), scatter.shape)
    else:
        covariances = (scatter + prior) / (sizes + 1)[:, None, None]
    roots = np.linalg.inv(np.linalg.cholesky(covariances)).transpose(0, 2, 1)
    return Mixture(np.log(np.maximum(sizes, 1e-300) / sizes.sum()), means, roots, background=1 / n)
