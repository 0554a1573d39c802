"""H, N and J of distributions: closed forms against quadrature, Monte Carlo against closed forms."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import distributions as td

from infoplane.errors import InfoplaneWarning
from infoplane_torch.information import (
    entropy,
    entropy_power,
    fisher_information,
    fisher_trace,
    has_closed_form,
    kl_divergence,
    monte_carlo,
    power_from_entropy,
    score,
)

SEEDS = st.integers(0, 2**32 - 1)


def scalar(value):
    return torch.tensor(value, dtype=torch.float64)


SMOOTH_FAMILIES = [
    td.Normal(scalar(0.3), scalar(1.7)),
    td.Laplace(scalar(0.3), scalar(1.7)),
    td.Gumbel(scalar(0.3), scalar(1.7)),
    td.Cauchy(scalar(0.3), scalar(1.7)),
    td.StudentT(scalar(3.5), scalar(0.3), scalar(1.7)),
    td.LogNormal(scalar(0.3), scalar(0.4)),
    td.Gamma(scalar(3.5), scalar(1.7)),
    td.Chi2(scalar(7.0)),
    td.InverseGamma(scalar(2.5), scalar(1.7)),
    td.Beta(scalar(3.5), scalar(4.5)),
    td.Weibull(scalar(1.7), scalar(3.5)),
]
FAMILIES_WITH_AN_EDGE = [
    td.Uniform(scalar(0.0), scalar(2.0)),
    td.Exponential(scalar(1.5)),
    td.HalfNormal(scalar(1.5)),
    td.HalfCauchy(scalar(1.5)),
    td.Pareto(scalar(1.0), scalar(3.0)),
    td.Gamma(scalar(2.0), scalar(1.5)),
    td.Gamma(scalar(1.0), scalar(1.5)),
    td.Gamma(scalar(0.5), scalar(1.5)),
    td.Chi2(scalar(3.0)),
    td.Beta(scalar(1.0), scalar(3.0)),
    td.Beta(scalar(3.0), scalar(2.0)),
    td.Weibull(scalar(1.0), scalar(2.0)),
]


def name_of(distribution):
    return type(distribution).__name__


def quadrature(distribution):
    """H and J by the trapezoidal rule, after a change of variable that thins the tails out exponentially."""
    u = torch.linspace(-30, 30, 100_001, dtype=torch.float64)
    support = getattr(distribution.support, "base_constraint", distribution.support)
    if isinstance(support, type(td.constraints.real)):
        x, jacobian = torch.sinh(0.8 * u), 0.8 * torch.cosh(0.8 * u)
    elif isinstance(support, type(td.constraints.unit_interval)):
        x = torch.sigmoid(u)
        jacobian = torch.sigmoid(u) * torch.sigmoid(-u)
    else:
        x, jacobian = torch.exp(0.7 * u), 0.7 * torch.exp(0.7 * u)
    log_density = distribution.log_prob(x)
    weight = log_density.exp() * jacobian * (u[1] - u[0])
    charged = weight > 1e-300
    s = score(distribution, x)
    return -(weight * log_density)[charged].sum(), (weight * s.square())[charged].sum()


def mixture(location=None):
    location = torch.tensor([-1.0, 1.5], dtype=torch.float64) if location is None else location
    return td.MixtureSameFamily(
        td.Categorical(torch.tensor([0.3, 0.7], dtype=torch.float64)),
        td.Normal(location, torch.tensor([0.5, 0.8], dtype=torch.float64)),
    )


def positive_definite(seed, d):
    generator = torch.Generator().manual_seed(seed)
    root = torch.randn(d, d, generator=generator, dtype=torch.float64)
    return root @ root.T + 0.5 * torch.eye(d, dtype=torch.float64)


@pytest.mark.parametrize("distribution", SMOOTH_FAMILIES, ids=name_of)
def test_closed_forms_agree_with_quadrature(distribution):
    h, j = quadrature(distribution)
    assert has_closed_form(distribution)
    assert float(entropy(distribution)) == pytest.approx(float(h), abs=1e-7)
    assert float(fisher_trace(distribution)) == pytest.approx(float(j), rel=1e-6)


@pytest.mark.parametrize("distribution", SMOOTH_FAMILIES, ids=name_of)
def test_stams_inequality_holds_with_equality_for_the_gaussian_alone(distribution):
    product = float(entropy_power(distribution) * fisher_trace(distribution))
    if isinstance(distribution, td.Normal):
        assert product == pytest.approx(1.0, rel=1e-12)
    else:
        assert product > 1.01


@pytest.mark.parametrize("distribution", FAMILIES_WITH_AN_EDGE, ids=name_of)
def test_a_density_with_an_edge_has_infinite_fisher_information(distribution):
    assert float(fisher_trace(distribution)) == math.inf
    assert math.isfinite(float(entropy(distribution)))


def test_infinite_parts_leave_zeros_off_the_diagonal():
    distribution = td.Independent(td.Uniform(torch.zeros(2), torch.ones(2)), 1)
    expected = torch.tensor([[math.inf, 0.0], [0.0, math.inf]])
    assert torch.equal(fisher_information(distribution), expected)


def test_the_gradient_stays_finite_beside_infinite_elements():
    concentration = torch.tensor([1.0, 2.0, 3.0], requires_grad=True)
    finite = fisher_trace(td.Gamma(concentration, torch.ones(3)))[2]
    finite.backward()
    torch.testing.assert_close(concentration.grad, torch.tensor([0.0, 0.0, -1.0]))


@pytest.mark.parametrize("rank", ["full", "low"])
def test_the_matrix_of_a_multivariate_normal_is_its_inverse_covariance(rank):
    if rank == "full":
        covariance = positive_definite(0, 3)
        distribution = td.MultivariateNormal(torch.zeros(3, dtype=torch.float64), covariance)
    else:
        distribution = td.LowRankMultivariateNormal(
            torch.zeros(2, 3, dtype=torch.float64),
            torch.ones(2, 3, 1, dtype=torch.float64),
            torch.tensor([0.5, 1.0, 2.0], dtype=torch.float64).expand(2, 3),
        )
        covariance = distribution.covariance_matrix
    precision = torch.linalg.inv(covariance)
    torch.testing.assert_close(fisher_information(distribution), precision)
    torch.testing.assert_close(
        fisher_trace(distribution), precision.diagonal(dim1=-2, dim2=-1).sum(-1), check_dtype=False
    )


def test_independent_multivariate_parts_form_a_block_diagonal_matrix():
    covariances = torch.stack([positive_definite(seed, 2) for seed in range(12)]).reshape(4, 3, 2, 2)
    parts = td.MultivariateNormal(torch.zeros(4, 3, 2, dtype=torch.float64), covariances)
    matrix = fisher_information(td.Independent(parts, 1))
    assert matrix.shape == (4, 6, 6)
    for index in range(4):
        expected = torch.block_diag(*torch.linalg.inv(covariances[index]))
        torch.testing.assert_close(matrix[index], expected)


def test_events_of_any_rank_are_flattened():
    scale = torch.rand(5, 2, 3) + 0.5
    distribution = td.Independent(td.Normal(torch.zeros(5, 2, 3), scale), 2)
    expected = scale.pow(-2).reshape(5, 6)
    torch.testing.assert_close(fisher_trace(distribution, reduction="none"), expected)
    torch.testing.assert_close(fisher_trace(distribution), expected.sum(-1))
    torch.testing.assert_close(fisher_trace(distribution, reduction="mean"), expected.mean(-1))
    torch.testing.assert_close(fisher_information(distribution), torch.diag_embed(expected))
    torch.testing.assert_close(entropy(distribution, reduction="mean"), entropy(distribution) / 6)


def test_a_scalar_event_has_one_dimension():
    distribution = td.Laplace(torch.zeros(4), 0.5)
    assert fisher_trace(distribution).shape == (4,)
    assert fisher_trace(distribution, reduction="none").shape == (4, 1)
    assert fisher_information(distribution).shape == (4, 1, 1)


@given(seed=SEEDS, d=st.integers(1, 5))
@settings(max_examples=20, deadline=None)
def test_gaussians_lie_on_or_above_the_curve_and_isotropic_ones_on_it(seed, d):
    zeros = torch.zeros(d, dtype=torch.float64)
    anisotropic = td.MultivariateNormal(zeros, positive_definite(seed, d))
    assert float(entropy_power(anisotropic) * fisher_trace(anisotropic)) >= d * (1 - 1e-9)
    isotropic = td.MultivariateNormal(zeros, 0.1 * torch.eye(d, dtype=torch.float64))
    assert float(entropy_power(isotropic) * fisher_trace(isotropic)) == pytest.approx(d, rel=1e-9)


@pytest.mark.parametrize(
    ("quantity", "shape"),
    [("entropy", ()), ("fisher_trace", ()), ("fisher_diagonal", (3,)), ("fisher_information", (3, 3))],
)
def test_monte_carlo_agrees_with_the_closed_form_within_its_standard_error(quantity, shape):
    torch.manual_seed(1)
    distribution = td.MultivariateNormal(torch.zeros(3, dtype=torch.float64), positive_definite(0, 3))
    exact = {
        "entropy": entropy(distribution),
        "fisher_trace": fisher_trace(distribution),
        "fisher_diagonal": fisher_trace(distribution, reduction="none"),
        "fisher_information": fisher_information(distribution),
    }[quantity]
    estimate = monte_carlo(quantity, distribution, num_samples=20_000)
    assert estimate.value.shape == estimate.standard_error.shape == shape
    # At most nine correlated numbers: |z| < 4 fails by chance once in about 2,000 seeds.
    assert ((estimate.value - exact).abs() < 4 * estimate.standard_error).all()
    assert (estimate.standard_error < 0.1 * exact.abs().max()).all()


def test_the_standard_error_of_monte_carlo_is_the_spread_over_repetitions():
    torch.manual_seed(0)
    repetitions = td.Independent(td.StudentT(torch.full((2_000, 2), 5.0), 0.0, 1.0), 1)
    for quantity in ("entropy", "fisher_trace"):
        estimate = monte_carlo(quantity, repetitions, num_samples=100)
        # The standard deviation of 2,000 values is known to 1/√4000 = 1.6 %, a little more with their tails.
        ratio = estimate.value.std() / estimate.standard_error.square().mean().sqrt()
        assert float(ratio) == pytest.approx(1.0, abs=0.08)
    matrix = monte_carlo("fisher_information", repetitions, num_samples=100)
    spread = matrix.value.std(0) / matrix.standard_error.square().mean(0).sqrt()
    torch.testing.assert_close(spread, torch.ones(2, 2), atol=0.08, rtol=0)


def test_a_mixture_goes_by_monte_carlo_and_agrees_with_quadrature():
    torch.manual_seed(0)
    distribution = mixture()
    h, j = quadrature(distribution)
    assert not has_closed_form(distribution)
    for quantity, exact in (("entropy", h), ("fisher_trace", j)):
        estimate = monte_carlo(quantity, distribution, num_samples=20_000)
        assert float((estimate.value - exact).abs()) < 4 * float(estimate.standard_error)
    one = fisher_trace(distribution, num_samples=20_000)
    assert float(one) == pytest.approx(float(j), rel=0.05)
    assert float(entropy_power(distribution, num_samples=20_000)) == pytest.approx(
        float(power_from_entropy(h, 1)), rel=0.05
    )


def test_a_subclass_with_another_density_is_not_mistaken_for_its_parent():
    class Sharper(td.Normal):
        def log_prob(self, value):
            return super().log_prob(2 * value) + math.log(2)

        def rsample(self, sample_shape=()):
            return super().rsample(sample_shape) / 2

    torch.manual_seed(0)
    assert float(fisher_trace(Sharper(0.0, 1.0), num_samples=20_000)) == pytest.approx(4.0, rel=0.05)


def test_monte_carlo_gradients_agree_with_those_of_the_closed_form():
    torch.manual_seed(0)
    scale = torch.tensor([0.5, 2.0], dtype=torch.float64, requires_grad=True)
    distribution = td.Independent(td.Normal(torch.zeros(2, dtype=torch.float64), scale), 1)
    for quantity, closed in (("entropy", entropy), ("fisher_trace", fisher_trace)):
        (exact,) = torch.autograd.grad(closed(distribution), scale)
        estimate = monte_carlo(quantity, distribution, num_samples=20_000)
        (gradient,) = torch.autograd.grad(estimate.value, scale)
        # The relative error of a mean of χ² variables is √(2/S) = 1 %.
        torch.testing.assert_close(gradient, exact, rtol=0.04, atol=0)
        assert not estimate.standard_error.requires_grad


def test_the_score_of_a_transform_with_a_cache_is_right():
    base = td.Normal(torch.tensor(0.0), torch.tensor(2.0, requires_grad=True))
    cached = td.TransformedDistribution(base, [td.AffineTransform(1.0, 3.0, cache_size=1)])
    value = cached.rsample((5,))
    torch.testing.assert_close(score(cached, value), -(value - 1) / 36)


def test_a_transformed_distribution_goes_by_monte_carlo():
    torch.manual_seed(0)
    logistic = td.TransformedDistribution(
        td.Uniform(torch.tensor(0.0), torch.tensor(1.0)),
        [td.SigmoidTransform().inv, td.AffineTransform(1.0, 2.0)],
    )
    estimate = monte_carlo("fisher_trace", logistic, num_samples=20_000)
    assert abs(float(estimate.value) - 1 / 12) < 4 * float(estimate.standard_error)  # J = 1/(3 s²), s = 2


def test_the_score_broadcasts_without_summing_over_the_batch():
    distribution = td.Normal(torch.zeros(3), torch.tensor([1.0, 2.0, 4.0]))
    expected = -2 / distribution.scale.square()
    torch.testing.assert_close(score(distribution, torch.tensor(2.0)), expected)
    torch.testing.assert_close(score(distribution, torch.full((5, 1), 2.0)), expected.expand(5, 3))


def test_the_score_is_differentiable_in_the_point_and_in_the_parameters():
    value = torch.tensor(2.0, requires_grad=True)
    scale = torch.tensor(0.5, requires_grad=True)
    s = score(td.Normal(0.0, scale), value)
    by_value, by_scale = torch.autograd.grad(s, (value, scale))
    assert float(by_value) == pytest.approx(-4.0)
    assert float(by_scale) == pytest.approx(2 * 2.0 / 0.5**3)


def test_nothing_carries_a_graph_that_was_not_asked_for():
    scale = torch.tensor(0.5, requires_grad=True)
    trained, fixed = td.StudentT(5.0, 0.0, scale), td.StudentT(5.0, 0.0, 0.5)
    assert not score(fixed, torch.tensor(1.0)).requires_grad
    assert not monte_carlo("fisher_trace", fixed).value.requires_grad
    with torch.no_grad():
        assert not score(trained, torch.tensor(1.0)).requires_grad
        for quantity in ("entropy", "fisher_trace", "fisher_diagonal", "fisher_information"):
            value = monte_carlo(quantity, trained).value
            assert not value.requires_grad
            assert torch.isfinite(value).all()
    assert monte_carlo("fisher_trace", trained).value.requires_grad
    assert scale.grad is None


def test_inference_mode_gets_a_clear_error_only_where_autograd_is_needed():
    with torch.inference_mode():
        normal = td.Normal(torch.zeros(2), torch.ones(2))
        assert float(fisher_trace(td.Independent(normal, 1))) == 2
        with pytest.raises(RuntimeError, match=r"use torch\.no_grad"):
            monte_carlo("fisher_trace", normal)


def test_a_distribution_without_rsample_has_a_value_but_no_gradient():
    location = torch.tensor([-1.0, 1.5], dtype=torch.float64, requires_grad=True)
    distribution = mixture(location)
    for quantity in (entropy, fisher_trace):
        with pytest.raises(ValueError, match="not reparameterised"):
            quantity(distribution)
        with torch.no_grad():
            assert torch.isfinite(quantity(distribution))


@pytest.mark.parametrize(
    "distribution",
    [
        td.Bernoulli(torch.tensor([0.5])),
        td.Independent(td.Bernoulli(torch.tensor([0.5])), 1),
        td.Poisson(torch.tensor(3.0)),
        td.MixtureSameFamily(td.Categorical(torch.ones(2)), td.Poisson(torch.tensor([1.0, 2.0]))),
        td.Dirichlet(torch.ones(3)),
        td.LKJCholesky(3),
    ],
    ids=["bernoulli", "independent", "poisson", "mixture", "dirichlet", "lkj"],
)
def test_distributions_without_a_density_are_refused(distribution):
    for quantity in (entropy, entropy_power, fisher_trace, fisher_information):
        with pytest.raises(TypeError, match=r"has no (differential entropy|location Fisher information)"):
            quantity(distribution)
    with pytest.raises(TypeError, match="has no differential entropy"):
        monte_carlo("entropy", distribution)


def test_monte_carlo_warns_at_an_edge_it_cannot_see():
    torch.manual_seed(0)
    logit_normal = td.TransformedDistribution(td.Normal(0.0, 1.0), [td.SigmoidTransform()])
    with pytest.warns(InfoplaneWarning, match="has an edge"):
        fisher_trace(logit_normal)
    entropy(logit_normal)  # no warning: H does not care


def test_a_density_that_autograd_cannot_follow_is_refused():
    with pytest.raises(TypeError, match="not differentiable in its value"):
        score(td.Uniform(0.0, 1.0), torch.tensor(0.5))
    with pytest.raises(TypeError, match="`value` must be floating point"):
        score(td.Normal(0.0, 1.0), torch.tensor(1))


def test_wrong_options_are_named():
    normal = td.Normal(0.0, 1.0)
    with pytest.raises(ValueError, match="`reduction` must be one of"):
        fisher_trace(normal, reduction="median")
    with pytest.raises(ValueError, match="`reduction` must be one of"):
        entropy(normal, reduction="none")
    with pytest.raises(ValueError, match="`quantity` must be one of"):
        monte_carlo("variance", normal)
    with pytest.raises(ValueError, match="`num_samples` must be at least 2"):
        monte_carlo("entropy", normal, num_samples=1)


def test_the_kl_divergence_by_monte_carlo_agrees_with_the_closed_form():
    torch.manual_seed(0)
    location, scale = torch.tensor([[0.0, 1.0], [1.0, 0.5]], dtype=torch.float64)
    first = td.Normal(location, scale)
    second = td.StudentT(torch.full((2,), 1e6, dtype=torch.float64))  # a normal that torch does not know
    exact = kl_divergence(first, td.Normal(torch.zeros(2), torch.ones(2)))
    draws = first.sample((20_000,))
    estimate = kl_divergence(first, second, z=draws)
    error = (first.log_prob(draws) - second.log_prob(draws)).std(0) / math.sqrt(len(draws))
    # 1e-5 for the difference between the normal and the t distribution
    assert ((estimate - exact).abs() < 4 * error + 1e-5).all()
    assert kl_divergence(first, second, num_samples=10).shape == (2,)
