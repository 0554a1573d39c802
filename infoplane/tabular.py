"""Files of numbers as named columns: CSV, NumPy and Parquet, read by pandas and NumPy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

SUFFIXES = (".csv", ".tsv", ".txt", ".npy", ".npz", ".parquet")


class UnreadableFileError(ValueError):
    """A file that is absent, of another kind, damaged, or has no column to measure."""


@dataclass(frozen=True, eq=False)
class Columns:
    """Numeric columns of a file.

    Attributes
    ----------
    values : dict of str to ndarray of shape (n,)
        Name and values of each; missing ones are NaN.
    left_out : tuple of str
        Names of columns that hold no numbers.
    """

    values: dict[str, NDArray[np.float64]]
    left_out: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(next(iter(self.values.values())))


def read_columns(path: Path, names: Sequence[str] = ()) -> Columns:
    """Read the numeric columns of a file.

    Parameters
    ----------
    path : Path
        A table as ``.csv``, ``.tsv`` or ``.txt`` (with or without a header, and perhaps a further ``.gz``) or
        ``.parquet``, an array ``.npy`` of shape (n,) or (n, c), or an ``.npz`` of such arrays of one length.
    names : sequence of str, default ()
        Columns to read; all numeric ones by default. Arrays without names have x0, x1, …

    Returns
    -------
    Columns

    Raises
    ------
    UnreadableFileError
        If it cannot be read, or does not have these columns, or they hold no numbers.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from infoplane.tabular import read_columns
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = Path(folder) / "data.csv"
    ...     _ = file.write_text("name,height\\nAda,1.7\\nEmmy,\\n")
    ...     columns = read_columns(file)
    >>> columns.values, columns.left_out
    ({'height': array([1.7, nan])}, ('name',))
    """
    suffixes = path.suffixes[:-1] if path.suffix == ".gz" else path.suffixes
    suffix = suffixes[-1].lower() if suffixes else ""
    if suffix not in SUFFIXES:
        raise UnreadableFileError(f"{path}: the name must end in one of {', '.join(SUFFIXES)}")
    if not path.is_file():
        raise UnreadableFileError(f"{path}: there is no such file")
    try:
        table = _arrays(path) if suffix in (".npy", ".npz") else _table(path, suffix)
    except UnreadableFileError:
        raise
    except Exception as error:  # whatever a parser makes of a damaged file
        raise UnreadableFileError(f"{path}: not a readable {suffix} file: {error}") from error
    missing = [name for name in names if name not in table]
    if missing:
        raise UnreadableFileError(f"{path}: no column {missing[0]!r}; it has {', '.join(map(repr, table))}")
    numbers = {name: _numbers(table[name]) for name in names or table}
    values = {name: column for name, column in numbers.items() if column is not None}
    left_out = tuple(name for name, column in numbers.items() if column is None)
    if names and left_out:
        raise UnreadableFileError(f"{path}: column {left_out[0]!r} does not hold numbers")
    if not values:
        raise UnreadableFileError(f"{path}: no column holds numbers")
    if not len(next(iter(values.values()))):
        raise UnreadableFileError(f"{path}: it has no rows")
    return Columns(values, left_out)


def _arrays(path: Path) -> dict[str, Any]:
    """The columns of NumPy arrays; those of an archive are named after its entries."""
    with path.open("rb") as stream:  # NumPy leaves a damaged archive open
        loaded = np.load(stream, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            return _split(loaded, "x", path, alone=False)
        columns: dict[str, Any] = {}
        for key in loaded.files:
            columns |= _split(loaded[key], key, path, alone=True)
    lengths = {len(column) for column in columns.values()}
    if len(lengths) > 1:
        raise UnreadableFileError(f"{path}: its arrays must have one length, got {sorted(lengths)}")
    return columns


def _split(array: NDArray[Any], name: str, path: Path, *, alone: bool) -> dict[str, Any]:
    if array.dtype.names:
        return {field: array[field] for field in array.dtype.names}
    if array.ndim not in (1, 2):
        raise UnreadableFileError(f"{path}: arrays must have shape (n,) or (n, c), got {array.shape}")
    if array.ndim == 1:
        return {name if alone else f"{name}0": array}
    return {f"{name}{c}": column for c, column in enumerate(array.T)}


def _table(path: Path, suffix: str) -> dict[str, Any]:
    import pandas  # only here, as it takes long to import

    if suffix == ".parquet":
        frame = pandas.read_parquet(path)
    else:
        separator = {".csv": ",", ".tsv": "\t", ".txt": r"\s+"}[suffix]
        # A first line of numbers is no header: its row would be lost, and it would name the columns.
        first = pandas.read_csv(path, sep=separator, nrows=1, header=None)
        bare = all(pandas.api.types.is_numeric_dtype(kind) for kind in first.dtypes)
        frame = pandas.read_csv(path, sep=separator, header=None if bare else "infer")
        if bare:
            frame.columns = pandas.Index([f"x{c}" for c in range(frame.shape[1])])
    return {str(name): frame[name] for name in frame.columns}


def _numbers(column: Any) -> NDArray[np.float64] | None:
    """The column in float64, or None if it does not hold numbers."""
    kind = getattr(column.dtype, "kind", "O")
    if kind == "O":  # numbers among which others than NaN stand for missing ones
        try:
            return np.asarray(column, dtype=np.float64)
        except (TypeError, ValueError):
            return None
    if kind not in "iuf":
        return None
    if isinstance(column, np.ndarray):
        return column.astype(np.float64)
    values: NDArray[np.float64] = column.to_numpy(dtype=np.float64, na_value=np.nan)
    return values
