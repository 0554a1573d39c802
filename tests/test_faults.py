"""Inputs on which estimators in other libraries return a wrong number: here each is an error or is right.

One row an input, one column a public function. "gaussian" knows only two moments, so ties do it no harm;
the others refuse what has no density.
"""

import math

import numpy as np
import pandas as pd
import pytest

from infoplane import (
    KDE,
    KNN,
    Blocks,
    DegenerateSampleError,
    InfoplaneWarning,
    entropy,
    entropy_power,
    fisher_information,
    fisher_shannon,
    fisher_trace,
    mutual_information,
    score,
    windows,
)
from infoplane.inequalities import blachman_stam, stam, superadditivity

RNG = np.random.default_rng(0)
X = RNG.standard_normal(1000)
X3 = RNG.standard_normal((1000, 3))
HALF_LOG = 0.5 * math.log(2 * math.pi * math.e)

FUNCTIONS = {
    "entropy": entropy,
    "entropy_power": entropy_power,
    "fisher_information": fisher_information,
    "fisher_trace": fisher_trace,
    "fisher_shannon": fisher_shannon,
    "score": score,
}
METHODS = ["auto", "gaussian", "knn", "kde"]

REFUSED = {
    # input: (sample, exception, what the message says)
    "constant": (np.full(100, 3.7), DegenerateSampleError, "constant"),
    "one constant column": (np.column_stack([X, np.ones(1000)]), DegenerateSampleError, r"constant .* \[1\]"),
    "two points": ([0.0, 1.0], ValueError, "at least"),
    "empty": ([], ValueError, "empty"),
    "rows and columns exchanged": (X3.T, ValueError, "if rows are variables"),
    "complex": (X + 1j, TypeError, "complex128"),
    "NaN": (np.r_[X, np.nan], ValueError, "nan in row 1000"),
    "infinity": (np.r_[X, -np.inf], ValueError, "-inf in row 1000"),
    "rank-deficient": (np.column_stack([X3, X3.sum(axis=1)]), DegenerateSampleError, "rank 3 for d = 4"),
    "three axes": (X3[None], ValueError, "shape"),
    "strings": (np.array(["1.0", "2.0", "3.0"]), TypeError, "real numbers"),
    "objects": (np.array([1.0, None, 2.0], dtype=object), TypeError, "dtype object"),
    "text column": (pd.DataFrame({"a": X, "b": ["u"] * 1000}), TypeError, "real numbers"),
}
TIED = {
    "rounded to one decimal": (np.round(X, 1), "repeated rows"),
    "integers": (RNG.integers(0, 10, 500), "repeated rows"),
    "every point twice": (np.tile(X, 2), "1000 repeated rows among 2000"),
    "a discrete column": (np.column_stack([X, RNG.integers(0, 2, 1000)]), "2 different values in column 1"),
}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("fault", REFUSED)
def test_faulty_input_is_refused(fault, function, method):
    sample, error, message = REFUSED[fault]
    with pytest.raises(error, match=message):
        FUNCTIONS[function](sample, method=method)


@pytest.mark.parametrize("method", ["auto", "knn", "kde"])
@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("fault", TIED)
def test_ties_are_counted_and_refused(fault, function, method):
    sample, message = TIED[fault]
    with pytest.raises(DegenerateSampleError, match=message):
        FUNCTIONS[function](sample, method=method)


def test_the_gaussian_method_needs_only_moments():
    # Rounding to a tenth adds 1/1200 to the variance; 4 standard errors √(1/2n) = .022.
    assert entropy(np.round(X, 1), method="gaussian") == pytest.approx(HALF_LOG, abs=0.09)
    assert entropy(np.tile(X, 2), method="gaussian") == pytest.approx(
        float(entropy(X, method="gaussian")), abs=1e-3
    )


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("log10_scale", [-200, -12, 12, 200])
def test_tiny_and_huge_data_are_right_or_out_of_range(log10_scale, method):
    scale = 10.0**log10_scale
    expected = float(entropy(X, method=method)) + log10_scale * math.log(10)
    assert entropy(X * scale, method=method) == pytest.approx(expected, abs=1e-2)
    relative = score(X * scale, method=method) * scale
    np.testing.assert_allclose(relative, score(X, method=method), rtol=0.05, atol=0.05)
    for name in ("entropy_power", "fisher_information", "fisher_trace", "fisher_shannon"):
        if abs(log10_scale) == 200:
            with pytest.raises(OverflowError, match="outside the range of float64; rescale `x`"):
                FUNCTIONS[name](X * scale, method=method)
    if abs(log10_scale) == 12:
        assert entropy_power(X * scale, method=method) == pytest.approx(
            float(entropy_power(X, method=method)) * scale**2, rel=1e-2
        )
        assert fisher_trace(X * scale, method=method) == pytest.approx(
            float(fisher_trace(X, method=method)) / scale**2, rel=2e-2
        )


