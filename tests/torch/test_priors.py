"""Priors, and the posteriors that are no diagonal Gaussians: densities, gradients, what is shared."""

import copy
import itertools

import pytest
import torch
from torch import distributions as td

from infoplane_torch.information import fisher_information, has_closed_form, kl_divergence
from infoplane_torch.networks import MLP
from infoplane_torch.posteriors import DiagonalGaussian, FullCovarianceGaussian, IAFPosterior
from infoplane_torch.priors import RealNVPPrior, StandardNormal, VampPrior

F64 = torch.float64


def encoder(outputs, pixels=4):
    return MLP(pixels, outputs, hidden=(8,))


def vamp(latent_dim=2, components=5, **options):
    posterior = DiagonalGaussian(encoder(2 * latent_dim))
    return VampPrior(
        posterior, (4,), latent_dim, components=components, **options
    ).double(), posterior.double()


def priors():
    torch.manual_seed(0)
    return {
        "standard": StandardNormal(2).double(),
        "vamp": vamp()[0],
        "realnvp": RealNVPPrior(2, hidden=(8,)).double(),
    }


@pytest.fixture(params=["standard", "vamp", "realnvp"])
def prior(request):
    return priors()[request.param]


def test_the_density_of_a_prior_integrates_to_one(prior):
    axis = torch.linspace(-12, 12, 481, dtype=F64)
    with torch.no_grad():
        total = prior().log_prob(torch.cartesian_prod(axis, axis)).exp().sum() * (axis[1] - axis[0]) ** 2
    assert float(total) == pytest.approx(1.0, abs=1e-6)


def test_draws_of_a_prior_have_its_mean_log_density(prior):
    torch.manual_seed(1)
    axis = torch.linspace(-12, 12, 481, dtype=F64)
    with torch.no_grad():
        log_p = prior().log_prob(torch.cartesian_prod(axis, axis))
        exact = (log_p.exp() * log_p).sum() * (axis[1] - axis[0]) ** 2
        drawn = prior().log_prob(prior().sample((20_000,)))
    error = float(drawn.std()) / len(drawn) ** 0.5
    assert abs(float(drawn.mean() - exact)) < 4 * error


def test_a_prior_has_one_batch_and_the_latent_dimension(prior):
    assert prior().batch_shape == ()
    assert prior().event_shape == (2,)
    assert prior.latent_dim == 2
    assert prior().log_prob(torch.zeros(7, 3, 2, dtype=F64)).shape == (7, 3)


def test_the_kl_divergence_from_a_learned_prior_is_that_of_its_draws():
    q = td.Independent(td.Normal(torch.zeros(3, 2, dtype=F64), 0.5), 1)
    z = q.rsample((4,))
    for prior in (priors()["vamp"], priors()["realnvp"]):
        expected = (q.log_prob(z) - prior().log_prob(z)).mean(0)
        torch.testing.assert_close(kl_divergence(q, prior(), z=z), expected)


def test_a_vamp_prior_is_the_mean_of_the_posteriors_of_its_pseudo_inputs():
    torch.manual_seed(0)
    prior, posterior = vamp()
    z = torch.randn(3, 2, dtype=F64)
    densities = [posterior(u[None].sigmoid()).log_prob(z).exp() for u in prior.pseudo_inputs]
    torch.testing.assert_close(prior().log_prob(z).exp(), torch.stack(densities).mean(0))
    free, posterior = vamp(unit_interval=False)
    densities = [posterior(u[None]).log_prob(z).exp() for u in free.pseudo_inputs]
    torch.testing.assert_close(free().log_prob(z).exp(), torch.stack(densities).mean(0))


def test_a_vamp_prior_far_from_all_components_keeps_a_finite_log_density():
    prior, _ = vamp()
    far = torch.full((1, 2), 1e3, dtype=F64, requires_grad=True)
    log_p = prior().log_prob(far)
    log_p.sum().backward()
    assert bool(torch.isfinite(log_p).all())
    assert bool((far.grad < 0).all())


def test_a_vamp_prior_shares_the_encoder_without_holding_it():
    prior, posterior = vamp()
    assert list(prior.state_dict()) == ["pseudo_inputs"]
    prior().log_prob(torch.zeros(1, 2, dtype=F64)).sum().backward()
    assert all(parameter.grad is not None for parameter in posterior.parameters())
    both = torch.nn.ModuleDict({"posterior": posterior, "prior": prior})
    again = copy.deepcopy(both)
    assert again["prior"]._posterior[0] is again["posterior"]


