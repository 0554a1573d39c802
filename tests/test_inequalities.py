"""Laws of information hold for what is composed, are equalities where they should, and break under errors."""

import math

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from benchmarks import laws
from benchmarks.laws import EQUALITIES, FAMILIES, LAWS, residual_of
from benchmarks.mutations import MUTATIONS
from infoplane import Estimate
from infoplane.distributions import (
    GaussianMixture,
    Laplace,
    Logistic,
    MultivariateNormal,
    Normal,
    Product,
    Uniform,
)
from infoplane.inequalities import (
    blachman_stam,
    chain_rule,
    costa,
    cramer_rao,
    data_processing,
    de_bruijn,
    entropy_power_inequality,
    information_chain_rule,
    logarithmic_sobolev,
    maximum_entropy,
    nonnegative_information,
    projection,
    stam,
    stam_matrix,
    superadditivity,
)
from tests import compositions as made

# What quadrature is good to, and standard errors of Monte Carlo: a false alarm in 1e9.
EXACT, ERRORS = 1e-6, 6


def holds(residual):
    """Not negative, beyond rounding and the error of Monte Carlo; an infinite or unknown J says nothing."""
    error = residual.standard_error if isinstance(residual, Estimate) else 0.0
    assert not residual < -EXACT - ERRORS * error


def is_zero(residual):
    error = residual.standard_error if isinstance(residual, Estimate) else 0.0
    assert abs(residual) < EXACT + ERRORS * error


def in_parts(law):
    return lambda x: law(x, [0])


CASES = {
    "stam": (made.distributions, lambda x: holds(stam(x))),
    "stam, determinant": (made.distributions, lambda x: holds(stam_matrix(x))),
    "the trace bounds the determinant": (
        made.distributions,
        lambda x: holds(float(stam(x)) - float(stam_matrix(x)) + EXACT),
    ),
    "cramer_rao": (made.distributions, lambda x: holds(cramer_rao(x))),
    "maximum_entropy": (made.distributions, lambda x: holds(maximum_entropy(x))),
    "maximum_entropy without J": (made.rough_ones, lambda x: holds(maximum_entropy(x))),
    "logarithmic_sobolev": (
        st.tuples(made.distributions, made.between(0.1, 10)),
        lambda x: holds(logarithmic_sobolev(x[0], variance=x[1])),
    ),
    "entropy_power_inequality": (made.pairs, lambda x: holds(entropy_power_inequality(*x))),
    "blachman_stam": (made.pairs, lambda x: holds(blachman_stam(*x))),
    "data_processing": (made.pairs, lambda x: holds(data_processing(*x))),
    "de_bruijn": (made.flowing, lambda x: is_zero(de_bruijn(x))),
    "costa": (made.flowing, lambda x: holds(costa(x))),
    "nonnegative_information": (made.joint, lambda x: holds(nonnegative_information(x, [0]))),
    "superadditivity": (made.joint, lambda x: holds(superadditivity(x, [0]))),
    "projection": (made.joint, lambda x: holds(projection(x, [0]))),
    "chain_rule": (made.chained, lambda x: is_zero(chain_rule(x, [0]))),
}


def examine(name, examples):
    strategy, check = CASES[name]

    @settings(max_examples=examples, suppress_health_check=[HealthCheck.too_slow], derandomize=True)
    @given(strategy)
    def law(x):
        seen.append(1)
        check(x)

    seen = []
    law()
    assert len(seen) >= examples


@pytest.mark.parametrize("name", CASES)
def test_laws_hold(name):
    """100 random distributions, or pairs of them, each."""
    examine(name, 100)


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_laws_hold_in_ten_thousand_examples(name):
    """16 laws × 640 examples."""
    examine(name, 640)


# --- Equality, where and only where -------------------------------------------------------------------------


@settings(max_examples=100)
@given(d=st.integers(1, 4), data=st.data())
def test_normal_distributions_are_equality_cases(d, data):
    x = data.draw(made.normals_in(d))
    for law in (stam_matrix, cramer_rao, maximum_entropy):
        assert abs(law(x)) < 1e-9
    factor = data.draw(made.between(0.1, 10))
    assert abs(entropy_power_inequality(x, math.sqrt(factor) * x)) < 1e-9
    assert abs(blachman_stam(x, math.sqrt(factor) * x)) < 1e-9
    round_one = MultivariateNormal(x.mean(), factor * np.eye(d))
    for residual in (
        stam(round_one),
        costa(round_one),
        logarithmic_sobolev(round_one, variance=factor),
    ):
        assert abs(residual) < 1e-9


