"""The benchmarks' own truth, bookkeeping and tables; the measurements themselves are run by hand."""

import json
import math

import numpy as np
import pytest
from scipy import special, stats

from benchmarks import families, methods, plan, store, tables
from benchmarks.families import FAMILIES, HALF_LOG
from benchmarks.store import Cell


def log_density(name, x):
    """Straight from the definitions, for those families whose truth takes a derivation."""
    if name == "banana":
        return np.sum(stats.norm.logpdf([x[0], (x[1] - 0.7 * (x[0] ** 2 - 1)) / 0.7])) - math.log(0.7)
    if name == "bananas":
        return np.sum(stats.norm.logpdf([x[0], (x[1] - x[0] ** 2) / 0.5])) - math.log(0.5)
    if name == "funnel":
        return stats.norm.logpdf(x[0]) + stats.norm.logpdf(x[1], scale=math.exp(0.6 * x[0]))
    if name == "shell":
        r = np.hypot(*x)
        return stats.gamma.logpdf(r, 40) - math.log(2 * math.pi * r)
    if name == "t5":
        return stats.multivariate_t.logpdf(x, shape=np.eye(2), df=5)
    raise KeyError(name)


@pytest.mark.parametrize("name", ["banana", "bananas", "funnel", "shell", "t5"])
def test_truths_agree_with_the_mean_over_a_sample(name):
    """4 standard errors of n = 400 terms; derivatives by central differences."""
    x = families.sample(name, 2, 400, 0)
    step = 1e-5
    logs = np.array([log_density(name, p) for p in x])
    slopes = np.array(
        [
            [(log_density(name, p + e) - log_density(name, p - e)) / (2 * step) for e in step * np.eye(2)]
            for p in x
        ]
    )
    for terms, truth in (
        (-logs, FAMILIES[name].entropy(2)),
        (np.sum(slopes**2, axis=1), FAMILIES[name].fisher(2)),
    ):
        assert abs(terms.mean() - truth) < 4 * terms.std() / math.sqrt(terms.size)


@pytest.mark.parametrize("d", [1, 2, 4])
@pytest.mark.parametrize("make", [families.two_normals, families.three_normals, families.clusters])
def test_mixtures_agree_with_the_mean_over_a_sample(make, d):
    """4 standard errors of n = 20,000 terms."""
    mixture = make(d)
    x = mixture.draw(np.random.default_rng(d), 20_000, d)
    x = x @ families.rotation(d).T if mixture.rotated else x
    q = mixture.means.shape[1]
    logs, scores = [], []
    for weight, mean, core, around in zip(
        mixture.weights, mixture.means, mixture.cores, mixture.rounds, strict=True
    ):
        covariance = around * np.eye(d)
        covariance[:q, :q] = core
        gap = x - np.append(mean, np.zeros(d - q))
        logs.append(math.log(weight) + stats.multivariate_normal.logpdf(gap, cov=covariance))
        scores.append(-gap @ np.linalg.inv(covariance))
    log_f = special.logsumexp(logs, axis=0)
    score = np.einsum("kn,kna->na", np.exp(logs - log_f), scores)
    h, j = mixture.truth(d)
    for terms, truth in ((-log_f, h), (np.sum(score**2, axis=1), j)):
        assert abs(terms.mean() - truth) < 4 * terms.std() / math.sqrt(terms.size)


@pytest.mark.parametrize(
    ("name", "frozen"),
    [
        ("gumbel", stats.gumbel_r()),
        ("logistic", stats.logistic()),
        ("generalised normal 4", stats.gennorm(4)),
        ("hyperbolic secant", stats.hypsecant(scale=2 / math.pi)),
        ("skew normal", stats.skewnorm(4)),
        ("gamma 3", stats.gamma(3)),
        ("beta 2, 5", stats.beta(2, 5)),
        ("lognormal", stats.lognorm(1)),
    ],
)
def test_lines_agree_with_scipy(name, frozen):
    """The entropy to 1e-6; the sample by Kolmogorov and Smirnov, at a level of 1e-4."""
    assert FAMILIES[name].entropy(1) == pytest.approx(float(frozen.entropy()), abs=1e-6)
    assert stats.kstest(families.sample(name, 1, 2000, 1)[:, 0], frozen.cdf).pvalue > 1e-4


