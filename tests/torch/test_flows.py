"""Normalising flows: what sees what, exact densities both ways, and H and J of flows by Monte Carlo."""

import math

import pytest
import torch
from torch import distributions as td
from torch.autograd import functional as autograd

from infoplane_torch.autoregressive_flow import InverseAutoregressiveFlow, InverseAutoregressiveStep
from infoplane_torch.coupling_flow import Coupling, RealNVP
from infoplane_torch.information import (
    entropy,
    fisher_information,
    fisher_trace,
    has_closed_form,
    kl_divergence,
    monte_carlo,
    score,
)
from infoplane_torch.made import MADE, MaskedLinear

F64 = torch.float64


def noise(*shape):
    return td.Independent(td.Normal(torch.zeros(*shape, dtype=F64), torch.ones(*shape, dtype=F64)), 1)


def enlarge(module, factor):
    """Make the weights larger, so that a fresh flow is far from Gaussian."""
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if name.endswith("weight"):
                parameter.mul_(factor)
    return module.double()


def iaf(batch=(), d=2, steps=2, context_features=0, seed=0, factor=2.0):
    torch.manual_seed(seed)
    made = [
        enlarge(InverseAutoregressiveStep(d, hidden=(8, 8), context_features=context_features), factor)
        for _ in range(steps)
    ]
    context = torch.randn(*batch, context_features, dtype=F64) if context_features else None
    return InverseAutoregressiveFlow(noise(*batch, d), made, context)


def real_nvp(d=2, couplings=4, seed=0, factor=1.0):
    torch.manual_seed(seed)
    return RealNVP(noise(d), [enlarge(Coupling(d, hidden=(8, 8)), factor) for _ in range(couplings)])


FLOWS = {"iaf": iaf, "realnvp": real_nvp}


def grid(limit=12.0, count=301):
    axis = torch.linspace(-limit, limit, count, dtype=F64)
    return torch.cartesian_prod(axis, axis), float(axis[1] - axis[0]) ** 2


def foreign(z):
    """The same numbers in a tensor that the flow does not know."""
    return z.clone()


@pytest.mark.parametrize("hidden", [(), (7,), (16, 16), (3, 50)])
@pytest.mark.parametrize("context_features", [0, 3])
def test_each_output_of_made_sees_the_elements_before_it_and_the_context(hidden, context_features):
    torch.manual_seed(0)
    d = 5
    made = MADE(d, outputs=2, hidden=hidden, context_features=context_features).double()
    x = torch.randn(d, dtype=F64)
    context = torch.randn(context_features, dtype=F64) if context_features else None
    jacobian = autograd.jacobian(lambda x: made(x, context), x)  # (2, d, d)
    assert torch.equal(jacobian.triu(), torch.zeros_like(jacobian))
    if hidden != (3, 50):  # three units cannot keep four degrees apart
        before = torch.ones(d, d, dtype=torch.bool).tril(-1)
        assert bool((jacobian[:, before] != 0).all())
    if context_features:
        by_context = autograd.jacobian(lambda context: made(x, context), context)
        assert bool((by_context != 0).all())


def test_made_of_one_element_sees_its_context_alone():
    torch.manual_seed(0)
    made = MADE(1, hidden=(4,), context_features=2)
    context = torch.randn(2)
    assert torch.equal(made(torch.zeros(1), context), made(torch.ones(1), context))
    assert not torch.equal(made(torch.zeros(1), context), made(torch.zeros(1), -context))


def test_a_masked_layer_learns_nothing_where_it_does_not_see():
    torch.manual_seed(0)
    sees = torch.tensor([[True, False], [True, True]])
    layer = MaskedLinear(sees)
    layer(torch.randn(10, 2)).square().sum().backward()
    assert torch.equal(layer.weight.grad != 0, sees)


def test_the_jacobian_of_a_step_is_triangular_and_its_log_determinant_is_that_of_autograd():
    torch.manual_seed(0)
    step = enlarge(InverseAutoregressiveStep(4, hidden=(9,), context_features=2), 3.0)
    z, context = torch.randn(4, dtype=F64), torch.randn(2, dtype=F64)
    jacobian = autograd.jacobian(lambda z: step(z, context)[0], z)
    assert torch.equal(jacobian.triu(1), torch.zeros_like(jacobian))
    assert bool((jacobian.diagonal() > 0).all())
    torch.testing.assert_close(step(z, context)[1], torch.linalg.slogdet(jacobian).logabsdet)


