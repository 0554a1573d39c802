"""Likelihoods against exact ones, and the model's place in the plane."""

import dataclasses
import inspect
import math

import numpy as np
import pytest
import torch
from torch import distributions as td
from torch import nn

from infoplane_torch import (
    code_accuracy,
    code_information,
    evaluation,
    image_batches,
    likelihood_estimation,
    model_plane,
    presets,
)
from infoplane_torch.evaluation import (
    active_units,
    aggregated_posterior_information,
    elbo,
    log_likelihood,
    negative_log_likelihood,
    plane_point,
    variational_information,
)
from infoplane_torch.likelihoods import Bernoulli, Gaussian
from infoplane_torch.networks import MLP
from infoplane_torch.posteriors import DiagonalGaussian
from infoplane_torch.vae import VAE, StandardNormal

SMALL = {"event_shape": (1, 4, 4), "latent_dim": 3, "hidden": (16,)}
NOISE = 0.6  # σ of the linear-Gaussian model


def binary_images(n=6):
    generator = torch.Generator().manual_seed(0)
    return torch.bernoulli(torch.rand(n, 1, 4, 4, generator=generator), generator=generator)


def linear_gaussian_vae(*, correlated=True, mismatch=1.0, d=6, latent=2):
    """p(z) = N(0, I), p(x|z) = N(W z + b, σ² I), and a posterior as near to the exact one as asked.

    With orthogonal columns of W (``correlated=False``) the exact posterior is a diagonal Gaussian, and
    ``mismatch=1`` is that posterior; otherwise its variances are multiplied by `mismatch`.
    """
    generator = torch.Generator().manual_seed(5)
    w, _ = torch.linalg.qr(torch.randn(d, latent, generator=generator, dtype=torch.float64))
    if correlated:
        w = w @ torch.tensor([[1.0, 0.4], [0.0, 1.0]], dtype=torch.float64)
    b = torch.randn(d, generator=generator, dtype=torch.float64)
    covariance = torch.linalg.inv(torch.eye(latent, dtype=torch.float64) + w.T @ w / NOISE**2)
    gain = covariance @ w.T / NOISE**2
    encoder, decoder = MLP(d, 2 * latent, hidden=()).double(), MLP(latent, d, hidden=()).double()
    model = VAE(DiagonalGaussian(encoder), Gaussian(decoder, (d,)).double(), StandardNormal(latent).double())
    with torch.no_grad():
        encoder[-1].weight.copy_(torch.cat((gain, torch.zeros_like(gain))))
        encoder[-1].bias.copy_(torch.cat((-gain @ b, (mismatch * covariance.diagonal()).log())))
        decoder[-1].weight.copy_(w)
        decoder[-1].bias.copy_(b)
        model.likelihood.log_variance.fill_(2 * math.log(NOISE))
    marginal = td.MultivariateNormal(b, w @ w.T + NOISE**2 * torch.eye(d, dtype=torch.float64))
    x = marginal.mean + torch.randn(40, d, generator=generator, dtype=torch.float64) @ marginal.scale_tril.T
    return model, x, marginal.log_prob(x)


def test_the_nll_of_a_linear_gaussian_vae_is_exact_within_three_standard_errors():
    model, x, exact = linear_gaussian_vae(mismatch=1.4)
    result = negative_log_likelihood(model, x, num_samples=5000)
    assert 0 < result.sampling_error < 0.01
    assert abs(float(result.nll) + float(exact.mean())) < 3 * result.sampling_error
    assert result.nll.standard_error == pytest.approx(float(exact.std()) / math.sqrt(40), rel=0.01)
    assert 2000 < result.ess_median < 4900
    assert (result.nll.n, result.nll.d, result.num_samples) == (40, 6, 5000)


def test_the_error_of_the_nll_shrinks_with_the_root_of_the_number_of_samples():
    model, x, exact = linear_gaussian_vae(mismatch=1.4)
    errors = {}
    for num_samples in (100, 10_000):
        result = log_likelihood(model, x, num_samples=num_samples)
        z = (result.log_likelihood - exact) / result.standard_error
        # The root mean square of 40 standard normal numbers is 1 ± 0.11.
        assert float(z.square().mean().sqrt()) == pytest.approx(1.0, abs=0.45)
        errors[num_samples] = float((result.log_likelihood - exact).square().mean().sqrt())
    assert errors[100] / errors[10_000] == pytest.approx(10, rel=0.5)  # each known to 11 %


