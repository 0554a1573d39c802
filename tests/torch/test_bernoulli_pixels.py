"""Bernoulli pixels against PyTorch's own."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import distributions

from infoplane_torch.bernoulli_pixels import BernoulliPixels


def both(logits, dims):
    pixels = distributions.Bernoulli(logits=logits, validate_args=False)
    return [kind(pixels, dims, validate_args=False) for kind in (BernoulliPixels, distributions.Independent)]


def sample(shape, scale, dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    logits = scale * torch.randn(shape, generator=generator, dtype=dtype)
    x = torch.bernoulli(torch.full(shape, 0.3, dtype=dtype), generator=generator)
    return x, logits.requires_grad_()


@pytest.mark.parametrize("shape", [(7, 5, 1, 28, 28), (2, 3, 8, 8), (5, 101), (4, 1)])
@pytest.mark.parametrize("scale", [0.1, 8.0, 1e3])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_log_probabilities_and_gradients_are_pytorchs(shape, scale, dtype):
    dims = min(3, len(shape) - 1)
    x, logits = sample(shape, scale, dtype)
    x = x[0]  # to be broadcast
    mine, theirs = (d.log_prob(x) for d in both(logits, dims))
    assert mine.shape == theirs.shape
    assert mine.dtype == dtype
    # σ near 1, whose logarithm is small, is rounded to ε: by so much can each pixel be off.
    eps = torch.finfo(dtype).eps
    torch.testing.assert_close(mine, theirs, rtol=4 * eps, atol=4 * torch.Size(shape[-dims:]).numel() * eps)
    expected = torch.autograd.grad(theirs.square().sum(), logits)[0]
    found = torch.autograd.grad(mine.square().sum(), logits)[0]
    torch.testing.assert_close(found, expected, rtol=1e3 * eps, atol=float(expected.abs().max()) * 10 * eps)


@given(st.floats(-1e30, 1e30), st.sampled_from([0.0, 1.0]))
def test_any_logit_gives_a_finite_number_that_is_never_above_zero(logit, x):
    found = BernoulliPixels(distributions.Bernoulli(logits=torch.tensor([logit])), 1).log_prob(
        torch.tensor([x])
    )
    assert torch.isfinite(found)
    assert found <= 0


def test_derivatives_of_both_arguments_are_right_to_second_order():
    def value(x, logits):
        return both(logits, 1)[0].log_prob(x)

    x, logits = sample((3, 12), 2.0)
    x.requires_grad_()
    assert torch.autograd.gradcheck(value, (x, logits))
    assert torch.autograd.gradgradcheck(value, (x, logits))
    mapped = torch.vmap(torch.func.grad(value, argnums=1))(x, logits)
    torch.testing.assert_close(mapped, torch.autograd.grad(value(x, logits).sum(), logits)[0])


def test_it_is_still_a_distribution_of_torch():
    x, logits = sample((4, 1, 6, 6), 1.0)
    mine, theirs = both(logits, 3)
    assert mine.event_shape == theirs.event_shape
    torch.testing.assert_close(mine.mean, theirs.mean)
    larger = mine.expand((2, 4))
    torch.testing.assert_close(larger.log_prob(x), mine.log_prob(x).expand(2, 4))
    with pytest.raises(ValueError, match="support"):
        BernoulliPixels(distributions.Bernoulli(logits=logits), 3).log_prob(x / 2)
