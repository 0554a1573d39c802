"""The mutual auto-encoder's penalty: a tight bound, gradients where they belong, and the constraint met."""

import itertools
import math

import pytest
import torch
from torch import distributions as td
from torch import nn

from infoplane_torch import presets
from infoplane_torch.evaluation import log_likelihood, variational_information
from infoplane_torch.likelihoods import Bernoulli, Gaussian
from infoplane_torch.mutual_information import MutualInformation, draw_pairs, information_bound
from infoplane_torch.networks import MLP
from infoplane_torch.objective import Objective
from infoplane_torch.posteriors import DiagonalGaussian
from infoplane_torch.vae import VAE, StandardNormal

NOISE = 0.5
SMALL = {"event_shape": (1, 4, 4), "latent_dim": 3, "hidden": (16,)}


def linear_gaussian(gains=(1.0, 2.0)):
    """x = diag(gains) z + noise, with the exact posterior as its encoder, and its exact I(x; z)."""
    d = len(gains)
    gains = torch.tensor(gains, dtype=torch.float64)
    variance = 1 / (1 + gains.square() / NOISE**2)
    encoder, decoder = MLP(d, 2 * d, hidden=()).double(), MLP(d, d, hidden=()).double()
    model = VAE(DiagonalGaussian(encoder), Gaussian(decoder, (d,)).double(), StandardNormal(d).double())
    with torch.no_grad():
        encoder[-1].weight.copy_(torch.cat((torch.diag(variance * gains / NOISE**2), torch.zeros(d, d))))
        encoder[-1].bias.copy_(torch.cat((torch.zeros(d), variance.log())))
        decoder[-1].weight.copy_(torch.diag(gains))
        decoder[-1].bias.zero_()
        model.likelihood.log_variance.fill_(2 * math.log(NOISE))
    return model, exact_information(model)


def exact_information(model):
    """½ log det(I + WᵀW/σ²)."""
    w, variance = model.likelihood.network[-1].weight.detach(), model.likelihood.log_variance.detach().exp()
    return 0.5 * float(torch.logdet(torch.eye(w.shape[1]).double() + w.T @ w / variance))


def linear_reverse(d):
    return DiagonalGaussian(MLP(d, 2 * d, hidden=())).double()


def penalty_of(model, target, weight, *, reverse=None, **options):
    reverse = linear_reverse(model.latent_dim) if reverse is None else reverse
    return MutualInformation(target, weight, decode=model.decode, reverse=reverse, **options)


def gradients(module):
    return [value.grad for value in module.parameters() if value.grad is not None]


def test_with_the_exact_posterior_the_bound_is_the_information_and_with_any_other_less():
    model, exact = linear_gaussian()
    tight = variational_information(model, model.posterior, num_samples=20_000)
    assert abs(float(tight) - exact) < 4 * tight.standard_error < 0.05
    torch.manual_seed(0)
    loose = variational_information(model, linear_reverse(2), num_samples=20_000)
    assert float(loose) < exact - 0.5
    assert (tight.n, tight.d) == (20_000, 2)


def test_the_batch_bound_is_the_mean_of_log_r_minus_log_p():
    model, _ = linear_gaussian()
    torch.manual_seed(0)
    pairs = draw_pairs(model.prior(), model.decode, 50)
    (x,) = pairs.images
    expected = model.encode(x).log_prob(pairs.z) - td.Normal(0, 1).log_prob(pairs.z).sum(-1)
    torch.testing.assert_close(information_bound(pairs, model.encode), expected.mean())


@pytest.mark.parametrize(("form", "target", "expected"), [("abs", 5, 5), ("abs", 0, 0), ("hinge", 5, 5)])
def test_the_penalty_is_the_weighted_distance_of_the_bound_from_m(form, target, expected):
    model, _ = linear_gaussian((0.0, 0.0))  # knows nothing: with r = p(z) the bound is 0 for each pair
    terms = penalty_of(model, target, 0.3, form=form, reverse=model.posterior)(
        model(torch.zeros(4, 2).double())
    )
    assert terms.penalty.item() == pytest.approx(0.3 * expected, abs=1e-6)
    assert float(terms.watched["bound"]) == pytest.approx(0, abs=1e-6)


