"""Input is taken in every real form, and refused with a reason in every other."""

import numpy as np
import pandas as pd
import pytest

from infoplane import DegenerateSampleError
from infoplane.sample import Sample, as_array

RNG = np.random.default_rng(0)
X = RNG.standard_normal((50, 2))


def test_a_vector_is_a_column():
    assert as_array([1, 2, 3]).shape == (3, 1)


@pytest.mark.parametrize("dtype", [np.int8, np.uint16, np.int64, np.float16, np.float32, np.longdouble])
def test_every_real_dtype_becomes_float64(dtype):
    result = as_array(np.arange(12, dtype=dtype).reshape(4, 3))
    assert result.dtype == np.float64
    assert result.flags.c_contiguous
    np.testing.assert_array_equal(result, np.arange(12).reshape(4, 3))


def test_pandas_objects_are_accepted():
    np.testing.assert_array_equal(as_array(pd.DataFrame(X)), X)
    np.testing.assert_array_equal(as_array(pd.Series(X[:, 0])), X[:, :1])


def test_torch_tensors_are_accepted_and_those_with_gradients_named():
    torch = pytest.importorskip("torch")
    np.testing.assert_array_equal(as_array(torch.from_numpy(X)), X)
    with pytest.raises(TypeError, match=r"`x` could not be converted.*detach"):
        as_array(torch.ones(3, requires_grad=True))


@pytest.mark.parametrize(
    ("bad", "error", "message"),
    [
        ([1.0, np.nan, 2.0], ValueError, "finite, got nan in row 1, column 0"),
        ([[1.0, 2.0], [np.inf, 2.0]], ValueError, "finite, got inf in row 1, column 0"),
        ([1 + 2j, 3], TypeError, "real numbers, got dtype complex128"),
        ([True, False], TypeError, "real numbers, got dtype bool"),
        (["a", "b"], TypeError, "real numbers, got dtype <U1"),
        ([1, None, 3], TypeError, "real numbers, got dtype object"),
        ([], ValueError, r"not be empty, got shape \(0,\)"),
        (np.zeros((5, 0)), ValueError, r"not be empty, got shape \(5, 0\)"),
        (3.0, ValueError, r"shape \(n,\) or \(n, d\), got \(\)"),
        (np.zeros((3, 3, 2)), ValueError, r"shape \(n,\) or \(n, d\), got \(3, 3, 2\)"),
        ([[1, 2], [3]], TypeError, "could not be converted"),
        (np.ma.array([1.0, 2.0], mask=[0, 1]), TypeError, "masked"),
        (np.array(["2020-01-01"], dtype="datetime64[D]"), TypeError, "real numbers"),
        (pd.DataFrame({"a": [1.0, 2.0], "b": ["x", "y"]}), TypeError, "real numbers, got dtype object"),
    ],
)
def test_bad_arrays_are_refused_with_the_reason(bad, error, message):
    with pytest.raises(error, match=message):
        as_array(bad)


def test_messages_use_the_name_of_the_argument():
    with pytest.raises(ValueError, match="`points` must be finite"):
        as_array([np.nan], name="points")


def test_too_few_rows_are_refused_and_a_transposed_array_is_noticed():
    with pytest.raises(ValueError, match=r"at least d \+ 3 = 5 rows .* got 4"):
        Sample.of(RNG.standard_normal((4, 2)))
    with pytest.raises(ValueError, match=r"got 3; if rows are variables, pass `x.T`"):
        Sample.of(RNG.standard_normal((3, 1000)))


def test_constant_columns_are_named():
    with pytest.raises(DegenerateSampleError, match=r"constant column\(s\) \[1\]"):
        Sample.of(np.column_stack([X[:, 0], np.full(50, 0.1)]))
    with pytest.raises(DegenerateSampleError, match="constant"):
        Sample.of(np.full(50, 0.1))


@pytest.mark.parametrize("scale", [1e-150, 1e-6, 1.0, 1e6, 1e150])
def test_dependent_columns_are_refused_at_every_scale(scale):
    a, b = X.T * scale
    with pytest.raises(DegenerateSampleError, match="rank 2 for d = 3"):
        Sample.of(np.column_stack([a, b, a + 2 * b]))
    with pytest.raises(DegenerateSampleError, match="rank 2 for d = 3"):
        Sample.of(np.column_stack([a + 1e3 * scale, b, a - b]))


def test_strong_correlation_is_not_taken_for_dependence():
    a, b = X.T
    sample = Sample.of(np.column_stack([a, a + 1e-9 * b]))
    expected = np.log(a.std(ddof=1)) + np.log(1e-9 * np.sqrt(np.linalg.det(np.cov(X.T)) / a.var(ddof=1)))
    assert sample.log_volume == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("scale", [1e-300, 1e-200, 1e-12, 1.0, 1e200, 1e300])
def test_whitening_gives_unit_covariance_and_the_volume_at_every_scale(scale):
    mixed = X @ [[2.0, 1.0], [0.0, 0.3]]
    sample = Sample.of(mixed * scale)
    np.testing.assert_allclose(np.cov(sample.whitened.T), np.eye(2), atol=1e-12)
    expected = 0.5 * np.linalg.slogdet(np.cov(mixed.T))[1] + 2 * np.log(scale)
    assert sample.log_volume == pytest.approx(expected, rel=1e-12)


def test_repeated_rows_are_counted():
    x = np.r_[X, X[:7]]
    with pytest.raises(DegenerateSampleError, match="7 repeated rows among 57"):
        Sample.of(x).require_distinct_rows("knn")
    Sample.of(X).require_distinct_rows("knn")


def test_a_discrete_column_beside_a_continuous_one_is_refused():
    x = np.column_stack([X[:, 0], RNG.integers(0, 3, 50)])
    with pytest.raises(DegenerateSampleError, match="3 different values in column 1"):
        Sample.of(x).require_distinct_rows("knn")


def test_rows_that_float64_cannot_tell_apart_beside_a_huge_one_are_refused():
    x = np.r_[X[:, 0], 1e30]
    with pytest.raises(DegenerateSampleError, match="orders of magnitude that 49 rows coincide"):
        Sample.of(x).require_distinct_rows("knn")


def test_the_radial_order_ignores_affine_maps():
    order = Sample.of(X).radial_order
    np.testing.assert_array_equal(Sample.of(X @ [[1.0, 2.0], [-0.5, 3.0]] - 7).radial_order, order)


@pytest.mark.parametrize("shape", [(20,), (10, 2)])
def test_masked_rows_are_dropped_as_the_message_says(shape):
    x = np.ma.masked_less(np.random.default_rng(0).uniform(size=shape), 0.1)
    x[0] = np.ma.masked
    with pytest.raises(TypeError, match="drop those rows first") as raised:
        as_array(x)
    advised = {"x.compressed()": x.compressed, "np.ma.compress_rows(x)": lambda: np.ma.compress_rows(x)}
    kept = as_array(advised[str(raised.value).split("`")[-2]]())
    whole = ~np.ma.getmaskarray(x).reshape(len(x), -1).any(axis=1)
    np.testing.assert_array_equal(kept, np.asarray(x).reshape(len(x), -1)[whole])
