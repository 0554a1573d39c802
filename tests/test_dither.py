"""Rounded data regain a density at their own resolution; other ties stay refused."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infoplane import (
    KDE,
    KNN,
    DegenerateSampleError,
    conditional_entropy,
    conditional_mutual_information,
    entropy,
    fisher_trace,
    mutual_information,
)
from infoplane.estimators.spacing import Spacing
from infoplane.inequalities import (
    chain_rule,
    cramer_rao,
    de_bruijn,
    entropy_power_inequality,
    nonnegative_information,
    stam,
    superadditivity,
)
from infoplane.sample import Sample
from infoplane.ties import lattice_step, resolution

RNG = np.random.default_rng(0)
X = RNG.standard_normal(1000)
HALF_LOG = 0.5 * math.log(2 * math.pi * math.e)
seeds = st.integers(0, 2**32 - 1)


def rounded(x, step, offset=0.0):
    return step * np.rint((x - offset) / step) + offset


# --- The lattice ------------------------------------------------------------------------------------------

LATTICES = {
    # Data and their step by name.
    "one decimal": (np.round(X, 1), 0.1),
    "sums of decimals": (np.rint(5 * X) * 0.1 + np.rint(3 * X) * 0.2 + 0.1, 0.1),
    "quarters": (0.25 * np.rint(9 * X), 0.25),
    "3.3 k + offset": (3.3 * np.rint(30 * X) + 17.77, 3.3),
    "integers": (np.rint(20 * X), 1.0),
    "six decimals": (np.round(X, 6), 1e-6),
    "multiples of five and of seven": (np.r_[5 * np.rint(100 * X), 7.0 * np.arange(20)], 1.0),
    "a huge offset": (1e9 + np.round(X, 1), 0.1),
    "a far outlier": (np.r_[np.round(X, 2), 1e6], 0.01),
    "1e-200": (1e-200 * np.round(X, 1), 1e-201),
    "1e200": (1e200 * np.round(X, 1), 1e199),
    "single precision": (np.round(X, 1).astype(np.float32).astype(float), 0.1),
    "single precision and an offset": ((100 + np.round(X, 1)).astype(np.float32).astype(float), 0.1),
}


@pytest.mark.parametrize("name", LATTICES)
def test_the_step_of_a_lattice_is_found(name):
    x, step = LATTICES[name]
    # Single precision, and 1e9 with one decimal, know the step to a millionth.
    np.testing.assert_allclose(resolution(x), step, rtol=1e-5)


@settings(max_examples=200)
@given(seed=seeds, n=st.integers(3, 300), log_step=st.floats(-12, 12), offset=st.floats(-100, 100))
def test_the_step_of_any_lattice_is_the_greatest_common_divisor(seed, n, log_step, offset):
    rng = np.random.default_rng(seed)
    k = np.unique(np.rint(rng.standard_t(2, n) * rng.uniform(3, 200)))
    if k.size < 3:
        return
    step = math.exp(log_step)
    expected = step * np.gcd.reduce(np.diff(k).astype(int))
    assert lattice_step(step * (k + round(offset, 1))) == pytest.approx(expected, rel=1e-9)


@settings(max_examples=50)
@given(seed=seeds, n=st.integers(4, 400))
def test_continuous_data_lie_on_no_lattice(seed, n):
    rng = np.random.default_rng(seed)
    assert resolution(np.tile(rng.standard_normal(n), 2)) is None
    assert resolution(np.tile(rng.gamma(0.5, size=n), 3)) is None


def test_chance_ties_of_single_precision_are_resolved_at_its_last_place():
    x = np.random.default_rng(1).standard_normal(30_000).astype(np.float32)
    assert np.unique(x).size < x.size
    np.testing.assert_array_equal(resolution(x.astype(float)), np.spacing(np.abs(x)))
    sample = Sample.of(x, ties="dither", rng=0)
    assert np.abs(sample.values[:, 0] - x).max() <= np.spacing(np.float32(4.0)) / 2
    # The same points twice are not rounded ones.
    assert resolution(np.tile(x[:3000], 2).astype(float)) is None


# --- The noise --------------------------------------------------------------------------------------------


def test_untied_data_stay_as_they_are_and_use_no_random_numbers():
    rng = np.random.default_rng(3)
    before = rng.bit_generator.state
    x = np.column_stack([X, X**2])
    np.testing.assert_array_equal(Sample.of(x, ties="dither", rng=rng).values, x)
    assert rng.bit_generator.state == before


def test_only_columns_with_ties_get_noise_of_their_own_step():
    x = np.column_stack([np.round(X, 1), RNG.standard_normal(1000), np.rint(50 * RNG.standard_normal(1000))])
    sample = Sample.of(x, ties="dither", rng=0)
    noise = sample.values - x
    np.testing.assert_array_equal(noise[:, 1], 0)
    np.testing.assert_allclose(sample.widths, [0.1, 0, 1], rtol=1e-12)
    for j, step in ((0, 0.1), (2, 1.0)):
        assert np.abs(noise[:, j]).max() <= step / 2 * (1 + 1e-12)
        # Uniform: variance δ²/12, known to √(4/5n) = 2.8 %; tolerance 4 of that.
        assert noise[:, j].var() == pytest.approx(step**2 / 12, rel=0.12)
    assert abs(np.corrcoef(noise[:, 0], noise[:, 2])[0, 1]) < 4 / math.sqrt(1000)
    sample.require_distinct_rows("knn")


def test_a_seed_gives_the_same_noise_as_its_generator_and_units_do_not_matter():
    x = np.round(X, 1)
    one = Sample.of(x, ties="dither", rng=5).values
    np.testing.assert_array_equal(Sample.of(x, ties="dither", rng=np.random.default_rng(5)).values, one)
    assert (Sample.of(x, ties="dither", rng=6).values != one).any()
    np.testing.assert_allclose(Sample.of(60 * x + 7, ties="dither", rng=5).values, 60 * one + 7, rtol=1e-9)


@pytest.mark.parametrize("method", [Spacing(), KNN(), KDE()])
def test_rounded_data_have_the_entropy_of_the_exact_ones(method):
    """N(0, 1) rounded to 0.1: H = 1.4189 + δ²/24 to δ²/12, which is .0004 to .0008.

    4 standard errors (.0224 at n = 1000) and the small-sample bias of the methods, at most .01.
    """
    fit = method.entropy(Sample.of(np.round(X, 1), ties="dither", rng=1))
    assert abs(fit.value - HALF_LOG - 0.0006) < 4 * fit.standard_error + 0.01


def test_the_bias_of_rounding_is_that_of_de_bruijn():
    """The mean over samples that differ in nothing but rounding: paired, so it is seen through the noise."""
    step, differences = 0.48, []
    for seed in range(60):
        x = np.random.default_rng(seed).standard_normal(2000)
        coarse = Sample.of(rounded(x, step, 0.15), ties="dither", rng=seed)
        differences.append(Spacing().entropy(coarse).value - Spacing().entropy(Sample.of(x)).value)
    error = np.std(differences) / math.sqrt(60)
    assert step**2 / 24 - 4 * error < np.mean(differences) < step**2 / 12 + 4 * error


def test_the_kernel_score_does_not_see_the_steps_of_dithered_data():
    """J = 1 − δ²/6 = .958 of N(0, 1), from 10⁴ points that would resolve cells of δ = σ/2.

    Without minding the width of the noise it is above 2. 4 standard errors (1.4 %) and 2 % of bias.
    """
    x = np.random.default_rng(4).standard_normal(10_000)
    fit = KDE().fisher(Sample.of(rounded(x, 0.48, 0.1), ties="dither", rng=0))
    assert fit.matrix[0, 0] == pytest.approx(0.96, abs=4 * fit.standard_error + 0.02)


# --- Faults -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.tile(X, 2), "1000 repeated rows among 2000 that lie on no lattice.*np.unique"),
        (np.tile(np.column_stack([X, X**2]), (2, 1)), "1000 repeated rows among 2000 that lie on no lattice"),
        (np.r_[X, np.zeros(300)], "299 repeated rows among 1300 that lie on no lattice"),
        (RNG.integers(0, 2, 500), "column 0 of `x` is discrete: its values lie 1 apart"),
        (RNG.integers(0, 3, 500), "discrete"),
        (RNG.poisson(1.5, 500), "discrete"),
        (np.column_stack([X, RNG.integers(0, 2, 1000)]), "column 1 of `x` is discrete"),
        (np.full(100, 3.7), "constant"),
    ],
)
def test_ties_that_noise_cannot_resolve_are_refused(x, message):
    with pytest.raises(DegenerateSampleError, match=message):
        Sample.of(x, ties="dither", rng=0)


def test_an_outlier_does_not_make_discrete_data_fine():
    with pytest.raises(DegenerateSampleError, match="discrete"):
        Sample.of(np.r_[RNG.integers(0, 3, 500), 10_000], ties="dither", rng=0)


def test_dithering_needs_a_source_of_noise_even_without_ties():
    with pytest.raises(ValueError, match='ties="dither" must come with an `rng`'):
        Sample.of(X, ties="dither")
    with pytest.raises(ValueError, match='`ties` must be "raise" or "dither", got \'jitter\''):
        Sample.of(X, ties="jitter", rng=0)


def test_counts_and_dithering_exclude_each_other():
    with pytest.raises(ValueError, match=r"`counts` must not be given with ties=\"dither\": .*np.repeat"):
        Sample.of(np.round(X, 1)[:50], ties="dither", rng=0, counts=np.arange(1, 51))


def test_the_refusal_of_ties_names_dithering():
    with pytest.raises(DegenerateSampleError, match=r'repeated rows.*ties="dither" with an `rng`'):
        Sample.of(np.round(X, 1)).require_distinct_rows("knn")


# --- Ties by chance ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["auto", "knn", "kde", "logspline", "bound"])
def test_the_few_ties_of_single_precision_change_nothing(method):
    """5 of 20,000 rows; the allowed difference is a hundredth of the standard error of H and of tr J."""
    x = np.random.default_rng(1).standard_normal(20_000)
    single = x.astype(np.float32)
    assert len(np.unique(single)) == 19_995
    for measure in (entropy, fisher_trace):
        exact = measure(x, method=method)
        assert measure(single, method=method) == pytest.approx(float(exact), abs=0.01 * exact.standard_error)


def test_ties_that_are_not_by_chance_or_harm_a_method_are_still_refused():
    x = np.random.default_rng(1).standard_normal(20_000)
    single = x.astype(np.float32)
    for tied, method in (
        (np.r_[x, x[:5]], "auto"),  # double precision
        (np.r_[single[:200], single[:1]], "auto"),  # a row given twice, without near ones
        (np.round(x[:1000], 4).astype(np.float32), "auto"),  # few, but on a lattice
        (single, KNN(k=1)),  # the nearest neighbour lies at distance zero
        (single, Spacing(m=1)),
    ):
        with pytest.raises(DegenerateSampleError, match="repeated rows"):
            entropy(tied, method=method)


def test_information_is_measured_of_single_precision():
    x, noise = np.random.default_rng(0).standard_normal((2, 20_000)).astype(np.float32)
    y = 0.8 * x + np.float32(0.6) * noise
    truth = -0.5 * math.log(1 - 0.64)
    for i in (mutual_information(x, y), nonnegative_information(np.column_stack([x, y]), [0])):
        assert abs(i - truth) < 4 * i.standard_error
    h = conditional_entropy(y, given=x)
    assert abs(h - (1.4189385 + math.log(0.6))) < 4 * h.standard_error
    assert abs(stam(x)) < 4 * stam(x).standard_error


def test_rounded_data_are_dithered_by_whatever_takes_samples():
    """Rounded to a tenth of their spread, which costs no more than a standard error or two (n = 1000)."""
    x, noise, z = np.round(np.random.default_rng(0).standard_normal((3, 1000)), 1)
    y, keep = np.round(0.8 * x + 0.6 * noise, 1), {"ties": "dither", "rng": 0}
    with pytest.raises(DegenerateSampleError, match='ties="dither"'):
        mutual_information(x, y)
    i = mutual_information(x, y, **keep)
    assert abs(i + 0.5 * math.log(1 - 0.64)) < 4 * i.standard_error
    h = conditional_entropy(y, given=x, **keep)
    assert abs(h - (1.4189385 + math.log(0.6))) < 4 * h.standard_error
    i = conditional_mutual_information(x, y, given=z, **keep)
    assert abs(i + 0.5 * math.log(1 - 0.64)) < 4 * i.standard_error
    both = np.column_stack([x, y])
    for residual in (
        stam(x, **keep),
        cramer_rao(x, **keep),
        entropy_power_inequality(x, noise, **keep),
        chain_rule(both, [0], **keep),
        de_bruijn(x, method="gaussian", **keep),
    ):
        assert abs(residual) < 4 * residual.standard_error + 0.05
    expected = 0.64  # of two normal variables of this correlation, ρ²
    residual = superadditivity(both, [0], **keep)
    assert abs(residual - expected) < 4 * residual.standard_error
    with pytest.raises(ValueError, match="must come with an `rng`"):
        stam(x, ties="dither")


def test_the_same_seed_gives_each_variable_noise_of_its_own():
    x = np.round(np.random.default_rng(0).standard_normal(1000), 1)
    # The same variable twice: with the same noise its columns would be linearly dependent.
    assert mutual_information(x, x, ties="dither", rng=0) > 2


# --- Formats ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [300, 3000])
def test_half_precision_is_dithered_at_its_own_spacing(n):
    """Ten bits lie within a hundredth of the spread; tolerance 0.05 standard errors and δ²J/24 below 1e-6."""
    x = np.random.default_rng(n).standard_normal(n)
    half = x.astype(np.float16)
    widths = np.spacing(np.abs(half)).astype(float)
    np.testing.assert_array_equal(resolution(half.astype(float)), widths)
    exact = entropy(x)
    assert entropy(half, ties="dither", rng=0) == pytest.approx(float(exact), abs=0.2 * exact.standard_error)


def test_whole_numbers_that_half_precision_holds_are_a_lattice_of_ones():
    x = np.rint(300 * np.abs(np.random.default_rng(0).standard_normal(3000)))
    assert (resolution(x) == 1).all()


def test_a_lattice_that_is_the_rounding_at_an_offset_is_told_to_be_shifted():
    """1e12, where float64 resolves 1e-4: values a nanosecond clock gives. The advice has to work."""
    x = np.random.default_rng(0).standard_normal(20_000)
    far = x + 1e12
    with pytest.raises(DegenerateSampleError, match=r"resolves no more than 0.000122 .* `x - x\[0\]`"):
        entropy(far, ties="dither", rng=0)
    exact = entropy(x)
    h = entropy(far - far[0], ties="dither", rng=0)
    assert h == pytest.approx(float(exact), abs=0.1 * exact.standard_error)


def test_a_spread_below_the_rounding_at_an_offset_is_called_that():
    x = np.random.default_rng(0).standard_normal(1000) + 1e15
    with pytest.raises(DegenerateSampleError, match=r"`x` must vary by more than rounding, .* of 1e\+15"):
        entropy(x)