def sequential_inverse(step, moved, context):
    """The slow and obvious inverse: one element after the other, with all in the graph."""
    z = torch.zeros_like(moved)
    for i in range(moved.shape[-1]):
        m, s = step._parts(z, context)
        element = (moved - (1 - s.sigmoid()) * m) / s.sigmoid()
        z = torch.where(torch.arange(moved.shape[-1]) == i, element, z)
    return z


def test_the_inverse_of_a_step_and_two_derivatives_of_it_are_those_of_the_sequential_one():
    torch.manual_seed(0)
    step = enlarge(InverseAutoregressiveStep(5, hidden=(8, 8), context_features=3), 2.0)
    moved = torch.randn(4, 3, 5, dtype=F64, requires_grad=True)
    context = torch.randn(3, 3, dtype=F64, requires_grad=True)
    results = []
    for inverse in (step.inverse, lambda *arguments: sequential_inverse(step, *arguments)):
        z = inverse(moved, context)
        total = (z.sin() * torch.arange(5)).sum()
        (first,) = torch.autograd.grad(total, moved, create_graph=True)
        second = torch.autograd.grad(first.square().sum() + total, [moved, context, *step.parameters()])
        plain = torch.autograd.grad(inverse(moved, context).sin().sum(), [moved, context, *step.parameters()])
        results.append((z, first, *second, *plain))
    for fast, slow in zip(*results, strict=True):
        torch.testing.assert_close(fast, slow, rtol=1e-9, atol=1e-11)


def test_inverting_stays_finite_where_guesses_overflow():
    torch.manual_seed(0)
    step = enlarge(InverseAutoregressiveStep(30, hidden=(60,), activation="relu"), 30.0).float()
    z = torch.randn(50, 30)
    moved, _ = step(z)
    back = step.inverse(moved)
    assert bool(torch.isfinite(back).all())
    # It may be ill-conditioned; the first element never is.
    torch.testing.assert_close(back[:, 0], z[:, 0], rtol=1e-3, atol=1e-3)


def test_without_context_the_inverse_has_gradients_too():
    flow = iaf(d=3)
    value = torch.randn(4, 3, dtype=F64, requires_grad=True)
    assert torch.autograd.gradcheck(flow.log_prob, value)
    assert torch.autograd.gradgradcheck(flow.log_prob, value)


@pytest.mark.parametrize("flow", FLOWS.values(), ids=FLOWS.keys())
def test_the_density_of_a_flow_integrates_to_one(flow):
    points, area = grid()
    with torch.no_grad():
        total = flow().log_prob(points).exp().sum() * area
    # The trapezoidal rule is exact to far more for smooth densities; the tails beyond 12 are below this.
    assert float(total) == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize("flow", FLOWS.values(), ids=FLOWS.keys())
def test_draws_follow_the_density(flow):
    flow = flow()
    points, area = grid()
    with torch.no_grad():
        density = flow.log_prob(points).exp() * area
        z = flow.sample((40_000,))
        for statistic in (
            lambda z: z[:, 0],
            lambda z: z[:, 1],
            lambda z: z[:, 0] * z[:, 1],
            lambda z: z[:, 1] ** 2,
        ):
            exact = (density * statistic(points)).sum()
            error = statistic(z).std() / math.sqrt(len(z))
            assert abs(float(statistic(z).mean() - exact)) < 4 * float(error)


@pytest.mark.parametrize("d", [1, 2, 7])
def test_a_draw_of_an_iaf_and_the_same_value_from_elsewhere_have_one_density(d):
    flow = iaf(batch=(3,), d=d, steps=3, context_features=4)
    z, log_q = flow.rsample_with_log_prob((5,))
    assert z.shape == (5, 3, d)
    assert log_q.shape == (5, 3)
    assert flow.log_prob(z) is log_q
    assert torch.equal(flow.log_prob(z.unsqueeze(0)), log_q.unsqueeze(0))
    torch.testing.assert_close(flow.log_prob(foreign(z)), log_q)
    exact = flow.base.log_prob(flow.base.mean) - torch.stack(
        [
            torch.linalg.slogdet(autograd.jacobian(lambda e, b=b: flow._move(e)[0][b], flow.base.mean)[:, b])[
                1
            ]
            for b in range(3)
        ]
    )
    torch.testing.assert_close(flow.log_prob(flow.center), exact)


