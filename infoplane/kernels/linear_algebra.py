"""One thread for NumPy's and SciPy's linear algebra while estimators run."""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from threadpoolctl import ThreadpoolController

_P = ParamSpec("_P")
_R = TypeVar("_R")

_controller: ThreadpoolController | None = None
_limit: Any = None
_users = 0
_lock = threading.Lock()


def on_one_blas_thread(function: Callable[_P, _R]) -> Callable[_P, _R]:
    """Run a function with the linear algebra of the process on one thread, and give back its threads after.

    Estimators make thousands of products of a few hundred rows. Threads of OpenBLAS wait for each other by
    spinning; where they share their cores with anything else, such a product takes a hundred times as long
    and a Fisher information fifteen times. Nor do results then depend on the number of those threads.

    Parameters
    ----------
    function : callable
        What to run; calls may be nested and come from many threads, of which the last gives the threads back.
        OpenBLAS may heed only what its main thread sets; what others set then changes nothing.
    """

    @functools.wraps(function)
    def limited(*arguments: _P.args, **options: _P.kwargs) -> _R:
        _enter()
        try:
            return function(*arguments, **options)
        finally:
            _leave()

    return limited


def _enter() -> None:
    global _controller, _limit, _users  # noqa: PLW0603
    with _lock:
        if _users == 0:
            # The libraries are looked for once, when NumPy and SciPy are sure to have loaded them.
            _controller = _controller or ThreadpoolController().select(user_api="blas")
            _limit = _controller.limit(limits=1)
        _users += 1


def _leave() -> None:
    global _users  # noqa: PLW0603
    with _lock:
        _users -= 1
        if _users == 0:
            _limit.restore_original_limits()


def _after_fork_in_child() -> None:
    # A child forked amid the calls of other threads stays at one thread: to start some now is not safe.
    _lock.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_after_fork_in_child
    )
