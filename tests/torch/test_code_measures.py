"""Conditional entropies against closed forms, and what classifiers tell from codes."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import distributions as td
from torch import nn

from infoplane_torch import presets
from infoplane_torch.evaluation import Accuracy, code_accuracy, conditional_entropies, elbo
from infoplane_torch.likelihoods import Bernoulli
from infoplane_torch.networks import MLP
from infoplane_torch.posteriors import DiagonalGaussian
from infoplane_torch.vae import VAE, StandardNormal
from tests.torch.test_evaluation import NOISE, linear_gaussian_vae

SMALL = {"event_shape": (1, 4, 4), "latent_dim": 3, "hidden": (16,)}


def test_conditional_entropies_of_a_linear_gaussian_vae_are_those_of_its_noise():
    model, x, _ = linear_gaussian_vae(mismatch=1.4)
    result = conditional_entropies(model, x, batch_size=7)
    with torch.no_grad():
        variance = model.encode(x).variance
    exact = 0.5 * float((2 * math.pi * math.e * variance).log().sum(1).mean())
    assert float(result.codes_given_images) == pytest.approx(exact, rel=1e-12)
    assert float(result.images_given_codes) == pytest.approx(
        3 * math.log(2 * math.pi * math.e * NOISE**2), rel=1e-12
    )
    assert result.images_given_codes.standard_error < 1e-12
    assert (result.codes_given_images.d, result.images_given_codes.d, result.images_given_codes.n) == (
        2,
        6,
        40,
    )


def test_the_entropy_of_binary_images_is_averaged_over_the_codes_of_the_images():
    torch.manual_seed(0)
    model = VAE(
        DiagonalGaussian(MLP(4, 2, hidden=(8,))), Bernoulli(MLP(1, 4, hidden=(8,)), (4,)), StandardNormal(1)
    )
    x = torch.bernoulli(torch.full((50, 4), 0.5))
    result = conditional_entropies(model, x, num_samples=400)
    with torch.no_grad():
        posterior = model.encode(x)
        # Gauss–Hermite quadrature over the one code
        nodes, weights = np.polynomial.hermite_e.hermegauss(40)
        z = posterior.mean + posterior.stddev * torch.tensor(nodes, dtype=torch.float32)[:, None, None]
        p = model.decode(z).mean.double()
        entropy = -(p * p.log() + (1 - p) * (1 - p).log()).sum(-1)
        exact = float((torch.tensor(weights / weights.sum()) @ entropy).mean())
    assert float(result.images_given_codes) == pytest.approx(exact, abs=0.01)
    assert result.images_given_codes.standard_error > 0
    # What the decoder misses comes on top in the cross-entropy, as it was not trained.
    assert -elbo(model, x, num_samples=100).reconstruction > result.images_given_codes


def test_entropies_without_a_closed_form_are_drawn():
    class Mixture(nn.Module):
        def __init__(self):
            super().__init__()
            self.unused = nn.Parameter(torch.zeros(1))

        def forward(self, x):
            parts = td.Independent(td.Normal(torch.zeros(len(x), 2, 3), torch.ones(len(x), 2, 3)), 1)
            return td.MixtureSameFamily(td.Categorical(torch.ones(len(x), 2)), parts)

    model, _ = presets.build(presets.vae(**SMALL))
    model.posterior = Mixture()
    entropy = conditional_entropies(model, torch.zeros(200, 1, 4, 4), num_samples=20).codes_given_images
    assert abs(float(entropy) - 1.5 * math.log(2 * math.pi * math.e)) < 4 * entropy.standard_error
    assert 0 < entropy.standard_error < 0.05  # √(3/2)/√(200·20) = 0.02


def test_conditional_entropies_depend_on_their_seed_alone_and_name_what_is_wrong():
    torch.manual_seed(0)
    model, _ = presets.build(presets.vae(**SMALL))
    x = torch.zeros(3, 1, 4, 4)
    first, again, other = (
        conditional_entropies(model, x, seed=seed).images_given_codes for seed in (0, 0, 1)
    )
    assert float(first) == float(again) != float(other)
    for name in ("num_samples", "batch_size"):
        with pytest.raises(ValueError, match=f"`{name}` must be at least 1"):
            conditional_entropies(model, x, **{name: 0})


class Coordinates(nn.Module):
    """An encoder whose code is the first three pixels."""

    def __init__(self):
        super().__init__()
        self.unused = nn.Parameter(torch.zeros(1))

    def forward(self, x):
        return td.Independent(td.Normal(x.flatten(1)[:, :3], 1.0), 1)


def images_of_classes(n, *, seed, ring):
    """Images whose first pixels tell the class: the side of a plane, or inside and outside of a sphere."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(n, 1, 4, 4, generator=generator)
    code = x.flatten(1)[:, :3]
    return x, (code.norm(dim=1) > 1.5).long() if ring else (code.sum(1) > 0).long()