@settings(max_examples=100)
@given(data=st.data())
def test_normal_distributions_of_unequal_axes_are_not(data):
    """Axes in the ratio of 1.2 at least: the residual is above (1.2 − 1)²/8."""
    d = data.draw(st.integers(2, 4))
    ratio = data.draw(made.between(1.2, 10))
    turn = np.linalg.qr(data.draw(made.maps(d)))[0]
    x = turn @ MultivariateNormal(np.zeros(d), np.diag([ratio, *[1.0] * (d - 1)]))
    y = MultivariateNormal(np.zeros(d), np.eye(d))
    for residual in (
        stam(x),
        logarithmic_sobolev(x),
        entropy_power_inequality(x, y),
        blachman_stam(x, y),
        costa(x),
    ):
        assert residual > 1e-4


@settings(max_examples=100)
@given(x=made.far_from_normal, factor=made.between(0.5, 2))
def test_other_shapes_are_not(x, factor):
    """The nearest are gamma(20) and log-normal(0.2), with residuals of some per cent."""
    for residual in (stam(x), stam_matrix(x), cramer_rao(x), maximum_entropy(x)):
        assert residual > 2e-3
    assert logarithmic_sobolev(x, variance=factor / x.fisher_trace()) > 1e-3


@settings(max_examples=30)
@given(x=made.far_from_normal)
def test_sums_with_other_shapes_are_not(x):
    noise = Normal(scale=math.sqrt(x.entropy_power()))
    for residual in (entropy_power_inequality(x, noise), blachman_stam(x, noise), costa(x)):
        assert residual > 1e-4


@settings(max_examples=100)
@given(x=made.far_from_normal, y=made.normals, a=made.maps(2))
def test_cramer_rao_is_an_equality_along_a_normal_factor(x, y, a):
    assert abs(cramer_rao(a @ Product(x, y))) < 1e-8
    assert cramer_rao(a @ Product(x, x)) > 2e-3


@settings(max_examples=100)
@given(s=st.floats(-0.9, 0.9), df=made.between(1, 10))
def test_laws_of_parts_are_equalities_for_independent_parts_only(s, df):
    scatter = np.array([[1.0, s], [s, 1.0]])
    x = MultivariateNormal([0.0, 0.0], scatter)
    assert nonnegative_information(x, [0]) == pytest.approx(-0.5 * math.log(1 - s * s), abs=1e-12)
    assert superadditivity(x, [0]) == pytest.approx(s * s, abs=1e-12)
    assert abs(projection(x, [0])) < 1e-12
    t = made.MultivariateT([0.0, 0.0], scatter, df)  # dependent even if s = 0
    for law in (nonnegative_information, superadditivity, projection):
        assert law(t, [0]) > 1e-3


@pytest.mark.parametrize("law", [law for law in LAWS if not law.identity], ids=lambda law: law.name)
def test_the_table_of_equalities_is_complete(law):
    """Of closed forms, and cheap sums: equality to 1e-9 where the table says so, else above 1e-4."""
    skipped = law.name in ("entropy power", "Blachman–Stam", "data processing", "Costa")
    for name, x in FAMILIES.items():
        if skipped and not isinstance(x, Normal | MultivariateNormal):
            continue
        residual = residual_of(law, x)
        if residual is None or math.isnan(residual):
            continue
        if name in EQUALITIES.get(law.name, ()):
            assert abs(residual) < 1e-9, name
        else:
            assert residual > 1e-4, name


# --- Errors are caught --------------------------------------------------------------------------------------


@pytest.mark.parametrize("mutation", MUTATIONS)
def test_a_planted_error_breaks_a_law(mutation):
    """The families on which laws of sums are cheap do."""
    cheap = (
        "Normal", "Logistic", "GaussianMixture", "MultivariateNormal, d = 2", "Laplace × Logistic, sheared",
        "Gamma(3)",
    )  # fmt: skip
    chosen = [law for law in LAWS if law.name in ("Stam", "Cramér–Rao", "maximum entropy", "de Bruijn")]
    violated, _ = laws.caught_by(mutation, cheap, chosen)
    assert violated


