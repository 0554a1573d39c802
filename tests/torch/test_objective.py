"""The objective: its terms, by name."""

import math

import pytest
import torch
from torch import distributions as td

from infoplane_torch import presets
from infoplane_torch.discrepancy import MMD
from infoplane_torch.information import power_from_entropy
from infoplane_torch.objective import Objective
from infoplane_torch.penalties import FisherInformation
from infoplane_torch.vae import ForwardPass, StandardNormal

SMALL = {"event_shape": (1, 4, 4), "latent_dim": 3, "hidden": (16,)}


@pytest.fixture
def x():
    generator = torch.Generator().manual_seed(0)
    return torch.bernoulli(torch.rand(6, 1, 4, 4, generator=generator), generator=generator)


def terms_of(config, x, *, beta=1.0):
    torch.manual_seed(0)
    model, objective = presets.build(config)
    return objective(model, x, beta=beta)


def test_the_loss_is_the_negative_elbo_plus_the_penalties(x):
    terms = terms_of(presets.fae(20, 0.3, **SMALL), x, beta=0.4)
    expected = -terms.reconstruction + 0.4 * terms.kl + terms.penalties["fisher_posterior"]
    torch.testing.assert_close(terms.loss, expected)


def test_the_elbo_knows_neither_beta_nor_penalties(x):
    plain = terms_of(presets.vae(**SMALL), x)
    controlled = terms_of(presets.fae(20, 0.3, **SMALL), x, beta=0.4)
    assert torch.equal(plain.elbo, controlled.elbo)
    assert plain.penalties == {}
    torch.testing.assert_close(plain.loss, -plain.elbo)


def test_the_terms_are_means_over_images_of_their_definitions(x):
    torch.manual_seed(0)
    model, objective = presets.build(presets.fae(20, 0.3, **SMALL))
    torch.manual_seed(1)
    terms = objective(model, x)
    torch.manual_seed(1)
    forward = model(x)
    mean, variance = forward.posterior.mean, forward.posterior.variance
    logits = forward.likelihood.base_dist.logits
    # The parenthesis that eqs. (9) and (11) of the paper misplace.
    kl = 0.5 * (mean.square() + variance - 1 - variance.log()).sum(-1).mean()
    log_bernoulli = (x * logits - torch.nn.functional.softplus(logits)).sum((1, 2, 3)).mean()
    j = (1 / variance).mean(-1)
    h = 0.5 * torch.log(2 * math.pi * math.e * variance).sum(-1).mean()
    torch.testing.assert_close(terms.kl, kl)
    torch.testing.assert_close(terms.reconstruction, log_bernoulli)
    torch.testing.assert_close(terms.fisher_trace_mean, j.mean())
    torch.testing.assert_close(terms.posterior_entropy, h)
    torch.testing.assert_close(terms.entropy_power, power_from_entropy(h, 3))
    torch.testing.assert_close(terms.penalties["fisher_posterior"], 0.3 * (j - 20).abs().mean())


def test_what_is_only_watched_carries_no_gradient(x):
    terms = terms_of(presets.fae(20, 0.3, **SMALL), x)
    assert terms.loss.requires_grad
    for watched in (terms.posterior_entropy, terms.entropy_power, terms.fisher_trace_mean):
        assert not watched.requires_grad