def test_the_density_left_by_a_draw_is_given_for_that_draw_alone():
    flow = iaf(batch=(3,), context_features=2)
    first = flow.sample()
    kept = flow.log_prob(first)
    second = flow.sample()
    assert not torch.equal(flow.log_prob(second), kept)
    torch.testing.assert_close(flow.log_prob(first), kept)
    second.mul_(2.0)
    torch.testing.assert_close(flow.log_prob(second), flow.log_prob(foreign(second)))
    third = flow.sample().requires_grad_()
    assert flow.log_prob(third).requires_grad  # by z, which what is left behind does not know
    with torch.inference_mode():
        z = flow.sample()
        torch.testing.assert_close(flow.log_prob(z), flow.log_prob(foreign(z)))


def test_the_gradient_of_log_q_is_total_at_a_draw_and_partial_at_a_constant():
    flow = iaf(batch=(3,), context_features=2)
    weights = [parameter for step in flow.steps for parameter in step.parameters()]
    z = flow.rsample((4,))
    kept = torch.autograd.grad(flow.log_prob(z).sum(), weights, retain_graph=True)
    total = torch.autograd.grad(flow.log_prob(foreign(z)).sum(), weights, retain_graph=True)
    partial = torch.autograd.grad(flow.log_prob(z.detach()).sum(), weights)
    for one, other in zip(kept, total, strict=True):
        torch.testing.assert_close(one, other)
    assert any(not torch.allclose(one, other) for one, other in zip(kept, partial, strict=True))


def test_one_draw_gives_the_kl_divergence_and_its_gradient_without_an_inversion(monkeypatch):
    flow = iaf(batch=(3,), context_features=2)
    monkeypatch.setattr(InverseAutoregressiveStep, "inverse", None)
    z = flow.rsample()
    kl = kl_divergence(flow, noise(2), z=z.unsqueeze(0))
    torch.testing.assert_close(kl, flow.log_prob(z) - noise(2).log_prob(z))
    kl.sum().backward()
    assert all(parameter.grad is not None for step in flow.steps for parameter in step.parameters())
    many = flow.sample((50,))
    assert kl_divergence(flow, noise(2), z=many).shape == (3,)
    assert entropy(flow).shape == (3,)


@pytest.mark.parametrize("flow", FLOWS.values(), ids=FLOWS.keys())
def test_the_score_of_a_flow_is_its_finite_difference(flow):
    flow = flow()
    z = flow.sample((6,))
    s = score(flow, z)
    h = 1e-5
    for i in range(2):
        shift = h * torch.eye(2, dtype=F64)[i]
        difference = (flow.log_prob(z + shift) - flow.log_prob(z - shift)) / (2 * h)
        torch.testing.assert_close(s[:, i], difference, rtol=1e-6, atol=1e-6)
    with torch.no_grad():
        torch.testing.assert_close(score(flow, z), s)


@pytest.mark.parametrize("flow", FLOWS.values(), ids=FLOWS.keys())
def test_entropy_and_fisher_information_of_a_flow_agree_with_quadrature(flow):
    flow = flow()
    points, area = grid()
    with torch.no_grad():
        log_q = flow.log_prob(points)
        s = score(flow, points)
        exact = {
            "entropy": -(log_q.exp() * log_q).sum() * area,
            "fisher_information": torch.einsum("n,ni,nj->ij", log_q.exp() * area, s, s),
        }
        exact["fisher_trace"] = exact["fisher_information"].trace()
        assert not has_closed_form(flow)
        torch.manual_seed(0)
        for quantity, truth in exact.items():
            estimate = monte_carlo(quantity, flow, num_samples=5_000)
            assert float(((estimate.value - truth) / estimate.standard_error).abs().max()) < 4
            assert float((estimate.standard_error / truth.abs().max()).max()) < 0.1
        assert fisher_information(flow, num_samples=50).shape == (2, 2)


def test_the_fisher_information_of_an_iaf_is_differentiable():
    flow = iaf(steps=2)
    bias = flow.steps[1].made.layers[-1].bias

    def trace():
        torch.manual_seed(0)
        return fisher_trace(flow, num_samples=20)

    (gradient,) = torch.autograd.grad(trace(), bias)
    h = 1e-5
    for i in range(len(bias)):
        values = []
        for sign in (1, -1):
            with torch.no_grad():
                bias[i] += sign * h
                values.append(trace())
                bias[i] -= sign * h
        assert float(gradient[i]) == pytest.approx(float(values[0] - values[1]) / (2 * h), rel=1e-4, abs=1e-6)


