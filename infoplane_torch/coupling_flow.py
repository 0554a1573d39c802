"""Flows of affine couplings: densities that are evaluated and drawn from at the same price."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, distributions, nn
from torch.distributions import constraints

from infoplane_torch.networks import MLP, at_least_float32

LOG_SCALE_BOUND = 3.0


class Coupling(nn.Module):
    """Affine coupling: the second half of z becomes z·exp(s) + t, with s and t seen from the first half.

    Parameters
    ----------
    features : int
        Dimension d ≥ 2 of z.
    hidden : sequence of int, default (256, 256)
        Widths of the hidden layers of the network for s and t.
    activation : str, default "elu"
        One of `infoplane_torch.networks.ACTIVATIONS`.

    Raises
    ------
    ValueError
        If `features` is less than 2, or a layer is impossible.

    Notes
    -----
    s is bounded smoothly, s = 3 tanh(·/3), so that no coupling can overflow.

    References
    ----------
    Dinh, Sohl-Dickstein, Bengio, "Density estimation using Real NVP" (2017), section 3.2.

    Examples
    --------
    >>> import torch
    >>> from infoplane_torch.coupling_flow import Coupling
    >>> coupling = Coupling(3, hidden=(8,))
    >>> z = torch.tensor([[0.5, -1.0, 2.0]])
    >>> bool(torch.allclose(coupling.inverse(coupling(z)[0])[0], z, atol=1e-5))
    True
    """

    def __init__(self, features: int, *, hidden: Sequence[int] = (256, 256), activation: str = "elu") -> None:
        super().__init__()
        if features < 2:
            raise ValueError(f"`features` must be at least 2, so that one half can move, got {features}")
        self.kept = features // 2
        self.network = MLP(self.kept, 2 * (features - self.kept), hidden=hidden, activation=activation)

    def _parts(self, first: Tensor) -> tuple[Tensor, Tensor]:
        """s and t, each (..., features − kept)."""
        output = at_least_float32(self.network(first.reshape(-1, self.kept)))
        s, t = output.reshape(*first.shape[:-1], -1).chunk(2, dim=-1)
        return LOG_SCALE_BOUND * torch.tanh(s / LOG_SCALE_BOUND), t

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Move z.

        Parameters
        ----------
        z : Tensor of shape (..., features)
            Where the coupling starts.

        Returns
        -------
        Tensor of shape (..., features)
            z'.
        Tensor of shape (...)
            log |det ∂z'/∂z| = Σ s.
        """
        first, second = z.tensor_split([self.kept], dim=-1)
        s, t = self._parts(first)
        return torch.cat((first, second * s.exp() + t), -1), s.sum(-1)

    def inverse(self, moved: Tensor) -> tuple[Tensor, Tensor]:
        """Find the z that is moved to a given place.

        Parameters
        ----------
        moved : Tensor of shape (..., features)
            z'.

        Returns
        -------
        Tensor of shape (..., features)
            z.
        Tensor of shape (...)
            log |det ∂z'/∂z| there: that of `forward`, not of the inverse.
        """
        first, second = moved.tensor_split([self.kept], dim=-1)
        s, t = self._parts(first)
        return torch.cat((first, (second - t) * (-s).exp()), -1), s.sum(-1)


class RealNVP(distributions.Distribution):
    """Distribution of noise moved by affine couplings, the order reversed behind each.

    Parameters
    ----------
    base : Distribution
        The noise, of event shape (d,).
    couplings : sequence of Coupling
        The couplings, the first one first.

    Attributes
    ----------
    base, couplings
        As given.

    Notes
    -----
    Draws and densities take one pass through all couplings.

    References
    ----------
    Dinh, Sohl-Dickstein, Bengio, "Density estimation using Real NVP" (2017).

    Examples
    --------
    >>> import torch
    >>> from torch.distributions import Independent, Normal
    >>> from infoplane_torch.coupling_flow import Coupling, RealNVP
    >>> noise = Independent(Normal(torch.zeros(3), 1.0), 1)
    >>> flow = RealNVP(noise, [Coupling(3, hidden=(8,)) for _ in range(4)])
    >>> flow.log_prob(flow.rsample((5,))).shape
    torch.Size([5])
    """

    arg_constraints = {}  # noqa: RUF012 - torch's own convention
    support = constraints.real_vector

    def __init__(self, base: distributions.Distribution, couplings: Sequence[Coupling]) -> None:
        self.base, self.couplings = base, tuple(couplings)
        super().__init__(base.batch_shape, base.event_shape, validate_args=False)

    @property
    def has_rsample(self) -> bool:  # type: ignore[override]
        """Whether the noise, and so the draws, are reparameterised."""
        return self.base.has_rsample

    def rsample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        """Draw, differentiably.

        Parameters
        ----------
        sample_shape : sequence of int, default ()
            Shape of the draws.

        Returns
        -------
        Tensor of shape (*sample_shape, *batch_shape, d)
        """
        z = self.base.rsample(torch.Size(sample_shape))
        for coupling in self.couplings:
            z = coupling(z)[0].flip(-1)
        return z

    def log_prob(self, value: Tensor) -> Tensor:
        """Log density.

        Parameters
        ----------
        value : Tensor of shape (*sample_shape, *batch_shape, d)
            Points z, or anything that broadcasts to this shape.

        Returns
        -------
        Tensor of shape (*sample_shape, *batch_shape)
        """
        z, log_det = value, value.new_zeros(())
        for coupling in reversed(self.couplings):
            z, more = coupling.inverse(z.flip(-1))
            log_det = log_det + more
        return self.base.log_prob(z) - log_det
