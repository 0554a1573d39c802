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


def massed_bandwidths(z, power, skip=None):
    """As `kernel_bandwidths`, but counted out at the own place of `skip` too, by one neighbour more."""
    b = kernel_bandwidths(z, power, skip)
    if skip is not None and power != 0:
        n, d = z.shape
        k = min(max(round(math.sqrt(n)), 2 * d), n - 2)
        scale = np.exp(np.mean(np.log(kth_distances(z, k))))
        b[skip] = (kth_distances(z, k + 1)[skip] / scale) ** power
    return b


def massed_density(z, at, h, power, share, unit, skip=None):
    """Kernel density of rows with shares p, one observation of row `skip` (its share u) left out."""
    d = z.shape[1]
    b = h * massed_bandwidths(z, power, skip)
    left = np.array(share, dtype=float)
    if skip is not None:
        left[skip] -= unit[skip]
    total = 0.0
    for j in range(len(z)):
        r2 = float(np.sum((at - z[j]) ** 2))
        total += left[j] * math.exp(-0.5 * r2 / b[j] ** 2) / (b[j] * math.sqrt(2 * math.pi)) ** d
    thin = float(np.dot(share, unit))
    return (1 - thin) * total / left.sum() + thin * background(at)


def massed_score_variance(z, i, h, power, share, unit):
    """Σ p u K²(v − s)(v − s)ᵀ/(Σ p K)² without one observation of i; see `score_variance`."""
    d = z.shape[1]
    b = h * massed_bandwidths(z, power, i)
    kernels, squares, pulls = [], [], []
    for j in range(len(z)):
        count = round(share[j] / unit[j]) - (j == i)
        r2 = float(np.sum((z[j] - z[i]) ** 2))
        kernel = math.exp(-0.5 * r2 / b[j] ** 2) / (b[j] * math.sqrt(2 * math.pi)) ** d
        kernels.append(count * unit[j] * kernel)
        squares.append(count * (unit[j] * kernel) ** 2)
        pulls.append((z[j] - z[i]) / b[j] ** 2)
    w, ww, v = np.array(kernels), np.array(squares), np.array(pulls)
    s = w @ v / w.sum()
    thin = float(np.dot(share, unit))
    of_kernels = (1 - thin) * w.sum() / (1 - unit[i]) / massed_density(z, z[i], h, power, share, unit, i)
    return of_kernels**2 * (ww[:, None] * (v - s)).T @ (v - s) / w.sum() ** 2


def weighted_spacing_entropy(x, weights, m):
    """Spacings of the weighted distribution; equal weights leave Vasicek's digamma-corrected estimate."""
    order = np.argsort(x)
    x, w, n = np.asarray(x)[order], np.asarray(weights)[order] / np.sum(weights), len(x)
    total = 0.0
    for i in range(n):
        low, high = max(i - m, 0), min(i + m, n - 1)
        o = high - low
        within = w[low] / 2 + sum(w[j] for j in range(low + 1, high)) + w[high] / 2
        squares = w[low] ** 2 / 2 + sum(w[j] ** 2 for j in range(low + 1, high)) + w[high] ** 2 / 2
        term = math.log(x[high] - x[low]) - math.log(within) + math.log(o / n)
        term += special.digamma(n + 1) - special.digamma(o)
        total += w[i] * (term + 0.5 * (squares / within**2 - 1 / o))
    return total


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
