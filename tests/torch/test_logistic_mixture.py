"""The discretised logistic mixture: probabilities of levels, gradients at the edges, draws and means."""

import itertools
import math

import pytest
import torch

from infoplane_torch.information import fisher_trace
from infoplane_torch.logistic_mixture import DiscretizedLogisticMixture

F64 = torch.float64


def mixture(channels=3, components=2, levels=256, shape=(), size=(1, 1), scale=1.0, seed=0):
    generator = torch.Generator().manual_seed(seed)
    outputs = DiscretizedLogisticMixture.outputs(channels, components)
    parameters = scale * torch.randn(*shape, outputs, *size, generator=generator, dtype=F64)
    return DiscretizedLogisticMixture(parameters, channels, levels=levels)


def sigmoid(t):
    return 1 / (1 + math.exp(-t)) if t > 0 else math.exp(t) / (1 + math.exp(t))


def slow_probability(parameters, levels, x):
    """P(x) of one pixel with channels x, by the definition: sums of differences of sigmoids, in doubles."""
    channels = len(x)
    pairs = channels * (channels - 1) // 2
    components = len(parameters) // (1 + 2 * channels + pairs)
    weights = [math.exp(w) for w in parameters[:components]]
    total = 0.0
    y = [2 * value - 1 for value in x]
    for k in range(components):
        start = components + k * channels
        means = parameters[start : start + channels]
        scales = parameters[start + components * channels :][:channels]
        coefficients = parameters[components * (1 + 2 * channels) + k * pairs :][:pairs]
        p = weights[k] / sum(weights)
        for c in range(channels):
            row = coefficients[c * (c - 1) // 2 :][:c]
            mean = means[c] + sum(math.tanh(a) * y[j] for j, a in enumerate(row))
            s = math.exp(min(max(scales[c], -7), 7))
            top = 1.0 if x[c] == 1 else sigmoid((y[c] + 1 / (levels - 1) - mean) / s)
            bottom = 0.0 if x[c] == 0 else sigmoid((y[c] - 1 / (levels - 1) - mean) / s)
            p *= top - bottom
        total += p
    return total


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_a_pixel_has_the_probability_of_the_definition(channels):
    images = mixture(channels, 3, levels=11)
    for x in ((0.0,) * channels, (1.0,) * channels, (0.0, 1.0, 0.3, 0.7)[:channels], (0.5,) * channels):
        expected = slow_probability(images.parameters.flatten().tolist(), 11, x)
        found = images.log_prob(torch.tensor(x, dtype=F64).reshape(-1, 1, 1))
        assert float(found) == pytest.approx(math.log(expected), rel=1e-9)


@pytest.mark.parametrize("scale", [0.3, 1.0, 10.0])
def test_the_probabilities_of_256_levels_sum_to_one(scale):
    levels = torch.arange(256, dtype=F64) / 255
    images = mixture(1, 5, shape=(20,), scale=scale)
    total = images.log_prob(levels.reshape(256, 1, 1, 1, 1)).exp().sum(0)
    torch.testing.assert_close(total, torch.ones(20, dtype=F64), rtol=0, atol=1e-12)


@pytest.mark.parametrize("channel", [1, 2])
def test_each_channel_given_those_before_it_sums_to_one_over_256_levels(channel):
    # Sums of the joint over a channel and those behind it are the probability of the channels before.
    images = mixture(3, 1, scale=2.0)
    levels = torch.arange(256, dtype=F64) / 255
    x = torch.tensor([0.2, 0.8, 0.4], dtype=F64).mul(255).round().div(255).repeat(256, 1)
    x[:, channel] = levels
    if channel == 2:
        joint = images.log_prob(x[..., None, None]).exp().sum()
        first = slow_probability_of_first(images, x[0, :2].tolist())
        assert float(joint) == pytest.approx(first, rel=1e-9)
    else:
        blue = torch.arange(256, dtype=F64) / 255
        pairs = x.repeat_interleave(256, 0)
        pairs[:, 2] = blue.repeat(256)
        joint = images.log_prob(pairs[..., None, None]).exp().sum()
        assert float(joint) == pytest.approx(slow_probability_of_first(images, x[0, :1].tolist()), rel=1e-9)


def slow_probability_of_first(images, x):
    """Probability of the first channels alone, of a single component: that of a pixel with fewer channels."""
    logit, *rest = images.parameters.flatten().tolist()
    means, scales, coefficients = rest[:3], rest[3:6], rest[6:]
    n = len(x)
    return slow_probability([logit, *means[:n], *scales[:n], *coefficients[: n * (n - 1) // 2]], 256, x)


def test_the_probabilities_of_all_colour_images_sum_to_one():
    every = torch.tensor(list(itertools.product((0.0, 0.5, 1.0), repeat=6)), dtype=F64).reshape(-1, 3, 1, 2)
    total = mixture(3, 4, levels=3, size=(1, 2)).log_prob(every).exp().sum()
    assert float(total) == pytest.approx(1.0, abs=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, F64])
@pytest.mark.parametrize("mean", [-1e4, -1.0, 0.0, 1.0, 1e4])
@pytest.mark.parametrize("log_scale", [-1e4, -7.0, 0.0, 1e4])
def test_log_probabilities_and_gradients_are_finite_at_extremes(mean, log_scale, dtype):
    parameters = torch.tensor([0.0, mean, log_scale], dtype=dtype).reshape(3, 1, 1).requires_grad_()
    x = torch.tensor([0.0, 1 / 255, 0.2, 1.0], dtype=dtype).reshape(4, 1, 1, 1)
    log_p = DiscretizedLogisticMixture(parameters, 1).log_prob(x)
    log_p.sum().backward()
    assert torch.isfinite(log_p).all()
    assert torch.isfinite(parameters.grad).all()
    assert (log_p <= 0).all()


def test_a_level_far_from_the_mean_has_the_logarithm_of_the_tail():
    # (σ(a) − σ(b)) → e^a (1 − e^(b − a)) for a → −∞, where the sigmoids themselves are 0 in float32.
    s, x, mean = math.exp(-7), 100 / 255, 1.0
    parameters = torch.tensor([0.0, mean, -7.0]).reshape(3, 1, 1)
    found = DiscretizedLogisticMixture(parameters, 1).log_prob(torch.tensor(x).reshape(1, 1, 1))
    a, width = (2 * x - 1 + 1 / 255 - mean) / s, 2 / 255 / s
    assert float(found) == pytest.approx(a + math.log1p(-math.exp(-width)), rel=1e-6)


def test_log_probabilities_are_differentiable_to_second_order():
    parameters = mixture(2, 2, levels=5).parameters.requires_grad_()
    x = torch.tensor([0.0, 0.75], dtype=F64).reshape(2, 1, 1)

    def log_p(parameters):
        return DiscretizedLogisticMixture(parameters, 2, levels=5).log_prob(x)

    assert torch.autograd.gradcheck(log_p, parameters)
    assert torch.autograd.gradgradcheck(log_p, parameters)


def test_draws_have_the_probabilities_they_are_said_to_have():
    torch.manual_seed(0)
    images = mixture(2, 3, levels=4)
    n = 40_000
    steps = (images.sample((n,)) * 3).round().long().reshape(n, 2)
    counts = torch.bincount(4 * steps[:, 0] + steps[:, 1], minlength=16)
    every = torch.tensor(list(itertools.product(range(4), repeat=2)), dtype=F64).reshape(-1, 2, 1, 1) / 3
    expected = n * images.log_prob(every).exp()
    chi_square = float(((counts - expected).square() / expected).sum())
    assert chi_square < 37.7  # 15 degrees of freedom, passed once in 1,000 seeds


def test_the_pixels_of_a_draw_lie_in_the_support_and_differ():
    torch.manual_seed(0)
    images = mixture(3, 2, shape=(2, 1), size=(4, 5))
    drawn = images.sample((3,))
    assert drawn.shape == (3, 2, 1, 3, 4, 5)
    assert images.support.check(drawn).all()
    assert not images.support.check(drawn + 0.3 / 255).any()
    assert len(drawn.unique()) > 50


@pytest.mark.parametrize("log_scale", [-4.0, -1.0, 1.0])
@pytest.mark.parametrize("mean", [-1.5, 0.0, 0.9])
def test_the_mean_of_a_grey_pixel_is_that_of_its_levels_but_for_rounding(mean, log_scale):
    parameters = torch.tensor([0.0, mean, log_scale], dtype=F64).reshape(3, 1, 1)
    images = DiscretizedLogisticMixture(parameters, 1)
    levels = (torch.arange(256, dtype=F64) / 255).reshape(256, 1, 1, 1)
    exact = float((images.log_prob(levels).exp() * levels.flatten()).sum())
    assert float(images.mean) == pytest.approx(exact, abs=1e-4)


def test_the_mean_of_a_colour_pixel_far_from_the_edges_is_that_of_its_draws():
    torch.manual_seed(0)
    images = mixture(3, 2, scale=0.3)
    narrow = images.parameters.clone()
    narrow[8:14] = -3.0  # log scales
    images = DiscretizedLogisticMixture(narrow, 3)
    drawn = images.sample((20_000,))
    error = drawn.std(0) / 20_000**0.5
    assert (((drawn.mean(0) - images.mean) / error).abs() < 4).all()


def test_codes_and_images_broadcast():
    images = mixture(1, 2, shape=(7, 5), size=(2, 2))
    x = images.sample()
    assert images.log_prob(x[0]).shape == (7, 5)
    assert images.log_prob(x[0, 0]).shape == (7, 5)
    torch.testing.assert_close(images.log_prob(x[0])[3], torch.stack([
        DiscretizedLogisticMixture(images.parameters[3, i], 1).log_prob(x[0, i]) for i in range(5)
    ]))  # fmt: skip


def test_what_it_is_not_is_said():
    with pytest.raises(
        ValueError, match=r"must have shape \(\.\.\., a multiple of 10, H, W\) for 3 channels"
    ):
        DiscretizedLogisticMixture(torch.zeros(11, 2, 2), 3)
    with pytest.raises(ValueError, match="`levels` must be at least 2, got 1"):
        DiscretizedLogisticMixture(torch.zeros(10, 2, 2), 3, levels=1)
    with pytest.raises(TypeError, match="is discrete and has no location Fisher information"):
        fisher_trace(mixture())
