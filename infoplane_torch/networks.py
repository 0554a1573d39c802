"""Networks: what maps images to the parameters of a posterior, and codes to those of a likelihood.

A network is any module from a batch ``(B, *)`` to a batch ``(B, *)``; posteriors and likelihoods give its
output a meaning.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "elu": nn.ELU,
    "gelu": nn.GELU,
    "relu": nn.ReLU,
    "silu": nn.SiLU,
    "softplus": nn.Softplus,
    "tanh": nn.Tanh,
}

LOG_VARIANCE_BOUND = 14.0


class MLP(nn.Sequential):
    """A fully connected network, with the paper's five layers of 300 as its default.

    Parameters
    ----------
    in_features, out_features : int
        Numbers of elements of one input and of one output.
    hidden : sequence of int, default (300, 300, 300, 300, 300)
        Widths of the hidden layers; empty for a linear map.
    activation : str, default "elu"
        One of ``ACTIVATIONS``: "elu", "gelu", "relu", "silu", "softplus", "tanh".

    Raises
    ------
    ValueError
        If a width is not positive, or the activation is unknown.

    Notes
    -----
    The input is flattened behind its first dimension, so images ``(B, 1, 28, 28)`` and codes ``(B, 40)``
    go in alike; the output is ``(B, out_features)``. The paper names neither the activation nor the
    initialisation of its layers; here they are ELU and PyTorch's default.

    Examples
    --------
    >>> import torch
    >>> from infoplane_torch.networks import MLP
    >>> MLP(784, 80)(torch.zeros(2, 1, 28, 28)).shape
    torch.Size([2, 80])
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        hidden: Sequence[int] = (300,) * 5,
        activation: str = "elu",
    ) -> None:
        if activation not in ACTIVATIONS:
            raise ValueError(f"`activation` must be one of {sorted(ACTIVATIONS)}, got {activation!r}")
        widths = [in_features, *hidden]
        if min(*widths, out_features) < 1:
            raise ValueError(f"layer widths must be at least 1, got {[*widths, out_features]}")
        layers: list[nn.Module] = [nn.Flatten()]
        for width_in, width_out in pairwise(widths):
            layers += [nn.Linear(width_in, width_out), ACTIVATIONS[activation]()]
        super().__init__(*layers, nn.Linear(widths[-1], out_features))


def scale_from_log_variance(log_variance: Tensor) -> Tensor:
    """Turn a network's log σ² into the standard deviation σ = exp(½ log σ²), kept away from 0 and infinity.

    log σ² is clamped to ±14, that is σ² to [8·10⁻⁷, 1.2·10⁶], because an unclamped one sooner or later
    overflows to NaN. Outside the bounds its gradient is zero.

    Parameters
    ----------
    log_variance : Tensor
        log σ², any shape.

    Returns
    -------
    Tensor
        σ, of the same shape.

    Examples
    --------
    >>> import torch
    >>> from infoplane_torch.networks import scale_from_log_variance
    >>> scale_from_log_variance(torch.tensor([0.0, 2.0, 1e9])).log()
    tensor([0., 1., 7.])
    """
    return torch.exp(0.5 * log_variance.clamp(-LOG_VARIANCE_BOUND, LOG_VARIANCE_BOUND))


def at_least_float32(output: Tensor) -> Tensor:
    """Lift a network's output to float32: densities and their sums are never taken in half precision.

    Parameters
    ----------
    output : Tensor
        Output of a network, perhaps computed under autocast.

    Returns
    -------
    Tensor
        float32 for half-precision input, otherwise the input.

    Examples
    --------
    >>> import torch
    >>> from infoplane_torch.networks import at_least_float32
    >>> at_least_float32(torch.zeros(1, dtype=torch.bfloat16)).dtype
    torch.float32
    """
    return output.to(torch.promote_types(output.dtype, torch.float32))


def in_float64(values: Tensor) -> Tensor:
    """Lift to float64, in which sums over images are taken; from a device that has none (MPS), on the CPU.

    Parameters
    ----------
    values : Tensor
        Any numbers.

    Returns
    -------
    Tensor
        On the same device wherever that can be.

    Examples
    --------
    >>> import torch
    >>> from infoplane_torch.networks import in_float64
    >>> in_float64(torch.zeros(1)).dtype
    torch.float64
    """
    return (values.cpu() if values.device.type == "mps" else values).double()
