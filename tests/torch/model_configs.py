"""Small models of all kinds, and images for them."""

import itertools

import torch

from infoplane_torch import presets
from infoplane_torch.penalties import FisherInformation

SMALL = {"event_shape": (1, 4, 4), "latent_dim": 3, "hidden": (16, 8)}
FLOW = {"flow_steps": 2, "flow_hidden": (8,), "flow_context": 4, "pseudo_inputs": 5}
CONV = {"channels": (4, 5), "pixel_channels": 4, "pixel_layers": 2, "pixel_kernel": 3, "components": 2}
COLOUR = {**SMALL, "event_shape": (3, 4, 4)}
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
    "fae by a multiplier": presets.fae(5, 10.0, form="lagrangian", **SMALL),
    "mae": presets.mae(2, 0.5, **SMALL),
    "mae, gaussian, iaf": presets.mae(2, 0.5, likelihood="gaussian", posterior="iaf", **SMALL, **FLOW),
    "weighted, with free bits": presets.vae(beta=2.0, free_bits=0.1, **SMALL),
    "iaf_vae": presets.iaf_vae(**SMALL, **FLOW),
    "iaf, controlled": presets.iaf_vae(penalties=(FisherInformation(20, 0.1),), **SMALL, **FLOW),
    "full covariance, controlled": presets.fae(20, 0.1, posterior="full", **SMALL),
    "gated_conv": presets.vae(network="gated_conv", **SMALL, **CONV),
    "gated_conv, gaussian, predicted": presets.vae(
        network="gated_conv", likelihood="gaussian", variance="predicted", **COLOUR, **CONV
    ),
    "resnet, iaf": presets.iaf_vae(network="resnet", blocks=2, **SMALL, **FLOW, **CONV),
    "mae, resnet": presets.mae(2, 0.5, network="resnet", **SMALL, **CONV),
    "logistic_mixture, vamp": presets.vae(
        likelihood="logistic_mixture", prior="vamp", **SMALL, **FLOW, **CONV
    ),
    "logistic_mixture, resnet, colour": presets.vae(
        likelihood="logistic_mixture", network="resnet", **COLOUR, **CONV
    ),
    "pixel_vae": presets.pixel_vae(**SMALL, **CONV),
    "pixel_vae, colour": presets.pixel_vae(pixels="logistic_mixture", **COLOUR, **CONV),
    "pixel_vae, vamp": presets.pixel_vae(prior="vamp", network="mlp", **SMALL, **FLOW, **CONV),
    "fae over pixel_cnn": presets.fae(20, 0.1, likelihood="pixel_cnn", **SMALL, **CONV),
    "fae over iaf": presets.fae(20, 0.1, posterior="iaf", num_samples=8, **SMALL, **FLOW),
    "fae over iaf and pixel_cnn": presets.fae(
        20, 0.1, posterior="iaf", likelihood="pixel_cnn", num_samples=8, **SMALL, **FLOW, **CONV
    ),
    "mae over pixel_cnn": presets.mae(2, 0.5, likelihood="pixel_cnn", **SMALL, **CONV),
} | {
    f"{posterior}, {likelihood}, {prior}": presets.vae(
        posterior=posterior, likelihood=likelihood, prior=prior, **SMALL, **FLOW
    )
    for posterior, likelihood, prior in [
        *itertools.product(("diagonal", "full", "iaf"), ("bernoulli",), ("vamp", "realnvp")),
        ("iaf", "gaussian", "vamp"),
    ]
}


def on_levels(config):
    """Whether pixels take any of `levels` values, and not only two."""
    return "logistic_mixture" in (config.likelihood, config.pixels)


def images(n=6, seed=0, config=None):
    generator = torch.Generator().manual_seed(seed)
    shape = (1, 4, 4) if config is None else config.event_shape
    if config is not None and on_levels(config):
        return torch.randint(config.levels, (n, *shape), generator=generator) / (config.levels - 1)
    return torch.bernoulli(torch.rand(n, *shape, generator=generator), generator=generator)
