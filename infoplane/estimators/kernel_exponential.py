"""A kernel exponential family, fitted by score matching on a few centers."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from infoplane.estimators.score_models import (
    BLOCKS,
    Array,
    EllipticalScore,
    Field,
    ScoreField,
    ScoreModel,
    matched,
    squared_distances,
)

_STRENGTHS = np.logspace(0, -7, 8)
_LENGTHS = (1.0, 1.7, 3.0)


@dataclass(frozen=True)
class KernelScore:
    """Score s₀ + Σ θ_m ∇k(u, c_m) of the density q₀·exp(Σ θ_m k(u, c_m)), k a Gaussian kernel.

    The Nyström form of the kernel exponential family of Sriperumbudur et al. (2017): centers are drawn
    from the training rows, θ minimises the score-matching objective with the penalty λθᵀKθ, and λ and the
    length of the kernel are chosen by cross-validation. The base s₀ carries the tails.

    Parameters
    ----------
    centers : int, default 200
        How many.
    base : ScoreModel, optional
        What s₀ is; by default elliptical.

    Notes
    -----
    Cost O(n·centers²) whatever the dimension: ∇k_m·∇k_l needs only the distances to c_m and c_l.

    References
    ----------
    B. Sriperumbudur, K. Fukumizu, A. Gretton, A. Hyvärinen, R. Kumar, J. Mach. Learn. Res. 18 (2017) 57.
    D. J. Sutherland, H. Strathmann, M. Arbel, A. Gretton, AISTATS 2018.
    """

    centers: int = 200
    base: ScoreModel = field(default_factory=EllipticalScore)

    def fit(self, rows: Array, rng: np.random.Generator) -> KernelField:
        """Choose length and penalty, and fit θ.

        Parameters
        ----------
        rows : ndarray of shape (n, d)
            Training rows.
        rng : numpy.random.Generator
            Draws the centers.
        """
        n, d = rows.shape
        base = self.base.fit(rows, rng)
        centers = rows[rng.choice(n, size=min(self.centers, n), replace=False)]
        between = squared_distances(centers, centers)
        base_score = base.field(rows).score
        squared = squared_distances(rows, centers)
        along = np.einsum("ij,ij->i", rows, base_score)[:, None] - base_score @ centers.T
        best_gain, best = -np.inf, None
        for length in _LENGTHS:
            length *= d**0.25
            kernel = np.exp(-0.5 * squared / length**2)
            grams, pulls = [], []
            for b in range(BLOCKS):
                k, r = kernel[b::BLOCKS], squared[b::BLOCKS]
                # (u − c_m)·(u − c_l) = ½(|u − c_m|² + |u − c_l|² − |c_m − c_l|²).
                cross = (k * r).T @ k
                grams.append(0.5 * (cross + cross.T - between * (k.T @ k)) / length**4)
                laplacian = k * (r / length**2 - d)
                pulls.append(np.sum(k * along[b::BLOCKS] - laplacian, axis=0) / length**2)
            penalty = np.exp(-0.5 * between / length**2)
            gain, theta = matched(np.array(grams), np.array(pulls), penalty, n, _STRENGTHS)
            if gain > best_gain:
                best_gain, best = gain, KernelField(base, centers, theta, length)
        assert best is not None
        return best


@dataclass(frozen=True, eq=False)
class KernelField:
    """The field s₀ + Σ θ_m ∇k(u, c_m).

    Attributes
    ----------
    base : ScoreField
        s₀.
    centers : ndarray of shape (M, d)
        c.
    theta : ndarray of shape (M,)
        θ.
    length : float
        That of the kernel exp(−½|u − c|²/length²).
    """

    base: ScoreField
    centers: Array
    theta: Array
    length: float

    def field(self, points: Array) -> Field:
        """Score and Jacobian.

        Parameters
        ----------
        points : ndarray of shape (m, d)
            Where.
        """
        m, d = points.shape
        c, square = self.centers, self.length**2
        score, jacobian = self.base.field(points)
        weights = self.theta * np.exp(-0.5 * squared_distances(points, c) / square)
        total, first = weights.sum(axis=1), weights @ c
        # Σ w (c − u)(c − u)ᵀ from the moments of c.
        second = (weights @ (c[:, :, None] * c[:, None, :]).reshape(len(c), -1)).reshape(m, d, d)
        mixed = points[:, :, None] * first[:, None, :]
        second -= mixed + mixed.transpose(0, 2, 1)
        second += total[:, None, None] * points[:, :, None] * points[:, None, :]
        score = score + (first - total[:, None] * points) / square
        jacobian = jacobian + second / square**2 - (total / square)[:, None, None] * np.eye(d)
        return Field(score, jacobian)
