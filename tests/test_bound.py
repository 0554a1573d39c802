"""The bounds: on their side of the truth, blind to the rows they are taken over, and not far off."""

import math
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infoplane import DegenerateSampleError
from infoplane.estimators import bound
from infoplane.estimators.bound import Bound
from infoplane.estimators.density_stack import DensityStack, likeliest_weights, mean_log_density
from infoplane.estimators.independent_score import IndependentScore
from infoplane.estimators.mixture import MixtureScore
from infoplane.estimators.score_models import EllipticalScore
from infoplane.estimators.stack import Ensemble, shuffled_rows
from infoplane.limits import one_sided_reach
from infoplane.sample import Sample

LIGHT = (EllipticalScore(), MixtureScore(components=(1, 2)))
seeds = st.integers(0, 2**32 - 1)


def student(rng, n, d, nu=5):
    return rng.standard_normal((n, d)) / np.sqrt(rng.chisquare(nu, n) / nu)[:, None]


def banana(rng, n):
    """x₂ | x₁ ~ N(0.7(x₁² − 1), 0.7²): H = log 2πe + log 0.7, tr J = 1 + 4 + 1/0.49."""
    x = rng.standard_normal((n, 2))
    x[:, 1] = 0.7 * x[:, 1] + 0.7 * (x[:, 0] ** 2 - 1)
    return x


HALF_LOG = 0.5 * math.log(2 * math.pi * math.e)
FAMILIES = {  # name: (sampler, H, tr J, share of tr J that the bound attains at least)
    "normal": (lambda rng, n: rng.standard_normal((n, 2)), 2 * HALF_LOG, 2.0, 0.9),
    "banana": (banana, 2 * HALF_LOG + math.log(0.7), 5 + 1 / 0.49, 0.5),
    "laplace": (lambda rng, n: rng.laplace(size=(n, 1)), 1 + math.log(2), 1.0, 0.6),
    "cauchy": (lambda rng, n: rng.standard_cauchy((n, 1)), math.log(4 * math.pi), 0.5, 0.6),
    "exponential": (lambda rng, n: rng.exponential(size=(n, 1)), 1.0, math.inf, 0.0),
    "lognormal": (lambda rng, n: rng.lognormal(size=(n, 1)), HALF_LOG, 2 * math.exp(2), 0.1),
}


# --- Limits -----------------------------------------------------------------------------------------------


def test_the_reach_of_symmetric_terms_is_that_of_students_t():
    """The expansion of the quantile is good to 0.5 % from 20 terms on (t₀.₉₅ with 19 and 99 freedoms)."""
    for n, quantile in ((20, 1.7291), (100, 1.6604)):
        assert one_sided_reach(2.0, 0.0, n) == pytest.approx(2 * quantile, rel=5e-3)


@pytest.mark.parametrize("n", [30, 200])
@pytest.mark.parametrize("name", ["normal", "exponential", "laplace"])
def test_limits_of_skewed_means_cover_at_their_level(name, n):
    """Means of −log f, 10⁴ repeats: coverage is known to 0.2 %; without γ it is 0.87 to 0.935."""
    rng = np.random.default_rng(0)
    draw, mean = {
        "normal": (rng.standard_normal((10_000, n)) ** 2 / 2, 0.5),
        "exponential": (rng.exponential(size=(10_000, n)), 1.0),
        "laplace": (np.abs(rng.laplace(size=(10_000, n))), 1.0),
    }[name]
    error = draw.std(axis=1, ddof=1) / math.sqrt(n)
    rows = list(zip(error, [bound.skewness(row) for row in draw], strict=True))
    above = draw.mean(axis=1) + [one_sided_reach(e, g, n) for e, g in rows]
    below = draw.mean(axis=1) - [one_sided_reach(e, -g, n) for e, g in rows]
    assert 0.94 < np.mean(above > mean) < 0.98
    assert np.mean(below < mean) > 0.955
    assert np.mean(draw.mean(axis=1) + 1.645 * error > mean) < 0.94