def model_of_coordinates():
    model, _ = presets.build(presets.vae(**SMALL))
    model.posterior = Coordinates()
    return model


def test_a_linear_probe_sees_planes_and_neighbours_see_rings():
    model, accuracy = model_of_coordinates(), {}
    for ring in (False, True):
        train, test = (images_of_classes(600, seed=seed, ring=ring) for seed in (0, 1))
        for classifier in ("linear", "knn"):
            result = code_accuracy(model, train, test, classifier=classifier, batch_size=250)
            accuracy[ring, classifier] = result.value
            assert result.n == 600
    assert accuracy[False, "linear"] > 0.97
    assert accuracy[True, "linear"] < 0.7  # half of the points lie inside
    assert accuracy[True, "knn"] > 0.85


def test_classes_that_no_code_knows_are_told_by_chance_alone_as_no_test_image_is_seen_before():
    model = model_of_coordinates()
    x, _ = images_of_classes(1200, seed=0, ring=False)
    y = torch.randint(2, (1200,), generator=torch.Generator().manual_seed(2))
    for classifier in ("linear", "knn"):
        result = code_accuracy(
            model, (x[:600], y[:600]), (x[600:], y[600:]), classifier=classifier, neighbors=1
        )
        assert abs(result.value - 0.5) < 4 * 0.5 / math.sqrt(600)
    seen = code_accuracy(model, (x[:600], y[:600]), (x[:600], y[:600]), classifier="knn", neighbors=1)
    assert seen.value == 1.0


def test_the_probe_does_not_mind_the_scale_of_a_dimension():
    class Scaled(Coordinates):
        def forward(self, x):
            scale = torch.tensor([1e-3, 1.0, 1e3])
            return td.Independent(td.Normal(x.flatten(1)[:, :3] * scale, 1.0), 1)

    model, train, test = model_of_coordinates(), *(images_of_classes(300, seed=s, ring=False) for s in (0, 1))
    plain = code_accuracy(model, train, test)
    model.posterior = Scaled()
    assert code_accuracy(model, train, test).value == pytest.approx(plain.value, abs=0.01)


def test_the_standard_error_is_binomial_and_the_interval_wilson_s():
    result = Accuracy(np.arange(100) < 90, "linear")
    assert result.standard_error == pytest.approx(0.03)
    assert result.interval() == pytest.approx((0.8256, 0.9448), abs=1e-4)  # Newcombe 1998, method 3
    assert str(result) == "0.9000 ± 0.0300 (linear, n=100)"
    low, high = Accuracy(np.ones(20, dtype=bool), "knn").interval()
    assert 0.8 < low < high == pytest.approx(1.0)
    with pytest.raises(ValueError, match="`level` must lie"):
        result.interval(1.0)


@given(p=st.floats(0.02, 0.98), seed=st.integers(0, 2**32 - 1))
def test_the_interval_lies_within_the_unit_interval_and_around_the_value(p, seed):
    result = Accuracy(np.random.default_rng(seed).random(50) < p, "knn")
    low, high = result.interval()
    assert -1e-12 <= low <= result.value + 1e-12
    assert result.value - 1e-12 <= high <= 1 + 1e-12


def test_wrong_arguments_are_named():
    model = model_of_coordinates()
    x, y = images_of_classes(30, seed=0, ring=False)
    with pytest.raises(ValueError, match=r"`train` must hold one class for each image, got \(29,\) for 30"):
        code_accuracy(model, (x, y[1:]), (x, y))
    with pytest.raises(ValueError, match="`train` must hold at least two classes"):
        code_accuracy(model, (x, 0 * y), (x, y))
    with pytest.raises(ValueError, match="`classifier` must be one of"):
        code_accuracy(model, (x, y), (x, y), classifier="svm")
    with pytest.raises(ValueError, match="`neighbors` must lie between 1 and 30, got 31"):
        code_accuracy(model, (x, y), (x, y), classifier="knn", neighbors=31)
    with pytest.raises(ValueError, match="`test` must hold images and their classes, got None"):
        code_accuracy(model, (x, y), (x, None))
