"""Posteriors, likelihoods, the VAE they make, and the presets that build it."""

import dataclasses
import itertools
import json
import math

import pytest
import torch
from torch import nn

from infoplane_torch import presets
from infoplane_torch.evaluation import log_likelihood, plane_point
from infoplane_torch.information import score
from infoplane_torch.likelihoods import Bernoulli, Gaussian
from infoplane_torch.networks import MLP
from infoplane_torch.penalties import FisherInformation
from infoplane_torch.posteriors import DiagonalGaussian
from infoplane_torch.priors import StandardNormal
from infoplane_torch.vae import VAE, evaluating
from tests.torch.model_configs import CONFIGS, FLOW, SMALL, images, on_levels


@pytest.fixture(params=CONFIGS.values(), ids=CONFIGS.keys())
def config(request):
    return request.param


def test_one_pass_has_the_promised_shapes(config):
    model, _ = presets.build(config)
    forward = model(images(config=config))
    assert forward.z.shape == (6, 3)
    assert forward.posterior.batch_shape == (6,)
    assert forward.posterior.event_shape == (3,)
    assert forward.likelihood.batch_shape == (6,)
    assert forward.likelihood.event_shape == config.event_shape
    assert forward.prior.batch_shape == ()
    assert model.latent_dim == 3
    assert model.event_shape == config.event_shape


def test_gradients_reach_every_parameter(config):
    torch.manual_seed(0)
    model, objective = presets.build(config)
    terms = objective(model, images(config=config))
    (terms.loss + terms.auxiliary).backward()
    named = [*model.named_parameters(), *objective.modules.named_parameters()]
    silent = [name for name, p in named if p.grad is None or not p.grad.abs().sum() > 0]
    assert silent == []


def test_a_seed_decides_the_weights_a_step_and_a_sample(config):
    losses, samples = [], []
    for _ in range(2):
        torch.manual_seed(7)
        model, objective = presets.build(config)
        losses.append(objective(model, images(config=config)).loss.item())
        samples.append(model.sample(3))
    assert losses[0] == losses[1]
    assert torch.equal(samples[0], samples[1])


def test_configuration_and_weights_rebuild_the_model(config, tmp_path):
    model, _ = presets.build(config)
    torch.save(model.state_dict(), tmp_path / "weights.pt")
    (tmp_path / "config.json").write_text(json.dumps(config.to_dict()))
    read = presets.ModelConfig.from_dict(json.loads((tmp_path / "config.json").read_text()))
    assert read == config
    again, _ = presets.build(read)
    again.load_state_dict(torch.load(tmp_path / "weights.pt", weights_only=True))
    reconstructed = []
    for either in (model, again):
        with evaluating(either, seed=0):
            reconstructed.append(either.reconstruct(images(config=config)))
    assert torch.equal(*reconstructed)


def test_samples_reconstructions_and_interpolations_are_images_without_gradient(config):
    model, _ = presets.build(config)
    x = images(config=config)
    lines = model.interpolate(x[:2], x[2:4], steps=5)
    samples = model.sample(4)
    for made, count in ((samples, (4,)), (model.reconstruct(x), (6,)), (lines, (5, 2))):
        assert made.shape == (*count, *config.event_shape)
        assert not made.requires_grad
    assert model.decode(torch.zeros(4, 3)).support.check(samples).all()
    if config.likelihood != "pixel_cnn":  # which knows no mean and gives samples
        torch.testing.assert_close(lines[0], model.reconstruct(x[:2]))
        torch.testing.assert_close(lines[-1], model.reconstruct(x[2:4]))


def test_a_model_in_evaluation_mode_gives_the_same_again(config):
    model, _ = presets.build(config)
    given = []
    for _ in range(2):
        with evaluating(model, seed=1):
            x = images(config=config)
            given.append((model(x).z, model.reconstruct(x), model.sample(2)))
    for first, again in zip(*given, strict=True):
        assert torch.equal(first, again)
        assert not first.requires_grad


