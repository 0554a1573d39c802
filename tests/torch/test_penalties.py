"""The Fisher-information penalty, and where it takes the variance."""

import math

import pytest
import torch
from torch import distributions as td
from torch import nn

from infoplane_torch.objective import Objective
from infoplane_torch.penalties import FisherInformation
from infoplane_torch.vae import VAE, ForwardPass, StandardNormal


class FreeVariance(nn.Module):
    """A posterior N(0, σ²) whose σ² has nothing to do with the images."""

    def __init__(self, d, start):
        super().__init__()
        self.log_variance = nn.Parameter(torch.full((d,), math.log(start), dtype=torch.float64))

    def forward(self, x):
        scale = torch.exp(0.5 * self.log_variance).expand(len(x), -1)
        return td.Independent(td.Normal(torch.zeros_like(scale), scale), 1)


class Indifferent(nn.Module):
    """A likelihood that no code changes, so that only the KL term and the penalty act on the posterior."""

    event_shape = torch.Size((1,))

    def forward(self, z):
        return td.Independent(td.Bernoulli(logits=torch.zeros(*z.shape[:-1], 1, dtype=z.dtype)), 1)


def optimal_variance(penalty, *, d=1, start=1.0, steps=150):
    """σ² at the optimum of −KL − penalty, by Rprop, whose steps shrink where the gradient changes sign."""
    model = VAE(FreeVariance(d, start), Indifferent(), StandardNormal(d)).double()
    objective = Objective({"fisher": penalty})
    optimiser = torch.optim.Rprop(model.parameters(), lr=0.01)
    x = torch.zeros(1, 1, dtype=torch.float64)
    for _ in range(steps):
        optimiser.zero_grad()
        objective(model, x).loss.backward()
        optimiser.step()
    return model.posterior.log_variance.detach().exp()


def gaussians(*variances):
    """A batch of posteriors, one a row of variances."""
    scale = torch.tensor(variances).sqrt()
    return td.Independent(td.Normal(torch.zeros_like(scale), scale), 1)


@pytest.mark.parametrize("weight", [0.05, 1.0, 10.0])
def test_at_f_0_the_variance_grows_to_its_closed_form(weight):
    variance = optimal_variance(FisherInformation(0, weight, reduction="none"))
    assert float(variance) == pytest.approx((1 + math.sqrt(1 + 8 * weight)) / 2, rel=1e-5)


@pytest.mark.parametrize("weight", [0.2, 1.0, 10.0])
@pytest.mark.parametrize("form", ["abs", "hinge"])
def test_at_f_20_the_variance_shrinks_to_a_twentieth(weight, form):
    variance = optimal_variance(FisherInformation(20, weight, form=form, reduction="none"))
    assert float(variance) == pytest.approx(1 / 20, rel=1e-5)


def test_below_the_weight_of_an_eighth_the_prior_wins_near_one():
    weight = 0.1
    variance = optimal_variance(FisherInformation(20, weight, reduction="none"))
    assert float(variance) == pytest.approx((1 + math.sqrt(1 - 8 * weight)) / 2, rel=1e-3)


@pytest.mark.parametrize(("reduction", "share"), [("none", 1.0), ("sum", 1.0), ("mean", 0.25)])
def test_the_mean_over_dimensions_divides_the_weight_by_d(reduction, share):
    variance = optimal_variance(FisherInformation(0, 2.0, reduction=reduction), d=4)
    expected = (1 + math.sqrt(1 + 8 * 2.0 * share)) / 2
    torch.testing.assert_close(variance, torch.full_like(variance, expected), rtol=1e-3, atol=0)


def test_f_20_lies_below_the_prior_for_the_sum_and_above_it_for_the_mean():
    prior = td.Independent(td.Normal(torch.zeros(1, 40), torch.ones(1, 40)), 1)
    hinged = {"weight": 1.0, "form": "hinge"}
    assert float(FisherInformation(20, reduction="sum", **hinged).of_distribution(prior)) == 0
    assert float(FisherInformation(20, reduction="mean", **hinged).of_distribution(prior)) == 19