def test_a_pair_without_a_closed_form_takes_its_kl_from_the_draw():
    class HeavyTailed(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.location = torch.nn.Parameter(torch.zeros(3))

        def forward(self, x):
            posterior = td.Independent(td.StudentT(5.0, self.location.expand(len(x), 3), 1.0), 1)
            z = posterior.rsample()
            likelihood = td.Independent(td.Bernoulli(logits=z.sum(-1, keepdim=True)), 1)
            return ForwardPass(x, posterior, z, likelihood, StandardNormal(3)())

    torch.manual_seed(0)
    terms = Objective()(HeavyTailed(), torch.ones(4000, 1))
    j = 6 / 8  # (ν + 1)/(ν + 3)
    assert float(terms.fisher_trace_mean) == pytest.approx(j, rel=1e-6)
    student, normal = td.StudentT(5.0), td.Normal(0.0, 1.0)
    u = torch.linspace(-60, 60, 200_001)
    weight = student.log_prob(u).exp() * (u[1] - u[0])
    exact = 3 * float((weight * (student.log_prob(u) - normal.log_prob(u))).sum())
    # log f/g grows like z²/2, whose standard deviation under t₅ is √(E z⁴ − (E z²)²)/2 = 2.4
    assert terms.kl.item() == pytest.approx(exact, abs=4 * 2.4 * math.sqrt(3 / 4000))


def test_several_penalties_are_added_by_name():
    config = presets.vae(
        likelihood="gaussian",
        penalties=(FisherInformation(20, 0.3), FisherInformation(5, 0.2, of="likelihood")),
        **SMALL,
    )
    terms = terms_of(config, torch.randn(6, 1, 4, 4))
    assert set(terms.penalties) == {"fisher_posterior", "fisher_likelihood"}
    torch.testing.assert_close(terms.penalties["fisher_likelihood"], torch.tensor(0.2 * 4))
    torch.testing.assert_close(terms.loss, -terms.elbo + sum(terms.penalties.values()))


def test_beta_multiplies_the_kl_and_its_warm_up_but_not_the_elbo(x):
    torch.manual_seed(0)
    model, _ = presets.build(presets.vae(**SMALL))
    torch.manual_seed(1)
    terms = Objective(beta=4.0)(model, x, beta=0.25)
    torch.manual_seed(1)
    plain = Objective()(model, x)
    torch.testing.assert_close(terms.loss, plain.loss)
    assert torch.equal(terms.elbo, plain.elbo)
    torch.manual_seed(1)
    torch.testing.assert_close(Objective(beta=4.0)(model, x).loss, plain.loss + 3 * plain.kl)


def test_free_bits_count_a_dimension_at_its_floor_and_leave_it_alone_there():
    mean = torch.tensor([[0.1, 2.0, 0.0], [0.3, -1.0, 0.0]], requires_grad=True)

    class Fixed(torch.nn.Module):
        def forward(self, x):
            posterior = td.Independent(td.Normal(mean, torch.ones(2, 3)), 1)
            likelihood = td.Independent(td.Bernoulli(logits=torch.zeros(2, 1)), 1)
            return ForwardPass(x, posterior, mean, likelihood, StandardNormal(3)())

    # KL_i is the mean of μ²/2 over the batch: 0.025, 1.25 and 0.
    terms = Objective(free_bits=0.5)(Fixed(), torch.ones(2, 1))
    assert terms.kl.item() == pytest.approx(1.275, rel=1e-5)
    assert terms.loss.item() == pytest.approx(math.log(2) + 0.5 + 1.25 + 0.5, rel=1e-5)
    assert terms.elbo.item() == pytest.approx(-math.log(2) - 1.275, rel=1e-5)
    terms.loss.backward()
    torch.testing.assert_close(mean.grad, torch.tensor([[0.0, 1.0, 0.0], [0.0, -0.5, 0.0]]))


def test_free_bits_of_a_posterior_that_is_no_product_are_a_clear_error():
    class Correlated(torch.nn.Module):
        def forward(self, x):
            posterior = td.MultivariateNormal(torch.zeros(2, 3), torch.eye(3).expand(2, 3, 3))
            likelihood = td.Independent(td.Bernoulli(logits=torch.zeros(2, 1)), 1)
            prior = td.MultivariateNormal(torch.zeros(3), torch.eye(3))
            return ForwardPass(x, posterior, torch.zeros(2, 3), likelihood, prior)

    with pytest.raises(TypeError, match="posterior and prior must be torch's Independent, got Multivariate"):
        Objective(free_bits=0.5)(Correlated(), torch.ones(2, 1))


@pytest.mark.parametrize("name", ["beta", "free_bits"])
@pytest.mark.parametrize("value", [-1.0, math.inf, math.nan])
def test_wrong_options_are_named(name, value):
    with pytest.raises(ValueError, match=f"`{name}` must be finite and not negative"):
        Objective(**{name: value})


def test_options_at_their_defaults_do_not_show_so_that_older_runs_are_recognised():
    assert repr(Objective()) == "Objective(penalties={})"
    penalty = "FisherInformation(target=20, weight=1.0, of='posterior', form='abs', reduction='mean')"
    objective = Objective({"fisher_posterior": FisherInformation(20, 1.0)})
    assert repr(objective) == f"Objective(penalties={{'fisher_posterior': {penalty}}})"
    assert repr(FisherInformation(20, 1.0, num_samples=8)) == penalty[:-1] + ", num_samples=8)"
    assert repr(Objective(beta=2.0, free_bits=0.1)) == "Objective(penalties={}, beta=2.0, free_bits=0.1)"


def test_each_objective_has_a_multiplier_of_its_own(x):
    config = presets.fae(20, 1.0, form="lagrangian", **SMALL)
    torch.manual_seed(0)
    model, first = presets.build(config)
    _, second = presets.build(config)
    terms = first(model, x)
    assert set(terms.watched) == {"fisher_posterior_multiplier"}
    assert float(first.modules["fisher_posterior"].multiplier) != 0
    assert float(second.modules["fisher_posterior"].multiplier) == 0
    assert first == second  # one description


def test_penalties_without_a_state_add_no_module_nothing_to_watch_and_no_auxiliary_loss(x):
    torch.manual_seed(0)
    model, _ = presets.build(presets.vae(**SMALL))
    objective = Objective({"fisher": FisherInformation(20, 1.0), "mmd": MMD(1.0)})
    terms = objective(model, x)
    assert len(objective.modules) == 0
    assert terms.watched == {}
    assert float(terms.auxiliary) == 0
    assert not terms.auxiliary.requires_grad
    torch.testing.assert_close(terms.loss, -terms.elbo + sum(terms.penalties.values()))


def test_a_flow_is_watched_by_its_own_draws_and_its_information_only_in_evaluation():
    config = presets.iaf_vae(
        event_shape=(1, 4, 4), latent_dim=3, hidden=(16,), flow_steps=2, flow_hidden=(8,)
    )
    model, objective = presets.build(config)
    x = torch.zeros(50, 1, 4, 4)
    terms = objective(model, x)
    assert math.isfinite(terms.posterior_entropy)
    assert math.isnan(terms.fisher_trace_mean)
    with torch.no_grad():
        assert float(objective(model, x).fisher_trace_mean) > 0
