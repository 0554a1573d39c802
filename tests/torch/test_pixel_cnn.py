"""The gated PixelCNN: what a pixel sees, normalisation, drawing with a cache, memory."""

import itertools
import math
import subprocess
import sys
import time

import pytest
import torch
from torch import distributions as td

from infoplane_torch import presets
from infoplane_torch.conv_networks import ConvDecoder
from infoplane_torch.data import ImageData
from infoplane_torch.likelihoods import PixelCNN
from infoplane_torch.networks import MLP
from infoplane_torch.pixel_cnn import GatedPixelCNN, PixelByPixel
from infoplane_torch.training import TrainingConfig, train
from infoplane_torch.vae import evaluating

F64 = torch.float64
OPTIONS = {"channels": 6, "layers": 3, "kernel_size": 3}


def likelihood(shape=(1, 4, 5), latent=2, **options):
    torch.manual_seed(0)
    decoder = ConvDecoder(latent, shape, 4, channels=(4,))
    return PixelCNN(decoder, shape, 4, **{**OPTIONS, **options}).double()


def slow_sample(images, count):
    """Draw by a whole pass for each pixel; the random numbers are taken in the same order as by `sample`."""
    z = images.z.expand(count, -1)
    x = torch.zeros(count, *images.event_shape, dtype=z.dtype)
    with torch.no_grad():
        for row, column in itertools.product(range(x.shape[2]), range(x.shape[3])):
            outputs = images.network(x, images.decoder(z).reshape(count, -1, *x.shape[2:]))
            pixel = outputs[:, :, row : row + 1, column : column + 1]
            x[:, :, row, column] = images.pixels(pixel).sample()[..., 0, 0]
    return x


@pytest.mark.parametrize("kernel_size", [1, 3, 5])
@pytest.mark.parametrize("shape", [(1, 6, 6), (2, 4, 7)])
def test_a_pixel_sees_all_earlier_ones_and_neither_itself_nor_later_ones(shape, kernel_size):
    # Depths at which the field covers the image; with kernels of 1 only the first layer looks around.
    torch.manual_seed(0)
    _, height, width = shape
    layers = 2 if kernel_size == 1 else 7
    network = GatedPixelCNN(shape, 1, 2, channels=6, layers=layers, kernel_size=kernel_size).double()
    x = torch.rand(1, *shape, dtype=F64)
    context = torch.randn(1, 2, height, width, dtype=F64)
    seen = torch.autograd.functional.jacobian(lambda x: network(x, context)[0, 0], x)[:, :, 0]
    seen = (seen != 0).permute(0, 1, 3, 4, 2)  # (row, column) of the output, then of the input, channels
    place = torch.arange(height * width).reshape(height, width)
    earlier = place[None, None] < place[:, :, None, None]
    assert not seen[~earlier].any()
    if kernel_size > 1:
        assert seen[earlier].all()  # no blind spot


def test_the_receptive_field_is_as_large_as_promised():
    torch.manual_seed(0)
    network = GatedPixelCNN((1, 15, 21), 1, 1, channels=4, layers=3, kernel_size=3).double()
    x, context = torch.rand(1, 1, 15, 21, dtype=F64), torch.zeros(1, 1, 15, 21, dtype=F64)
    row, column, reach = 12, 10, 2 + 3 * 1
    seen = torch.autograd.functional.jacobian(lambda x: network(x, context)[0, 0, row, column], x)[0, 0] != 0
    rows, columns = seen.nonzero().unbind(1)
    assert (int(rows.min()), int(columns.min())) == (row - reach, column - reach)
    assert int(columns.max()) == column + reach - 1


def test_the_context_of_a_place_reaches_its_pixel():
    torch.manual_seed(0)
    network = GatedPixelCNN((1, 4, 4), 1, 2, **OPTIONS).double()
    x, context = torch.rand(1, 1, 4, 4, dtype=F64), torch.randn(1, 2, 4, 4, dtype=F64)
    jacobian = torch.autograd.functional.jacobian(lambda c: network(x, c)[0, 0], context)[:, :, 0]
    for row, column in itertools.product(range(4), repeat=2):
        assert (jacobian[row, column, :, row, column] != 0).all()