def test_without_an_error_no_law_is_broken():
    cheap = ("Normal", "GaussianMixture", "MultivariateNormal, d = 2", "Laplace × Normal")
    for law in LAWS:
        for name in cheap:
            residual = residual_of(law, FAMILIES[name])
            assert residual is None or not law.broken(residual), (law.name, name)


# --- Values -------------------------------------------------------------------------------------------------


def test_the_sharpest_logarithmic_sobolev_inequality_is_stams():
    x = Product(Laplace(), Logistic())
    sharp = logarithmic_sobolev(x, variance=2 / x.fisher_trace())
    assert sharp == pytest.approx(math.log(1 + stam(x)), rel=1e-12)


def test_de_bruijn_holds_for_kernel_density_estimates():
    rows = np.random.default_rng(0).gamma(3.0, size=200)
    assert abs(de_bruijn(GaussianMixture(np.ones(200), rows, 0.1))) < 1e-9
    plane = np.random.default_rng(1).standard_normal((40, 2))
    assert abs(de_bruijn(GaussianMixture(np.ones(40), plane, 0.3))) < 1e-8


@pytest.mark.parametrize(
    "x", [Laplace(), Uniform(), made.Gamma(3), made.StudentT(3), GaussianMixture([1, 2], [0, 3], 0.5)]
)
def test_de_bruijn_starts_from_the_distribution_itself(x):
    """From t = 0 the exact entropy is compared with the quadrature of sums: 1e-5 with jumps."""
    assert abs(de_bruijn(x, times=(0.0, x.entropy_power() / 2))) < 1e-5


def test_infinite_information_is_not_below_any_bound():
    x = Uniform()
    assert stam(x) == stam_matrix(x) == cramer_rao(x) == logarithmic_sobolev(x) == math.inf
    assert math.isnan(data_processing(x, Normal()))
    assert blachman_stam(x, x) == math.inf
    # J(X + Y) ≤ J(Y) all the same.
    assert data_processing(Normal(), x) > 0
    assert cramer_rao(made.StudentT(1.5)) == maximum_entropy(made.StudentT(1.5)) == math.inf


# --- Samples ------------------------------------------------------------------------------------------------

ONE = (stam, stam_matrix, cramer_rao, maximum_entropy, logarithmic_sobolev)


@pytest.mark.parametrize("law", ONE)
def test_residuals_of_samples_agree_with_the_distribution(law):
    """n = 4000 of logistic and of normal data: 4 standard errors and a bias of 1 % of 1 + residual."""
    for x in (Logistic(scale=0.7), Normal(scale=0.5)):
        truth, found = law(x), law(x.sample(4000, 0))
        assert isinstance(found, Estimate)
        assert abs(found - truth) < 4 * found.standard_error + 0.01 * (1 + truth)
        assert found.n == 4000
        assert found.method != "auto"


def test_residuals_of_samples_have_the_right_standard_errors():
    """Spread over 40 samples of n = 500 over the stated error: 3.3 errors of the ratio, 11 %, and a fifth."""
    x = Logistic()
    for law in (stam, maximum_entropy):
        found = [law(x.sample(500, seed)) for seed in range(40)]
        ratio = np.std([float(f) for f in found]) / np.mean([f.standard_error for f in found])
        assert 0.6 < ratio < 1.6, law


def test_matrix_laws_of_samples_agree_with_the_distribution():
    """Two dimensions, n = 2000, by neighbours: 4 standard errors and a bias of 6 %."""
    x = np.array([[1.0, 0.0], [0.8, 0.6]]) @ Product(Logistic(), Normal())
    rows = x.sample(2000, 1)
    for law in (stam_matrix, cramer_rao):
        found = law(rows, method="knn")
        assert abs(found - law(x)) < 4 * found.standard_error + 0.06 * (1 + law(x))
    normal = MultivariateNormal([0.0, 0.0], [[1.0, 0.6], [0.6, 1.0]])
    rows = normal.sample(2000, 2)
    for law in (superadditivity, projection):
        found = law(rows, [0], method="knn")
        assert abs(found - law(normal, [0])) < 4 * found.standard_error + 0.06