def test_each_reduction_compares_its_own_quantity_with_f():
    posterior = gaussians([0.5, 0.25], [1.0, 1.0])  # J = (2, 4) and (1, 1)
    for reduction, gaps in (
        ("sum", (6 - 3, 3 - 2)),
        ("mean", (3 - 3, 3 - 1)),
        ("none", (1 + 1, 2 + 2)),
    ):
        penalty = FisherInformation(3, 0.5, reduction=reduction)
        expected = 0.5 * sum(gaps) / 2
        assert float(penalty.of_distribution(posterior)) == pytest.approx(expected, rel=1e-5)


def test_the_penalty_is_taken_for_each_image_before_the_average():
    posterior = gaussians([0.5], [0.25])  # J = 2 and 4: the mean is F, neither image is
    assert float(FisherInformation(3, 1.0).of_distribution(posterior)) == pytest.approx(1.0, rel=1e-5)


def test_below_f_the_target_and_the_form_do_not_change_the_gradient():
    gradients = []
    for target, form in ((20, "abs"), (100, "abs"), (20, "hinge")):
        log_variance = torch.linspace(-1, 1, 5).requires_grad_()
        scale = torch.exp(0.5 * log_variance)
        posterior = td.Independent(td.Normal(torch.zeros(5), scale), 1)
        FisherInformation(target, 0.7, form=form).of_distribution(posterior).backward()
        gradients.append(log_variance.grad)
    assert torch.equal(gradients[0], gradients[1])
    assert torch.equal(gradients[0], gradients[2])


def test_above_f_the_hinge_rests_and_the_absolute_value_pulls_back():
    for form, sign in (("abs", -1.0), ("hinge", 0.0)):
        log_variance = torch.tensor([-5.0], requires_grad=True)
        posterior = td.Independent(td.Normal(torch.zeros(1), torch.exp(0.5 * log_variance)), 1)
        FisherInformation(1, 1.0, form=form).of_distribution(posterior).backward()
        assert float(log_variance.grad.sign()) == sign


def test_the_decoders_term_acts_on_the_likelihood():
    posterior, likelihood = gaussians([1.0]), gaussians([0.1, 0.1])
    forward = ForwardPass(torch.zeros(1, 2), posterior, torch.zeros(1, 1), likelihood, StandardNormal(1)())
    encoder, decoder = FisherInformation(4, 1.0), FisherInformation(4, 1.0, of="likelihood")
    assert float(encoder(forward)) == pytest.approx(3, rel=1e-5)
    assert float(decoder(forward)) == pytest.approx(6, rel=1e-5)


def test_a_bernoulli_likelihood_has_no_fisher_information_to_control():
    bernoulli = td.Independent(td.Bernoulli(logits=torch.zeros(1, 2)), 1)
    with pytest.raises(TypeError, match="Bernoulli is discrete and has no location Fisher information"):
        FisherInformation(1, 1.0, of="likelihood").of_distribution(bernoulli)


def test_a_posterior_without_a_closed_form_is_controlled_by_monte_carlo():
    torch.manual_seed(0)
    scale = torch.full((1, 2), 0.5, requires_grad=True)
    flow = td.TransformedDistribution(
        td.Independent(td.Normal(torch.zeros(1, 2), 1.0), 1),
        [td.AffineTransform(0.0, scale, event_dim=1)],
    )
    value = FisherInformation(0, 1.0).of_distribution(flow)
    (gradient,) = torch.autograd.grad(value, scale)
    # 256 draws of two dimensions: relative error √(2/512) = 6 %
    assert value.item() == pytest.approx(4, rel=0.25)
    assert float(gradient.sum()) == pytest.approx(-2 * 4 / 0.5, rel=0.25)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"target": -1, "weight": 1}, "target"),
        ({"target": math.nan, "weight": 1}, "target"),
        ({"target": 1, "weight": -1}, "weight"),
        ({"target": 1, "weight": math.inf}, "weight"),
        ({"target": 1, "weight": 1, "of": "prior"}, "of"),
        ({"target": 1, "weight": 1, "form": "square"}, "form"),
        ({"target": 1, "weight": 1, "reduction": "max"}, "reduction"),
    ],
)
def test_wrong_options_are_named(options, named):
    with pytest.raises(ValueError, match=f"`{named}` must be"):
        FisherInformation(**options)
