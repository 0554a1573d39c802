"""Slow, obvious versions of everything: each loop is the formula."""

from __future__ import annotations

import math

import numpy as np
from scipy import special


def kth_distances(x, k):
    out = []
    for i in range(len(x)):
        others = [math.dist(x[i], x[j]) for j in range(len(x)) if j != i]
        out.append(sorted(others)[k - 1])
    return np.array(out)


def knn_entropy(x, k):
    """Kozachenko–Leonenko on data whitened by the Cholesky factor of the covariance; no calibration."""
    n, d = x.shape
    factor = np.linalg.cholesky(np.atleast_2d(np.cov(x.T)))
    z = np.linalg.solve(factor, (x - x.mean(0)).T).T
    volume = math.pi ** (d / 2) / math.gamma(d / 2 + 1)
    logs = np.log(kth_distances(z, k))
    return (
        special.digamma(n) - special.digamma(k) + math.log(volume) + d * logs.mean()
        + math.log(np.linalg.det(factor))
    )  # fmt: skip


def normal_bias(n, d, k, points=20_000, seed=0):
    """Mean of the Kozachenko–Leonenko estimate under N(0, I) less the truth, by simulating the balls."""
    rng = np.random.default_rng(seed)
    content = rng.beta(k, n - k, size=points)
    squared = special.chndtrix(content, d, rng.chisquare(d, size=points))
    volume = 0.5 * d * math.log(math.pi) - special.gammaln(d / 2 + 1)
    terms = special.digamma(n) - special.digamma(k) + volume + 0.5 * d * np.log(squared)
    truth = 0.5 * d * math.log(2 * math.pi * math.e)
    return terms.mean() - truth, terms.std() / math.sqrt(points)


def mean_shift(z, i, k):
    """Uncalibrated score at z[i] and its sampling covariance, from the k nearest others."""
    d = z.shape[1]
    order = sorted((math.dist(z[i], z[j]), j) for j in range(len(z)) if j != i)[:k]
    radius = order[-1][0]
    shifts = np.array([z[j] - z[i] for _, j in order[:-1]])
    gain = (d + 2) / radius**2
    deviations = shifts - shifts.mean(0)
    covariance = deviations.T @ deviations / (k - 2)
    return gain * shifts.mean(0), gain**2 * covariance / (k - 1)


def kernel_bandwidths(z, power, skip=None):
    """Bandwidth of every point, with point `skip` absent when it is chosen (but not from the mean)."""
    n, d = z.shape
    if power == 0:
        return np.ones(n)
    k = min(max(round(math.sqrt(n)), 2 * d), n - 2)
    scale = np.exp(np.mean(np.log(kth_distances(z, k))))
    radius = []
    for j in range(n):
        others = sorted(math.dist(z[j], z[m]) for m in range(n) if m not in (j, skip))
        radius.append(others[k - 1])
    return (np.array(radius) / scale) ** power


def background(z):
    d, nu = len(z), 4.0
    constant = special.gammaln((nu + d) / 2) - special.gammaln(nu / 2) - 0.5 * d * math.log(nu * math.pi)
    return math.exp(constant - 0.5 * (nu + d) * math.log1p(z @ z / nu))


def density(z, at, h, power, skip=None):
    """Kernel density at a point, without point `skip`, mixed with the background of mass 1/n."""
    n, d = z.shape
    b = h * kernel_bandwidths(z, power, skip)
    total = 0.0
    for j in range(n):
        if j != skip:
            r2 = float(np.sum((at - z[j]) ** 2))
            total += math.exp(-0.5 * r2 / b[j] ** 2) / (b[j] * math.sqrt(2 * math.pi)) ** d
    kernel = total / (n if skip is None else n - 1)
    return (1 - 1 / n) * kernel + background(at) / n


def log_gradient(function, at, step=1e-5):
    """Gradient of log f by central differences."""
    out = np.empty(len(at))
    for a in range(len(at)):
        e = np.zeros(len(at))
        e[a] = step
        out[a] = (math.log(function(at + e)) - math.log(function(at - e))) / (2 * step)
    return out


def log_hessian(function, at, step=1e-3):
    d = len(at)
    eye = np.eye(d) * step
    out = np.empty((d, d))
    for a in range(d):
        for b in range(d):
            out[a, b] = (
                math.log(function(at + eye[a] + eye[b])) - math.log(function(at + eye[a] - eye[b]))
                - math.log(function(at - eye[a] + eye[b])) + math.log(function(at - eye[a] - eye[b]))
            ) / (4 * step**2)  # fmt: skip
    return out


def score_variance(z, i, h, power):
    """Σ w²(u − s)(u − s)ᵀ/(Σw)² over the others of point i, times its squared share of the mixture."""
    n, d = z.shape
    b = h * kernel_bandwidths(z, power, i)
    weights, pulls = [], []
    for j in range(n):
        if j != i:
            r2 = float(np.sum((z[j] - z[i]) ** 2))
            weights.append(math.exp(-0.5 * r2 / b[j] ** 2) / (b[j] * math.sqrt(2 * math.pi)) ** d)
            pulls.append((z[j] - z[i]) / b[j] ** 2)
    w, u = np.array(weights), np.array(pulls)
    s = w @ u / w.sum()
    share = (1 - 1 / n) * w.sum() / (n - 1) / density(z, z[i], h, power, i)
    return share**2 * ((w**2)[:, None] * (u - s)).T @ (u - s) / w.sum() ** 2