def test_the_likelihood_sums_or_integrates_to_one(config):
    torch.manual_seed(0)
    small = dataclasses.replace(config, event_shape=(1, 1, 2), levels=3)
    model = presets.build(small)[0].double()
    if config.likelihood == "gaussian":
        values = torch.linspace(-12, 12, 241, dtype=torch.float64)
    elif on_levels(config):
        values = torch.tensor([0.0, 0.5, 1.0])
    else:
        values = torch.tensor([0.0, 1.0])
    weight = float(values[1] - values[0]) ** 2 if config.likelihood == "gaussian" else 1.0
    every_image = torch.cartesian_prod(values, values).double().reshape(-1, 1, 1, 1, 2)
    with torch.no_grad():
        total = weight * model.decode(torch.randn(3, 3, dtype=torch.float64)).log_prob(every_image).exp().sum(
            0
        )
    torch.testing.assert_close(total, torch.ones_like(total), rtol=0, atol=1e-6)


def test_the_likelihood_agrees_with_quadrature_over_a_code_of_one_dimension(config):
    if config.prior == "realnvp":
        pytest.skip("a coupling needs two dimensions, which another test has")
    torch.manual_seed(0)
    model = presets.build(dataclasses.replace(config, event_shape=(1, 2, 2), latent_dim=1))[0].double()
    with torch.no_grad():
        # Importance weights have a variance only if the posterior's tails reach as far as the prior's.
        model.posterior.network[-1].bias[1] += 2.0  # log σ²
    x = torch.tensor(list(itertools.product((0.0, 1.0), repeat=4)), dtype=torch.float64)[::3]
    x = x.reshape(6, 1, 2, 2)
    z = torch.linspace(-18, 18, 721, dtype=torch.float64)[:, None]
    with torch.no_grad():
        log_mass = model.prior().log_prob(z) + math.log(float(z[1] - z[0]))  # (n,)
        exact = (model.decode(z[:, None]).log_prob(x) + log_mass[:, None]).logsumexp(0)
    result = log_likelihood(model, x, num_samples=1000, batch_size=6)
    # Where all weights are alike the error is that of rounding. Six images: 4 is passed once in 2,600 seeds.
    error = result.standard_error.clamp(min=1e-9)
    assert float(((result.log_likelihood - exact) / error).abs().max()) < 4


def test_each_weight_is_saved_once_and_trained_once(config):
    model, _ = presets.build(config)
    names = [name for name, _ in model.named_parameters(remove_duplicate=False)]
    assert sorted(names) == sorted(model.state_dict())


def test_decoding_many_samples_at_once_equals_decoding_them_one_by_one(config):
    model, _ = presets.build(config)
    z = torch.randn(3, 2, 3)
    x = images(2, config=config)
    together = model.decode(z).log_prob(x)
    one_by_one = torch.stack([model.decode(codes).log_prob(x) for codes in z])
    torch.testing.assert_close(together, one_by_one)


def test_half_precision_networks_give_densities_in_single_precision(config):
    model, objective = presets.build(config)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        terms = objective(model, images(config=config))
    assert terms.loss.dtype == torch.float32
    assert torch.isfinite(terms.loss)


def test_the_bernoulli_likelihood_sums_to_one_over_all_images():
    torch.manual_seed(0)
    likelihood = Bernoulli(MLP(2, 4, hidden=(5,)), (2, 2))
    every_image = torch.tensor(list(itertools.product((0.0, 1.0), repeat=4))).reshape(16, 2, 2)
    z = 3 * torch.randn(2)
    total = likelihood(z.expand(16, 2)).log_prob(every_image).exp().sum()
    assert total.item() == pytest.approx(1.0, abs=1e-5)


def test_the_bernoulli_log_likelihood_is_stable_for_extreme_logits():
    class Extreme(nn.Module):
        def forward(self, z):
            return torch.full((len(z), 2), 1e4)

    likelihood = Bernoulli(Extreme(), (2,))
    assert float(likelihood(torch.zeros(1, 1)).log_prob(torch.tensor([[1.0, 0.0]]))) == -1e4


