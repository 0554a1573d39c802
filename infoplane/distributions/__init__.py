"""Distributions whose entropy, entropy power and Fisher information are known: the truth to test against."""

from infoplane.distributions.base import Affine, Distribution
from infoplane.distributions.bounded import Beta, Uniform
from infoplane.distributions.mixture import GaussianMixture, Mixture
from infoplane.distributions.normal import MultivariateNormal, Normal
from infoplane.distributions.positive import Exponential, Gamma, Gumbel, LogNormal, Weibull
from infoplane.distributions.product import Product
from infoplane.distributions.student import MultivariateT, StudentT
from infoplane.distributions.sums import convolution
from infoplane.distributions.symmetric import GeneralizedNormal, Laplace, Logistic

__all__ = [
    "Distribution",
    "Normal", "Laplace", "Logistic", "StudentT", "GeneralizedNormal", "Gumbel",
    "Gamma", "Exponential", "Weibull", "LogNormal", "Beta", "Uniform",
    "MultivariateNormal", "MultivariateT",
    "Product", "Affine", "Mixture", "GaussianMixture", "convolution",
]  # fmt: skip
