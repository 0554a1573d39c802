"""Networks and what guards their output."""

import math

import pytest
import torch

from infoplane_torch.networks import ACTIVATIONS, MLP, at_least_float32, scale_from_log_variance


def test_the_default_network_has_the_papers_five_layers_of_300():
    linear = [layer for layer in MLP(784, 80) if isinstance(layer, torch.nn.Linear)]
    assert [layer.out_features for layer in linear] == [300, 300, 300, 300, 300, 80]


def test_a_network_without_hidden_layers_is_linear():
    network = MLP(6, 2, hidden=())
    a, b = torch.randn(2, 1, 2, 3).unbind(0)
    zero = network(torch.zeros(1, 2, 3))
    torch.testing.assert_close(
        network((a + b)[None, 0]) - zero, network(a) + network(b) - 2 * zero, rtol=1e-4, atol=1e-6
    )


@pytest.mark.parametrize("activation", sorted(ACTIVATIONS))
def test_gradients_reach_every_parameter(activation):
    torch.manual_seed(0)
    network = MLP(6, 2, hidden=(5, 4), activation=activation)
    network(torch.randn(8, 6)).square().sum().backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in network.parameters())


def test_wrong_sizes_and_activations_are_named():
    with pytest.raises(ValueError, match="`activation` must be one of"):
        MLP(2, 2, activation="swoosh")
    with pytest.raises(ValueError, match="layer widths must be at least 1"):
        MLP(2, 2, hidden=(0,))


@pytest.mark.parametrize("log_variance", [-1e30, -500.0, 500.0, 1e30])
def test_no_log_variance_overflows(log_variance):
    scale = scale_from_log_variance(torch.tensor(log_variance))
    bound = math.copysign(7.0, log_variance)
    assert float(scale) == pytest.approx(math.exp(bound), rel=1e-5)
    assert torch.isfinite(scale.pow(-2))


def test_half_precision_is_lifted_and_double_is_kept():
    for given, lifted in (
        (torch.bfloat16, torch.float32),
        (torch.float16, torch.float32),
        (torch.float32, torch.float32),
        (torch.float64, torch.float64),
    ):
        assert at_least_float32(torch.zeros(2, dtype=given)).dtype == lifted