def test_above_m_the_hinge_rests():
    model, exact = linear_gaussian()
    penalty = penalty_of(model, exact / 2, 1.0, form="hinge", reverse=model.posterior)
    torch.manual_seed(0)
    assert penalty(model(torch.zeros(500, 2).double())).penalty.item() == 0


@pytest.mark.parametrize("likelihood", ["bernoulli", "gaussian"])
def test_the_penalty_reaches_the_decoder_alone_and_the_auxiliary_loss_the_reverse_network_alone(likelihood):
    torch.manual_seed(0)
    model, _ = presets.build(presets.vae(likelihood=likelihood, **SMALL))
    reverse = DiagonalGaussian(MLP(16, 6, hidden=(8,)))
    penalty = penalty_of(model, 1.0, 2.0, reverse=reverse)
    terms = penalty(model(torch.zeros(5, 1, 4, 4)))
    terms.penalty.backward()
    assert gradients(penalty) == []
    assert gradients(model.posterior) == []
    assert all(bool(g.abs().sum() > 0) for g in gradients(model.likelihood.network))
    assert len(gradients(model.likelihood)) == len([*model.likelihood.parameters()])
    model.zero_grad()
    terms.auxiliary.backward()
    assert gradients(model) == []
    assert len(gradients(penalty)) == len([*reverse.parameters()])
    assert not terms.watched["bound"].requires_grad


def test_the_objective_keeps_both_losses_apart():
    torch.manual_seed(0)
    model, _ = presets.build(presets.vae(**SMALL))
    penalty = penalty_of(model, 1.0, 2.0, reverse=DiagonalGaussian(MLP(16, 6, hidden=(8,))))
    objective = Objective({"information": penalty})
    assert objective.modules["information"] is penalty
    assert not {id(p) for p in objective.modules.parameters()} & {id(p) for p in model.parameters()}
    terms = objective(model, torch.zeros(5, 1, 4, 4))
    assert set(terms.watched) == {"information_bound"}
    torch.testing.assert_close(terms.loss, -terms.elbo + terms.penalties["information"])
    terms.loss.backward()
    assert gradients(penalty) == []
    before = [g.clone() for g in gradients(model)]
    terms.auxiliary.backward()
    assert all(torch.equal(g, b) for g, b in zip(gradients(model), before, strict=True))
    assert gradients(penalty) != []


def test_the_gradient_through_a_bernoulli_likelihood_is_that_of_the_sum_over_all_images():
    torch.manual_seed(0)
    model = VAE(
        DiagonalGaussian(MLP(3, 2, hidden=())), Bernoulli(MLP(1, 3, hidden=()), (3,)), StandardNormal(1)
    ).double()
    reverse = DiagonalGaussian(MLP(3, 2, hidden=(4,), activation="tanh")).double().requires_grad_(False)
    parameters = [*model.likelihood.parameters()]
    every_image = torch.tensor([*itertools.product((0.0, 1.0), repeat=3)], dtype=torch.float64)  # (8, 3)
    z = torch.linspace(-8, 8, 801, dtype=torch.float64)[:, None]
    prior = td.Normal(0, 1).log_prob(z[:, 0]).exp() * 0.02
    log_x = model.decode(z[:, None]).log_prob(every_image)  # (801, 8)
    log_ratio = reverse(every_image).log_prob(z[:, None]) - td.Normal(0, 1).log_prob(z)
    exact_value = (prior[:, None] * log_x.exp() * log_ratio).sum()
    exact = torch.cat([g.flatten() for g in torch.autograd.grad(exact_value, parameters)])

    estimates, values = [], []
    for _ in range(300):
        pairs = draw_pairs(model.prior(), model.decode, 200)
        value = information_bound(pairs, reverse)
        values.append(value.detach())
        estimates.append(torch.cat([g.flatten() for g in torch.autograd.grad(value, parameters)]))
    estimate, errors = torch.stack(estimates).mean(0), torch.stack(estimates).std(0) / math.sqrt(300)
    assert float(((estimate - exact) / errors).abs().max()) < 4
    assert float(errors.max()) < 0.1 * float(exact.abs().max())
    offset = torch.stack(values) - exact_value.detach()
    assert abs(float(offset.mean())) < 4 * float(offset.std()) / math.sqrt(300)