@pytest.mark.parametrize(("num_samples", "chunk_size"), [(1, 500), (1001, 500), (1001, 7), (1000, 1000)])
def test_under_the_exact_posterior_every_weight_is_equal_and_every_sample_counts(num_samples, chunk_size):
    model, x, exact = linear_gaussian_vae(correlated=False)
    result = log_likelihood(model, x, num_samples=num_samples, chunk_size=chunk_size)
    torch.testing.assert_close(result.log_likelihood, exact)
    torch.testing.assert_close(result.effective_sample_size, torch.full_like(exact, num_samples))


def test_the_elbo_is_the_likelihood_under_the_exact_posterior_and_a_bound_under_any_other():
    model, x, exact = linear_gaussian_vae(correlated=False)
    bound = elbo(model, x, num_samples=2000)
    # log p(x, z) − log q(z) is constant there, but an analytic KL leaves the noise of log p(x|z).
    reconstruction_noise = 3 * math.sqrt(2) / math.sqrt(2000 * 40)
    assert float(bound.negative_elbo) == pytest.approx(-float(exact.mean()), abs=4 * reconstruction_noise)
    model, x, exact = linear_gaussian_vae(mismatch=3.0)
    assert elbo(model, x, num_samples=500).negative_elbo > -float(exact.mean()) + 0.3


def test_the_elbo_agrees_with_its_closed_form_on_a_linear_gaussian_vae():
    model, x, _ = linear_gaussian_vae(mismatch=1.4)
    model.requires_grad_(False)
    posterior = model.encode(x)
    w, b = model.likelihood.network[-1].weight, model.likelihood.network[-1].bias
    residual = (x - posterior.mean @ w.T - b).square().sum(-1)
    spread = (posterior.variance @ w.square().T).sum(-1)
    exact = -0.5 * (6 * math.log(2 * math.pi * NOISE**2) + (residual + spread) / NOISE**2)
    kl = 0.5 * (posterior.mean.square() + posterior.variance - 1 - posterior.variance.log()).sum(-1)
    bound = elbo(model, x, num_samples=2000)
    assert float(bound.kl) == pytest.approx(float(kl.mean()), rel=1e-9)
    assert float(bound.reconstruction) == pytest.approx(float(exact.mean()), abs=0.05)
    assert float(bound.negative_elbo) == pytest.approx(float(bound.kl - bound.reconstruction), rel=1e-9)


def test_the_nll_of_a_bernoulli_vae_agrees_with_quadrature_over_its_single_code():
    torch.manual_seed(0)
    model = VAE(
        DiagonalGaussian(MLP(4, 2, hidden=(8,))), Bernoulli(MLP(1, 4, hidden=(8,)), (4,)), StandardNormal(1)
    ).double()
    every_image = torch.cartesian_prod(*[torch.tensor([0.0, 1.0], dtype=torch.float64)] * 4)
    z = torch.linspace(-10, 10, 2001, dtype=torch.float64)[:, None, None].expand(-1, 16, 1)
    with torch.no_grad():
        log_joint = model.decode(z).log_prob(every_image) + model.prior().log_prob(z)
        exact = log_joint.logsumexp(0) + math.log(20 / 2000)
    assert float(exact.exp().sum()) == pytest.approx(1.0, abs=1e-9)
    result = log_likelihood(model, every_image, num_samples=4000)
    z_score = (result.log_likelihood - exact) / result.standard_error
    assert float(z_score.abs().max()) < 4


def test_a_penalty_never_enters_the_likelihood():
    results = []
    for config in (presets.vae(**SMALL), presets.fae(0, 5.0, **SMALL), presets.fae(20, 1e6, **SMALL)):
        torch.manual_seed(0)
        model, _ = presets.build(config)
        results.append(log_likelihood(model, binary_images(), num_samples=50).log_likelihood)
    assert torch.equal(results[0], results[1])
    assert torch.equal(results[0], results[2])
    parts = (evaluation, likelihood_estimation, model_plane, code_information, code_accuracy, image_batches)
    for source in map(inspect.getsource, parts):
        assert "infoplane_torch.objective" not in source
        assert "infoplane_torch.penalties" not in source
        assert "infoplane_torch.mutual_information" not in source


