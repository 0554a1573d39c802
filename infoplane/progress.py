"""Progress of long calls, by tqdm where it is asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

# Stages that are over sooner show nothing, in seconds.
_DELAY = 0.5

_is_shown: ContextVar[bool] = ContextVar("infoplane_progress", default=False)


@contextmanager
def shown(progress: bool) -> Iterator[None]:
    """Show the stages of a block.

    Parameters
    ----------
    progress : bool
        Whether; if not, what an outer block has asked for stays.

    Raises
    ------
    ImportError
        If tqdm is not installed.
    """
    if not progress:
        yield
        return
    try:
        import tqdm.auto  # noqa: F401
    except ImportError as error:
        raise ImportError("`progress` needs tqdm: pip install 'infoplane[progress]'") from error
    token = _is_shown.set(True)
    try:
        yield
    finally:
        _is_shown.reset(token)


@contextmanager
def stage(name: str, total: int) -> Iterator[Callable[[int], object]]:
    """One part of a call, as a bar that appears if it takes long and then goes away.

    Parameters
    ----------
    name : str
        What stands beside the bar.
    total : int
        How much there is to do.

    Yields
    ------
    callable
        To be told how much more has been done.
    """
    if not _is_shown.get():
        yield _silent
        return
    from tqdm.auto import tqdm

    with tqdm(total=total, desc=name, delay=_DELAY, leave=False, unit_scale=True) as bar:
        yield bar.update


def _silent(done: int) -> None:
    pass