@pytest.mark.parametrize(
    ("name", "frozen"),
    [
        ("t5", stats.t(5)),
        ("logistic", stats.logistic()),
        ("generalised normal 4", stats.gennorm(4)),
        ("gumbel", stats.gumbel_r()),
        ("hyperbolic secant", stats.hypsecant(scale=2 / math.pi)),
        ("skew normal", stats.skewnorm(4)),
    ],
)
def test_fisher_informations_and_bounds_are_those_of_the_density(name, frozen):
    """Trapezoids and central differences: 1e-4; the bound sd(−2s′ − s²)/J to its two decimals."""
    x = np.linspace(-30, 30, 120_001)[1:-1]
    x = x[frozen.logpdf(x) > -650]
    logs = frozen.logpdf(x)
    score = np.gradient(logs, x)
    mass = np.exp(logs) * (x[1] - x[0])
    assert mass @ score**2 == pytest.approx(FAMILIES[name].fisher(1), rel=1e-4)
    if FAMILIES[name].spread is not None:
        psi = -2 * np.gradient(score, x) - score**2 - FAMILIES[name].fisher(1)
        spread = math.sqrt(mass @ psi**2) / FAMILIES[name].fisher(1)
        assert spread == pytest.approx(FAMILIES[name].spread, abs=0.011)


@pytest.mark.parametrize("name", FAMILIES)
def test_samples_are_functions_of_their_names(name):
    x = families.sample(name, 2, 30, 3)
    assert x.shape == (30, 2)
    np.testing.assert_array_equal(x, families.sample(name, 2, 30, 3))
    assert not np.array_equal(x, families.sample(name, 2, 30, 4))


def test_runs_go_on_where_they_stopped(tmp_path):
    path = tmp_path / "results.jsonl"
    cell = Cell("H", "gaussian", "normal", 2, 100)
    assert store.run({cell: 2}, store.Limits(), path) == 0
    store.run({cell: 5}, store.Limits(), path)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["first_seed"] for line in lines] == [0, 2]
    found = store.load(path)[cell]
    expected = [
        methods.measure("H", "gaussian", families.sample("normal", 2, 100, s)).value for s in range(5)
    ]
    np.testing.assert_allclose(found.values, expected, rtol=1e-5)
    assert found.truth == pytest.approx(2 * HALF_LOG, abs=1e-8)
    assert found.rmse**2 == pytest.approx(found.bias**2 + found.values.var(), rel=1e-9)
    store.run({cell: 5}, store.Limits(), path)
    assert len(path.read_text().splitlines()) == 2
    store.forget([cell], path)
    assert store.load(path) == {}


def test_runs_keep_to_their_time(tmp_path):
    cell = Cell("H", "gaussian", "normal", 1, 100)
    assert store.run({cell: 5}, store.Limits(deadline=0), tmp_path / "none") == 1
    store.run({cell: 5}, store.Limits(cell_seconds=0), tmp_path / "one")
    assert store.load(tmp_path / "one")[cell].values.size == 1


def test_failures_are_results(tmp_path):
    path = tmp_path / "results.jsonl"
    cell = Cell("H", "weighted-knn", "normal", 8, 20)  # too few rows
    store.run({cell: 2}, store.Limits(), path)
    found = store.load(path)[cell]
    assert found.failures == {"ValueError": 2}
    assert not found.finite.any()
    assert "ValueError" in tables.errors(store.load(path), "H", ["normal"], 8, 20)


def test_tables_say_what_was_measured_and_what_was_not(tmp_path):
    path = tmp_path / "results.jsonl"
    cells = {Cell("H", "auto", f, 1, 1_000): 2 for f in plan.TEN_LINES}
    store.run(cells, store.Limits(), path)
    rows = tables.targets(store.load(path)).splitlines()
    row = next(r for r in rows if r.startswith("| H, d=1") and "| 1,000 |" in r)
    found = store.load(path)
    mean = math.exp(np.mean([math.log(found[c].rmse) for c in cells]))
    assert f"{mean:.4f}" in row
    assert ("met" in row) == (mean <= 0.026)
    assert sum("not measured" in r for r in rows) == len(rows) - 3


def test_the_plan_names_families_and_methods_that_exist():
    for cells in (plan.accuracy(lambda cell: True), plan.coverage(lambda cell: True)):
        assert {cell.family for cell in cells} <= set(FAMILIES)
        assert all(math.isfinite(FAMILIES[c.family].fisher(c.d)) for c in cells if c.quantity == "J")