def test_laws_of_sums_of_samples_agree_with_the_distribution():
    x, y = Laplace(), Uniform(scale=2.0)
    one, other = x.sample(4000, 0), y.sample(4000, 1)
    found = entropy_power_inequality(one, other)
    assert abs(found - entropy_power_inequality(x, y)) < 4 * found.standard_error + 0.01
    one, other = Logistic().sample(4000, 2), Normal().sample(4000, 3)
    for law in (blachman_stam, data_processing):
        found, truth = law(one, other), law(Logistic(), Normal())
        assert abs(found - truth) < 4 * found.standard_error + 0.02


def test_heat_flow_of_samples():
    rows = Logistic().sample(3000, 0)
    for law, truth in ((de_bruijn, 0.0), (costa, costa(Logistic()))):
        found = law(rows, rng=1)
        assert abs(found - truth) < 4 * found.standard_error + 0.005
        assert found == law(rows, rng=1)


def test_chain_rules_of_samples():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((1500, 3)) @ np.array([[1.0, 0.5, 0.3], [0, 1, 0.4], [0, 0, 1]])
    for found in (chain_rule(x, [0]), information_chain_rule(x, [0], [1])):
        assert abs(found) < 3 * found.standard_error
        assert found.standard_error < 0.3
    i = nonnegative_information(x, [0])
    truth = nonnegative_information(MultivariateNormal(np.zeros(3), np.cov(x.T)), [0])
    assert abs(i - truth) < 4 * i.standard_error


# --- Messages -----------------------------------------------------------------------------------------------


def test_errors_say_what_was_demanded():
    x, rows = Normal(), np.random.default_rng(0).standard_normal((50, 2))
    with pytest.raises(TypeError, match="must both be distributions, or both be samples"):
        entropy_power_inequality(x, rows)
    with pytest.raises(ValueError, match=r"same number of dimensions, got 1 and 2"):
        blachman_stam(x, MultivariateNormal([0, 0], np.eye(2)))
    with pytest.raises(ValueError, match=r"same number of rows, got 50 and 40"):
        entropy_power_inequality(rows, rows[:40])
    with pytest.raises(ValueError, match=r"`rng` must be a generator or a seed"):
        de_bruijn(rows)
    with pytest.raises(ValueError, match=r"`times` must be 2 increasing numbers from 0, got \(1.0, 0.5\)"):
        de_bruijn(x, times=(1.0, 0.5))
    with pytest.raises(ValueError, match=r"`columns` must be some, but not all, of 0 to 1, got \[0, 1\]"):
        superadditivity(rows, [0, 1])
    with pytest.raises(ValueError, match=r"`variance` must be positive"):
        logarithmic_sobolev(x, variance=0)
    with pytest.raises(TypeError, match="must be a sample"):
        information_chain_rule(Product(x, x, x), [0], [1])
    with pytest.raises(NotImplementedError, match="no closed form for the sum"):
        costa(made.MultivariateT([0, 0], np.eye(2), 4))


def test_bounds_have_no_residual():
    x = np.random.default_rng(0).standard_normal((50, 2))
    for residual in (stam, cramer_rao, maximum_entropy):
        with pytest.raises(ValueError, match='must give estimates for a residual, got "bound"'):
            residual(x, method="bound")
    for law in (nonnegative_information, chain_rule):
        with pytest.raises(ValueError, match="must give estimates of entropy, got a bound"):
            law(x, [0], method="bound")


@pytest.mark.parametrize("law", [nonnegative_information, chain_rule, superadditivity, projection])
def test_columns_that_are_no_sequence_are_refused(law):
    x = MultivariateNormal([0, 0], [[1, 0.5], [0.5, 1]])
    for joint in (x, x.sample(50, 0)):
        with pytest.raises(
            TypeError, match=r"`columns` must be whole numbers in a sequence such as \[0\], got 0"
        ):
            law(joint, 0)
    with pytest.raises(TypeError, match="`columns` must be whole numbers in a sequence"):
        x.marginal(1)


def test_the_chain_rule_of_information_needs_three_columns():
    with pytest.raises(ValueError, match="must have at least three columns, one each of A, B and C, got 2"):
        information_chain_rule(np.random.default_rng(0).standard_normal((50, 2)), [0], [1])