def train_decoder(target, weight, *, steps=500):
    """Train a model on data of its own kind, I = ½ log 17; a single code, so that r can be exact."""
    torch.manual_seed(0)
    model, natural = linear_gaussian((2.0,))
    model.likelihood.log_variance.requires_grad_(False)
    data = model.sample(2000)
    penalty = penalty_of(model, target, weight)
    objective = Objective({"information": penalty})
    optimiser = torch.optim.Adam(
        [
            {"params": [p for p in model.parameters() if p.requires_grad], "lr": 0.005},
            {"params": penalty.parameters(), "lr": 0.02},
        ]
    )
    for _ in range(steps):
        terms = objective(model, data[torch.randint(2000, (128,))])
        optimiser.zero_grad()
        (terms.loss + terms.auxiliary).backward()
        optimiser.step()
    return model, penalty, natural


@pytest.mark.parametrize("target", [0.7, 2.1])
def test_the_information_meets_m_and_the_bound_stays_tight_while_the_penalty_acts(target):
    model, penalty, natural = train_decoder(target, 20.0)
    assert abs(natural - target) > 0.5
    exact = exact_information(model)
    bound = variational_information(model, penalty.reverse, num_samples=20_000)
    assert exact == pytest.approx(target, abs=0.1)
    assert exact - float(bound) < 0.03 + 4 * bound.standard_error


def test_a_penalty_that_reached_the_reverse_network_would_meet_m_by_a_loose_bound(monkeypatch):
    monkeypatch.setattr(torch.func, "functional_call", lambda module, _, x: module(*x))
    model, penalty, _ = train_decoder(0.7, 20.0)
    bound = variational_information(model, penalty.reverse, num_samples=20_000)
    assert float(bound) == pytest.approx(0.7, abs=0.1)
    assert exact_information(model) > float(bound) + 0.3


def test_without_a_weight_the_reverse_network_learns_the_information_and_the_model_does_not_notice():
    model, penalty, natural = train_decoder(0.0, 0.0, steps=500)
    bound = variational_information(model, penalty.reverse, num_samples=20_000)
    assert float(bound) == pytest.approx(exact_information(model), abs=0.05 + 4 * bound.standard_error)
    assert exact_information(model) == pytest.approx(natural, abs=0.3)


def test_the_penalty_never_enters_the_likelihood():
    torch.manual_seed(0)
    model, _ = presets.build(presets.vae(**SMALL))
    x = torch.zeros(3, 1, 4, 4)
    before = log_likelihood(model, x, num_samples=20).log_likelihood
    objective = Objective(
        {"information": penalty_of(model, 1.0, 1e6, reverse=DiagonalGaussian(MLP(16, 6, hidden=())))}
    )
    objective(model, x)
    assert torch.equal(log_likelihood(model, x, num_samples=20).log_likelihood, before)


def test_its_name_tells_the_constraint_and_not_the_model():
    model, _ = linear_gaussian()
    shown = repr(penalty_of(model, 1.0, 2.0))
    assert "target=1.0, weight=2.0, form='abs'" in shown
    assert "(reverse): DiagonalGaussian" in shown
    assert "Bernoulli" not in shown
    assert all(name.startswith("reverse.") for name, _ in penalty_of(model, 1.0, 2.0).named_parameters())


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"target": -1}, "target"),
        ({"target": math.nan}, "target"),
        ({"weight": math.inf}, "weight"),
        ({"form": "lagrangian"}, "form"),
    ],
)
def test_wrong_options_are_named(options, named):
    with pytest.raises(ValueError, match=f"`{named}` must be"):
        MutualInformation(**{"target": 1, "weight": 1, "decode": abs, "reverse": nn.Identity(), **options})


def test_a_model_from_elsewhere_needs_only_its_prior_and_its_decoder():
    torch.manual_seed(0)
    decoder = nn.Linear(2, 5)
    penalty = MutualInformation(
        3, 1.0,
        decode=lambda z: td.Independent(td.Bernoulli(logits=decoder(z)), 1),
        reverse=DiagonalGaussian(MLP(5, 4, hidden=(8,))),
    )  # fmt: skip
    terms = penalty.of_prior(td.Independent(td.Normal(torch.zeros(2), torch.ones(2)), 1), 16)
    (terms.penalty + terms.auxiliary).backward()
    assert float(decoder.weight.grad.abs().sum()) > 0
    assert all(float(p.grad.abs().sum()) > 0 for p in penalty.reverse.parameters())