@pytest.mark.parametrize(("variance", "shape"), [("scalar", ()), ("pixel", (2, 2))])
def test_a_learned_gaussian_variance_is_one_parameter_or_one_a_pixel(variance, shape):
    likelihood = Gaussian(MLP(3, 4), (2, 2), variance=variance)
    assert likelihood.log_variance.shape == shape
    assert torch.equal(likelihood(torch.zeros(5, 3)).variance, torch.ones(5, 2, 2))


def test_a_learned_scalar_variance_finds_the_variance_of_the_data():
    torch.manual_seed(0)
    x = 0.5 * torch.randn(500, 1, 2, 2)
    model = VAE(
        DiagonalGaussian(MLP(4, 2, hidden=())),
        Gaussian(MLP(1, 4, hidden=()), (1, 2, 2)),
        StandardNormal(1),
    )
    for parameter in model.likelihood.network.parameters():
        nn.init.zeros_(parameter)
    log_variance = model.likelihood.log_variance
    optimiser = torch.optim.LBFGS([log_variance], max_iter=50)

    def closure():
        optimiser.zero_grad()
        loss = -model.decode(torch.zeros(500, 1)).log_prob(x).mean()
        loss.backward()
        return loss

    optimiser.step(closure)
    assert log_variance.exp().item() == pytest.approx(float(x.square().mean()), rel=1e-3)


def test_samples_follow_the_model_and_their_means_carry_no_noise():
    torch.manual_seed(0)
    model = VAE(
        DiagonalGaussian(MLP(2, 2, hidden=())), Gaussian(MLP(1, 2, hidden=()), (2,)), StandardNormal(1)
    )
    with torch.no_grad():
        model.likelihood.network[-1].weight.copy_(torch.tensor([[2.0], [0.0]]))
        model.likelihood.network[-1].bias.zero_()
    # x = (2 z, 0) + ε: variances 4 + 1 and 0 + 1, known to √(2/20,000) = 1 %
    torch.testing.assert_close(model.sample(20_000).var(0), torch.tensor([5.0, 1.0]), rtol=0.04, atol=0)
    means = model.sample(20_000, mean=True)
    torch.testing.assert_close(means.var(0), torch.tensor([4.0, 0.0]), rtol=0.04, atol=0)


def test_wrong_images_and_codes_are_named():
    model, _ = presets.build(presets.vae(**SMALL))
    with pytest.raises(ValueError, match=r"`x` must have shape \(B, 1, 4, 4\), got \(6, 16\)"):
        model(torch.zeros(6, 16))
    with pytest.raises(ValueError, match=r"got \(1, 4, 4\)"):
        model(torch.zeros(1, 4, 4))
    with pytest.raises(TypeError, match=r"`x` must be floating point, got torch\.uint8"):
        model(torch.zeros(6, 1, 4, 4, dtype=torch.uint8))
    with pytest.raises(ValueError, match=r"`z` must have shape \(\.\.\., 3\), got \(2, 4\)"):
        model.decode(torch.zeros(2, 4))
    with pytest.raises(ValueError, match="`steps` must be at least 2"):
        model.interpolate(images(), images(), steps=1)
    with pytest.raises(ValueError, match="`latent_dim` must be at least 1"):
        StandardNormal(0)
    with pytest.raises(ValueError, match="`variance` must be one of"):
        Gaussian(MLP(3, 4), (2, 2), variance="diagonal")


def test_evaluating_puts_modes_gradients_and_random_state_back():
    model, _ = presets.build(presets.vae(**SMALL))
    model.posterior.eval()  # a part that was frozen on purpose
    torch.manual_seed(3)
    expected = torch.rand(5)
    torch.manual_seed(3)

    def fail():
        with evaluating(model, seed=0):
            assert not model.likelihood.training
            assert not torch.is_grad_enabled()
            torch.rand(100)
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert torch.equal(torch.rand(5), expected)
    assert model.likelihood.training
    assert not model.posterior.training
    assert torch.is_grad_enabled()


