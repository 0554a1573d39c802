"""What must hold for every sample: equivariance, symmetry, definiteness, and the inequalities."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from infoplane import entropy, entropy_power, fisher_information, fisher_shannon, fisher_trace, score
from infoplane.inequalities import blachman_stam, data_processing

seeds = st.integers(0, 2**32 - 1)
METHODS = ["gaussian", "knn", "kde"]
shapes = st.sampled_from([(60, 1), (80, 2), (90, 3)])
# Binning moves points of a line by up to a four-hundredth of a standard deviation.
TOLERANCE = {"gaussian": 1e-9, "knn": 1e-7, "kde": 1e-7}
LINE_TOLERANCE = 5e-3


def draw(seed, shape):
    """Samples of many shapes: normal, heavy-tailed, skewed and clustered columns, mixed."""
    rng = np.random.default_rng(seed)
    n, d = shape
    kinds = (
        lambda: rng.standard_normal(n),
        lambda: rng.standard_t(4, n),
        lambda: rng.gamma(4.0, size=n),
        lambda: rng.standard_normal(n) + 3 * rng.integers(0, 2, n),
    )
    x = np.column_stack([kinds[rng.integers(4)]() for _ in range(d)])
    return x @ rng.standard_normal((d, d)) if d > 1 else x


def tolerance(method, shape):
    return LINE_TOLERANCE if method == "kde" and shape[1] == 1 else TOLERANCE[method]


@pytest.mark.parametrize("method", METHODS)
@settings(max_examples=15)
@given(
    seed=seeds,
    shape=shapes,
    shift=st.floats(-1e3, 1e3),
    log_scale=st.floats(-20, 20),
    sign=st.sampled_from([-1, 1]),
)
def test_translation_and_scale(method, seed, shape, shift, log_scale, sign):
    x, a = draw(seed, shape), sign * np.exp(log_scale)
    one, other = fisher_shannon(x, method=method), fisher_shannon(a * (x + shift), method=method)
    rel = tolerance(method, shape)
    assert other.entropy == pytest.approx(one.entropy + shape[1] * log_scale, abs=10 * rel)
    assert other.entropy_power == pytest.approx(a**2 * one.entropy_power, rel=10 * rel)
    assert other.fisher_trace == pytest.approx(one.fisher_trace / a**2, rel=10 * rel)
    assert other.product == pytest.approx(float(one.product), rel=20 * rel)
    np.testing.assert_allclose(
        other.fisher_information * a**2,
        one.fisher_information,
        rtol=10 * rel,
        atol=10 * rel * one.fisher_trace,
    )


@pytest.mark.parametrize("method", METHODS)
@settings(max_examples=15)
@given(seed=seeds, d=st.integers(2, 4))
def test_linear_maps(method, seed, d):
    """H → H + log|det A|, J → A⁻ᵀ J A⁻¹, s → A⁻ᵀ s: rotations, shears and permutations of columns."""
    x = draw(seed, (90, d))
    a = np.random.default_rng(seed + 1).standard_normal((d, d)) + 2 * np.eye(d)
    if np.linalg.cond(a) > 50:
        a = np.linalg.qr(a)[0]
    y, inverse = x @ a.T, np.linalg.inv(a)
    one, other = fisher_shannon(x, method=method), fisher_shannon(y, method=method)
    assert other.entropy == pytest.approx(one.entropy + np.linalg.slogdet(a)[1], abs=1e-6)
    expected = inverse.T @ one.fisher_information @ inverse
    np.testing.assert_allclose(other.fisher_information, expected, atol=1e-6 * np.trace(expected))
    np.testing.assert_allclose(
        score(y, method=method), score(x, method=method) @ inverse, atol=1e-5 * np.sqrt(np.trace(expected))
    )


@pytest.mark.parametrize("method", METHODS)
@settings(max_examples=10)
@given(seed=seeds, shape=shapes)
def test_the_order_of_rows_does_not_matter(method, seed, shape):
    x = draw(seed, shape)
    order = np.random.default_rng(seed).permutation(len(x))
    one, other = fisher_shannon(x, method=method), fisher_shannon(x[order], method=method)
    assert other.entropy == pytest.approx(one.entropy, abs=1e-9)
    assert other.fisher_trace == pytest.approx(one.fisher_trace, rel=1e-8)
    assert other.fisher_trace.standard_error == pytest.approx(one.fisher_trace.standard_error, rel=1e-6)
    np.testing.assert_allclose(
        score(x[order], method=method), score(x, method=method)[order], rtol=1e-6, atol=1e-7
    )


@pytest.mark.parametrize("method", METHODS)
@settings(max_examples=15)
@given(seed=seeds, shape=shapes)
def test_matrices_are_symmetric_positive_definite_with_the_trace(method, seed, shape):
    x = draw(seed, shape)
    point = fisher_shannon(x, method=method)
    matrix = fisher_information(x, method=method)
    np.testing.assert_array_equal(matrix, matrix.T)
    assert (np.linalg.eigvalsh(matrix) > 0).all()
    assert point.fisher_trace == fisher_trace(x, method=method) == pytest.approx(np.trace(matrix), rel=1e-12)
    assert point.entropy == entropy(x, method=method)
    assert point.entropy_power == entropy_power(x, method=method)
    assert point.product == pytest.approx(point.entropy_power * point.fisher_trace / shape[1])


@pytest.mark.parametrize("method", METHODS)
@settings(max_examples=15)
@given(seed=seeds, shape=shapes)
def test_stams_inequality_holds_within_the_errors(method, seed, shape):
    """N·tr J/d ≥ 1 − 4 errors − the small-sample bias of the method at n < 100 (5 %, and 20 % for knn)."""
    product = fisher_shannon(draw(seed, shape), method=method).product
    bias = 0.2 if method == "knn" else 0.05
    assert product > 1 - 4 * product.standard_error - bias


@pytest.mark.parametrize("method", METHODS)
def test_independent_blocks_add(method):
    """H and tr J of a product are sums; tolerance 4 combined errors plus 3 % (the dimension's own bias)."""
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((4000, 1)), rng.logistic(size=(4000, 1))
    if method == "gaussian":
        y = rng.standard_normal((4000, 1))
    joint = fisher_shannon(np.hstack([x, y]), method=method)
    parts = [fisher_shannon(part, method=method) for part in (x, y)]
    for field in ("entropy", "fisher_trace"):
        whole, sums = getattr(joint, field), [getattr(p, field) for p in parts]
        error = np.linalg.norm([whole.standard_error, *(s.standard_error for s in sums)])
        assert abs(whole - sum(sums)) < 4 * error + 0.03 * abs(whole), field


@pytest.mark.parametrize(
    ("quantity", "joint_method", "method"),
    [
        (entropy, "copula", "spacing"),
        (entropy, "weighted-knn", "spacing"),
        (entropy, "auto", "auto"),
        (fisher_trace, "stack", "logspline"),
        (fisher_trace, "auto", "auto"),
    ],
)
def test_independent_blocks_add_across_methods(quantity, joint_method, method):
    """Two blocks of different units; 4 combined errors plus 1 % or 0.01 (the bias of either)."""
    rng = np.random.default_rng(1)
    x, y = rng.standard_normal((2000, 1)), 0.1 * rng.logistic(size=(2000, 1))
    whole = quantity(np.hstack([x, y]), method=joint_method)
    parts = [quantity(part, method=method) for part in (x, y)]
    error = np.linalg.norm([whole.standard_error, *(part.standard_error for part in parts)])
    assert abs(whole - sum(parts)) < 4 * error + 0.01 * max(1, abs(whole))


def test_base_two_gives_bits():
    x = np.random.default_rng(0).standard_normal(500)
    nats, bits = entropy(x), entropy(x, base=2)
    assert bits == pytest.approx(nats / np.log(2))
    assert bits.standard_error == pytest.approx(nats.standard_error / np.log(2))


ALL_METHODS = [
    *((method, d) for method in ("gaussian", "knn", "kde", "bound") for d in (1, 2)),
    ("logspline", 1),
    ("stack", 2),
]


@pytest.mark.parametrize(("method", "d"), ALL_METHODS)
@settings(max_examples=5)
@given(least=st.integers(-498, 498), apart=st.integers(0, 490))
@example(least=498, apart=0)
@example(least=-498, apart=0)
@example(least=-332, apart=490)
def test_standard_errors_scale_with_the_estimates_from_1e_minus_150_to_1e150(method, d, least, apart):
    x = np.random.default_rng(1).standard_t(6, (80, 2))[:, :d]
    # Powers of two, the same for each column or not.
    exponents = np.array([min(least + apart, 498), least][-d:])
    scaled, reference = _trace_at(method, x, exponents), _trace_at(method, x, exponents - exponents.min())
    unit = np.ldexp(1.0, -int(exponents.min()))
    assert float(scaled[0]) / unit / unit == pytest.approx(float(reference[0]), rel=1e-9)
    assert scaled[0].standard_error / unit / unit == pytest.approx(reference[0].standard_error, rel=1e-9)
    assert 0 < scaled[0].standard_error < np.inf
    assert scaled[1] == pytest.approx(reference[1], rel=1e-9)


def _trace_at(method, x, exponents):
    """tr J with its error, and the correlation of N and tr J as the error of their product shows it."""
    y = np.ldexp(x, exponents)
    if method in ("logspline", "stack"):
        j = fisher_trace(y, method=method)
        return j, j.standard_error / j
    if method == "bound":
        j = fisher_trace(y, method=method)
        return j, j.skewness
    point = fisher_shannon(y, method=method)
    return point.fisher_trace, point.product.standard_error / point.product


def test_residuals_of_inequalities_keep_their_errors_at_any_scale():
    x, y = np.random.default_rng(0).standard_normal((2, 200))
    for law in (blachman_stam, data_processing):
        one, other = law(x, y, method="gaussian"), law(1e100 * x, 1e100 * y, method="gaussian")
        assert other.standard_error == pytest.approx(one.standard_error, rel=1e-9)
