"""The Fisher-information penalty, and where it takes the variance."""

import math
import typing

import pytest
import torch
from torch import distributions as td
from torch import nn

from infoplane_torch.discrepancy import MMD
from infoplane_torch.objective import Objective
from infoplane_torch.penalties import FisherConstraint, FisherInformation
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


def constrained_variance(penalty, *, d, steps=800):
    """σ² after Adam has minimised KL + penalty, and the objective, whose multiplier has moved with it."""
    model = VAE(FreeVariance(d, 1.0), Indifferent(), StandardNormal(d)).double()
    objective = Objective({"fisher": penalty})
    optimiser = torch.optim.Adam(model.parameters(), lr=0.02)
    x = torch.zeros(1, 1, dtype=torch.float64)
    for _ in range(steps):
        optimiser.zero_grad()
        objective(model, x).loss.backward()
        optimiser.step()
    return model.posterior.log_variance.detach().exp(), objective


@pytest.mark.parametrize("target", [0.5, 5.0, 20.0])
def test_the_lagrangian_meets_f_to_one_per_cent_where_a_small_weight_does_not(target):
    d = 3
    leaning, _ = constrained_variance(FisherInformation(target, 0.1), d=d, steps=300)
    assert abs(float((1 / leaning).mean()) / target - 1) > 0.1
    variance, objective = constrained_variance(FisherInformation(target, 10.0, form="lagrangian"), d=d)
    assert float((1 / variance).mean()) == pytest.approx(target, rel=0.01)
    # KL has the slope ½(σ² − 1) in each log σ², the gap −1 in all: so the multiplier ends at d/2 (1/F − 1).
    multiplier = float(objective.modules["fisher"].multiplier)
    assert multiplier == pytest.approx(d / 2 * (1 / target - 1), rel=0.03)


def lagrangian(target=2.0, weight=10.0, **options):
    return FisherConstraint(FisherInformation(target, weight, form="lagrangian", **options))


def test_the_lagrangian_is_the_multiplier_times_the_gap_plus_the_squares_of_the_images_gaps():
    posterior = gaussians([1.0], [0.25])  # J = 1 and 4
    squares = (math.log(1 / 2) ** 2 + math.log(4 / 2) ** 2) / 2
    constraint = lagrangian().eval()
    assert float(constraint.of_distribution(posterior)) == pytest.approx(5 * squares, rel=1e-5)
    constraint.multiplier.fill_(0.7)
    expected = 0.7 * math.log(2.5 / 2) + 5 * squares
    assert float(constraint.of_distribution(posterior)) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(("target", "gap"), [(2.4, math.log(2.5 / 2.4)), (2.0, 0.1), (20.0, -0.1)])
def test_the_multiplier_moves_in_training_alone_by_a_hundredth_of_the_weighted_gap_up_to_a_tenth(target, gap):
    posterior = gaussians([1.0], [0.25])  # J = 1 and 4
    constraint = lagrangian(target, weight=10.0)
    for count in (1, 2):
        constraint.of_distribution(posterior)
        assert float(constraint.multiplier) == pytest.approx(count * 10 / 100 * gap, rel=1e-4)
    with torch.no_grad():
        constraint.of_distribution(posterior)
    constraint.eval().of_distribution(posterior)
    assert float(constraint.multiplier) == pytest.approx(2 * 10 / 100 * gap, rel=1e-4)


def test_the_gradient_of_the_lagrangian_is_that_of_the_multiplier_it_was_taken_with():
    constraint = lagrangian(target=2.0, weight=10.0)
    constraint.multiplier.fill_(0.3)
    log_variance = torch.zeros(1, 1, requires_grad=True)
    posterior = td.Independent(td.Normal(torch.zeros(1, 1), torch.exp(0.5 * log_variance)), 1)
    constraint.of_distribution(posterior).backward()
    assert log_variance.grad.item() == pytest.approx(-(0.3 + 10 * math.log(1 / 2)), rel=1e-5)


def test_a_multiplier_survives_its_state_dict_and_carries_no_gradient():
    first, second = lagrangian(), lagrangian()
    first.of_distribution(gaussians([1.0]))
    second.load_state_dict(first.state_dict())
    assert torch.equal(first.multiplier, second.multiplier)
    assert float(second.multiplier) != 0
    assert not second.multiplier.requires_grad
    assert list(second.parameters()) == []


def test_the_constraint_acts_on_the_decoder_too():
    forward = ForwardPass(
        torch.zeros(1, 2), gaussians([1.0]), torch.zeros(1, 1), gaussians([0.1, 0.1]), StandardNormal(1)()
    )
    terms = lagrangian(target=10.0, of="likelihood")(forward)
    assert float(terms.penalty) == pytest.approx(0, abs=1e-5)
    assert terms.auxiliary is None
    assert float(terms.watched["multiplier"]) == 0


def test_a_lagrangian_without_a_place_for_its_multiplier_is_refused():
    penalty = FisherInformation(2, 1.0, form="lagrangian")
    with pytest.raises(ValueError, match=r"has a multiplier to keep: call FisherConstraint"):
        penalty.of_distribution(gaussians([1.0]))
    with pytest.raises(ValueError, match=r"`settings` must have form=\"lagrangian\", got 'abs'"):
        FisherConstraint(FisherInformation(2, 1.0))


