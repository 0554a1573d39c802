"""In what models that are trained together may differ: the numbers of their objectives, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from infoplane_torch.objective import Objective
from infoplane_torch.penalties import FisherConstraint
from infoplane_torch.training_loss import Loss


def numbers_of(objectives: Sequence[Objective]) -> dict[str, list[float]]:
    """Collect the numbers in which objectives may differ.

    Parameters
    ----------
    objectives : sequence of Objective
        With penalties of the same names.

    Returns
    -------
    dict of str to list of float
        By ``beta`` and ``<name of the penalty>.<number>``, one element for each objective.

    Examples
    --------
    >>> from infoplane_torch import presets
    >>> from infoplane_torch.member_numbers import numbers_of
    >>> numbers_of([presets.build(presets.fae(fisher, 0.1))[1] for fisher in (1, 20)])
    {'beta': [1.0, 1.0], 'fisher_posterior.target': [1, 20], 'fisher_posterior.weight': [0.1, 0.1]}
    """
    slots = [_slots(objective) for objective in objectives]
    return {name: [getattr(*each[name]) for each in slots] for name in slots[0]}


def require_stackable(losses: Sequence[Loss]) -> None:
    """Refuse models that cannot be stacked, and say what differs.

    Parameters
    ----------
    losses : sequence of Loss
        The models with their objectives.

    Raises
    ------
    ValueError
        If two share a parameter, or they differ in more than weights and numbers.

    Examples
    --------
    >>> from infoplane_torch import presets
    >>> from infoplane_torch.member_numbers import require_stackable
    >>> from infoplane_torch.training_loss import Loss
    >>> require_stackable([Loss(*presets.build(presets.vae(latent_dim=d))) for d in (2, 3)])
    Traceback (most recent call last):
        ...
    ValueError: `models` must have one architecture, but number 1 differs from number 0: it has
    (11): Linear(in_features=300, out_features=6, bias=True)
    instead of
    (11): Linear(in_features=300, out_features=4, bias=True)
    """
    tensors = [value for loss in losses for value in (*loss.parameters(), *loss.buffers())]
    if len({id(value) for value in tensors}) < len(tensors):
        raise ValueError("`models` must not share parameters or buffers, got some in two of them")
    first = losses[0]
    for number, loss in enumerate(losses[1:], start=1):
        for what, one, other in (
            ("architecture", repr(first.vae), repr(loss.vae)),
            ("objective, but for its numbers", _form(first.objective), _form(loss.objective)),
            ("set of parameters", _signature(first), _signature(loss)),
        ):
            if one != other:
                raise ValueError(
                    f"`models` must have one {what}, but number {number} differs from number 0: it has\n"
                    f"{_difference(other, one)}"
                )


def _difference(text: str, other: str) -> str:
    lines, others = text.splitlines(), other.splitlines()
    pairs = [*zip(lines, others, strict=False), (lines[-1], others[-1])]
    one, two = next(pair for pair in pairs if pair[0] != pair[1])
    return f"{one.strip()}\ninstead of\n{two.strip()}"


def _signature(loss: Loss) -> str:
    """Names, shapes, types and devices of all tensors."""
    tensors = [*loss.named_parameters(), *loss.named_buffers()]
    return "\n".join(
        f"{name}: {tuple(value.shape)}, {value.dtype}, {value.device}, trained {value.requires_grad}"
        for name, value in tensors
    )


def _form(objective: Objective) -> str:
    """The objective with its numbers left out."""
    with replaced(objective, dict.fromkeys(_slots(objective), "any")):
        return repr(objective)


def _slots(objective: Objective) -> dict[str, tuple[object, str]]:
    """Where the numbers are that may differ: object and attribute, by name."""
    slots: dict[str, tuple[object, str]] = {"beta": (objective, "beta")}
    for name, penalty in objective.penalties.items():
        owner = penalty.settings if isinstance(penalty, FisherConstraint) else penalty
        for attribute in getattr(owner, "varies", ()):
            slots[f"{name}.{attribute}"] = (owner, attribute)
    return slots


@contextmanager
def replaced(objective: Objective, numbers: Mapping[str, object]) -> Iterator[None]:
    """Put other numbers in the place of an objective's for the length of a block.

    Parameters
    ----------
    objective : Objective
        Whose penalties may be frozen settings: what they were comes back.
    numbers : mapping of str to object
        By the names that `numbers_of` gives; tensors too, unchecked.

    Examples
    --------
    >>> from infoplane_torch import presets
    >>> from infoplane_torch.member_numbers import numbers_of, replaced
    >>> _, objective = presets.build(presets.fae(20, 1.0))
    >>> with replaced(objective, {"beta": 4.0}):
    ...     numbers_of([objective])["beta"]
    [4.0]
    """
    slots = _slots(objective)
    kept = {name: getattr(*slots[name]) for name in numbers}
    try:
        for name, value in numbers.items():
            object.__setattr__(*slots[name], value)
        yield
    finally:
        for name, value in kept.items():
            object.__setattr__(*slots[name], value)
