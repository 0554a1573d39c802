"""Bandwidth selectors against sums over pairs, known limits, and faults."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize

from infoplane import DegenerateSampleError, InfoplaneWarning
from infoplane.estimators.bandwidths import _Roughness as Roughness
from infoplane.estimators.bandwidths import (
    improved_sheather_jones,
    likelihood_cv,
    scott,
    sheather_jones,
    silverman,
)
from infoplane.sample import Sample

SELECTORS = [scott, silverman, sheather_jones, improved_sheather_jones, likelihood_cv]
PLUG_INS = [sheather_jones, improved_sheather_jones]


def two_clusters(n, seed):
    rng = np.random.default_rng(seed)
    return 0.3 * rng.standard_normal(n) + 3 * rng.integers(0, 2, n)


def roughness(x, order, g):
    """∫ (f^{(order)})² of the kernel density of width g/√2, as a sum over pairs, by Hermite polynomials."""
    hermite = np.polynomial.hermite_e.HermiteE.basis(2 * order)
    total = 0.0
    for a in x:
        u = (a - x) / g
        total += np.sum(hermite(u) * np.exp(-0.5 * u**2)) / math.sqrt(2 * math.pi)
    return (-1) ** order * total / len(x) ** 2 / g ** (2 * order + 1)


def slow_sheather_jones(x):
    n = len(x)
    scale = min(x.std(ddof=1), np.subtract(*np.quantile(x, [0.75, 0.25])) / 1.349)
    s = roughness(x, 2, 1.24 * scale * n ** (-1 / 7)) * n / (n - 1)
    t = roughness(x, 3, 1.23 * scale * n ** (-1 / 9)) * n / (n - 1)

    def equation(h):
        g = 1.357 * (s / t) ** (1 / 7) * h ** (5 / 7)
        return h - (2 * math.sqrt(math.pi) * n * roughness(x, 2, g) * n / (n - 1)) ** -0.2

    widest = 1.144 * scale * n**-0.2
    return optimize.brentq(equation, 0.05 * widest, 3 * widest)


def slow_improved_sheather_jones(x):
    n = len(x)

    def equation(h):
        t = h**2
        for j in range(6, 1, -1):
            numerator = (1 + 0.5 ** (j + 0.5)) * math.prod(range(1, 2 * j, 2))
            norm = roughness(x, j + 1, math.sqrt(2 * t))
            t = (numerator / (3 * n * math.sqrt(math.pi / 2) * norm)) ** (2 / (3 + 2 * j))
        return h - (2 * math.sqrt(math.pi) * n * roughness(x, 2, math.sqrt(2 * t))) ** -0.2

    start = 1.06 * x.std() * n**-0.2
    grid = start * np.geomspace(2, 0.05, 20)
    signs = [equation(h) > 0 for h in grid]
    last = signs.index(False)
    return optimize.brentq(equation, grid[last], grid[last - 1])


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_sheather_jones_bandwidth_equals_the_slow_one(seed):
    # Binning at 0.4 % of the normal reference moves the roughness by up to 0.4 % (below), h by a fifth.
    x = two_clusters(150, seed) if seed else np.random.default_rng(0).standard_normal(150)
    assert sheather_jones(x) == pytest.approx(slow_sheather_jones(x), rel=1e-3)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_improved_sheather_jones_bandwidth_equals_the_slow_one(seed):
    x = two_clusters(90, seed) if seed else np.random.default_rng(0).standard_normal(90)
    assert improved_sheather_jones(x) == pytest.approx(slow_improved_sheather_jones(x), rel=2e-3)


@pytest.mark.parametrize("order", [2, 3, 7])
def test_roughness_equals_the_sum_over_pairs(order):
    x = np.random.default_rng(3).standard_normal(100)
    sample = Sample.of(x)
    found = Roughness(sample)
    t = sample.whitened[:, 0] / found.scale
    # Rounding by δ/√12, δ = 0.0017, moves a term by order·δ/g/√3 of itself, 1 % at most, and their sum less.
    assert found(order, 0.6) == pytest.approx(roughness(t, order, 0.6), rel=4e-3)


def test_the_rules_of_thumb_are_their_formulas():
    x = np.random.default_rng(4).standard_t(3, 200)
    spread = np.subtract(*np.quantile(x, [0.75, 0.25]))
    assert scott(x) == pytest.approx((4 / 3) ** 0.2 * x.std(ddof=1) * 200**-0.2, rel=1e-12)
    assert silverman(x) == pytest.approx(0.9 * min(x.std(ddof=1), spread / 1.34) * 200**-0.2, rel=1e-12)


@pytest.mark.parametrize("selector", [scott, *PLUG_INS])
def test_normal_data_get_the_best_bandwidth_for_a_normal_density(selector):
    # (4/3n)^{1/5} σ; relative sd of the plug-ins about n^{-0.3} = 6 % at most; 4 of them.
    x = 5 * np.random.default_rng(5).standard_normal(10_000)
    assert selector(x) == pytest.approx(5 * (4 / 3e4) ** 0.2, rel=0.2)


def test_clusters_get_the_bandwidth_of_one_cluster():
    # For two normal clusters of 0.3 far apart ∫ f″² is half that of one: h = 0.3 (8/3n)^{1/5}.
    x = two_clusters(5000, 6)
    best = 0.3 * (8 / 15_000) ** 0.2
    for selector in PLUG_INS:
        assert selector(x) == pytest.approx(best, rel=0.2)
    assert likelihood_cv(x) == pytest.approx(best, rel=0.4)
    assert scott(x) > 3 * best


@pytest.mark.parametrize("selector", SELECTORS)
@settings(max_examples=10)
@given(seed=st.integers(0, 2**32 - 1), shift=st.floats(-1e3, 1e3), log_scale=st.floats(-30, 30))
def test_bandwidths_scale_with_the_data(selector, seed, shift, log_scale):
    x, a = np.random.default_rng(seed).standard_normal(100), math.exp(log_scale)
    # Points near the edge of a bin may move to the next; each shifts the plug-ins by about 1e-4.
    assert selector(-a * (x + shift)) == pytest.approx(a * selector(x), rel=5e-2)


@pytest.mark.parametrize("selector", SELECTORS)
def test_extreme_units_and_outliers_are_survived(selector):
    x = np.random.default_rng(7).standard_normal(500)
    for unit in (1e-200, 1e200):
        assert selector(x * unit) == pytest.approx(selector(x) * unit, rel=1e-2)
    if selector is not scott:
        assert selector(np.r_[x, 1e6]) == pytest.approx(selector(x), rel=0.1)


@pytest.mark.parametrize("selector", SELECTORS)
def test_more_than_one_column_is_refused(selector):
    with pytest.raises(ValueError, match="`x` must have one column, got d = 2"):
        selector(np.random.default_rng(8).standard_normal((30, 2)))


def test_ties_are_refused_where_the_likelihood_has_no_maximum():
    x = np.round(np.random.default_rng(9).standard_normal(100), 1)
    with pytest.raises(DegenerateSampleError, match="repeated rows"):
        likelihood_cv(x)
    for selector in (scott, silverman, sheather_jones):
        assert 0.1 < selector(x) < 1
    mostly_tied = np.r_[np.zeros(60), np.random.default_rng(9).standard_normal(40)]
    assert silverman(mostly_tied) > 0


def test_an_equation_without_solution_falls_back_on_silverman_and_says_so():
    x = np.r_[np.zeros(50), np.ones(50)]
    with pytest.warns(InfoplaneWarning, match="no solution; using Silverman's rule") as record:
        assert improved_sheather_jones(x) == silverman(x)
    assert record[0].filename == __file__