def test_the_probabilities_of_all_binary_images_sum_to_one():
    images = likelihood((1, 3, 3))(torch.randn(2, 2, dtype=F64))
    every = torch.tensor(list(itertools.product((0.0, 1.0), repeat=9)), dtype=F64).reshape(-1, 1, 1, 3, 3)
    total = images.log_prob(every).exp().sum(0)
    torch.testing.assert_close(total, torch.ones(2, dtype=F64), rtol=0, atol=1e-12)


def test_the_probabilities_of_all_colour_images_sum_to_one():
    images = likelihood((3, 1, 2), pixels="logistic_mixture", levels=3)(torch.randn(2, dtype=F64))
    every = torch.tensor(list(itertools.product((0.0, 0.5, 1.0), repeat=6)), dtype=F64).reshape(-1, 3, 1, 2)
    assert float(images.log_prob(every).exp().sum().detach()) == pytest.approx(1.0, abs=1e-12)


def test_the_log_probability_is_the_sum_over_pixels_one_by_one():
    images = likelihood()(torch.randn(1, 2, dtype=F64))
    x = torch.bernoulli(torch.full((1, 1, 4, 5), 0.5, dtype=F64))
    total = torch.zeros(1, dtype=F64)
    known = torch.zeros_like(x)
    for row, column in itertools.product(range(4), range(5)):
        logits = images.network(known, images.decoder(images.z))[:, 0, row, column]
        total = total + td.Bernoulli(logits=logits).log_prob(x[:, 0, row, column])
        known[:, :, row, column] = x[:, :, row, column]
    torch.testing.assert_close(images.log_prob(x), total)


@pytest.mark.parametrize("pixels", ["bernoulli", "logistic_mixture"])
@pytest.mark.parametrize(("shape", "kernel_size"), [((1, 4, 5), 3), ((3, 5, 4), 5), ((1, 1, 1), 1)])
def test_drawing_with_a_cache_equals_a_whole_pass_for_each_pixel(shape, kernel_size, pixels):
    images = likelihood(shape, kernel_size=kernel_size, pixels=pixels)(torch.randn(2, dtype=F64))
    torch.manual_seed(1)
    fast = images.sample((6,))
    torch.manual_seed(1)
    assert torch.equal(fast, slow_sample(images, 6))
    assert fast.unique().numel() > 1


def test_draws_follow_the_probabilities_of_images():
    torch.manual_seed(0)
    images = likelihood((1, 2, 2))(torch.randn(2, dtype=F64))
    n = 20_000
    bits = images.sample((n,)).reshape(n, 4) @ torch.tensor([8.0, 4.0, 2.0, 1.0], dtype=F64)
    every = torch.tensor(list(itertools.product((0.0, 1.0), repeat=4)), dtype=F64).reshape(-1, 1, 2, 2)
    expected = n * images.log_prob(every).exp().detach()
    counts = torch.bincount(bits.long(), minlength=16)
    assert float(((counts - expected).square() / expected).sum()) < 37.7  # χ², 15 degrees: 1 in 1,000


def test_codes_of_any_batch_shape_broadcast_against_images():
    torch.manual_seed(0)
    model = likelihood()
    z = torch.randn(3, 2, 2, dtype=F64)
    x = torch.bernoulli(torch.full((2, 1, 4, 5), 0.5, dtype=F64))
    together = model(z).log_prob(x)
    assert together.shape == (3, 2)
    for s, b in itertools.product(range(3), range(2)):
        torch.testing.assert_close(together[s, b], model(z[s, b]).log_prob(x[b]))
    assert model(z).log_prob(x[:, None, None]).shape == (2, 3, 2)
    assert model(z).sample((4,)).shape == (4, 3, 2, 1, 4, 5)
    assert model(z[0, 0]).sample().shape == (1, 4, 5)