@pytest.mark.parametrize("unit_interval", [True, False])
def test_pseudo_inputs_start_from_images(unit_interval):
    torch.manual_seed(0)
    prior, posterior = vamp(unit_interval=unit_interval)
    images = torch.bernoulli(torch.full((5, 4), 0.5))
    prior.initialize(images)
    kept = 0.05 + 0.9 * images.double() if unit_interval else images.double()
    torch.testing.assert_close(prior().component_distribution.mean, posterior(kept).mean)
    prior().log_prob(torch.zeros(1, 2, dtype=F64)).sum().backward()
    assert (prior.pseudo_inputs.grad != 0).all()
    with pytest.raises(ValueError, match=r"`images` must have shape \(5, 4\), got \(4, 4\)"):
        prior.initialize(images[:4])
    if unit_interval:
        with pytest.raises(ValueError, match=r"`images` must lie in \[0, 1\], got \[0, 255\]"):
            prior.initialize(255 * images)


def test_the_kl_divergence_of_a_full_covariance_is_that_between_full_covariances():
    torch.manual_seed(0)
    posterior = FullCovarianceGaussian(encoder(FullCovarianceGaussian.outputs(3)), 3).double()
    q = posterior(torch.randn(5, 4, dtype=F64))
    mean, scale = torch.randn(3, dtype=F64), torch.rand(3, dtype=F64) + 0.5
    diagonal = td.Independent(td.Normal(mean, scale), 1)
    full = td.MultivariateNormal(mean, scale_tril=torch.diag(scale))
    torch.testing.assert_close(kl_divergence(q, diagonal), td.kl_divergence(q, full))
    standard = StandardNormal(3).double()()
    unit = td.MultivariateNormal(torch.zeros(3, dtype=F64), torch.eye(3, dtype=F64))
    torch.testing.assert_close(kl_divergence(q, standard), td.kl_divergence(q, unit))


def test_a_full_covariance_is_the_one_of_its_factor_and_its_fisher_information_the_inverse():
    torch.manual_seed(0)
    d = 3
    posterior = FullCovarianceGaussian(encoder(FullCovarianceGaussian.outputs(d)), d).double()
    x = torch.randn(5, 4, dtype=F64)
    output = posterior.network(x)
    q = posterior(x)
    factor = torch.zeros(5, d, d, dtype=F64)
    for i in range(d):
        factor[:, i, i] = (output[:, d + i] / 2).exp()
    below = [(i, j) for i, j in itertools.product(range(d), repeat=2) if j < i]
    for place, (i, j) in enumerate(below):
        factor[:, i, j] = output[:, 2 * d + place]
    torch.testing.assert_close(q.mean, output[:, :d])
    torch.testing.assert_close(q.covariance_matrix, factor @ factor.mT)
    torch.testing.assert_close(fisher_information(q), torch.linalg.inv(factor @ factor.mT))
    assert has_closed_form(q)


def test_no_output_of_the_network_makes_a_factor_singular():
    class Extreme(torch.nn.Module):
        def forward(self, x):
            return torch.full((len(x), 9), -1e6)

    q = FullCovarianceGaussian(Extreme(), 3)(torch.zeros(1, 4))
    assert float(q.scale_tril.diagonal(dim1=-2, dim2=-1).min()) > 0


def test_an_iaf_posterior_differs_between_images_by_noise_and_by_context():
    torch.manual_seed(0)
    posterior = IAFPosterior(encoder(2 * 3 + 4), 3, 4, steps=2, hidden=(8,)).double()
    q = posterior(torch.randn(2, 4, dtype=F64))
    assert q.context.shape == (2, 4)
    noise = torch.zeros(2, 3, dtype=F64)
    moved, _ = q._move(noise)
    assert not torch.allclose(moved[0], moved[1])
    assert q.base.batch_shape == (2,)


def test_impossible_priors_and_posteriors_are_refused():
    with pytest.raises(ValueError, match="`latent_dim` must be at least 1"):
        StandardNormal(0)
    with pytest.raises(ValueError, match="`components` must be at least 1"):
        vamp(components=0)
    with pytest.raises(ValueError, match="`couplings` must be at least 1"):
        RealNVPPrior(2, couplings=0)
    with pytest.raises(ValueError, match="`features` must be at least 2"):
        RealNVPPrior(1)
    with pytest.raises(ValueError, match="`context_features` and `steps` must be at least 1, got 0 and 4"):
        IAFPosterior(encoder(6), 3, 0)
