"""The pictures: what is drawn in them and what they refuse."""

import matplotlib.pyplot as plt
import pytest
import torch

from infoplane.estimate import Estimate, FisherShannonPoint
from infoplane_torch import figures, presets
from infoplane_torch.history import History


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def point(entropy: float, trace: float) -> FisherShannonPoint:
    def estimate(value: float) -> Estimate:
        return Estimate(value, standard_error=0.1, method="closed form", n=10, d=2)

    return FisherShannonPoint.from_estimates(estimate(entropy), torch.eye(2).numpy(), estimate(trace))


def small_vae():
    torch.manual_seed(0)
    return presets.build(presets.vae(event_shape=(1, 8, 8), hidden=(16,), latent_dim=2))[0]


def test_the_plane_names_each_model_and_each_trajectory():
    rows = tuple(
        {"epoch": epoch, "valid_entropy_power": 1 / epoch, "valid_fisher_trace_mean": 1.1 * epoch}
        for epoch in (1, 2, 3)
    )
    ax = figures.models_in_plane(
        {"VAE": point(2.8, 2.5), "FAE(F=20)": point(1.0, 40.0)}, histories={"training": History(2, rows)}
    )
    assert {text.get_text() for text in ax.get_legend().get_texts()} == {"VAE", "FAE(F=20)", "training"}
    assert [other.get_ylabel() for other in ax.figure.axes] == ["entropy power N", "epoch"]


def test_the_plane_is_drawn_on_the_axes_it_is_given():
    _, ax = plt.subplots()
    assert figures.models_in_plane({"VAE": point(2.8, 2.5)}, ax=ax) is ax


def test_reconstructions_show_the_data_above_each_models_mean_images():
    model = small_vae().train()
    images = torch.randint(0, 2, (3, 1, 8, 8)).float()
    figure = figures.reconstructions({"VAE": model, "FAE": model}, images)
    assert [figure.axes[column].get_ylabel() for column in (0, 3, 6)] == ["data", "VAE", "FAE"]
    shown = torch.stack([torch.from_numpy(ax.images[0].get_array().data) for ax in figure.axes])
    assert torch.equal(shown[:3, None], images)
    assert torch.equal(shown[3:6, None], model.reconstruct(images))
    assert model.training


def test_colour_images_are_shown_in_colour():
    torch.manual_seed(0)
    config = presets.vae(event_shape=(3, 4, 4), hidden=(8,), latent_dim=2, likelihood="gaussian")
    figure = figures.reconstructions({"VAE": presets.build(config)[0]}, torch.rand(2, 3, 4, 4))
    assert figure.axes[0].images[0].get_array().shape == (4, 4, 3)


@pytest.mark.parametrize("shape", [(0, 1, 8, 8), (8, 8), (3, 2, 8, 8)])
def test_images_of_the_wrong_shape_are_a_clear_error(shape):
    with pytest.raises(ValueError, match=r"`images` must have shape \(n, 1 or 3, height, width\)"):
        figures.reconstructions({"VAE": small_vae()}, torch.zeros(shape))