def test_columns_are_variables_of_one_joint_distribution():
    # 4 standard errors √(d/2n) = .039 of a 3-dimensional normal distribution.
    assert entropy(X3) == pytest.approx(3 * HALF_LOG, abs=0.16)
    assert fisher_trace(X3) == pytest.approx(3, rel=0.12)


def test_four_hundred_dimensions_overflow_nothing():
    x = RNG.standard_normal((2500, 400)) * 1e3
    # At n = 6 d the whitening costs the neighbours their documented 0.05 nats a dimension.
    for method, bias in (("gaussian", 0.0), ("knn", 0.05 * 400)):
        h = entropy(x, method=method)
        assert h == pytest.approx(400 * (HALF_LOG + math.log(1e3)), abs=4 * h.standard_error + bias)
    assert fisher_trace(x, method="gaussian") == pytest.approx(400e-6, rel=0.05)


def test_too_few_rows_for_the_dimension_are_refused_with_a_way_out():
    x = RNG.standard_normal((30, 8))
    with pytest.raises(
        ValueError, match=r'at least 40 rows for method .weighted-knn. in d = 8, got 30; method="gaussian"'
    ):
        entropy(x)
    assert math.isfinite(entropy(x, method="gaussian"))


def test_auto_warns_where_no_method_can_be_trusted():
    x = RNG.standard_normal((300, 11))
    for function in FUNCTIONS.values():
        with pytest.warns(InfoplaneWarning, match="in d = 11 > 10 dimensions") as record:
            function(x)
        assert record[0].filename == __file__
    entropy(x, method="knn")


@pytest.mark.parametrize(
    "act",
    [
        lambda x: fisher_shannon(x, method=Blocks(2)),
        lambda x: windows(x, 150, jointly=True),
        stam,
        lambda x: superadditivity(x, [0]),
        lambda x: blachman_stam(x, np.roll(x, 1, axis=0)),
    ],
)
def test_every_way_to_many_dimensions_warns_once(act):
    with pytest.warns(InfoplaneWarning, match="in d = 11 > 10 dimensions") as record:
        act(np.random.default_rng(1).standard_normal((300, 11)))
    assert [str(w.message)[:9] for w in record] == ["in d = 11"]
    assert record[0].filename == __file__


def test_the_unit_of_the_data_does_not_matter():
    in_metres, in_millimetres = entropy(X3), entropy(X3 * [1000, 1, 1000])
    assert in_millimetres - in_metres == pytest.approx(2 * math.log(1000), abs=1e-9)


@pytest.mark.parametrize("kind", [np.float32, np.float16, np.longdouble])
def test_any_real_dtype_gives_the_same_number(kind):
    x = np.unique(RNG.standard_normal(300).astype(kind))
    assert entropy(x) == entropy(x.astype(np.float64))


@pytest.mark.parametrize("bad", ["kernel", "AUTO", ""])
@pytest.mark.parametrize("function", FUNCTIONS)
def test_unknown_methods_are_listed(function, bad):
    with pytest.raises(ValueError, match=r"`method` must be one of .*'auto', 'gaussian', 'knn', 'kde'.* got"):
        FUNCTIONS[function](X, method=bad)


@pytest.mark.parametrize("bad", [KNN, None, 3, entropy])
def test_things_that_are_no_estimator_are_refused(bad):
    with pytest.raises(TypeError, match="`method` must be a name or an estimator such as KNN"):
        entropy(X, method=bad)


@pytest.mark.parametrize("base", [0, 1, -2, math.nan, math.inf])
def test_bad_bases_are_refused(base):
    with pytest.raises(ValueError, match="`base` must be a number above 1"):
        entropy(X, base=base)


@pytest.mark.parametrize(
    ("points", "error", "message"),
    [
        (np.zeros((4, 2)), ValueError, r"`points` must have d = 3 columns like `x`, got shape \(4, 2\)"),
        ([0.0, 1.0, 2.0], ValueError, r"`points` must have d = 3 columns"),
        ([[np.nan, 0, 0]], ValueError, "`points` must be finite"),
        (["a"], TypeError, "`points` must hold real numbers"),
    ],
)
def test_bad_points_are_refused(points, error, message):
    with pytest.raises(error, match=message):
        score(X3, points)


def test_numpy_error_state_is_left_alone():
    before = np.geterr()
    fisher_shannon(X, method=KDE())
    fisher_shannon(X3, method=KNN())
    assert np.geterr() == before


def test_options_that_are_no_numbers_are_refused_before_anything_is_computed():
    for measure in (lambda base: entropy(X, base=base), lambda base: mutual_information(X, X, base=base)):
        with pytest.raises(TypeError, match="`base` must be a number above 1, got '2'"):
            measure("2")
    with pytest.raises(ValueError, match="`base` must be a number above 1"):
        mutual_information(X, X, base=0.5)  # else an error of X, which determines itself
    with pytest.raises(TypeError, match="`rtol` must be a positive number, got 'a'"):
        entropy(X3, method="kde", rtol="a")
    with pytest.raises(TypeError, match="`bandwidth` must be a positive number"):
        KDE(bandwidth="a")