def test_without_gradients_no_pass_holds_more_than_256_images():
    class Counting(torch.nn.Module):
        def __init__(self, decoder):
            super().__init__()
            self.decoder, self.counts = decoder, []

        def forward(self, z):
            self.counts.append(len(z))
            return self.decoder(z)

    model = likelihood()
    model.decoder = counting = Counting(model.decoder)
    z = torch.randn(300, 2, 2, dtype=F64)
    x = torch.zeros(2, 1, 4, 5, dtype=F64)
    with torch.no_grad():
        in_parts = model(z).log_prob(x)
    assert counting.counts == [256, 256, 88]
    torch.testing.assert_close(in_parts, model(z).log_prob(x))
    assert counting.counts[3:] == [600]
    assert model(z).sample().shape == (300, 2, 1, 4, 5)
    assert counting.counts[4:] == [256, 256, 88]


PEAKS = """
import resource, torch
from infoplane_torch import presets
from infoplane_torch.evaluation import log_likelihood
model, _ = presets.build(presets.pixel_vae(channels=(4,), pixel_channels=8, pixel_layers=1, pixel_kernel=3))
for count in (100, 1000):
    log_likelihood(model, torch.zeros(4, 1, 28, 28), num_samples=count, chunk_size=count)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="no resource module")
def test_the_memory_of_a_likelihood_does_not_grow_with_the_importance_samples():
    run = subprocess.run([sys.executable, "-c", PEAKS], capture_output=True, text=True, check=True)
    few, many = (int(line) * (1 if sys.platform == "darwin" else 1024) for line in run.stdout.split())
    # Another 3,600 contexts of 8·784 floats alone would be 90 MB, and what the layers make of them far more.
    assert many - few < 45e6


def test_a_mean_is_not_made_up():
    config = presets.pixel_vae(event_shape=(1, 4, 4), channels=(4,), pixel_channels=4, pixel_layers=1)
    model, _ = presets.build(config)
    with pytest.raises(NotImplementedError, match="no closed form of E"):
        model.sample(2, mean=True)
    x = torch.bernoulli(torch.full((3, 1, 4, 4), 0.5))
    assert set(model.reconstruct(x).unique().tolist()) <= {0.0, 1.0}
    assert model.interpolate(x[:1], x[1:2], steps=3).shape == (3, 1, 1, 4, 4)
    with evaluating(model, seed=0):
        first = model.reconstruct(x)
    with evaluating(model, seed=0):
        assert torch.equal(model.reconstruct(x), first)


def test_the_precision_of_the_networks_is_that_under_which_the_model_was_called():
    torch.manual_seed(0)
    decoder = MLP(2, 4 * 16, hidden=(8,))
    model = PixelCNN(decoder, (1, 4, 4), 4, **OPTIONS)
    seen = []
    decoder.register_forward_hook(lambda *call: seen.append(call[-1].dtype))
    z, x = torch.randn(5, 2), torch.zeros(5, 1, 4, 4)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        images = model(z)
    assert images.log_prob(x).dtype == torch.float32
    assert images.sample().dtype == torch.float32
    assert seen == [torch.bfloat16] * 2
    assert model(z).log_prob(x).dtype == torch.float32
    assert seen[2:] == [torch.float32]


def test_impossible_sizes_are_named():
    with pytest.raises(ValueError, match="`kernel_size` must be odd and positive, got 4"):
        GatedPixelCNN((1, 4, 4), 1, 1, kernel_size=4)
    with pytest.raises(ValueError, match=r"`event_shape` must be \(channels, height, width\), got \(16,\)"):
        GatedPixelCNN((16,), 1, 1)
    with pytest.raises(ValueError, match=r"must be at least 1, got 1, 1, 32 and 0"):
        GatedPixelCNN((1, 4, 4), 1, 1, layers=0)
    with pytest.raises(ValueError, match="`pixels` must be one of"):
        PixelCNN(MLP(2, 16), (1, 4, 4), 1, pixels="gaussian")


def test_the_distribution_is_discrete_and_knows_its_images():
    images = likelihood()(torch.zeros(2, dtype=F64))
    assert isinstance(images, PixelByPixel)
    assert images.support.is_discrete
    assert bool(images.support.check(torch.ones(1, 4, 5)))
    assert not bool(images.support.check(torch.full((1, 4, 5), 0.5)))


def test_pixels_that_copy_one_another_cost_one_bit_without_any_code():
    torch.manual_seed(0)
    model = PixelCNN(MLP(1, 4 * 9, hidden=()), (1, 3, 3), 4, **OPTIONS)
    optimiser = torch.optim.Adam(model.parameters(), lr=0.02)
    x = torch.tensor([0.0, 1.0]).reshape(2, 1, 1, 1).expand(2, 1, 3, 3)
    for _ in range(100):
        optimiser.zero_grad()
        loss = -model(torch.zeros(2, 1)).log_prob(x).mean()
        loss.backward()
        optimiser.step()
    assert math.log(2) <= loss.item() < math.log(2) + 0.05
    samples = model(torch.zeros(50, 1)).sample()
    assert (samples == samples[..., :1, :1]).all((1, 2, 3)).float().mean() > 0.9


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_a_pixel_vae_is_trained_by_the_loop_and_resumed(tmp_path, precision):
    generator = torch.Generator().manual_seed(0)
    bits = torch.randint(2, (48, 1, 4, 4), generator=generator, dtype=torch.uint8)
    data = ImageData("bits", bits, bits[:8], bits[:8], binary=True)
    config = presets.pixel_vae(
        event_shape=(1, 4, 4), latent_dim=2, channels=(4,), pixel_channels=4, pixel_layers=1
    )

    def run(folder, epochs):
        torch.manual_seed(0)
        model, objective = presets.build(config)
        settings = TrainingConfig(
            epochs=epochs, batch_size=16, warmup_epochs=0, precision=precision, accelerator="cpu"
        )
        history = train(model, objective, data, settings, tmp_path / folder, progress=False)
        return model, history.column("valid_elbo")

    run("interrupted", 2)
    resumed, elbo = run("interrupted", 4)
    whole, expected = run("whole", 4)
    assert elbo == expected
    for name, weight in whole.state_dict().items():
        assert torch.equal(weight, resumed.state_dict()[name])


def test_drawing_costs_a_few_passes_instead_of_one_for_each_pixel():
    torch.manual_seed(0)
    model, _ = presets.build(presets.pixel_vae(channels=(8,), pixel_channels=16, pixel_layers=3))
    images = model.decode(torch.randn(16, 64))
    x = images.sample()

    def seconds(work):
        with torch.no_grad():
            started = time.process_time()
            work()
            return time.process_time() - started

    one_pass = min(seconds(lambda: images.log_prob(x)) for _ in range(3))
    assert seconds(images.sample) < 784 * one_pass / 10  # about 40 times less, when it was measured


def test_the_scale_of_the_context_saturates_no_gate():
    """Else a decoder that has grown large stops all learning: tanh and sigmoid have no slope there."""
    torch.manual_seed(0)
    network = GatedPixelCNN((1, 6, 6), 1, 4, channels=8, layers=2, kernel_size=3)
    x, context = torch.rand(5, 1, 6, 6).round(), torch.randn(5, 4, 6, 6)
    torch.testing.assert_close(network(x, 1e4 * context), network(x, context), rtol=1e-4, atol=1e-4)
    network(x, 1e4 * context).square().sum().backward()
    weight = network.layers[0].above.weight.grad
    assert weight is not None
    assert float(weight.abs().mean()) > 1e-4
