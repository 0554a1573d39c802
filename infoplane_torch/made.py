"""Masked dense networks whose i-th output sees only the inputs before the i-th."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from infoplane_torch.networks import ACTIVATIONS, at_least_float32


class MaskedLinear(nn.Linear):
    """A linear layer in which output i sees input j only if ``sees[i, j]``.

    Parameters
    ----------
    sees : Tensor of bool, shape (out_features, in_features)
        The connections that exist.

    Examples
    --------
    >>> import torch
    >>> from infoplane_torch.made import MaskedLinear
    >>> layer = MaskedLinear(torch.tensor([[True, False]]))
    >>> bool(layer(torch.tensor([1.0, 2.0])) == layer(torch.tensor([1.0, 7.0])))
    True
    """

    mask: Tensor

    def __init__(self, sees: Tensor) -> None:
        super().__init__(sees.shape[1], sees.shape[0])
        self.register_buffer("mask", sees.to(self.weight.dtype), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the layer to the last dimension.

        Parameters
        ----------
        x : Tensor of shape (..., in_features)
            Input.

        Returns
        -------
        Tensor of shape (..., out_features)
        """
        return functional.linear(x, self.mask * self.weight, self.bias)


class MADE(nn.Module):
    """Masked autoencoder: a network whose outputs for element i see only the elements before i.

    Parameters
    ----------
    features : int
        Number of elements d.
    outputs : int, default 1
        Outputs for each element.
    hidden : sequence of int, default (320, 320)
        Widths of the hidden layers; empty for a linear map.
    context_features : int, default 0
        Size of a further input that every output may see.
    activation : str, default "elu"
        One of `infoplane_torch.networks.ACTIVATIONS`.

    Raises
    ------
    ValueError
        If a size is out of range, or the activation is unknown.

    Notes
    -----
    A hidden unit of degree k sees the first k elements and is seen by the outputs of element k + 1 and those
    behind it. Degrees run evenly from 0 (context alone) to d − 1, the same in each build.

    References
    ----------
    Germain, Gregor, Murray, Larochelle, "MADE: masked autoencoder for distribution estimation" (2015),
    eqs. (8) and (9).

    Examples
    --------
    >>> import torch
    >>> from infoplane_torch.made import MADE
    >>> MADE(4, outputs=2, hidden=(16,))(torch.zeros(3, 4)).shape
    torch.Size([3, 2, 4])
    """

    def __init__(
        self,
        features: int,
        *,
        outputs: int = 1,
        hidden: Sequence[int] = (320, 320),
        context_features: int = 0,
        activation: str = "elu",
    ) -> None:
        super().__init__()
        if activation not in ACTIVATIONS:
            raise ValueError(f"`activation` must be one of {sorted(ACTIVATIONS)}, got {activation!r}")
        if min(features, outputs, *hidden, context_features + 1) < 1:
            raise ValueError(
                "`features`, `outputs`, `hidden` must be at least 1 and `context_features` at least 0, got "
                f"{features}, {outputs}, {tuple(hidden)} and {context_features}"
            )
        self.features = features
        # Element i has degree i, from 1; a unit sees what has at most its degree, an output what has less.
        degrees = [torch.arange(1, features + 1)]
        degrees += [torch.arange(width) * features // width for width in hidden]
        sees = [after[:, None] >= before for before, after in pairwise(degrees)]
        sees.append((degrees[0][:, None] > degrees[-1]).repeat(outputs, 1))
        self.layers = nn.ModuleList(MaskedLinear(mask) for mask in sees)
        self.activation = ACTIVATIONS[activation]()
        self.context = nn.Linear(context_features, len(sees[0]), bias=False) if context_features > 0 else None

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Evaluate the network.

        Parameters
        ----------
        x : Tensor of shape (..., features)
            The elements.
        context : Tensor of shape (..., context_features), optional
            What every output may see; broadcast against `x`.

        Returns
        -------
        Tensor of shape (..., outputs, features)
            At least float32.
        """
        first, *others = self.layers
        y = first(x)
        if self.context is not None:
            y = y + self.context(context)
        for layer in others:
            y = layer(self.activation(y))
        return at_least_float32(y).unflatten(-1, (-1, self.features))
