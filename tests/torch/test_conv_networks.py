"""Convolutional encoders and decoders."""

import pytest
import torch

from infoplane_torch.conv_networks import ConvDecoder, ConvEncoder, ResidualBlock

KINDS = ("gated_conv", "resnet")
SHAPES = [(1, 28, 28), (3, 32, 32), (1, 8, 8), (2, 5, 3), (1, 1, 1)]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", SHAPES)
def test_images_of_any_size_become_vectors_and_codes_become_images(kind, shape):
    options = {"kind": kind, "channels": (4, 6, 8), "blocks": 2}
    assert ConvEncoder(shape, 7, **options)(torch.rand(2, *shape)).shape == (2, 7)
    assert ConvDecoder(3, shape, 5, **options)(torch.rand(2, 3)).shape == (2, 5, *shape[1:])


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_reach_every_parameter(kind):
    torch.manual_seed(0)
    options = {"kind": kind, "channels": (4, 6), "blocks": 2}
    for network, given in (
        (ConvEncoder((1, 6, 7), 3, **options), torch.rand(8, 1, 6, 7)),
        (ConvDecoder(3, (1, 6, 7), 2, **options), torch.randn(8, 3)),
    ):
        network(given).square().sum().backward()
        assert all(parameter.grad.abs().sum() > 0 for parameter in network.parameters())


@pytest.mark.parametrize("kind", KINDS)
def test_an_image_does_not_depend_on_the_others_of_its_batch(kind):
    torch.manual_seed(0)
    encoder = ConvEncoder((1, 6, 6), 3, kind=kind, channels=(4,)).double()
    x = torch.rand(5, 1, 6, 6, dtype=torch.float64)
    torch.testing.assert_close(encoder(x)[2:3], encoder(x[2:3]))


@pytest.mark.parametrize("kind", KINDS)
def test_every_pixel_reaches_the_code_and_every_code_each_pixel(kind):
    torch.manual_seed(0)
    x = torch.rand(1, 1, 7, 6, requires_grad=True)
    ConvEncoder((1, 7, 6), 4, kind=kind, channels=(4, 4))(x).sum().backward()
    assert (x.grad != 0).all()
    z = torch.randn(1, 3)
    pixels = torch.autograd.functional.jacobian(ConvDecoder(3, (1, 7, 6), 1, kind=kind, channels=(4, 4)), z)
    assert (pixels != 0).all()


def test_a_residual_block_whose_last_convolution_is_zero_is_the_identity():
    block = ResidualBlock(4, 4)
    torch.nn.init.zeros_(block.second.weight)
    torch.nn.init.zeros_(block.second.bias)
    x = torch.randn(2, 4, 5, 5)
    assert torch.equal(block(x), x)


def test_wrong_sizes_are_named():
    with pytest.raises(ValueError, match=r"`event_shape` must be \(channels, height, width\), got \(784,\)"):
        ConvEncoder((784,), 4)
    with pytest.raises(ValueError, match=r"`kind` must be one of .*, got 'mlp'"):
        ConvDecoder(2, (1, 8, 8), 1, kind="mlp")
    with pytest.raises(ValueError, match=r"`channels`, `blocks` .* must be positive, got \(\), 1 and 4"):
        ConvEncoder((1, 8, 8), 4, channels=())
