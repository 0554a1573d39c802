"""Files of numbers as named columns: CSV, NumPy and Parquet, read by pandas and NumPy."""

from __future__ import annotations

import gzip
import io
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from textwrap import shorten
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

SUFFIXES = (".csv", ".tsv", ".txt", ".npy", ".npz", ".parquet")
_BLANKS = r"\s+"
# How pandas calls columns without a name.
_UNNAMED = "Unnamed: "
# Rows by which decimal commas are told from points.
_HEAD = 100


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
    notes : tuple of str
        What was found out about the file, and might be wrong.
    """

    values: dict[str, NDArray[np.float64]]
    left_out: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(next(iter(self.values.values())))


@dataclass(frozen=True)
class TextFormat:
    """How a table of text is written; what is not told is found out from its first lines.

    Attributes
    ----------
    separator : str, optional
        Between fields; by default blanks in ``.txt``, tabs in ``.tsv``, and in ``.csv`` commas, or semicolons
        or tabs where the first line has these and no comma.
    decimal : str, optional
        Before decimals; by default a point, or a comma where that makes numbers of fields between semicolons.
    comment : str, optional
        What begins a comment, wherever it stands; by default "#", in ``.csv`` and ``.tsv`` only above the
        table.
    header : {"auto", "yes", "no"}, default "auto"
        Whether the first line holds the names. "auto": unless it holds nothing but numbers. A comment just
        above numbers, with a word for each, holds their names, as `numpy.savetxt` writes it.
    encoding : str, default "utf-8-sig"
        UTF-8, with or without a byte-order mark.
    """

    separator: str | None = None
    decimal: str | None = None
    comment: str | None = None
    header: Literal["auto", "yes", "no"] = "auto"
    encoding: str = "utf-8-sig"


def read_columns(path: Path, names: Sequence[str] = (), text: TextFormat | None = None) -> Columns:
    """Read the numeric columns of a file.

    Parameters
    ----------
    path : Path
        A table as ``.csv``, ``.tsv`` or ``.txt`` (with or without a header, and perhaps a further ``.gz``) or
        ``.parquet``, an array ``.npy`` of shape (n,) or (n, c), or an ``.npz`` of such arrays of one length.
    names : sequence of str, default ()
        Columns to read; all numeric ones by default. Arrays without names have x0, x1, …
    text : TextFormat, optional
        How a table of text is written.

    Returns
    -------
    Columns
        Fields that lack at the end of a row are missing values. A column without a name that numbers the rows
        is left out.

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
    notes: list[str] = []
    try:
        table = _table(path, suffix, text or TextFormat(), notes)
    except UnreadableFileError:
        raise
    except UnicodeDecodeError as error:
        raise UnreadableFileError(
            f"{path}: it is not written in {error.encoding}: try `--encoding latin-1`, or utf-16"
        ) from error
    except Exception as error:  # whatever a parser makes of a damaged file
        raise UnreadableFileError(f"{path}: not a readable {suffix} file: {error}") from error
    missing = [name for name in names if name not in table]
    if missing:
        raise UnreadableFileError(f"{path}: no column {missing[0]!r}; it has {', '.join(map(repr, table))}")
    if not names:
        notes += _without_row_numbers(table)
    numbers = {name: _numbers(table[name]) for name in names or table}
    values = {name: column for name, column in numbers.items() if column is not None}
    left_out = tuple(name for name, column in numbers.items() if column is None)
    if names and left_out:
        raise UnreadableFileError(f"{path}: column {left_out[0]!r} does not hold numbers")
    if not values:
        raise UnreadableFileError(f"{path}: no column holds numbers{_example(table)}")
    if not len(next(iter(values.values()))):
        raise UnreadableFileError(f"{path}: it has no rows")
    return Columns(values, left_out, tuple(notes))


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


def _table(path: Path, suffix: str, text: TextFormat, notes: list[str]) -> dict[str, Any]:
    if suffix in (".npy", ".npz"):
        return _arrays(path)
    import pandas  # only here, as it takes long to import

    frame = pandas.read_parquet(path) if suffix == ".parquet" else _text(path, suffix, text, notes)
    return {str(name).strip(): frame[name] for name in frame.columns}


