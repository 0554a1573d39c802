"""Attributes that are computed when they are first asked for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar

_T = TypeVar("_T")


class lazy(Generic[_T]):
    """`functools.cached_property` without the lock that Python 3.11 puts around it.

    That lock is one for all instances: threads with samples of their own would wait for each other, and a
    child forked while it is held would wait for ever. Two threads that share a sample may compute twice.

    Parameters
    ----------
    compute : callable
        The method that it decorates.
    """

    def __init__(self, compute: Callable[[Any], _T]) -> None:
        self._compute = compute
        self._name = compute.__name__
        self.__doc__ = compute.__doc__

    def __get__(self, instance: Any, owner: type | None = None) -> _T:
        if instance is None:
            return self  # type: ignore[return-value]
        # Found in the instance from now on, as this class has no `__set__`.
        value = instance.__dict__[self._name] = self._compute(instance)
        return value