@pytest.mark.parametrize(("level", "n", "word"), [(1.0, 10, "level"), (0.3, 10, "level"), (0.9, 1, "`n`")])
def test_limits_without_meaning_are_refused(level, n, word):
    with pytest.raises(ValueError, match=word):
        one_sided_reach(1.0, 0.0, n, level)


# --- Independent axes -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "draw", [lambda rng: rng.gamma(3.0, size=(300, 2)), lambda rng: student(rng, 300, 2, 1)]
)
def test_the_score_of_a_product_is_the_gradient_of_its_log_density_and_the_jacobian_that_of_the_score(draw):
    """Central differences with step 1e-5: error 1e-9 of third derivatives, and rounding 1e-10."""
    rng = np.random.default_rng(1)
    rows = draw(rng)
    model = IndependentScore().fit(rows, rng)
    points = np.quantile(rows, 0.5, axis=0) + rng.uniform(-0.3, 0.3, (30, 2))
    field = model.field(points)
    for a in range(2):
        step = 1e-5 * np.eye(2)[a]
        ahead, behind = points + step, points - step
        slope = (model.log_density(ahead) - model.log_density(behind)) / 2e-5
        np.testing.assert_allclose(field.score[:, a], slope, rtol=1e-5, atol=1e-5)
        bend = (model.field(ahead).score - model.field(behind).score) / 2e-5
        np.testing.assert_allclose(field.jacobian[:, a], bend, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("name", ["exponential", "laplace", "cauchy"])
def test_the_density_along_an_axis_integrates_to_one(name):
    """A sum over 10⁵ steps of asinh x; the two ends are each good to half a step of a density below 2."""
    rng = np.random.default_rng(2)
    model = IndependentScore().fit(FAMILIES[name][0](rng, 500), rng)
    t = np.linspace(-12, 12, 100_001)
    density = np.exp(model.log_density(np.sinh(t)[:, None]))
    assert np.sum(density * np.cosh(t)) * 24e-5 == pytest.approx(1, abs=2e-3)


def test_fields_go_on_beyond_the_sample_without_growing():
    rng = np.random.default_rng(3)
    model = IndependentScore().fit(student(rng, 400, 1, 1), rng)
    far = model.field(np.array([[1e3], [1e6], [1e9]]))
    assert (np.abs(far.score[:, 0]) < 0.1).all()
    assert np.abs(far.score[2, 0]) < np.abs(far.score[0, 0])
    edge = IndependentScore().fit(rng.uniform(size=(400, 1)), rng).field(np.array([[2.0], [3.0]]))
    assert edge.score[0] == edge.score[1]
    assert (edge.jacobian == 0).all()


def test_rotated_independent_variables_are_found():
    """Squared score error of two logistic variables (tr J = 2/3) at n = 2000: below 5 %."""
    rng = np.random.default_rng(4)
    turn = np.array([[0.8, -0.6], [0.6, 0.8]])
    x, at = rng.logistic(size=(2000, 2)), rng.logistic(size=(2000, 2))
    field = IndependentScore().fit(x @ turn.T, rng).field(at @ turn.T)
    error = field.score + np.tanh(at / 2) @ turn.T
    assert np.mean(np.sum(error**2, axis=1)) < 0.05 * 2 / 3


# --- Cross-fitting ----------------------------------------------------------------------------------------


def test_no_fit_has_seen_the_rows_that_it_is_measured_on_or_chosen_by():
    z = np.arange(23.0)[:, None]
    measured = np.zeros(23)
    for held, blind in bound._crossed(z, 4, lambda rows: rows):
        measured += held
        seen = np.concatenate([rows for _, rows in blind])
        assert set(seen.ravel()) == set(z[~held].ravel())
        for part, rows in blind:
            assert not (part & held).any()
            assert set(rows.ravel()) == set(z[~(part | held)].ravel())
    np.testing.assert_array_equal(measured, 1)


def test_the_entropy_bound_is_the_mean_that_it_says_written_as_loops():
    sample = Sample.of(np.random.default_rng(5).gamma(2.0, size=(90, 2)))
    _, z, rng = shuffled_rows(sample, "bound", 10_000, 0)
    fits = {
        p: DensityStack.fit(np.array([z[i] for i in range(90) if i % 3 not in p]), rng)
        for p in combinations(range(3), 2)
    }
    terms = []
    for i in range(90):
        a = i % 3
        others = [b for b in range(3) if b != a]
        own = {b: fits[min(a, b), max(a, b)] for b in others}
        weights = likeliest_weights(np.concatenate([own[b].log_densities(z[b::3]) for b in others]))
        density = [weights @ np.exp(own[b].log_densities(z[[i]])[0]) for b in others]
        terms.append(-math.log(np.mean(density)))
    fit = Bound(folds=3).entropy(sample)
    assert fit.value == pytest.approx(np.mean(terms) + sample.log_volume, abs=1e-10)
    assert fit.standard_error == pytest.approx(np.std(terms, ddof=1) / math.sqrt(90), rel=1e-9)


def test_the_fisher_bound_is_the_mean_that_it_says_written_as_loops():
    sample = Sample.of(student(np.random.default_rng(6), 90, 2) @ np.array([[2.0, 1.0], [0.0, 0.5]]))
    _, z, rng = shuffled_rows(sample, "bound", 10_000, 0)
    fits = {
        p: Ensemble.fit(LIGHT, np.array([z[i] for i in range(90) if i % 3 not in p]), rng)
        for p in combinations(range(3), 2)
    }
    terms = []
    for i in range(90):
        a = i % 3
        others = [b for b in range(3) if b != a]
        own = {b: fits[min(a, b), max(a, b)] for b in others}
        weights = bound._chosen_weights([bound._inner_fields(own[b], z[b::3]) for b in others])
        v, slope = np.zeros(2), np.zeros((2, 2))
        for ensemble in own.values():
            scores, jacobians = ensemble.fields(z[[i]])
            for w, s, jacobian in zip(weights, scores, jacobians, strict=True):
                v += w * sample.whitener @ s[0] / 2
                slope += w * sample.whitener @ jacobian[0] @ sample.whitener.T / 2
        terms.append(-2 * np.trace(slope) - v @ v)
    fit = Bound(models=LIGHT, folds=3).fisher(sample)
    assert np.trace(fit.matrix) == pytest.approx(np.mean(terms), rel=1e-10)
    assert fit.standard_error == pytest.approx(np.std(terms, ddof=1) / math.sqrt(90), rel=1e-9)


def test_the_likeliest_weights_are_those_of_the_components():
    """Weights of N(±2, 1) from 4000 rows: known to √(0.21/4000) = 0.008."""
    rng = np.random.default_rng(7)
    x = rng.standard_normal(4000) + np.where(rng.random(4000) < 0.3, -2, 2)
    logs = np.column_stack([-0.5 * (x + 2) ** 2, -0.5 * (x - 2) ** 2, np.full(4000, -np.inf)])
    assert likeliest_weights(logs) == pytest.approx([0.3, 0.7, 0.0], abs=0.03)
    assert mean_log_density(np.log([[[0.2, 0.4]], [[0.6, 0.8]]]), np.array([0.5, 0.5])) == pytest.approx(
        [math.log(0.5)]
    )


# --- The bounds -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FAMILIES)
def test_bounds_are_on_their_side_and_not_far(name):
    """Within 4 standard errors on the wrong side, and on the right one beyond 0.2 nats and the share."""
    draw, h, j, share = FAMILIES[name]
    sample = Sample.of(draw(np.random.default_rng(8), 300))
    shannon, fisher = Bound().entropy(sample), Bound().fisher(sample)
    value = np.trace(fisher.matrix)
    assert h - 4 * shannon.standard_error < shannon.value < h + 0.2 + 4 * shannon.standard_error
    assert value < j + 4 * fisher.standard_error
    assert math.isinf(j) or value > share * j - 4 * fisher.standard_error
    assert np.nanmean(fisher.influence) == pytest.approx(0, abs=1e-9 * value)


def test_limits_lie_beyond_the_bounds_by_the_reach_of_their_terms():
    sample = Sample.of(np.random.default_rng(9).gamma(2.0, size=(60, 2)))
    small = Bound(models=LIGHT, folds=3)
    shannon, fisher = small.entropy(sample), small.fisher(sample)
    above = one_sided_reach(shannon.standard_error, bound.skewness(shannon.influence), 60, 0.9)
    assert small.entropy_limit(sample, 0.9) == pytest.approx(shannon.value + above, rel=1e-9)
    below = one_sided_reach(fisher.standard_error, -bound.skewness(fisher.influence), 60)
    assert small.fisher_limit(sample) == pytest.approx(np.trace(fisher.matrix) - below, rel=1e-9)


@settings(max_examples=3)
@given(seed=seeds)
def test_linear_maps_and_row_order(seed):
    """The robust frame, found by iteration, follows a linear map to 1e-5."""
    rng = np.random.default_rng(seed)
    x, order = student(rng, 80, 2), rng.permutation(80)
    a = np.linalg.qr(rng.standard_normal((2, 2)))[0] @ np.diag([3.0, 0.5])
    one, other = Sample.of(x), Sample.of((x @ a.T + 5)[order])
    inverse, small = np.linalg.inv(a), Bound(models=(*LIGHT, IndependentScore()), folds=3)
    shift = math.log(abs(np.linalg.det(a)))
    assert small.entropy(other).value == pytest.approx(small.entropy(one).value + shift, abs=1e-5)
    expected = inverse.T @ small.fisher(one).matrix @ inverse
    np.testing.assert_allclose(small.fisher(other).matrix, expected, atol=1e-4 * np.trace(expected))


@pytest.mark.parametrize("scale", [1e-60, 1e60])
def test_scales_far_from_one_make_no_difference(scale):
    x = np.random.default_rng(10).gamma(3.0, size=(60, 2))
    small = Bound(models=LIGHT, folds=3)
    one, other = Sample.of(x), Sample.of(scale * x)
    shift = 2 * math.log(scale)
    assert small.entropy(other).value == pytest.approx(small.entropy(one).value + shift, abs=1e-6)
    expected = np.trace(small.fisher(one).matrix)
    assert np.trace(small.fisher(other).matrix) * scale**2 == pytest.approx(expected, rel=1e-6)


def test_of_many_rows_some_are_used():
    sample = Sample.of(np.random.default_rng(11).standard_normal((300, 1)))
    few = Bound(max_points=100)
    assert np.isfinite(few.entropy(sample).influence).sum() == 100
    assert np.isfinite(few.fisher(sample).influence).sum() == 100


def test_what_it_does_not_measure_is_refused():
    sample = Sample.of(np.random.default_rng(12).standard_normal((100, 2)))
    with pytest.raises(ValueError, match="no score"):
        Bound().score(sample, None)
    for options, word in (
        ({"models": ()}, "models"),
        ({"folds": 2}, "folds"),
        ({"max_points": 3}, "max_points"),
    ):
        with pytest.raises(ValueError, match=word):
            Bound(**options)
    with pytest.raises(DegenerateSampleError):
        Bound().entropy(Sample.of(np.repeat(sample.values, 2, axis=0)))
    with pytest.raises(ValueError, match="rows"):
        Bound().fisher(Sample.of(sample.values[:12]))


@pytest.mark.slow
@pytest.mark.parametrize("name", FAMILIES)
def test_limits_hold_in_at_least_95_percent_of_samples(name):
    """40 repeats: a binomial of mean 38 falls below 34 with probability 0.003."""
    draw, h, j, _ = FAMILIES[name]
    rng = np.random.default_rng(13)
    held = np.zeros(2)
    for _ in range(40):
        sample, quick = Sample.of(draw(rng, 200)), Bound(folds=3)
        held += quick.entropy_limit(sample) >= h, quick.fisher_limit(sample) <= j
    assert (held >= 34).all(), held
