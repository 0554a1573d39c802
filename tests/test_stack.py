"""Score models against automatic slow versions, and the stack against closed forms."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infoplane import DegenerateSampleError
from infoplane.estimators.kernel_exponential import KernelScore
from infoplane.estimators.mixture import MixtureScore
from infoplane.estimators.score_models import EllipticalScore, Frame, GaussianScore, matched
from infoplane.estimators.stack import Ensemble, Stack, _balanced_folds, _variance, best_weights
from infoplane.sample import Sample

MODELS = [GaussianScore(), EllipticalScore(), MixtureScore(components=(1, 2, 3)), KernelScore(centers=40)]
seeds = st.integers(0, 2**32 - 1)


def student(rng, n, d, nu=5):
    return rng.standard_normal((n, d)) / np.sqrt(rng.chisquare(nu, n) / nu)[:, None]


def banana(rng, n, d=2):
    """x₂ | x₁ ~ N(0.7(x₁² − 1), 0.7²): tr J = 1 + 4 + 1/0.49 + (d − 2), H normal plus log 0.7."""
    x = rng.standard_normal((n, d))
    x[:, 1] = 0.7 * x[:, 1] + 0.7 * (x[:, 0] ** 2 - 1)
    return x


def clusters(rng, n, d):
    x = rng.standard_normal((n, d))
    x[:, 0] += 3 * rng.integers(0, 2, n)
    return x


DRAWS = {"normal": lambda rng, n, d: rng.standard_normal((n, d)), "t5": student, "clusters": clusters}


def trace(x, estimator):
    fit = estimator.fisher(Sample.of(x))
    return float(np.trace(fit.matrix)), fit.standard_error


# --- Models -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", MODELS, ids=lambda m: type(m).__name__)
@pytest.mark.parametrize("d", [1, 3])
def test_jacobians_are_the_derivatives_of_scores(model, d):
    """Central differences with step 1e-5: error 1e-9 of third derivatives; points lie inside the spline."""
    rng = np.random.default_rng(d)
    fitted = model.fit(student(rng, 300, d), rng)
    points = rng.standard_normal((20, d))
    jacobian = fitted.field(points).jacobian
    for a in range(d):
        step = np.zeros(d)
        step[a] = 1e-5
        slope = (fitted.field(points + step).score - fitted.field(points - step).score) / 2e-5
        np.testing.assert_allclose(jacobian[:, :, a], slope, atol=1e-6)
    np.testing.assert_allclose(jacobian, jacobian.transpose(0, 2, 1), atol=1e-12)


def test_the_score_of_a_mixture_is_the_gradient_of_its_log_density():
    rng = np.random.default_rng(0)
    mixture = MixtureScore().fit(clusters(rng, 400, 2), rng)
    points = rng.uniform(-6, 6, (20, 2))
    for a in range(2):
        step = 1e-5 * np.eye(2)[a]
        slope = (mixture.log_density(points + step) - mixture.log_density(points - step)) / 2e-5
        np.testing.assert_allclose(mixture.field(points).score[:, a], slope, atol=1e-6)


def test_a_mixture_integrates_to_one_and_finds_its_clusters():
    rng = np.random.default_rng(1)
    x = np.concatenate([rng.normal(-4, 1, 500), rng.normal(4, 0.5, 500)])[:, None]
    mixture = MixtureScore().fit(rng.permutation(x), rng)
    assert sorted(mixture.means.round().ravel()) == [-4, 4]
    grid = np.linspace(-200, 200, 400_001)[:, None]
    # The background of mass 1/n has a share 1e-6 of itself beyond the grid.
    assert np.exp(mixture.log_density(grid)).sum() * 1e-3 == pytest.approx(1, abs=1e-6)


def test_the_kernel_model_solves_its_normal_equations_written_as_loops():
    """Gradients and Laplacians of kernels at each row, summed one by one, give the same coefficients."""
    rng = np.random.default_rng(2)
    rows = rng.standard_normal((40, 2))
    model = KernelScore(centers=6, base=GaussianScore())
    fitted = model.fit(rows, np.random.default_rng(0))
    base, c, h = GaussianScore().fit(rows, rng), fitted.centers, fitted.length
    grams, pulls = np.zeros((4, 6, 6)), np.zeros((4, 6))
    for i, u in enumerate(rows):
        kernels = [math.exp(-0.5 * np.sum((u - c[m]) ** 2) / h**2) for m in range(6)]
        slopes = [kernels[m] * (c[m] - u) / h**2 for m in range(6)]
        laplacians = [kernels[m] * (np.sum((u - c[m]) ** 2) / h**4 - 2 / h**2) for m in range(6)]
        s = base.field(u[None]).score[0]
        for m in range(6):
            pulls[i % 4, m] -= laplacians[m] + s @ slopes[m]
            for other in range(6):
                grams[i % 4, m, other] += slopes[m] @ slopes[other]
    penalty = np.array([[math.exp(-0.5 * np.sum((a - b) ** 2) / h**2) for b in c] for a in c])
    _, theta = matched(grams, pulls, penalty, 40, np.logspace(0, -7, 8))
    # The condition number of the equations is up to 1e9, of which the fit sees the square root.
    at = rng.standard_normal((5, 2))
    again = type(fitted)(base, c, theta, h)
    np.testing.assert_allclose(fitted.field(at).score, again.field(at).score, rtol=1e-5, atol=1e-6)


def test_the_elliptical_model_finds_the_score_of_a_student_t():
    """s = −(ν + d)u/(ν + |u|²): mean squared error below 3 % of J at n = 4000."""
    rng = np.random.default_rng(3)
    field = EllipticalScore().fit(student(rng, 4000, 3), rng)
    at = student(rng, 4000, 3)
    truth = -8 * at / (5 + np.sum(at**2, axis=1))[:, None]
    error = np.mean(np.sum((field.field(at).score - truth) ** 2, axis=1))
    assert error < 0.03 * 3 * 8 / 10


def test_the_frame_ignores_a_far_outlier_and_follows_linear_maps():
    rng = np.random.default_rng(4)
    x = rng.standard_normal((500, 3))
    x[0] = 1e8
    inner = Frame.of(x).to(x)
    assert np.cov(inner[1:].T) == pytest.approx(np.eye(3), abs=0.25)
    a = rng.standard_normal((3, 3))
    lengths = np.sum(Frame.of(x @ a.T + 2).to(x @ a.T + 2) ** 2, axis=1)
    np.testing.assert_allclose(lengths, np.sum(inner**2, axis=1), rtol=1e-5)


def test_best_weights_pick_the_true_field_among_others():
    """Also when one is out of all proportion; errors of the weights are of the order of 1/√n = 0.016."""
    rng = np.random.default_rng(5)
    z = rng.standard_normal((4000, 2))
    scores = np.array([-z, 1e9 * np.ones_like(z), z**2])
    divergences = np.array([np.full(4000, -2.0), np.zeros(4000), 2 * z.sum(axis=1)])
    weights = best_weights(scores, divergences)
    np.testing.assert_allclose(weights * [1, 1e9, 1], [1, 0, 0], atol=0.065)


# --- Stack ------------------------------------------------------------------------------------------------


def test_the_normal_model_alone_gives_the_inverse_covariance():
    """C = B S⁻¹ undoes what each fold got wrong; n = 400, d = 3 leave (d + 2)/n of a quarter, 0.3 %."""
    x = np.random.default_rng(6).standard_normal((400, 3)) * [1, 2, 3]
    sample = Sample.of(x)
    expected = sample.matrix_from_whitened(sample.covariance_shrinkage * np.eye(3))
    found = Stack(models=(GaussianScore(),)).fisher(sample).matrix
    np.testing.assert_allclose(found, expected, atol=0.01 * expected[0, 0])


@pytest.mark.parametrize(("n", "d", "repeats"), [(600, 2, 5), (600, 5, 3), (400, 10, 2)])
def test_gaussian_data_show_no_bias(n, d, repeats):
    """The leak test. The mean of the true influence d − |x|² is taken off as a control; what is left of a

    run scatters by at most 10/n of J (measured), and the tolerance is 1 % plus 4 errors of the mean.
    """
    rng = np.random.default_rng(7)
    errors = []
    for _ in range(repeats):
        x = rng.standard_normal((n, d))
        errors.append(trace(x, Stack())[0] / d - 1 - np.mean(d - (x**2).sum(axis=1)) / d)
    assert abs(np.mean(errors)) < 0.01 + 4 * 10 / n / math.sqrt(repeats)


def test_the_variance_of_a_field_is_that_of_the_theory_of_a_normal_fit():
    """Of −P̂(x − μ̂) with N = 0.8n rows it is (d + 2)/N a dimension; 10 pairs of folds and 4 samples: ±20 %."""
    rng, n, d = np.random.default_rng(27), 1000, 3
    found = [
        np.trace(Stack(models=(GaussianScore(),))._join(Sample.of(rng.standard_normal((n, d)))).variance) / d
        for _ in range(4)
    ]
    assert np.mean(found) == pytest.approx((d + 2) / (0.8 * n), rel=0.4)


def test_the_variance_of_a_field_is_a_mean_over_pairs_written_as_loops():
    rng = np.random.default_rng(28)
    fits, fold = rng.standard_normal((4, 30, 2)), rng.integers(0, 4, 30)
    slow = np.zeros((2, 2))
    for a in range(4):
        for b in range(4):
            rows = [i for i in range(30) if fold[i] not in (a, b)]
            if a != b:
                slow += sum(np.outer(fits[a, i] - fits[b, i], fits[a, i] - fits[b, i]) for i in rows) / len(
                    rows
                )
    np.testing.assert_allclose(_variance(fits, fold), slow / 12 * 3 / 2, rtol=1e-12)


def test_folds_are_balanced_in_size_and_in_distance():
    u = np.random.default_rng(29).standard_normal((502, 2))
    fold = _balanced_folds(u, 5, np.random.default_rng(0))
    assert set(np.bincount(fold)) <= {100, 101}
    ranks = np.empty(502)
    ranks[np.argsort((u**2).sum(axis=1))] = np.arange(502)
    for q in range(5):
        assert np.all(np.diff(np.sort(ranks[fold == q])) < 10)


@pytest.mark.parametrize(
    ("draw", "d", "truth", "low"),
    [(student, 2, 2 * 7 / 9, 0.05), (student, 5, 5 * 10 / 12, 0.05), (banana, 2, 5 + 1 / 0.49, 0.15)],
)
def test_estimates_lie_within_their_errors_of_the_truth(draw, d, truth, low):
    """4 standard errors, and below by what is left of the variational gap."""
    value, error = trace(draw(np.random.default_rng(8), 1000, d), Stack())
    assert truth * (1 - low) - 4 * error < value < truth + 4 * error


@settings(max_examples=4)
@given(seed=seeds, name=st.sampled_from(sorted(DRAWS)))
def test_linear_maps_and_row_order(seed, name):
    """J → A⁻ᵀJA⁻¹ and s → A⁻ᵀs; steps that stop at a tolerance leave 1e-6."""
    rng = np.random.default_rng(seed)
    x, order = DRAWS[name](rng, 120, 2), rng.permutation(120)
    a = np.linalg.qr(rng.standard_normal((2, 2)))[0] @ np.diag([3.0, 0.5])
    one, other = Sample.of(x), Sample.of((x @ a.T + 5)[order])
    inverse = np.linalg.inv(a)
    stack = Stack(models=(GaussianScore(), EllipticalScore(), MixtureScore(components=(1, 2))))
    expected = inverse.T @ stack.fisher(one).matrix @ inverse
    np.testing.assert_allclose(stack.fisher(other).matrix, expected, atol=1e-5 * np.trace(expected))
    scores = stack.score(one, None) @ inverse
    np.testing.assert_allclose(stack.score(other, None), scores[order], atol=1e-4 * np.abs(scores).max())


@settings(max_examples=5)
@given(seed=seeds, name=st.sampled_from(sorted(DRAWS)), d=st.integers(1, 4))
def test_matrices_are_symmetric_definite_and_respect_cramer_rao(seed, name, d):
    sample = Sample.of(DRAWS[name](np.random.default_rng(seed), 80, d))
    fit = Stack(models=(GaussianScore(), EllipticalScore())).fisher(sample)
    np.testing.assert_array_equal(fit.matrix, fit.matrix.T)
    floor = sample.matrix_from_whitened(sample.covariance_shrinkage * np.eye(d))
    assert np.linalg.eigvalsh(fit.matrix - floor).min() > -1e-9 * np.trace(floor)
    assert np.nanmean(fit.influence) == pytest.approx(0, abs=1e-9 * np.trace(fit.matrix))


def test_one_far_outlier_changes_the_trace_by_less_than_five_percent():
    x = clusters(np.random.default_rng(9), 600, 2)
    plain = trace(x, Stack())[0]
    assert trace(np.vstack([x, [1e3, -1e3]]), Stack())[0] == pytest.approx(plain, rel=0.05)


@pytest.mark.parametrize("scale", [1e-60, 1e60])
def test_scales_far_from_one_make_no_difference(scale):
    x = student(np.random.default_rng(10), 200, 2)
    stack = Stack(models=(GaussianScore(), EllipticalScore()))
    assert trace(scale * x, stack)[0] * scale**2 == pytest.approx(trace(x, stack)[0], rel=1e-6)


def test_the_standard_error_is_that_of_the_normal_inverse_covariance():
    """√(2d/n) for N(0, I): itself known to √(1/n)·2, so 20 % at n = 600."""
    _, error = trace(np.random.default_rng(11).standard_normal((600, 3)), Stack())
    assert error == pytest.approx(math.sqrt(2 * 3 / 600), rel=0.2)


def test_scores_at_points_follow_the_truth_and_unused_rows_get_theirs():
    x = np.random.default_rng(12).standard_normal((500, 2)) * 2 + 1
    sample = Sample.of(x)
    stack = Stack(models=(GaussianScore(), EllipticalScore()))
    at = sample.to_whitened(np.array([[1.0, 1.0], [3.0, -1.0]]))
    np.testing.assert_allclose(stack.score(sample, at), [[0, 0], [-0.5, 0.5]], atol=0.1)
    few = Stack(models=stack.models, max_points=100)
    np.testing.assert_allclose(few.score(sample, None), -(x - 1) / 4, atol=0.5)
    assert np.isfinite(few.fisher(sample).influence).sum() == 100


def test_an_ensemble_sees_only_its_rows():
    rng = np.random.default_rng(13)
    x = rng.standard_normal((200, 2))
    models = (GaussianScore(), EllipticalScore())
    ensemble = Ensemble.fit(models, x[:150], np.random.default_rng(0))
    x[150:] *= 100
    again = Ensemble.fit(models, x[:150], np.random.default_rng(0))
    np.testing.assert_array_equal(ensemble.fields(x[:5])[0], again.fields(x[:5])[0])


def test_what_they_do_not_measure_is_refused():
    sample = Sample.of(np.random.default_rng(14).standard_normal((100, 2)))
    with pytest.raises(ValueError, match="Fisher information only"):
        Stack().entropy(sample)
    with pytest.raises(ValueError, match="folds"):
        Stack(folds=1)
    with pytest.raises(ValueError, match="models"):
        Stack(models=())
    with pytest.raises(ValueError, match="max_points"):
        Stack(max_points=3)
    with pytest.raises(DegenerateSampleError):
        Stack().fisher(Sample.of(np.repeat(sample.values, 2, axis=0)))
    with pytest.raises(ValueError, match="rows"):
        Stack().fisher(Sample.of(sample.values[:12]))
