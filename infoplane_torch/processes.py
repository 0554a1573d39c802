"""Means over the processes of a training run, each of which sees its share of a batch."""

from __future__ import annotations

import torch
from torch import Tensor, distributed


def mean_over_processes(share: Tensor) -> Tensor:
    """Mean over all processes of a quantity of which each knows its own share's mean.

    Penalties that are no sum over images, like the logarithm of a mean, need it to be those of the whole
    batch and not of one process's share; a state that they keep then agrees in all processes.

    Parameters
    ----------
    share : Tensor
        The mean over the images of this process; as many images in each.

    Returns
    -------
    Tensor
        The mean over processes; its gradient is that of this process's share, as the gradients of all are
        averaged afterwards. The share itself in a single process, and where gradients are off: in evaluation
        each process speaks for itself.

    Examples
    --------
    >>> import torch
    >>> from infoplane_torch.processes import mean_over_processes
    >>> mean_over_processes(torch.ones(2))
    tensor([1., 1.])
    """
    if not (distributed.is_available() and distributed.is_initialized() and torch.is_grad_enabled()):
        return share
    total = share.detach().clone()
    distributed.all_reduce(total)
    # The first two terms are worth exactly 0, so that all processes go on with the same bits.
    return share - share.detach() + total / distributed.get_world_size()
