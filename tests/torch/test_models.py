"""Posteriors, likelihoods, the VAE they make, and the presets that build it."""

import itertools
import json

import pytest
import torch
from torch import nn

from infoplane_torch import presets
from infoplane_torch.likelihoods import Bernoulli, Gaussian
from infoplane_torch.networks import MLP
from infoplane_torch.penalties import FisherInformation
from infoplane_torch.posteriors import DiagonalGaussian
from infoplane_torch.vae import VAE, StandardNormal, evaluating

SMALL = {"event_shape": (1, 4, 4), "latent_dim": 3, "hidden": (16, 8)}
CONFIGS = {
    "vae": presets.vae(**SMALL),
    "fae": presets.fae(20, 0.1, **SMALL),
    "fae, each dimension": presets.fae(2, 0.1, form="hinge", reduction="none", **SMALL),
    "gaussian, scalar": presets.vae(likelihood="gaussian", **SMALL),
    "gaussian, pixel": presets.vae(likelihood="gaussian", variance="pixel", **SMALL),
    "gaussian, predicted": presets.vae(likelihood="gaussian", variance="predicted", **SMALL),
    "both controlled": presets.vae(
        likelihood="gaussian",
        variance="predicted",
        penalties=(FisherInformation(20, 0.1), FisherInformation(5, 0.1, of="likelihood")),
        **SMALL,
    ),
}


@pytest.fixture(params=CONFIGS.values(), ids=CONFIGS.keys())
def config(request):
    return request.param


def images(n=6, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.bernoulli(torch.rand(n, 1, 4, 4, generator=generator), generator=generator)


def test_one_pass_has_the_promised_shapes(config):
    model, _ = presets.build(config)
    forward = model(images())
    assert forward.z.shape == (6, 3)
    assert forward.posterior.batch_shape == (6,)
    assert forward.posterior.event_shape == (3,)
    assert forward.likelihood.batch_shape == (6,)
    assert forward.likelihood.event_shape == (1, 4, 4)
    assert forward.prior.batch_shape == ()
    assert model.latent_dim == 3
    assert model.event_shape == (1, 4, 4)


def test_gradients_reach_every_parameter(config):
    torch.manual_seed(0)
    model, objective = presets.build(config)
    objective(model, images()).loss.backward()
    silent = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert silent == []


def test_a_seed_decides_the_weights_and_a_step(config):
    losses = []
    for _ in range(2):
        torch.manual_seed(7)
        model, objective = presets.build(config)
        losses.append(objective(model, images()).loss.item())
    assert losses[0] == losses[1]


def test_configuration_and_weights_rebuild_the_model(config, tmp_path):
    model, _ = presets.build(config)
    torch.save(model.state_dict(), tmp_path / "weights.pt")
    (tmp_path / "config.json").write_text(json.dumps(config.to_dict()))
    read = presets.ModelConfig.from_dict(json.loads((tmp_path / "config.json").read_text()))
    assert read == config
    again, _ = presets.build(read)
    again.load_state_dict(torch.load(tmp_path / "weights.pt", weights_only=True))
    assert torch.equal(again.reconstruct(images()), model.reconstruct(images()))


def test_samples_reconstructions_and_interpolations_are_images_without_gradient(config):
    model, _ = presets.build(config)
    x = images()
    lines = model.interpolate(x[:2], x[2:4], steps=5)
    for made, count in ((model.sample(4), (4,)), (model.reconstruct(x), (6,)), (lines, (5, 2))):
        assert made.shape == (*count, 1, 4, 4)
        assert not made.requires_grad
    torch.testing.assert_close(lines[0], model.reconstruct(x[:2]))
    torch.testing.assert_close(lines[-1], model.reconstruct(x[2:4]))
    if config.likelihood == "bernoulli":
        assert set(model.sample(4).unique().tolist()) <= {0.0, 1.0}


def test_decoding_many_samples_at_once_equals_decoding_them_one_by_one(config):
    model, _ = presets.build(config)
    z = torch.randn(3, 2, 3)
    together = model.decode(z).log_prob(images(2))
    one_by_one = torch.stack([model.decode(codes).log_prob(images(2)) for codes in z])
    torch.testing.assert_close(together, one_by_one)


def test_half_precision_networks_give_densities_in_single_precision(config):
    model, objective = presets.build(config)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        terms = objective(model, images())
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


def test_the_decoder_mirrors_the_encoder():
    model, _ = presets.build(presets.vae(**SMALL))
    widths = [layer.out_features for layer in model.likelihood.network if isinstance(layer, nn.Linear)]
    assert widths == [8, 16, 16]


def test_impossible_configurations_are_refused():
    decoder_term = FisherInformation(5, 0.1, of="likelihood")
    with pytest.raises(ValueError, match="cannot control a Bernoulli likelihood"):
        presets.vae(penalties=(decoder_term,))
    with pytest.raises(ValueError, match="must control different distributions"):
        presets.vae(penalties=(FisherInformation(1, 1), FisherInformation(2, 1)))
    with pytest.raises(ValueError, match="must be positive"):
        presets.vae(latent_dim=0)
    with pytest.raises(ValueError, match="must be positive"):
        presets.vae(event_shape=())
    for name in ("activation", "likelihood", "variance"):
        with pytest.raises(ValueError, match=f"`{name}` must be one of"):
            presets.vae(**{name: "none of them"})
    with pytest.raises(TypeError, match="depth"):
        presets.ModelConfig.from_dict({"depth": 5})
