"""The log-spline estimates point by point and penalty by penalty, with integrals on a fine grid."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
from scipy import optimize
from scipy.interpolate import BSpline

PENALTIES = [10.0 ** (2 - 0.5 * i) for i in range(29)]
DEGREE = 4


def knots(x, count, share=None, n=None):
    """Ends half a range/√n outside the sample; between them equal steps of ∫ f^{1/2}, f by blocks of √n.

    Rows with shares, in ascending order, reach halfway to their neighbours.
    """
    x = np.sort(x)
    n = len(x) if n is None else n
    blocks = round(math.sqrt(n))
    if share is None:
        edges = [np.interp(b * (n - 1) / blocks, range(n), x) for b in range(blocks + 1)]
    else:
        ends = [x[0], *((a + b) / 2 for a, b in pairwise(x)), x[-1]]
        before = [sum(share[:i]) for i in range(len(x) + 1)]
        edges = [np.interp(b / blocks, before, ends) for b in range(blocks + 1)]
    heights = [1 / blocks / (edges[b + 1] - edges[b]) for b in range(blocks)]

    def root_integral(t):
        return sum(
            math.sqrt(heights[b]) * (min(max(t, edges[b]), edges[b + 1]) - edges[b]) for b in range(blocks)
        )

    total = root_integral(edges[-1])
    inner = [
        optimize.brentq(lambda t, i=i: root_integral(t) - total * i / (count - 1), x[0], x[-1], xtol=1e-14)
        for i in range(1, count - 1)
    ]
    reach = 0.5 * (x[-1] - x[0]) / math.sqrt(n)
    return np.array([x[0] - reach, *inner, x[-1] + reach])


def basis(grid, at, derivative=0):
    full = np.concatenate([[grid[0]] * DEGREE, grid, [grid[-1]] * DEGREE])
    size = len(full) - DEGREE - 1
    columns = []
    for k in range(size):
        element = BSpline(full, np.eye(size)[k], DEGREE)
        columns.append((element.derivative(derivative) if derivative else element)(at))
    return np.array(columns).T


class LogSpline:
    """Fits for all penalties, and their average."""

    def __init__(self, x, count, *, smoother=False, share=None, unit=None):
        p = np.full(len(x), 1 / len(x)) if share is None else share
        self.unit = np.full(len(x), 1 / len(x)) if unit is None else unit
        self.share = p
        n = len(x) if share is None else 1 / float(p @ self.unit)
        self.grid = knots(x, count, share, n)
        # Midpoint rule on 400 steps in each knot interval: error (step)² f″/24, about 1e-6.
        steps = [np.linspace(a, b, 401) for a, b in zip(self.grid[:-1], self.grid[1:], strict=True)]
        nodes = np.concatenate([(s[1:] + s[:-1]) / 2 for s in steps])
        weights = np.concatenate([np.diff(s) for s in steps])
        self.at_nodes, self.weights = basis(self.grid, nodes), weights
        third = basis(self.grid, nodes, 3)
        penalty = third.T @ (weights[:, None] * third)
        self.phi = [basis(self.grid, x, r) for r in range(3)]
        self.mean = sum(w * phi for w, phi in zip(p, self.phi[0], strict=True))
        center = p @ x
        width = math.sqrt(p @ (x - center) ** 2)
        quadratic = -0.5 * ((nodes - center) / width) ** 2 - math.log(width * math.sqrt(2 * math.pi))
        theta = np.linalg.lstsq(self.at_nodes, quadratic, rcond=None)[0]
        fits, best = [], -math.inf
        for strength in PENALTIES:
            theta, hessian = self.fit(theta, self.mean, strength * penalty)
            change = np.array([
                u * np.linalg.solve(hessian, phi - self.mean)
                for u, phi in zip(self.unit, self.phi[0], strict=True)
            ])  # fmt: skip
            rows = list(zip(p, self.phi[0], change, strict=True))
            freedom = n * sum(w * (phi - self.mean) @ c for w, phi, c in rows)
            log_loo = n * sum(w * phi @ theta for w, phi, _ in rows) - freedom
            evidence = log_loo - freedom
            fits.append((theta, change, freedom, evidence))
            best = max(best, evidence)
            if evidence < best - 20 and strength < 1e-3:
                break
        most = max(3 + n / 40, min(f[2] for f in fits))
        fits = [f for f in fits if f[2] <= most]
        shares = [math.exp(f[3] - max(g[3] for g in fits)) for f in fits]
        shifted = [fits[0], *fits[:-1]] if smoother else [*fits[1:], fits[-1]]
        self.theta = sum(w * f[0] for w, f in zip(shares, shifted, strict=True)) / sum(shares)
        self.change = sum(w * f[1] for w, f in zip(shares, shifted, strict=True)) / sum(shares)

    def fit(self, theta, mean, penalty):
        """Plain damped Newton steps on the convex objective until nothing moves."""
        for _ in range(200):
            mass = self.weights * np.exp(self.at_nodes @ theta)
            hessian = self.at_nodes.T @ (mass[:, None] * self.at_nodes) + penalty
            step = np.linalg.solve(hessian, self.at_nodes.T @ mass - mean + penalty @ theta)
            size = float(np.max(np.abs(self.at_nodes @ step)))
            theta = theta - step / max(1.0, size)
            if size < 1e-9:
                break
        return theta, hessian

    def field(self):
        """log f̂₋ᵢ, its leverage, ŝ₋ᵢ, ŝ′₋ᵢ and the variance of ŝ, at each point."""
        log_mass = math.log(self.weights @ np.exp(self.at_nodes @ self.theta))
        # The change is that by u_i; p_i/u_i observations make it, independently.
        ratio = self.share / self.unit
        covariance = sum(w * np.outer(c, c) for w, c in zip(ratio, self.change, strict=True))
        rows = []
        for i in range(self.share.size):
            value, first, second = (p[i] for p in self.phi)
            left_out = self.theta - self.change[i]
            rows.append([
                value @ left_out - log_mass, value @ self.change[i], first @ left_out, second @ left_out,
                first @ covariance @ first,
            ])  # fmt: skip
        return np.array(rows).T
