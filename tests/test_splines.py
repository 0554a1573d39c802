"""Kernels of log-splines against dense matrices and SciPy."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize
from scipy.interpolate import BSpline

from infoplane.kernels import splines

seeds = st.integers(0, 2**32 - 1)


def basis(rng, count=9, degree=4, points=30):
    """Knots with repeated ends, and points between them, on them and at the ends."""
    inner = np.sort(rng.standard_normal(count))
    at = np.concatenate([rng.uniform(inner[0], inner[-1], points), inner])
    return np.pad(inner, degree, mode="edge"), at


def dense(first, values, size):
    rows = np.zeros((first.size, size))
    np.put_along_axis(rows, first[:, None] + np.arange(values.shape[1]), values, axis=1)
    return rows


def unbanded(band):
    size = band.shape[1]
    lower = sum(np.diag(band[k, : size - k], -k) for k in range(band.shape[0]))
    return lower + np.tril(lower, -1).T


@pytest.mark.parametrize("degree", [1, 3, 4])
@given(seed=seeds)
@settings(max_examples=20)
def test_local_bases_are_those_of_scipy(degree, seed):
    knots, at = basis(np.random.default_rng(seed), degree=degree)
    size = knots.size - degree - 1
    for derivative in range(degree):
        spline = BSpline(knots, np.eye(size), degree)
        expected = (spline.derivative(derivative) if derivative else spline)(at)
        found = dense(*splines.local_basis(at, knots, degree, derivative), size)
        np.testing.assert_allclose(found, expected, atol=1e-12 * np.abs(expected).max())


@given(seed=seeds)
@settings(max_examples=20)
def test_products_of_rows_are_those_of_dense_matrices(seed):
    rng = np.random.default_rng(seed)
    knots, at = basis(rng)
    size = knots.size - 5
    first, values = splines.local_basis(at, knots, 4, 0)
    slopes = splines.local_basis(at, knots, 4, 1)[1]
    rows, steep = dense(first, values, size), dense(first, slopes, size)
    weights, vector, matrix = rng.uniform(size=at.size), rng.normal(size=size), rng.normal(size=(size, size))
    np.testing.assert_allclose(splines.times(first, values, vector), rows @ vector, atol=1e-12)
    expected = np.einsum("ij,jk,ik->i", steep, matrix, rows)
    scale = np.abs(steep).max()
    np.testing.assert_allclose(
        splines.bilinear(first, slopes, values, matrix), expected, atol=1e-12 * scale * size
    )
    band = splines.banded_gram(first, values, weights, size)
    np.testing.assert_allclose(unbanded(band), rows.T @ (weights[:, None] * rows), atol=1e-12)
    np.testing.assert_allclose(splines.weighted_sum(first, values, weights, size), weights @ rows, atol=1e-12)
    np.testing.assert_allclose(splines.banded_times(band, vector), unbanded(band) @ vector, atol=1e-12)


@given(seed=seeds)
@settings(max_examples=20)
def test_band_systems_are_solved(seed):
    rng = np.random.default_rng(seed)
    lower = np.tril(rng.normal(size=(12, 12))) * (np.subtract.outer(range(12), range(12)) <= 4)
    matrix = lower @ lower.T + np.eye(12)
    band = np.zeros((5, 12))
    for k in range(5):
        band[k, : 12 - k] = np.diag(matrix, -k)
    factor = splines.banded_cholesky(band)
    np.testing.assert_allclose(np.tril(unbanded(factor)), np.linalg.cholesky(matrix), rtol=1e-10, atol=1e-12)
    vector = rng.normal(size=12)
    np.testing.assert_allclose(
        splines.banded_solve(factor, vector), np.linalg.solve(matrix, vector), rtol=1e-8
    )


def test_the_minimum_and_its_curvature_are_found():
    rng = np.random.default_rng(0)
    knots, at = basis(rng)
    size = knots.size - 5
    nodes = np.linspace(knots[0], knots[-1], 400)
    quadrature = np.full(400, (knots[-1] - knots[0]) / 400)
    mean = dense(*splines.local_basis(at, knots, 4, 0), size).mean(axis=0)
    first, values = splines.local_basis(nodes, knots, 4, 0)
    rows = dense(first, values, size)
    third = splines.local_basis(nodes, knots, 4, 3)
    penalty = 1e-3 * splines.banded_gram(*third, quadrature, size)

    def objective(theta):
        return quadrature @ np.exp(rows @ theta) - mean @ theta + 0.5 * theta @ unbanded(penalty) @ theta

    start = np.full(size, -2.0)
    theta, inverse = splines.newton(start, first, values, quadrature, mean, penalty, 1e-11, 100)
    slow = optimize.minimize(objective, start, method="BFGS", options={"gtol": 1e-7})
    assert objective(theta) <= slow.fun + 1e-9
    mass = quadrature * np.exp(rows @ theta)
    hessian = rows.T @ (mass[:, None] * rows) + unbanded(penalty)
    np.testing.assert_allclose(rows.T @ mass - mean + unbanded(penalty) @ theta, 0, atol=1e-6)
    np.testing.assert_allclose(inverse @ hessian, np.eye(size), atol=1e-4)