@pytest.mark.parametrize("prior", ["standard", "vamp", "realnvp"])
@pytest.mark.parametrize("posterior", ["diagonal", "full", "iaf"])
def test_the_likelihood_of_a_tiny_model_agrees_with_quadrature_over_its_codes(posterior, prior):
    torch.manual_seed(0)
    config = presets.vae(
        event_shape=(1, 2, 2), latent_dim=2, hidden=(8,), posterior=posterior, prior=prior, **FLOW
    )
    model = presets.build(config)[0].double()
    with torch.no_grad():
        # Importance weights have a variance only if the posterior's tails reach as far as the prior's.
        model.posterior.network[-1].bias[2:4] += 2.0  # log σ²
    every_image = torch.tensor(list(itertools.product((0.0, 1.0), repeat=4)), dtype=torch.float64)
    every_image = every_image.reshape(16, 1, 2, 2)
    axis = torch.linspace(-18, 18, 181, dtype=torch.float64)
    z = torch.cartesian_prod(axis, axis)
    with torch.no_grad():
        density = model.prior().log_prob(z).exp() * (axis[1] - axis[0]) ** 2  # (n,)
        exact = (model.decode(z[:, None]).log_prob(every_image).exp() * density[:, None]).sum(0).log()
        posterior = model.encode(every_image)
        mass = posterior.log_prob(z[:, None]).exp().sum(0) * (axis[1] - axis[0]) ** 2
    # Over all images the likelihoods sum to 1, over all codes each posterior, but for the tails beyond 18.
    assert float(exact.exp().sum()) == pytest.approx(1.0, abs=1e-4)
    torch.testing.assert_close(mass, torch.ones_like(mass), rtol=0, atol=1e-4)
    result = log_likelihood(model, every_image, num_samples=1000, batch_size=16)
    z_score = (result.log_likelihood - exact) / result.standard_error
    assert float(z_score.abs().max()) < 4  # 16 images: 3.2 is passed in 2 % of runs


def test_the_place_of_a_flow_in_the_plane_agrees_with_quadrature():
    torch.manual_seed(0)
    config = presets.iaf_vae(event_shape=(1, 2, 2), latent_dim=2, hidden=(8,), **FLOW)
    model = presets.build(config)[0].double()
    x = torch.bernoulli(torch.full((8, 1, 2, 2), 0.5, dtype=torch.float64))
    axis = torch.linspace(-8, 8, 101, dtype=torch.float64)
    z = torch.cartesian_prod(axis, axis)[:, None].expand(-1, 8, -1)
    with torch.no_grad():
        posterior = model.encode(x)
        log_q = posterior.log_prob(z)
        mass = log_q.exp() * (axis[1] - axis[0]) ** 2
        trace = (mass * score(posterior, z).square().sum(-1)).sum(0).mean()
        nats = -(mass * log_q).sum(0).mean()
    point = plane_point(model, x, num_samples=1000)
    # 8,000 draws: H is known to about sd 1/√8,000, J to sd 4/√8,000.
    assert float(point.fisher_trace) == pytest.approx(float(trace), abs=4 * 4 / 8_000**0.5)
    power = math.exp(float(nats)) / (2 * math.pi * math.e)
    assert float(point.entropy_power) == pytest.approx(power, rel=4 / 8_000**0.5)
    assert point.entropy_power.method == "monte carlo"


def test_the_plain_presets_are_unchanged_by_the_choice_of_posteriors_and_priors():
    torch.manual_seed(0)
    model, _ = presets.build(presets.vae(**SMALL))
    torch.manual_seed(0)
    encoder, decoder = MLP(16, 6, hidden=(16, 8)), MLP(3, 16, hidden=(8, 16))
    by_hand = VAE(DiagonalGaussian(encoder), Bernoulli(decoder, (1, 4, 4)), StandardNormal(3))
    assert list(model.state_dict()) == list(by_hand.state_dict())
    assert all(name.startswith(("posterior.network.", "likelihood.network.")) for name in model.state_dict())
    for name, weight in model.state_dict().items():
        assert torch.equal(weight, by_hand.state_dict()[name])
    kept = ("event_shape", "latent_dim", "hidden", "activation", "likelihood", "variance", "penalties")
    old = {key: value for key, value in presets.vae(**SMALL).to_dict().items() if key in kept}
    assert presets.ModelConfig.from_dict(old) == presets.vae(**SMALL)