def _text(path: Path, suffix: str, text: TextFormat, notes: list[str]) -> Any:
    """A table of text as a data frame."""
    import pandas

    above, first = _first_lines(path, text)
    separator = text.separator or _separator(suffix, first)
    if separator != (text.separator or {".csv": ",", ".tsv": "\t", ".txt": _BLANKS}[suffix]):
        notes.append(f"fields were taken to be separated by {separator!r}: see --separator")
    layout: dict[str, Any] = {
        "sep": separator,
        "skipinitialspace": True,
        "comment": text.comment or ("#" if suffix == ".txt" else None),
        "index_col": False,  # a row longer than the header is a mistake, not one with a label
        "engine": "c" if len(separator) == 1 or separator == _BLANKS else "python",
    }
    read = partial(pandas.read_csv, path, skiprows=len(above), encoding=text.encoding, **layout)
    layout["decimal"] = text.decimal or (_decimal(read, notes) if separator == ";" else ".")
    named, names = _header(above, first, text, layout, notes)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", "Length of header", pandas.errors.ParserWarning)
        try:
            frame = read(decimal=layout["decimal"], header=0 if named else None, names=names)
        except pandas.errors.ParserWarning as error:
            header = shorten(first if named else above[-1], 60)
            raise UnreadableFileError(
                f"{path}: rows have more fields than the line of names, {header!r}: "
                "see --separator, --decimal and --header"
            ) from error
    return frame if named or names else frame.rename(columns=lambda c: f"x{c}")


def _first_lines(path: Path, text: TextFormat) -> tuple[list[str], str]:
    """The comments and empty lines above a table, and its first line."""
    above: list[str] = []
    opened: Callable[..., Any] = gzip.open if path.suffix == ".gz" else open
    with opened(path, "rt", encoding=text.encoding) as lines:
        for line in lines:
            if line.strip() and not line.lstrip().startswith(text.comment or "#"):
                return above, line.strip("\n")
            above.append(line.strip())
    raise UnreadableFileError(f"{path}: not a readable {path.suffix} file: it is empty")


def _separator(suffix: str, first: str) -> str:
    if suffix != ".csv":
        return {".tsv": "\t", ".txt": _BLANKS}[suffix]
    if "," not in first:
        return next((other for other in (";", "\t") if other in first), ",")
    # With semicolons too, commas may be those of decimals.
    fields = _fields(first, {"sep": ";", "decimal": ","}) if ";" in first else [""]
    return "," if any(isinstance(field, str) for field in fields) else ";"


def _decimal(read: Callable[..., Any], notes: list[str]) -> str:
    """The decimal mark that makes numbers of more columns."""
    with warnings.catch_warnings(action="ignore"):
        point, comma = (
            read(decimal=mark, nrows=_HEAD, header=0).select_dtypes("number").shape[1] for mark in (".", ",")
        )
    if comma > point:
        notes.append("commas were taken to be those of decimals: see --decimal")
    return "," if comma > point else "."


def _fields(line: str, layout: dict[str, Any]) -> list[Any]:
    """The fields of a line: numbers (NaN where there is nothing) and strings."""
    import pandas

    if not line.strip():
        return []
    row = pandas.read_csv(io.StringIO(line), header=None, **layout)
    return [row[c].iloc[0] for c in row.columns]


def _header(
    above: list[str], first: str, text: TextFormat, layout: dict[str, Any], notes: list[str]
) -> tuple[bool, list[str] | None]:
    """Whether the first line holds the names; if not, what a comment above it says they are."""
    if text.header != "auto":
        return text.header == "yes", None
    fields = _fields(first, layout)
    words, shown = [field for field in fields if isinstance(field, str)], shorten(first, 60)
    numbers = [field for field in fields if not isinstance(field, str) and field == field]
    if words and not numbers:
        return True, None
    comment = above[-1].lstrip().lstrip(text.comment or "#") if above else ""
    names = [str(name).strip() for name in _fields(comment, layout)]
    if len(names) == len(fields) == len(set(names)):
        notes.append(f"names were taken from the comment {above[-1]!r}: see --header")
        return False, names
    taken = "names" if words else "data"
    notes.append(f"the first line, {shown}, was taken as {taken}: see --header")
    return bool(words), None


def _without_row_numbers(table: dict[str, Any]) -> list[str]:
    """Take out columns that have neither name nor meaning; what to say of it."""
    notes = []
    for name in [name for name in table if name.startswith(_UNNAMED)]:
        column = table[name]
        if name == _UNNAMED + "0" and column.dtype.kind in "iu" and (np.diff(column) == 1).all():
            notes.append("the first column, without a name, numbers the rows: left out")
        elif column.isna().all():
            notes.append("a column without name and values: left out")
        else:
            continue
        del table[name]
    return notes


def _example(table: dict[str, Any]) -> str:
    """The first thing that is no number, for a reader to see why."""
    import pandas

    for name, column in table.items():
        series = pandas.Series(column)
        wrong = series[pandas.to_numeric(series, errors="coerce").isna() & series.notna()]
        if wrong.size:
            entry = shorten(str(wrong.iloc[0]), 40)
            return f", as {name!r} has {entry!r}: see --separator, --decimal and --comment"
    return ""


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
