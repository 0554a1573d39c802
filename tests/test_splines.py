"""Bases and the kernel of log-splines against dense matrices and SciPy."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize
from scipy.interpolate import BSpline

from infoplane.estimators.spline_density import _band, _Rows
from infoplane.kernels.splines import newton

seeds = st.integers(0, 2**32 - 1)


def basis(rng, count=9, degree=4, points=30):
    """Knots with repeated ends, and points between them, on them and at the ends."""
    inner = np.sort(rng.standard_normal(count))
    at = np.concatenate([rng.uniform(inner[0], inner[-1], points), inner])
    return np.pad(inner, degree, mode="edge"), at


def dense(rows, size):
    whole = np.zeros((size, rows.values.shape[1]))
    np.put_along_axis(whole, rows.numbers, rows.values, axis=0)
    return whole.T


def unbanded(band):
    size = band.shape[1]
    lower = sum(np.diag(band[k, : size - k], -k) for k in range(band.shape[0]))
    return lower + np.tril(lower, -1).T


@given(seed=seeds)
@settings(max_examples=20)
def test_local_bases_are_those_of_scipy(seed):
    knots, at = basis(np.random.default_rng(seed))
    size = knots.size - 5
    for derivative in range(4):
        spline = BSpline(knots, np.eye(size), 4)
        expected = (spline.derivative(derivative) if derivative else spline)(at)
        found = dense(_Rows.of(knots, at, derivative=derivative), size)
        np.testing.assert_allclose(found, expected, atol=1e-12 * np.abs(expected).max())


@given(seed=seeds)
@settings(max_examples=20)
def test_products_of_rows_are_those_of_dense_matrices(seed):
    rng = np.random.default_rng(seed)
    knots, at = basis(rng)
    size = knots.size - 5
    rows, slopes = _Rows.of(knots, at), _Rows.of(knots, at, derivative=1)
    whole, steep = dense(rows, size), dense(slopes, size)
    weights, vector, matrix = rng.uniform(size=at.size), rng.normal(size=size), rng.normal(size=(size, size))
    np.testing.assert_allclose(rows @ vector, whole @ vector, atol=1e-12)
    expected = np.einsum("ij,jk,ik->i", steep, matrix, whole)
    found = slopes.times(rows.through(matrix))
    np.testing.assert_allclose(found, expected, atol=1e-12 * np.abs(steep).max() * size)
    gram = whole.T @ (weights[:, None] * whole)
    np.testing.assert_allclose(rows.gram(weights, size), gram, atol=1e-12)
    np.testing.assert_allclose(unbanded(_band(gram)), gram, atol=1e-12)
    np.testing.assert_allclose(rows.mean(weights, size), weights @ whole, atol=1e-12)


def test_the_minimum_and_its_curvature_are_found():
    rng = np.random.default_rng(0)
    knots, at = basis(rng)
    size = knots.size - 5
    nodes = np.linspace(knots[0], knots[-1], 400)
    quadrature = np.full(400, (knots[-1] - knots[0]) / 400)
    mean = dense(_Rows.of(knots, at), size).mean(axis=0)
    at_nodes = _Rows.of(knots, nodes)
    rows, first, values = dense(at_nodes, size), at_nodes.numbers[0], np.ascontiguousarray(at_nodes.values.T)
    penalty = 1e-3 * _band(_Rows.of(knots, nodes, derivative=3).gram(quadrature, size))

    def objective(theta):
        return quadrature @ np.exp(rows @ theta) - mean @ theta + 0.5 * theta @ unbanded(penalty) @ theta

    start = np.full(size, -2.0)
    theta, inverse = newton(start, first, values, quadrature, mean, penalty, 1e-11, 100)
    slow = optimize.minimize(objective, start, method="BFGS", options={"gtol": 1e-7})
    assert objective(theta) <= slow.fun + 1e-9
    mass = quadrature * np.exp(rows @ theta)
    hessian = rows.T @ (mass[:, None] * rows) + unbanded(penalty)
    np.testing.assert_allclose(rows.T @ mass - mean + unbanded(penalty) @ theta, 0, atol=1e-6)
    np.testing.assert_allclose(inverse @ hessian, np.eye(size), atol=1e-4)
