"""How kernels are compiled and driven; the only file that configures numba.

Kernels are serial, release the GIL and work on a range of rows [start, stop); a thread pool hands them
fixed ranges. numba's own `parallel=True` is not used: its workqueue layer aborts when two Python threads
enter it, and OpenMP does not survive a fork.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numba

# No `nnan` and `ninf`: kernels may meet infinities, and comparisons with them must hold.
_FAST = {"nsz", "arcp", "contract", "afn", "reassoc"}

# Rows a task: fixed, so that results do not depend on the number of threads.
_ROWS = 64

kernel = numba.njit(nogil=True, cache=True, fastmath=_FAST, error_model="numpy")
inline = numba.njit(inline="always", fastmath=_FAST, error_model="numpy")

_pool: ThreadPoolExecutor | None = None
_lock = threading.Lock()


def _drop_pool() -> None:
    # After a fork the pool's threads exist only in the parent, and the lock may be held by one of them.
    global _pool, _lock
    _pool, _lock = None, threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_drop_pool)


def over_rows(function: Callable[..., None], rows: int, *arguments: Any) -> None:
    """Run `function(start, stop, *arguments)` over fixed ranges that cover `rows`, on all threads.

    Parameters
    ----------
    function : callable
        A kernel that writes only to the rows it is given.
    rows : int
        Number of rows.
    *arguments : object
        Passed on.
    """
    global _pool  # noqa: PLW0603
    threads = numba.config.NUMBA_NUM_THREADS
    starts = range(0, rows, _ROWS)
    if threads == 1 or len(starts) == 1:
        for start in starts:
            function(start, min(start + _ROWS, rows), *arguments)
        return
    with _lock:
        if _pool is None:
            _pool = ThreadPoolExecutor(threads, thread_name_prefix="infoplane")
        tasks = [_pool.submit(function, start, min(start + _ROWS, rows), *arguments) for start in starts]
    for task in tasks:
        task.result()