def test_a_linear_flow_is_the_gaussian_that_it_must_be():
    # m = W z + b with a constant gate is linear: z' is normal with covariance J Jᵀ.
    torch.manual_seed(0)
    step = InverseAutoregressiveStep(3, hidden=()).double()
    with torch.no_grad():
        step.made.layers[0].weight[3:] = 0
    flow = InverseAutoregressiveFlow(noise(3), [step])
    jacobian = autograd.jacobian(lambda z: step(z)[0], torch.zeros(3, dtype=F64))
    gaussian = td.MultivariateNormal(flow.center, jacobian @ jacobian.T)
    z = torch.randn(10, 3, dtype=F64)
    torch.testing.assert_close(flow.log_prob(z), gaussian.log_prob(z))
    torch.testing.assert_close(score(flow, z).detach(), score(gaussian, z).detach())


def test_an_iaf_learns_a_bent_density_that_no_gaussian_fits():
    def log_target(z):  # z_1 ~ N(0, 1), z_2 = z_1² − 1 + 0.4 ε
        return td.Normal(0.0, 1.0).log_prob(z[:, 0]) + td.Normal(z[:, 0] ** 2 - 1, 0.4).log_prob(z[:, 1])

    def fitted_kl(steps):
        torch.manual_seed(0)
        flows = torch.nn.ModuleList(InverseAutoregressiveStep(2, hidden=(16,)) for _ in range(steps))
        base = torch.nn.Parameter(torch.zeros(2, 2))  # mean and log scale

        def q():
            return InverseAutoregressiveFlow(
                td.Independent(td.Normal(base[0], base[1].exp()), 1), list(flows)
            )

        optimizer = torch.optim.Adam([base, *flows.parameters()], lr=0.03)
        for _ in range(300):
            z, log_q = q().rsample_with_log_prob((128,))
            loss = (log_q - log_target(z)).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        with torch.no_grad():
            z, log_q = q().rsample_with_log_prob((5000,))
            return float((log_q - log_target(z)).mean())

    # A KL, so at least 0 but for the noise of 5,000 draws; the best diagonal Gaussian is held to one branch.
    assert fitted_kl(0) > 0.5
    assert -0.02 < fitted_kl(2) < 0.25


@pytest.mark.parametrize("d", [2, 3, 5])
def test_a_coupling_is_inverted_exactly_and_knows_its_determinant(d):
    torch.manual_seed(0)
    coupling = enlarge(Coupling(d, hidden=(6,)), 3.0)
    z = torch.randn(4, d, dtype=F64)
    moved, log_det = coupling(z)
    back, again = coupling.inverse(moved)
    torch.testing.assert_close(back, z)
    torch.testing.assert_close(again, log_det)
    for i in range(4):
        jacobian = autograd.jacobian(lambda z: coupling(z[None])[0][0], z[i])
        torch.testing.assert_close(torch.linalg.slogdet(jacobian).logabsdet, log_det[i])


def test_every_element_is_moved_by_two_couplings():
    flow = real_nvp(d=3, couplings=2)
    jacobian = autograd.jacobian(
        lambda e: flow.couplings[1](flow.couplings[0](e)[0].flip(-1))[0], torch.ones(3, dtype=F64)
    )
    assert bool((jacobian != torch.eye(3).flip(-1)).any(dim=1).all())


@pytest.mark.parametrize("flow", FLOWS.values(), ids=FLOWS.keys())
def test_a_seed_decides_the_draws(flow):
    flow = flow()
    torch.manual_seed(3)
    first = flow.sample((4,))
    torch.manual_seed(3)
    assert torch.equal(flow.sample((4,)), first)
    assert not first.requires_grad
    assert flow.rsample((4,)).requires_grad


def test_impossible_flows_are_refused():
    with pytest.raises(ValueError, match="`features` must be at least 2"):
        Coupling(1)
    with pytest.raises(ValueError, match="`context_features` at least 0, got 3, 1, \\(0,\\) and 0"):
        MADE(3, hidden=(0,))
    with pytest.raises(ValueError, match="`activation` must be one of"):
        InverseAutoregressiveStep(3, activation="swoosh")
