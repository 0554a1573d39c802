"""The objective: its terms, by name."""

import math

import pytest
import torch
from torch import distributions as td

from infoplane_torch import presets
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