@pytest.mark.parametrize(
    "measure",
    [
        lambda model, x, seed: log_likelihood(model, x, num_samples=20, seed=seed).log_likelihood,
        lambda model, x, seed: torch.tensor(elbo(model, x, seed=seed).negative_elbo),
    ],
    ids=["log_likelihood", "elbo"],
)
def test_an_evaluation_depends_on_its_seed_alone_and_disturbs_nothing(measure):
    model, _ = presets.build(presets.vae(**SMALL))
    model.likelihood.network.insert(1, nn.Dropout(0.5))
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = measure(model, binary_images(), 0)
    assert torch.equal(torch.get_rng_state(), before)
    assert all(module.training for module in model.modules())
    torch.manual_seed(2)
    assert torch.equal(measure(model, binary_images(), 0), first)
    assert not torch.equal(measure(model, binary_images(), 1), first)
    assert not first.requires_grad


def test_each_image_is_encoded_once_and_memory_does_not_grow_with_the_samples():
    model, _ = presets.build(presets.vae(**SMALL))
    encoded, decoded = [], []
    model.posterior.register_forward_pre_hook(lambda _, arguments: encoded.append(len(arguments[0])))
    model.likelihood.register_forward_pre_hook(lambda _, arguments: decoded.append(arguments[0].shape))
    log_likelihood(model, binary_images(5), num_samples=1050, chunk_size=100, batch_size=2)
    assert encoded == [2, 2, 1]
    assert max(shape[:-1].numel() for shape in decoded) == 100 * 2
    assert sum(shape[:-1].numel() for shape in decoded) == 1050 * 5


def test_very_unlikely_images_do_not_underflow():
    model, x, exact = linear_gaussian_vae(correlated=False)
    far = x + 200.0
    result = log_likelihood(model, far, num_samples=10)
    assert float(exact.min()) > -20
    assert torch.isfinite(result.log_likelihood).all()
    assert float(result.log_likelihood.max()) < -1e4


def test_grey_images_are_refused_by_a_bernoulli():
    model, _ = presets.build(presets.vae(**SMALL))
    grey = torch.full((2, 1, 4, 4), 0.5)
    for measure in (elbo, log_likelihood, negative_log_likelihood):
        with pytest.raises(ValueError, match="`x` must lie in the support of the likelihood"):
            measure(model, grey)


def test_wrong_arguments_are_named():
    model, _ = presets.build(presets.vae(**SMALL))
    x = binary_images()
    for name in ("num_samples", "chunk_size", "batch_size"):
        with pytest.raises(ValueError, match=f"`{name}` must be at least 1"):
            log_likelihood(model, x, **{name: 0})
    for measure in (elbo, log_likelihood, plane_point):
        with pytest.raises(ValueError, match="`x` must hold at least one image"):
            measure(model, x[:0])
        with pytest.raises(ValueError, match="`x` must have shape"):
            measure(model, x[:, 0])
    with pytest.raises(ValueError, match="`x` must hold at least two images"):
        active_units(model, x[:1])


def test_one_image_has_a_value_and_no_standard_error():
    model, _ = presets.build(presets.vae(**SMALL))
    x = binary_images(1)
    assert math.isnan(negative_log_likelihood(model, x, num_samples=10).nll.standard_error)
    assert math.isnan(plane_point(model, x).product.standard_error)


def test_the_plane_point_comes_from_the_mean_entropy_and_the_mean_fisher_matrix():
    torch.manual_seed(0)
    model, _ = presets.build(presets.vae(**SMALL))
    x = binary_images(50)
    point = plane_point(model, x, batch_size=7)
    with torch.no_grad():
        variance = model.encode(x).variance.double().numpy()
    h = 0.5 * np.log(2 * np.pi * np.e * variance).sum(1)
    trace = (1 / variance).sum(1)
    assert float(point.entropy) == pytest.approx(h.mean(), rel=1e-5)
    assert float(point.fisher_trace) == pytest.approx(trace.mean(), rel=1e-5)
    assert float(point.entropy_power) == pytest.approx(
        np.exp(2 / 3 * h.mean()) / (2 * np.pi * np.e), rel=1e-3
    )
    np.testing.assert_allclose(point.fisher_information, np.diag((1 / variance).mean(0)), rtol=1e-5)
    assert point.fisher_trace.standard_error == pytest.approx(trace.std(ddof=1) / math.sqrt(50), rel=1e-3)
    # H and tr J fall and rise together, so the product is surer than its factors alone would allow.
    relative = 2 / 3 * h / 1.0 + trace / trace.mean()
    expected = float(point.product) * relative.std(ddof=1) / math.sqrt(50)
    assert point.product.standard_error == pytest.approx(expected, rel=1e-3)
    assert (point.d, point.n, point.entropy.method) == (3, 50, "closed form")