def test_the_presets_have_the_papers_sizes():
    model, objective = presets.build(presets.vae())
    hidden = 4 * (300 * 300 + 300)
    encoder = (784 * 300 + 300) + hidden + (300 * 80 + 80)
    decoder = (40 * 300 + 300) + hidden + (300 * 784 + 784)
    assert sum(parameter.numel() for parameter in model.parameters()) == encoder + decoder
    assert dict(objective.penalties) == {}
    _, objective = presets.build(presets.fae(20, 0.5, form="hinge", reduction="sum"))
    expected = FisherInformation(20, 0.5, form="hinge", reduction="sum")
    assert dict(objective.penalties) == {"fisher_posterior": expected}


def test_the_pixel_vae_has_the_sizes_of_its_paper():
    model, objective = presets.build(presets.pixel_vae())
    pixel_cnn = model.likelihood.network
    assert model.latent_dim == 64
    assert [layer.above.kernel_size[1] for layer in pixel_cnn.layers] == [7, 5, 5, 5, 5]
    assert {layer.above.out_channels // 2 for layer in pixel_cnn.layers} == {32}
    assert model.posterior.network[-1].in_features == 4 * 4 * 64
    assert dict(objective.penalties) == {}


def test_the_decoder_mirrors_the_encoder():
    model, _ = presets.build(presets.vae(**SMALL))
    widths = [layer.out_features for layer in model.likelihood.network if isinstance(layer, nn.Linear)]
    assert widths == [8, 16, 16]


def test_impossible_configurations_are_refused():
    decoder_term = FisherInformation(5, 0.1, of="likelihood")
    for likelihood in ("bernoulli", "logistic_mixture", "pixel_cnn"):
        with pytest.raises(ValueError, match=f"cannot control a {likelihood} likelihood: it is discrete"):
            presets.vae(likelihood=likelihood, penalties=(decoder_term,))
    with pytest.raises(ValueError, match="must control different distributions"):
        presets.vae(penalties=(FisherInformation(1, 1), FisherInformation(2, 1)))
    with pytest.raises(ValueError, match="must be positive"):
        presets.vae(latent_dim=0)
    with pytest.raises(ValueError, match="must be positive"):
        presets.vae(event_shape=())
    with pytest.raises(ValueError, match=r"`flow_steps`, `flow_hidden`, .* must be positive, got 0"):
        presets.iaf_vae(flow_steps=0)
    with pytest.raises(ValueError, match="`latent_dim` must be at least 2"):
        presets.vae(latent_dim=1, prior="realnvp")
    for sizes in ({"channels": ()}, {"blocks": 0}, {"components": 0}, {"pixel_channels": 0}):
        with pytest.raises(ValueError, match=r"`channels`, `blocks`, .* must be positive, got"):
            presets.pixel_vae(**sizes)
    with pytest.raises(ValueError, match="`pixel_kernel` odd and positive, got 256 and 4"):
        presets.pixel_vae(pixel_kernel=4)
    with pytest.raises(
        ValueError, match=r"`event_shape` must be \(channels, height, width\) for network='resnet'"
    ):
        presets.vae(network="resnet", event_shape=(784,))
    for name in ("activation", "likelihood", "variance", "posterior", "prior", "network", "pixels"):
        with pytest.raises(ValueError, match=f"`{name}` must be one of"):
            presets.vae(**{name: "none of them"})
    for options in ({"posterior": "full"}, {"posterior": "iaf"}, {"prior": "vamp"}):
        with pytest.raises(ValueError, match="`free_bits` must be 0 but for"):
            presets.vae(free_bits=0.1, **options)
    with pytest.raises(TypeError, match="depth"):
        presets.ModelConfig.from_dict({"depth": 5})


def test_images_in_another_precision_than_the_weights_are_a_clear_error():
    model, _ = presets.build(presets.vae(**SMALL))
    x = images(config=presets.vae(**SMALL))
    with pytest.raises(TypeError, match=r"`x` must be torch.float32 like the weights .* got torch.float64"):
        model(x.double())
    with pytest.raises(TypeError, match=r"`x` must be torch.float64 like the weights .* got torch.float32"):
        model.double()(x)
