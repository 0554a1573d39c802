"""What `torch.vmap` would do otherwise: draws of each member's own generator, and batched linear layers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

# How one member draws what a call of PyTorch's random functions asks for, by that function.
_DRAWS: dict[Callable[..., Any], Callable[..., Tensor]] = {
    torch.normal: torch.normal,
    torch.bernoulli: torch.bernoulli,
    torch.multinomial: torch.multinomial,
    torch.randn: torch.randn,
    torch.rand: torch.rand,
    # These take a generator only as methods of a fresh tensor.
    torch.randn_like: lambda like, *, generator, **options: torch.empty_like(like, **options).normal_(
        generator=generator
    ),
    torch.rand_like: lambda like, *, generator, **options: torch.empty_like(like, **options).uniform_(
        generator=generator
    ),
    torch.Tensor.normal_: lambda like, *arguments, generator, **options: torch.empty_like(like).normal_(
        *arguments, **options, generator=generator
    ),
}


class MemberCalls(TorchFunctionMode):
    """Let each member of a stack draw what it would draw alone, in a function that `torch.vmap` runs for all.

    And let its linear layers be one batched product with the bias in it, whose gradient by the weights comes
    in their own layout, where `torch.vmap` would have it transposed and copied.

    Parameters
    ----------
    generators : sequence of torch.Generator
        One for each member, on the device of the draws.
    member : Tensor
        The number of the member, an argument that `torch.vmap` maps over.

    Notes
    -----
    `torch.vmap` itself would draw for all members at once, from the global generator: other numbers than any
    of them draws alone. Here every call of ``normal``, ``bernoulli``, ``multinomial``, ``randn``, ``rand``,
    ``randn_like``, ``rand_like`` or ``normal_`` becomes one call for each member; other random functions,
    like dropout, are an error of `torch.vmap` (with its ``randomness="error"``). ``normal_`` gives the draws
    back, as `torch.distributions` takes them, and leaves NaN in the tensor that it was called on.

    Examples
    --------
    >>> import torch
    >>> from infoplane_torch.member_calls import MemberCalls
    >>> generators = [torch.Generator().manual_seed(seed) for seed in (0, 1)]
    >>> def draw(member):
    ...     with MemberCalls(generators, member):
    ...         return torch.randn(3)
    >>> both = torch.vmap(draw)(torch.arange(2))
    >>> bool((both[1] == torch.randn(3, generator=torch.Generator().manual_seed(1))).all())
    True
    """

    def __init__(self, generators: Sequence[torch.Generator], member: Tensor) -> None:
        super().__init__()
        self._generators, self._member = generators, member

    def __torch_function__(
        self, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Draw, apply a linear layer, or call what is neither."""
        options = kwargs or {}
        if function is functional.linear:
            return _EachLinear.apply(*_linear_arguments(*args, **options))
        draw = _DRAWS.get(function)
        if draw is None:
            return function(*args, **options)

        def draw_for(member: int, *tensors: Any) -> Tensor:
            return draw(*tensors, **options, generator=self._generators[member])

        drawn = _EachMember.apply(draw_for, self._member, *args)
        if function is torch.Tensor.normal_:
            args[0].fill_(torch.nan)
        return drawn


class _EachMember(torch.autograd.Function):
    """A call for each member, outside of the view that `torch.vmap` gives of a single one."""

    @staticmethod
    def forward(draw_for: Callable[..., Tensor], member: Tensor, *arguments: Any) -> Tensor:
        raise RuntimeError("`MemberCalls` must be used in a function that torch.vmap maps over `member`")

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        """Nothing to keep: draws have no gradient."""

    @staticmethod
    def vmap(
        info: Any, in_dims: tuple[Any, ...], draw_for: Callable[..., Tensor], member: Tensor, *arguments: Any
    ) -> tuple[Tensor, int]:
        draws = [
            draw_for(
                i,
                *(
                    value if dim is None else value.select(dim, i)
                    for value, dim in zip(arguments, in_dims[2:], strict=True)
                ),
            )
            for i in range(info.batch_size)
        ]
        return torch.stack(draws), 0


def _linear_arguments(
    input: Tensor, weight: Tensor, bias: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor | None]:
    """The arguments of a linear layer in their order, in the type that autocast computes with."""
    device = input.device.type
    if not torch.is_autocast_enabled(device):
        return input, weight, bias
    dtype = torch.get_autocast_dtype(device)
    return input.to(dtype), weight.to(dtype), None if bias is None else bias.to(dtype)


class _EachLinear(torch.autograd.Function):
    """A linear layer of one member, y = x Wᵀ + b, and of all of them under `torch.vmap`."""

    @staticmethod
    def forward(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return functional.linear(x, weight, bias)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        """Nothing to keep: the derivative is that of what `vmap` calls."""

    @staticmethod
    def vmap(
        info: Any, in_dims: tuple[Any, ...], x: Tensor, weight: Tensor, bias: Tensor | None
    ) -> tuple[Tensor, int]:
        def batched(value: Tensor, dim: int | None) -> Tensor:
            return value.expand(info.batch_size, *value.shape) if dim is None else value.movedim(dim, 0)

        x, weight = batched(x, in_dims[0]), batched(weight, in_dims[1])
        bias = weight.new_zeros(weight.shape[:2]) if bias is None else batched(bias, in_dims[2])
        rows = x.reshape(len(x), -1, x.shape[-1])
        y: Tensor = _BatchedLinear.apply(rows, weight, bias)
        return y.view(*x.shape[:-1], -1), 0


class _BatchedLinear(torch.autograd.Function):
    """y_m = x_m W_mᵀ + b_m of x (M, B, in), W (M, out, in) and b (M, out)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        return torch.baddbmm(bias.unsqueeze(1), x, weight.transpose(1, 2))

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        wanted = ctx.needs_input_grad
        return (
            gradient.bmm(weight) if wanted[0] else None,
            gradient.transpose(1, 2).bmm(x) if wanted[1] else None,
            gradient.sum(1) if wanted[2] else None,
        )