def test_a_posterior_equal_to_the_prior_sits_at_one_and_one():
    model, _ = presets.build(presets.vae(**SMALL))
    for parameter in model.posterior.parameters():
        nn.init.zeros_(parameter)
    point = plane_point(model, binary_images())
    assert float(point.entropy_power) == pytest.approx(1, rel=1e-6)
    assert float(point.fisher_trace) == pytest.approx(3, rel=1e-6)
    assert float(point.product) == pytest.approx(1, rel=1e-6)


def test_averaging_over_images_lifts_the_model_above_the_curve():
    class TwoScales(nn.Module):
        def __init__(self):
            super().__init__()
            self.unused = nn.Parameter(torch.zeros(1))

        def forward(self, x):
            scale = torch.where(x.flatten(1)[:, :1] > 0, 2.0, 0.5).expand(-1, 3)
            return td.Independent(td.Normal(torch.zeros_like(scale), scale), 1)

    model, _ = presets.build(presets.vae(**SMALL))
    model.posterior = TwoScales()
    x = torch.zeros(1000, 1, 4, 4)
    x[::2] = 1
    product = float(plane_point(model, x).product)
    assert product == pytest.approx((4 + 0.25) / 2, rel=0.01)  # each image alone is at 1


def test_a_posterior_without_a_closed_form_is_placed_by_monte_carlo():
    class Flow(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = nn.Parameter(torch.tensor([0.5, 1.0, 2.0]))

        def forward(self, x):
            base = td.Independent(td.Normal(torch.zeros(len(x), 3), 1.0), 1)
            return td.TransformedDistribution(base, [td.AffineTransform(0.0, self.scale, event_dim=1)])

    model, _ = presets.build(presets.vae(**SMALL))
    model.posterior = Flow()
    point = plane_point(model, torch.zeros(100, 1, 4, 4))
    assert point.entropy.method == "monte carlo"
    for estimate, exact in (
        (point.entropy, 1.5 * math.log(2 * math.pi * math.e)),
        (point.fisher_trace, 5.25),
        (point.product, 1.75),
    ):
        assert abs(float(estimate) - exact) < 4 * estimate.standard_error
        assert estimate.standard_error < 0.02 * exact


def test_units_are_active_when_their_posterior_mean_varies():
    model, x, _ = linear_gaussian_vae()
    assert active_units(model, x) == 2
    with torch.no_grad():
        model.posterior.network[-1].weight[0] = 0
    assert active_units(model, x) == 1
    assert active_units(model, x, threshold=1e6) == 0


def test_results_are_frozen():
    model, x, _ = linear_gaussian_vae()
    bound = elbo(model, x)
    with pytest.raises(dataclasses.FrozenInstanceError):
        bound.kl = 0.0


def gaussian_encoder(gain, sigma):
    """A single code q(z|x) = N(gain·x, σ²), over standard normal x."""
    encoder = MLP(1, 2, hidden=()).double()
    model = VAE(DiagonalGaussian(encoder), Gaussian(MLP(1, 1, hidden=()).double(), (1,)), StandardNormal(1))
    with torch.no_grad():
        encoder[-1].weight.copy_(torch.tensor([[gain], [0.0]]))
        encoder[-1].bias.copy_(torch.tensor([0.0, 2 * math.log(sigma)]))
    return model.double()


@pytest.mark.parametrize("signal_to_noise", [0.5, 3.0])
def test_the_aggregated_information_of_a_gaussian_encoder_is_that_of_the_gaussian_channel(signal_to_noise):
    n, sigma = 2000, 0.5
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(n, 1, generator=generator, dtype=torch.float64)
    result = aggregated_posterior_information(gaussian_encoder(signal_to_noise * sigma, sigma), x)
    exact = 0.5 * math.log(1 + signal_to_noise**2)
    # q(z) of n images is within O(exp(I)/n) of that of all images.
    slack = math.exp(exact) / n
    assert abs(float(result.information) - exact) < 3 * result.information.standard_error + slack
    variance = (signal_to_noise**2 + 1) * sigma**2
    marginal = 0.5 * (variance - 1 - math.log(variance))
    assert abs(float(result.marginal_kl) - marginal) < 4 * result.marginal_kl.standard_error + slack
    assert float(result.kl) == pytest.approx(float(result.information + result.marginal_kl), abs=1e-9)
    assert (result.information.n, result.information.d) == (n, 1)


def test_the_standard_error_of_the_aggregated_information_is_its_spread_over_data_sets():
    model = gaussian_encoder(1.0, 0.5)
    generator = torch.Generator().manual_seed(4)
    results = [
        aggregated_posterior_information(
            model, torch.randn(200, 1, generator=generator, dtype=torch.float64), seed=seed
        ).information
        for seed in range(200)
    ]
    spread = np.std([float(result) for result in results], ddof=1)
    mean_error = np.mean([result.standard_error for result in results])
    assert mean_error == pytest.approx(spread, rel=0.2)  # the spread is known to 1/√400 = 5 %


@pytest.mark.parametrize("batch_size", [4, 7, 500])
def test_codes_that_tell_all_images_apart_carry_log_n_and_codes_that_tell_none_carry_nothing(batch_size):
    x = torch.arange(10, dtype=torch.float64)[:, None]
    apart = aggregated_posterior_information(gaussian_encoder(1.0, 1e-3), x, batch_size=batch_size)
    assert float(apart.information) == pytest.approx(math.log(10), abs=1e-9)
    alike = aggregated_posterior_information(gaussian_encoder(0.0, 0.5), x, batch_size=batch_size)
    assert float(alike.information) == pytest.approx(0, abs=1e-9)


def test_the_pairwise_density_of_gaussians_is_that_of_the_general_path():
    generator = torch.Generator().manual_seed(0)
    mean, z = torch.randn(2, 5, 3, generator=generator, dtype=torch.float64)
    scale = torch.rand(5, 3, generator=generator, dtype=torch.float64) * 0.1 + 1e-3
    diagonal = td.Independent(td.Normal(mean, scale), 1)
    full = td.MultivariateNormal(mean, scale_tril=torch.diag_embed(scale))
    fast, general = (code_information._pairwise_log_prob(posterior, z) for posterior in (diagonal, full))
    torch.testing.assert_close(fast, general, rtol=1e-9, atol=1e-6)
    assert fast[1, 2].item() == pytest.approx(td.Normal(mean[2], scale[2]).log_prob(z[1]).sum().item())


@pytest.mark.parametrize(
    "call",
    [
        lambda model, x: aggregated_posterior_information(model, x, batch_size=0),
        lambda model, x: variational_information(model, model.posterior, num_samples=0),
        lambda model, x: aggregated_posterior_information(model, x[:0]),
    ],
)
def test_the_informations_name_what_is_wrong(call):
    model, _ = presets.build(presets.vae(**SMALL))
    with pytest.raises(ValueError, match=r"`(batch_size|num_samples|x)` must"):
        call(model, binary_images())


def test_the_informations_depend_on_their_seed_alone_and_disturb_nothing():
    torch.manual_seed(0)
    model, _ = presets.build(presets.vae(**SMALL))
    reverse = nn.Sequential(nn.Dropout(0.5), DiagonalGaussian(MLP(16, 6, hidden=())))
    state = torch.get_rng_state()
    for measure in (
        lambda seed: variational_information(model, reverse, num_samples=30, batch_size=8, seed=seed),
        lambda seed: aggregated_posterior_information(model, binary_images(), seed=seed).kl,
    ):
        assert float(measure(0)) == float(measure(0)) != float(measure(1))
    assert torch.equal(torch.get_rng_state(), state)
    assert reverse.training
    assert model.training


def test_active_units_of_a_flow_are_those_of_its_centers():
    torch.manual_seed(0)
    small = {"event_shape": (1, 4, 4), "latent_dim": 3, "hidden": (16,)}
    config = presets.iaf_vae(**small, flow_steps=2, flow_hidden=(8,))
    model, _ = presets.build(config)
    x = torch.bernoulli(torch.full((40, 1, 4, 4), 0.5))
    with torch.no_grad():
        expected = int((model.encode(x).center.var(0) > 1e-4).sum())
    assert 0 < expected == active_units(model, x, threshold=1e-4)