@pytest.mark.parametrize(
    ("options", "named"),
    [({"target": 0}, "target"), ({"weight": 0}, "weight"), ({"reduction": "none"}, "reduction")],
)
def test_a_constraint_that_cannot_be_met_is_refused(options, named):
    with pytest.raises(ValueError, match=f"`{named}` must be .* with form"):
        FisherInformation(**{"target": 1, "weight": 1, **options}, form="lagrangian")


def naive_mmd(codes, draws, kernel):
    """Σ over i ≠ j of k(z, z') + k(y, y') − 2 k(z, y'), over B (B − 1)."""
    count = len(codes)
    total = 0.0
    for i in range(count):
        for j in range(count):
            if i != j:
                total += float(kernel(codes[i] - codes[j]) + kernel(draws[i] - draws[j]))
                total -= 2 * float(kernel(codes[i] - draws[j]))
    return total / (count * (count - 1))


@pytest.mark.parametrize("name", ["inverse multiquadratic", "gaussian"])
def test_the_mmd_is_the_u_statistic_of_its_kernel(name):
    generator = torch.Generator().manual_seed(1)
    codes, draws = torch.randn(2, 7, 3, generator=generator, dtype=torch.float64)
    c = 2 * 3 * 0.8**2
    kernels = {
        "inverse multiquadratic": lambda u: c / (c + u @ u),
        "gaussian": lambda u: torch.exp(-u @ u / c),
    }
    value = MMD(2.5, kernel=name, scale=0.8).of_codes(codes + 1, draws)
    assert float(value) == pytest.approx(2.5 * naive_mmd(codes + 1, draws, kernels[name]), rel=1e-10)


@pytest.mark.parametrize("shift", [0.0, 1.0])
def test_the_mmd_is_unbiased_and_may_be_negative(shift):
    # For codes N(m, I), |z − z'|² is 2χ² with or without the shift: with the Gaussian kernel exp(−|u|²/c),
    # E k = (1 + 4/c)^(−d/2) exp(−δ²/(c + 4)), δ = 0 within a sample and |m| between the two.
    d, count, repeats = 2, 20, 1000
    c = 2 * d
    generator = torch.Generator().manual_seed(2)
    mean = torch.full((d,), shift)
    values = torch.stack(
        [
            MMD(1.0, kernel="gaussian").of_codes(
                torch.randn(count, d, generator=generator) + mean, torch.randn(count, d, generator=generator)
            )
            for _ in range(repeats)
        ]
    )
    distance = float(mean.square().sum())
    exact = 2 * (1 + 4 / c) ** (-d / 2) * (1 - math.exp(-distance / (c + 4)))
    assert abs(float(values.mean()) - exact) < 4 * float(values.std()) / math.sqrt(repeats)
    assert shift or bool((values < 0).any())


def test_the_mmd_draws_codes_to_the_prior_and_ignores_a_single_image():
    torch.manual_seed(0)
    z = (torch.randn(200, 2) + 2).requires_grad_()
    forward = ForwardPass(torch.zeros(200, 1), gaussians([1.0]), z, gaussians([1.0]), StandardNormal(2)())
    MMD(1.0)(forward).backward()
    assert bool((z.grad.mean(0) > 0).all())
    single = forward._replace(z=z[:1])
    assert MMD(1.0)(single).item() == 0


def test_codes_and_draws_of_different_shapes_are_refused():
    with pytest.raises(
        ValueError, match=r"`codes` and `draws` must have one shape \(B, d\), got \(3, 2\) and"
    ):
        MMD(1.0).of_codes(torch.zeros(3, 2), torch.zeros(4, 2))


@pytest.mark.parametrize(
    ("options", "named"),
    [({"weight": -1}, "weight"), ({"scale": 0}, "scale"), ({"kernel": "linear"}, "kernel")],
)
def test_wrong_options_of_the_mmd_are_named(options, named):
    with pytest.raises(ValueError, match=f"`{named}` must be"):
        MMD(**{"weight": 1, **options})


@pytest.mark.parametrize("form", ["abs", "lagrangian"])
def test_j_without_a_closed_form_is_taken_from_as_many_draws_as_asked(form):
    class Counting(td.Distribution):
        """A standard normal that torch does not know, and that counts the draws."""

        arg_constraints: typing.ClassVar = {}
        has_rsample = True
        support = td.constraints.independent(td.constraints.real, 1)

        def __init__(self):
            self.normal, self.counts = td.Independent(td.Normal(torch.zeros(3, 2), 1.0), 1), []
            super().__init__(torch.Size((3,)), torch.Size((2,)))

        def rsample(self, shape):
            self.counts.append(shape[0])
            return self.normal.rsample(shape)

        def log_prob(self, value):
            return self.normal.log_prob(value)

    torch.manual_seed(0)
    settings = FisherInformation(20, 1.0, form=form, num_samples=7)
    penalty = FisherConstraint(settings) if form == "lagrangian" else settings
    posterior = Counting()
    penalty.of_distribution(posterior)
    assert posterior.counts == [7]
    with pytest.raises(ValueError, match="`num_samples` must be at least 2, got 1"):
        FisherInformation(20, 1.0, num_samples=1)
